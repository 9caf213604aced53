//! Start, outages and end of the process, and what callers notice of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::redis::Redis;
use crate::support::upstream::Step;
use crate::support::{Alone, Config, Rig, Script, Store, Upstream, Valetkey, on_both_stores, process, rig, wait};

/// An upstream that answers `/held` only when told, and everything else at once.
pub(crate) async fn holding() -> (Upstream, Arc<Notify>) {
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let upstream = Upstream::start(move |request| match request.target() {
        "/held" => Script::text("finished").after(Step::Hold(held.clone())),
        _ => Script::text("ok"),
    })
    .await;
    (upstream, release)
}

pub(crate) async fn behind(upstream: &Upstream, change: impl FnOnce(Config) -> Config) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| change(config.set("services.crm.base_url", upstream.url()))).await;
    rig.connect("ada").await;
    rig
}

async fn until_received(upstream: &Upstream, count: usize) {
    wait::until("the upstream has the call", || async { (upstream.received().len() >= count).then_some(()) }).await;
}

#[tokio::test]
async fn sigterm_lets_calls_in_flight_finish_and_then_ends_with_0() {
    let (upstream, release) = holding().await;
    let mut rig = behind(&upstream, with_a_short_delay).await;
    ends_after_calls_in_flight(&mut rig, &upstream, &release).await;
}

/// There calls have a runtime of another kind (`serve/runtimes.rs`).
#[tokio::test]
async fn on_a_single_core_calls_are_served_and_finished_too() {
    let (upstream, release) = holding().await;
    let mut rig = behind(&upstream, with_a_short_delay).await;
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;
    rig.valetkey.under(&["taskset".to_owned(), "-c".to_owned(), first_core()]);
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    // More connections than there are threads.
    let many = futures_util::future::join_all((0..50).map(|_| rig.get("ada", "/proxy/crm/x"))).await;
    assert!(many.iter().all(|answer| (answer.status, answer.text().as_str()) == (200, "ok")));
    ends_after_calls_in_flight(&mut rig, &upstream, &release).await;
}

fn with_a_short_delay(config: Config) -> Config {
    config.set("shutdown", json!({ "delay": "1s", "grace": "20s" }))
}

/// A core that this process may use.
fn first_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux has it");
    cores.trim().chars().take_while(char::is_ascii_digit).collect()
}

async fn ends_after_calls_in_flight(rig: &mut Rig, upstream: &Upstream, release: &Notify) {
    let id = rig.valetkey.process().id();
    ends_with_calls_in_flight(rig, upstream, release, async || process::signal(id, "TERM")).await;
}

/// Whoever tells it to end by `told`: calls in flight finish, and it ends with 0.
pub(crate) async fn ends_with_calls_in_flight(
    rig: &mut Rig,
    upstream: &Upstream,
    release: &Notify,
    told: impl AsyncFnOnce(),
) {
    let before = upstream.received().len();
    let call = tokio::spawn(rig.request("ada", Method::GET, "/proxy/crm/held").send());
    until_received(upstream, before + 1).await;
    told().await;
    wait::until("readiness has fallen", || async { (rig.admin_get("/readyz").await.status == 503).then_some(()) })
        .await;
    // During the delay, whoever still comes is served, and told to go elsewhere next time.
    let late = rig.get("ada", "/proxy/crm/late").await;
    assert_eq!((late.status, late.text().as_str()), (200, "ok"));
    assert_eq!(rig.admin_get("/healthz").await.status, 200);
    wait::until("the listener is closed", || async {
        rig.request("ada", Method::GET, "/proxy/crm/x").send().await.is_err().then_some(())
    })
    .await;
    release.notify_one();
    let answer = call.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("a body").as_str()), (200, "finished"));
    assert_eq!(rig.valetkey.process().exit().await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_waits_no_longer_than_the_grace_period() {
    let (upstream, _release) = holding().await;
    let mut rig = behind(&upstream, |config| config.set("shutdown", json!({ "delay": "0s", "grace": "500ms" }))).await;
    let call = tokio::spawn(rig.request("ada", Method::GET, "/proxy/crm/held").send());
    until_received(&upstream, 1).await;
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;
    assert!(call.await.expect("no panic").is_err(), "cut off");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (upstream, _release) = holding().await;
    let mut rig = behind(&upstream, |config| config.set("shutdown", json!({ "delay": "10s", "grace": "10m" }))).await;
    let call = tokio::spawn(rig.request("ada", Method::GET, "/proxy/crm/held").send());
    until_received(&upstream, 1).await;
    rig.valetkey.terminate();
    wait::until("readiness has fallen", || async { (rig.admin_get("/readyz").await.status == 503).then_some(()) })
        .await;
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;
    drop(call.await);
}

#[tokio::test]
async fn an_idle_process_ends_soon() {
    let mut valetkey = Alone::start(|config| config).await;
    let start = Instant::now();
    valetkey.valetkey.terminate();
    assert_eq!(valetkey.valetkey.process().exit().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_refresh_in_flight_is_persisted_before_the_process_ends() {
    let mut rig =
        Rig::with(Store::Redis, |config, _| config.set("shutdown", json!({ "delay": "0s", "grace": "20s" }))).await;
    rig.server.access_token_ttl(1).await;
    rig.connect("ada").await;
    rig.server.access_token_ttl(3600).await;
    wait::until("the token is over", || async { rig.server.access_tokens("ada").await.is_empty().then_some(()) }).await;
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "hold": true })).await;
    // The client leaves; only the refresh itself is in flight.
    let call = tokio::spawn(rig.request("ada", Method::GET, "/proxy/crm/whoami").send());
    rig.server.held(1).await;
    call.abort();
    rig.valetkey.terminate();
    rig.server.release().await;
    assert_eq!(rig.valetkey.process().exit().await.code(), Some(0));
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    assert_eq!(rig.server.token_requests("refresh_token").await, 1);
    assert_eq!(rig.server.count("reuse_detected").await, 0);
}

