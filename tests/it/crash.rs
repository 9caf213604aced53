//! `kill -9` at the worst moment of a refresh. What may be lost is only what the provider's answer carried when the
//! process died; the user is told so once, with a way out, and everything else heals.

use reqwest::Method;
use serde_json::json;

use crate::chaos::{A_NETWORK, Blow, strikes};
use crate::refresh::{assert_no_reuse, assert_served, connect_expired, refreshes};
use crate::support::{Rig, Store, on_both_stores, wait};

/// Starts a call of `user` that nobody waits for.
fn begin(rig: &Rig, user: &str) {
    tokio::spawn(rig.request(user, Method::GET, "/proxy/crm/whoami").send());
}

async fn restart(rig: &mut Rig) {
    rig.valetkey.kill();
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
}

#[tokio::test]
async fn killed_before_the_provider_rotated_the_next_process_renews_the_grant() {
    let mut rig = Rig::start(Store::Embedded).await;
    connect_expired(&rig, &["ada"]).await;
    rig.server.fault(json!({ "grant": "refresh_token", "hang": true })).await;
    begin(&rig, "ada");
    wait::until("the provider is asked", || async { (refreshes(&rig).await == 1).then_some(()) }).await;
    restart(&mut rig).await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    assert_eq!(refreshes(&rig).await, 2);
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn killed_while_the_answer_was_on_its_way_the_next_process_tries_once_and_says_what_happened() {
    let mut rig = Rig::start(Store::Embedded).await;
    connect_expired(&rig, &["ada"]).await;
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "hold": true })).await;
    begin(&rig, "ada");
    rig.server.held(1).await;
    restart(&mut rig).await;
    rig.server.release().await;
    let link = rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "refresh_interrupted");
    for _ in 0..3 {
        rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "refresh_interrupted");
    }
    assert_eq!(refreshes(&rig).await, 2, "tried once, and not again");
    assert_eq!(rig.connection("ada", "crm").await["status"], "invalid");
    rig.walk(&link, "ada").await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
}

#[tokio::test]
async fn killed_while_the_answer_was_on_its_way_a_provider_that_forgives_reuse_heals_it() {
    let mut rig = Rig::start(Store::Embedded).await;
    rig.server.set(json!({ "rotate": false })).await;
    connect_expired(&rig, &["ada"]).await;
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "hold": true })).await;
    begin(&rig, "ada");
    rig.server.held(1).await;
    restart(&mut rig).await;
    rig.server.release().await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    assert_eq!(refreshes(&rig).await, 2);
}

on_both_stores! {
    async fn killed_after_the_new_grant_was_used_nothing_is_lost(store) {
        let mut rig = Rig::start(store).await;
        connect_expired(&rig, &["ada"]).await;
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        restart(&mut rig).await;
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        assert_eq!(refreshes(&rig).await, 1);
    }
}

#[tokio::test]
async fn another_replica_takes_over_what_a_killed_one_held() {
    let mut rig = Rig::start(Store::Redis).await;
    let other = rig.replica().await;
    connect_expired(&rig, &["ada", "bob"]).await;
    // The provider never heard of ada's refresh, and bob's answer is on its way.
    rig.server.fault(json!({ "grant": "refresh_token", "hang": true })).await;
    begin(&rig, "ada");
    wait::until("the provider is asked", || async { (refreshes(&rig).await == 1).then_some(()) }).await;
    rig.server.fault(json!({ "grant": "refresh_token", "after": true, "hold": true })).await;
    begin(&rig, "bob");
    rig.server.held(1).await;
    rig.valetkey.kill();
    rig.server.release().await;
    // The leases of the dead run out while these calls wait.
    let (ada, bob) = tokio::join!(other.get("ada", "/proxy/crm/whoami"), other.get("bob", "/proxy/crm/whoami"));
    assert_served(&ada, "ada");
    bob.auth_required("crm", "refresh_interrupted");
    other.get("bob", "/proxy/crm/whoami").await.auth_required("crm", "refresh_interrupted");
    assert_served(&other.get("ada", "/proxy/crm/whoami").await, "ada");
    assert_eq!(refreshes(&rig).await, 4);
}

#[tokio::test]
async fn a_few_kills_at_random_moments_lose_nothing_but_what_was_on_its_way() {
    strikes("kill-9-short", Blow::Kill, (Store::Embedded, 1), A_NETWORK, 6).await;
}
