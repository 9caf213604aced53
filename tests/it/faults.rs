//! Redis away exactly while a grant is being renewed, and token endpoints that are down, slow, hang, break off or talk
//! nonsense: the new grant is kept, the old token serves while it lives, and nobody is asked to connect again for it.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::refresh::{assert_no_reuse, assert_served, connect_expired, refreshes};
use crate::support::redis::Outage;
use crate::support::{Answer, Rig, Store, on_both_stores, wait};

/// The provider has rotated the token when the store goes away, and answers while it is away.
async fn a_grant_renewed_during(outage: Outage) {
    let mut rig = Rig::start(Store::Redis).await;
    let other = rig.replica().await;
    connect_expired(&rig, &["ada"]).await;
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "hold": true })).await;
    let call = tokio::spawn(rig.request("ada", Method::GET, "/proxy/crm/whoami").send());
    rig.server.held(1).await;
    let mut redis = rig.redis.take().expect("Redis");
    redis.strike(outage).await;
    rig.server.release().await;
    let answer = call.await.expect("no panic").expect("an answer");
    assert_served(&Answer::read(answer).await, "ada");
    for _ in 0..3 {
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    }
    redis.mend(outage).await;
    wait::until("the other replica has the new grant from the store", || async {
        let answer = other.get("ada", "/proxy/crm/whoami").await;
        assert_ne!(answer.header("valetkey-status"), Some("auth_required"), "{}", answer.text());
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        (answer.status == 200).then_some(())
    })
    .await;
    // It is in the store, not only in somebody's memory.
    rig.valetkey.kill();
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    assert_eq!(refreshes(&rig).await, 1);
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_grant_renewed_while_redis_is_killed_and_restarted_is_stored_afterwards() {
    a_grant_renewed_during(Outage::Killed).await;
}

#[tokio::test]
async fn a_grant_renewed_while_redis_is_frozen_is_stored_afterwards() {
    a_grant_renewed_during(Outage::Frozen).await;
}

#[tokio::test]
async fn a_grant_renewed_while_redis_pauses_its_clients_is_stored_afterwards() {
    a_grant_renewed_during(Outage::Paused).await;
}

#[tokio::test]
async fn a_grant_renewed_while_redis_is_full_is_stored_afterwards() {
    a_grant_renewed_during(Outage::Full).await;
}