on_both_stores! {
    async fn connections_outlive_the_process(store) {
        let mut rig = Rig::start(store).await;
        rig.connect("ada").await;
        rig.valetkey.terminate();
        rig.valetkey.process().exit().await;
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
        rig.valetkey.kill();
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    }
}

#[tokio::test]
async fn a_link_outlives_the_process_that_made_it() {
    let mut rig = Rig::start(Store::Embedded).await;
    let link = rig.link("ada", "crm").await;
    rig.valetkey.kill();
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    rig.walk(&link, "ada").await;
}

#[tokio::test]
async fn without_redis_it_starts_says_so_and_heals_by_itself() {
    let mut redis = Redis::reserved();
    let unused = tempfile::TempDir::new().expect("a folder");
    let config = rig::with_redis(Alone::config(&unused).without("store.embedded"), &redis);
    let mut valetkey = Valetkey::prepare(&config);
    valetkey.run().await;
    let ready = valetkey.admin_get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    let answer = valetkey.get("ada", "/proxy/crm/x").await;
    answer.refusal(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
    // Not a word of connecting, which would not help.
    assert!(!answer.text().contains("auth_url"), "{}", answer.text());
    redis.run().await;
    valetkey.ready().await;
    valetkey.get("ada", "/proxy/crm/x").await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn while_redis_is_away_cached_callers_are_served_and_others_told_to_come_back() {
    let mut rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    rig.connect("bob").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");

    // Frozen: connections stay open and nothing answers.
    let mut redis = rig.redis.take().expect("Redis");
    redis.freeze();
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    let answer = rig.get("eve", "/proxy/crm/whoami").await;
    answer.refusal(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
    wait::until("readiness tells of it", || async {
        let ready = rig.admin_get("/readyz").await;
        assert_eq!(ready.status, 200, "cached callers are still served: {}", ready.text());
        (ready.json()["status"] == "degraded").then_some(())
    })
    .await;
    redis.thaw();
    wait::until("strangers are known as such again", || async {
        (rig.get("eve", "/proxy/crm/whoami").await.header("valetkey-status") == Some("auth_required")).then_some(())
    })
    .await;
    assert_eq!(rig.get("bob", "/proxy/crm/whoami").await.upstream(200)["sub"], "bob");

    // Gone: connections are refused.
    redis.stop();
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    rig.get("eve", "/proxy/crm/whoami").await.refusal(503, "unavailable");
    let link = rig.post_json("eve", "/connect-links", &json!({ "service": "crm" })).await;
    assert!(matches!(link.status, 200 | 503), "{}", link.status);
    assert_eq!(rig.admin_get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_wrong_vault_key_is_unavailable_and_loses_nothing() {
    let mut rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    rig.valetkey.kill();
    let other = "b3RoZXIga2V5IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXM=";
    let wrong = rig.config.clone().set("vault.keys.0", json!({ "id": "another", "key": other }));
    let file = rig.valetkey.config_file();
    std::fs::write(&file, wrong.text()).expect("written");
    rig.valetkey.run().await;
    let answer =
        wait::until("it answers", || async { rig.request("ada", Method::GET, "/proxy/crm/whoami").send().await.ok() })
            .await;
    crate::support::Answer::read(answer).await.refusal(503, "unavailable");
    rig.valetkey.kill();
    std::fs::write(&file, rig.config.text()).expect("written");
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
}

#[tokio::test]
async fn a_new_key_seals_while_the_old_one_still_opens() {
    let mut rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    rig.valetkey.kill();
    let old = rig.config.get("vault.keys.0").clone();
    let new = json!({ "id": "new", "key": "b3RoZXIga2V5IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXM=" });
    std::fs::write(rig.valetkey.config_file(), rig.config.clone().set("vault.keys", json!([new, old])).text())
        .expect("written");
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    rig.connect("bob").await;
}

#[tokio::test]
async fn the_embedded_file_has_one_owner() {
    let rig = Rig::start(Store::Embedded).await;
    let second = Valetkey::prepare(&rig.replica_config());
    let output = tokio::task::spawn_blocking({
        let config = second.config_file();
        move || crate::support::valetkey::run(&["serve", "--config", config.to_str().expect("UTF-8")])
    });
    let output = wait::within("the second process's end", output).await.expect("no panic");
    let said = crate::support::valetkey::printed(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("valetkey.redb"), "it does not name the file: {said}");
    rig.get("ada", "/proxy/crm/x").await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_clear_failure() {
    let valetkey = Alone::start(|config| config).await;
    let data = tempfile::TempDir::new().expect("a folder");
    let address = valetkey.config.get("listeners.0.address").clone();
    let config = Alone::config(&data).set("listeners.0.address", address.clone());
    let path = data.path().join("valetkey.yaml");
    std::fs::write(&path, config.text()).expect("written");
    let output = tokio::task::spawn_blocking(move || {
        crate::support::valetkey::run(&["serve", "--config", path.to_str().expect("UTF-8")])
    });
    let output = wait::within("the second process's end", output).await.expect("no panic");
    let said = crate::support::valetkey::printed(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(address.as_str().expect("text")), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// Every flow at the most talkative log level: nothing secret may be in it. (Each test's end searches its own logs; this
/// one says all that there is to say.)
#[tokio::test]
async fn nothing_secret_is_logged_even_at_trace() {
    let mut rig = Rig::prepare(Store::Redis, |config, _| config).await;
    for name in ["RUST_LOG", "VALETKEY_LOG"] {
        rig.valetkey.environment(name, "trace");
    }
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    rig.connect("ada").await;
    rig.get("ada", "/proxy/crm/whoami?q=1").await.upstream(200);
    rig.server.revoke("access", "ada").await;
    rig.post("ada", "/proxy/crm/echo", "a body").await;
    rig.server.fault(json!({ "status": 500, "body": "{\"access_token\":\"a-token-in-an-error\"}" })).await;
    rig.server.revoke("access", "ada").await;
    rig.get("ada", "/proxy/crm/whoami").await;
    rig.server.heal().await;
    rig.server.revoke("grant", "ada").await;
    wait::until("the grant is found dead", || async {
        (rig.get("ada", "/proxy/crm/whoami").await.header("valetkey-status") == Some("auth_required")).then_some(())
    })
    .await;
    rig.connect("bob").await;
    rig.send(rig.request("bob", Method::DELETE, "/connections/crm")).await;
    let garbage =
        rig.anonymous(Method::GET, "/proxy/crm/x").bearer_auth(format!("{}x", crate::support::jwt::of("ada")));
    rig.send(garbage).await.refusal(401, "unauthenticated");
    let mut raw = crate::support::raw::Raw::connect(&rig.url).await;
    raw.send(format!("GET /proxy/crm/x HTTP/1.1\r\nHost: h\r\nBad Header: {}\r\n\r\n", crate::support::jwt::of("ada")))
        .await;
    drop(raw.answer().await);
    assert!(rig.logs().len() > 1_000, "trace was not on");
    assert!(!rig.logs().contains("a-token-in-an-error"));
    rig.assert_logs_are_clean();
}
