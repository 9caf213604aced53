//! Processes that end as they should: what they have begun is finished, and nothing is begun that can't be.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::refresh::{assert_no_reuse, refreshes};
use crate::support::authorization_server::CLIENT_ID;
use crate::support::clock::{faketime, set_clock_by};
use crate::support::valetkey::{command, printed};
use crate::support::{Rig, Store, jwt, wait};

const USERS: usize = 60;
/// Imported tokens live two hours. With a clock that is ahead by this much all of them are due, and none has ended.
const AHEAD: &str = "+6900s";

/// Grants of many users, with rotating refresh tokens, in the store of an installation that doesn't run yet.
async fn imported() -> Rig {
    let rig =
        Rig::prepare(Store::Embedded, |config, _| config.set("shutdown", json!({ "delay": "0s", "grace": "8s" })))
            .await;
    let mut lines = String::new();
    for number in 0..USERS {
        let user = format!("user{number}");
        let (access, refresh) = rig.server.mint(CLIENT_ID, &user, "contacts").await;
        let line = json!({
            "issuer": jwt::ISSUER, "user": user, "service": "crm", "access_token": access, "refresh_token": refresh,
            "expires_at": jwt::now() + 7200, "scopes": ["contacts"],
        });
        lines.push_str(&format!("{line}\n"));
    }
    let output = import(&rig, &lines, None);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    rig
}

fn import(rig: &Rig, lines: &str, clock: Option<&str>) -> std::process::Output {
    let file = rig.data().join("import.jsonl");
    std::fs::write(&file, lines).expect("written");
    let mut command = command();
    command.arg("import").arg(&file).arg("--config").arg(rig.valetkey.config_file());
    if let Some(clock) = clock {
        command.env("LD_PRELOAD", faketime()).env("FAKETIME", clock).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    command.output().expect("valetkey runs")
}

/// Calls as each user, under the clock that is ahead.
async fn all_are_served(rig: &Rig) {
    for number in 0..USERS {
        let user = format!("user{number}");
        let mut claims = jwt::claims(&user);
        claims["exp"] = json!(jwt::now() + 100_000);
        let request = rig.anonymous(reqwest::Method::GET, "/proxy/crm/whoami").bearer_auth(jwt::hs256(&claims));
        let answer = rig.send(request).await;
        assert_eq!((answer.status, answer.json()["sub"].as_str()), (200, Some(user.as_str())), "{}", answer.text());
    }
}

fn set_ahead(rig: &mut Rig, folder: &TempDir) {
    let clock = folder.path().join("clock");
    std::fs::write(&clock, AHEAD).expect("written");
    set_clock_by(&mut rig.valetkey, &clock);
}

#[tokio::test]
async fn sigterm_while_many_grants_are_renewed_loses_none_and_begins_no_more() {
    let mut rig = imported().await;
    let folder = TempDir::new().expect("a folder");
    set_ahead(&mut rig, &folder);
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "delay_ms": 700, "times": 0 })).await;
    rig.valetkey.run().await;
    wait::until("renewals are on their way", || async { (refreshes(&rig).await >= 8).then_some(()) }).await;
    rig.valetkey.terminate();
    let status = rig.valetkey.process().exit().await;
    assert!(status.success(), "{status}");
    let begun = refreshes(&rig).await;
    assert!(begun < USERS as u64, "the backlog of {USERS} was left to the next process, but for {begun}");
    rig.server.heal().await;

    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    all_are_served(&rig).await;
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn an_import_renews_nothing_and_loses_nothing() {
    let mut rig = imported().await;
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "delay_ms": 1000, "times": 0 })).await;
    // Long enough a file that a healer would find what is due.
    let key = |number: usize| json!({ "issuer": jwt::ISSUER, "user": format!("other{number}"), "service": "crm", "api_key": format!("key-{number}") });
    let lines: String = (0..400).map(|number| format!("{}\n", key(number))).collect();
    let output = import(&rig, &lines, Some(AHEAD));
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert_eq!(refreshes(&rig).await, 0, "it renewed what it can't finish");
    rig.server.heal().await;

    let folder = TempDir::new().expect("a folder");
    set_ahead(&mut rig, &folder);
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    all_are_served(&rig).await;
    wait::until("the healer has begun", || async { (refreshes(&rig).await > 0).then_some(()) }).await;
    rig.valetkey.terminate();
    assert!(
        tokio::time::timeout(Duration::from_secs(20), rig.valetkey.process().exit()).await.expect("it ends").success()
    );
    assert_no_reuse(&rig).await;
}
