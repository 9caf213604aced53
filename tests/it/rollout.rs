//! A rolling update, as a Deployment does it: a new replica comes, and once it is ready an old one is told to end, until all
//! are new. Nobody who calls meanwhile notices, and no grant is lost, though each is renewed every second or two.
//!
//! With `VALETKEY_BEFORE` the old replicas are of that binary, so that two versions can be tried beside each other.

mod calls;
mod streams;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::balancer::Balancer;
use crate::support::valetkey::before;
use crate::support::{Config, Rig, Store, Valetkey, ports, process::say, wait};
use calls::Calls;
use streams::Streams;

const REPLICAS: usize = 2;
const USERS: usize = 12;
/// How long a replica that was told to end still takes connections, …
const DELAY: &str = "2s";
/// … and how long it takes until it gets none: less than that.
const LAG: Duration = Duration::from_secs(1);

/// A replica with addresses of its own; `public_url` is the balancer's.
async fn replica(config: &Config, binary: &Path) -> Valetkey {
    let address = || format!("127.0.0.1:{}", ports::free_port());
    let config = config.clone().set("listeners.0.address", address()).set("listeners.1.address", address());
    let mut valetkey = Valetkey::prepare(&config);
    valetkey.program(binary);
    valetkey.run().await;
    valetkey.ready().await;
    valetkey
}

/// Replaces each of them by one of this binary.
async fn replace(rig: &Rig, balancer: &Balancer, replicas: &mut Vec<Valetkey>, binary: &Path) {
    for mut old in std::mem::take(replicas) {
        let new = replica(&rig.config, binary).await;
        balancer.add(&new).await;
        replicas.push(new);

        let mut streams = Streams::open(balancer, &old, "user-0").await;
        old.terminate();
        wait::until("readiness has fallen", || async { (old.admin_get("/readyz").await.status == 503).then_some(()) })
            .await;
        streams.go_on().await;
        wait::until("it gets no connections", || async { (!balancer.sends_to(&old)).then_some(()) }).await;
        assert_eq!(old.admin_get("/healthz").await.status, 200, "who is late is still served");
        let address = old.url.trim_start_matches("http://").to_owned();
        wait::until("its listener is closed", || async {
            tokio::net::TcpStream::connect(&address).await.is_err().then_some(())
        })
        .await;
        streams.go_on().await;
        assert_eq!(old.process().ended(), None, "it waits for what is under way");
        streams.end().await;
        assert_eq!(old.process().exit().await.code(), Some(0));
    }
}

/// From the version before to this one, and `back` again where told to, at so many calls a second.
async fn roll_out(pace: Duration, back: bool) {
    let balancer = Balancer::start(LAG).await;
    let mut rig = Rig::prepare(Store::Redis, |config, _| {
        config.set("public_url", balancer.url.clone()).set("shutdown", json!({ "delay": DELAY, "grace": "20s" }))
    })
    .await;
    rig.valetkey.program(&before());
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    balancer.add(&rig.valetkey).await;
    // A token lives two seconds, and each refresh ends the refresh token that it was asked with.
    rig.server.access_token_ttl(2).await;
    let users: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
    for user in &users {
        rig.connect(user).await;
    }
    let mut replicas = vec![std::mem::replace(&mut rig.valetkey, Valetkey::prepare(&rig.config))];
    while replicas.len() < REPLICAS {
        let another = replica(&rig.config, &before()).await;
        balancer.add(&another).await;
        replicas.push(another);
    }

    let calls = Calls::start(&balancer.url, &users, pace);
    calls.some_more().await;
    replace(&rig, &balancer, &mut replicas, Path::new(env!("CARGO_BIN_EXE_valetkey"))).await;
    calls.some_more().await;
    if back {
        replace(&rig, &balancer, &mut replicas, &before()).await;
        calls.some_more().await;
    }
    let tally = calls.end().await;
    let renewed = rig.server.count("refreshed").await;
    say(&format!("{tally:?}, {renewed} renewals\n"));
    assert_eq!(tally.failed, Vec::<String>::new());
    assert_eq!(balancer.refused(), 0, "connections that no replica took");
    assert!(renewed > USERS as u64 * 3, "{renewed} renewals are few");
    let state = rig.server.state().await;
    assert_eq!((&state["reuse_detected"], &state["grants_revoked"]), (&json!(0), &json!(0)), "{state}");
    rig.server.assert_sound().await;
    // Each grant is there, and can be renewed.
    for user in &users {
        rig.server.revoke("access", user).await;
        assert_eq!(replicas[0].get(user, "/proxy/crm/whoami").await.upstream(200)["sub"], user.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_no_stream_is_cut_and_no_grant_is_lost_while_replicas_are_replaced() {
    roll_out(Duration::from_millis(4), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long, and wants a release build: make chaos"]
async fn at_a_thousand_calls_a_second_there_and_back() {
    roll_out(Duration::from_millis(1), true).await;
}