#[tokio::test]
async fn a_refresh_token_is_not_spent_while_the_store_cannot_say_whose_turn_it_is() {
    let mut rig = Rig::start(Store::Redis).await;
    rig.server.access_token_ttl(2).await;
    rig.connect("ada").await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    let mut redis = rig.redis.take().expect("Redis");
    redis.strike(Outage::Killed).await;
    let refused = wait::until("the token is over", || async {
        let answer = rig.get("ada", "/proxy/crm/whoami").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.refusal(503, "unavailable");
    assert_eq!(refreshes(&rig).await, 0);
    rig.server.access_token_ttl(3600).await;
    redis.mend(Outage::Killed).await;
    wait::until("calls go on", || async {
        let answer = rig.get("ada", "/proxy/crm/whoami").await;
        assert_ne!(answer.header("valetkey-status"), Some("auth_required"), "{}", answer.text());
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(refreshes(&rig).await, 1);
    assert_no_reuse(&rig).await;
}

/// Token endpoints that fail, each under the name of its own service.
fn misbehaving() -> Vec<(&'static str, Value)> {
    let json_type = json!({ "content-type": "application/json" });
    vec![
        ("down", json!({ "reset": true })),
        ("broken", json!({ "status": 503, "body": "" })),
        ("hanging", json!({ "hang": true })),
        ("halving", json!({ "half": true })),
        ("raving", json!({ "status": 200, "headers": json_type, "body": "\u{feff}<html>{\"access_token\":" })),
    ]
}

/// An installation with a service for each, whose tokens live for `ttl` seconds and are connected by a user of that name.
async fn installation(ttl: u64) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, server| {
        misbehaving()
            .into_iter()
            .map(|(name, _)| name)
            .chain(["slow"])
            .fold(config, |config, name| {
                config
                    .service(name, name, &["contacts"], server)
                    .set(&format!("services.{name}.token_url"), server.token_url(name))
            })
            .set("refresh.timeout", "1s")
    })
    .await;
    rig.server.access_token_ttl(ttl).await;
    join_all(misbehaving().into_iter().map(|(name, _)| name).chain(["slow"]).map(|name| rig.connect_to(name, name)))
        .await;
    rig
}

#[tokio::test]
async fn while_the_token_endpoint_fails_the_old_token_serves_until_its_end_and_then_it_heals() {
    let rig = installation(5).await;
    rig.server.access_token_ttl(3600).await;
    for (name, mut fault) in misbehaving() {
        fault["times"] = 0.into();
        fault["via"] = name.into();
        rig.server.fault(fault).await;
    }
    join_all(misbehaving().into_iter().map(|(name, _)| {
        let rig = &rig;
        async move {
            let path = format!("/proxy/{name}/whoami");
            // Served while the token lives, whatever comes of the refresh that has begun meanwhile.
            let refused = wait::until("the token is over", || async {
                let answer = rig.get(name, &path).await;
                let live = !rig.server.access_tokens(name).await.is_empty();
                assert!(answer.status == 200 || !live, "{name}, whose token lives: {}", answer.text());
                (answer.status != 200).then_some(answer)
            })
            .await;
            refused.refusal(502, "refresh_failed");
            assert_eq!(rig.connection(name, name).await["status"], "active", "{name}");
        }
    }))
    .await;
    let tried: Vec<_> =
        rig.server.token_log().await.into_iter().filter(|entry| entry["grant"] == "refresh_token").collect();
    for (name, _) in misbehaving() {
        assert!(tried.iter().any(|entry| entry["via"] == name), "{name} was never tried: {tried:?}");
    }
    rig.server.heal().await;
    join_all(misbehaving().into_iter().map(|(name, _)| {
        let rig = &rig;
        async move {
            wait::until("the provider is tried again", || async {
                let answer = rig.get(name, &format!("/proxy/{name}/whoami")).await;
                assert_ne!(answer.header("valetkey-status"), Some("auth_required"), "{name}: {}", answer.text());
                (answer.status == 200).then_some(())
            })
            .await;
        }
    }))
    .await;
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_slow_token_endpoint_delays_and_fails_nothing() {
    let rig = installation(2).await;
    rig.server.fault(json!({ "times": 0, "via": "slow", "delay_ms": 600 })).await;
    wait::until("the token was renewed three times", || async {
        assert_served(&rig.get("slow", "/proxy/slow/whoami").await, "slow");
        let log = rig.server.token_log().await;
        (log.iter().filter(|entry| entry["via"] == "slow" && entry["rotated"].is_u64()).count() >= 3).then_some(())
    })
    .await;
    assert_no_reuse(&rig).await;
}

on_both_stores! {
    async fn an_answer_that_is_lost_on_its_way_is_called_an_interrupted_refresh(store) {
        let faults =
            [("ada", json!({ "reset": true })), ("bob", json!({ "half": true })), ("eve", json!({ "hang": true }))];
        let rig = Rig::with(store, |config, _| config.set("refresh.timeout", "1s")).await;
        connect_expired(&rig, &["ada", "bob", "eve"]).await;
        for (user, mut fault) in faults {
            // The provider has rotated the token; the answer does not arrive.
            fault["after"] = true.into();
            rig.server.fault(fault).await;
            rig.get(user, "/proxy/crm/whoami").await.refusal(502, "refresh_failed");
            let lost = wait::until("the provider is tried again", || async {
                let answer = rig.get(user, "/proxy/crm/whoami").await;
                (answer.header("valetkey-status") != Some("refresh_failed")).then_some(answer)
            })
            .await;
            let link = lost.auth_required("crm", "refresh_interrupted");
            let asked = refreshes(&rig).await;
            rig.get(user, "/proxy/crm/whoami").await.auth_required("crm", "refresh_interrupted");
            assert_eq!(refreshes(&rig).await, asked, "a lost grant is not tried again");
            rig.walk(&link, user).await;
            assert_served(&rig.get(user, "/proxy/crm/whoami").await, user);
        }
    }
}
