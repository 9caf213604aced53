//! A record in Redis that can't be opened is one connection that is unavailable: the caller's others work, and the person
//! replaces or removes it.

use reqwest::Method;

use crate::support::{Rig, Store, wait};

/// `ada`, connected to both services, with the record of `crm` damaged and a process that has seen nothing else.
async fn with_a_damaged_record() -> Rig {
    let mut rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    let redis = rig.redis.as_ref().expect("it is Redis");
    // There is but one record yet. Eight bytes of version, then nothing that anybody sealed.
    let script = "local name = redis.call('KEYS', 'vk:*:r:*')[1] \
        local field = redis.call('HKEYS', name)[1] \
        local version = string.sub(redis.call('HGET', name, field), 1, 8) \
        return redis.call('HSET', name, field, version .. 'garbage that nobody sealed')";
    assert!(redis.say(&["EVAL", script, "0"]).await.starts_with(":0"));
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    rig.connect_to("ada", "calendar").await;
    rig
}

#[tokio::test]
async fn a_record_that_cannot_be_opened_is_unavailable_and_the_callers_others_work() {
    let rig = with_a_damaged_record().await;
    rig.get("ada", "/proxy/calendar/whoami").await.upstream(200);
    rig.get("ada", "/proxy/crm/whoami").await.refusal(503, "unavailable");
    let listed = rig.get("ada", "/connections").await.own();
    let services: Vec<_> =
        listed["connections"].as_array().expect("a list").iter().map(|one| &one["service"]).collect();
    assert_eq!(services, ["calendar"]);
    // Whoever connects anew replaces it.
    let wish = rig
        .request("ada", Method::POST, "/connect-links")
        .header("content-type", "application/json")
        .body(r#"{"service": "crm"}"#);
    let link = rig.send(wish).await.own()["auth_url"].as_str().expect("a link").to_owned();
    rig.walk(&link, "ada").await;
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    rig.get("ada", "/proxy/calendar/whoami").await.upstream(200);
}

#[tokio::test]
async fn a_record_that_cannot_be_opened_can_be_disconnected() {
    let rig = with_a_damaged_record().await;
    let answer = rig.send(rig.request("ada", Method::DELETE, "/connections/crm?account=default")).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    rig.get("ada", "/proxy/calendar/whoami").await.upstream(200);
}

#[tokio::test]
async fn an_entry_of_the_healer_without_a_record_is_forgotten() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    let redis = rig.redis.as_ref().expect("it is Redis");
    // As after an eviction: the record is gone, and its entry stays and is due.
    let script = "redis.call('DEL', redis.call('KEYS', 'vk:*:r:*')[1]) \
        local due = redis.call('KEYS', 'vk:*:due')[1] \
        return redis.call('ZADD', due, 'XX', 'CH', 1, redis.call('ZRANGE', due, 0, -1)[1])";
    let said = redis.say(&["EVAL", script, "0"]).await;
    assert!(said.starts_with(":1"), "{said}");
    wait::until("the entry is gone", || async {
        let left = redis.say(&["EVAL", "return #redis.call('KEYS', 'vk:*:due')", "0"]).await;
        left.starts_with(":0").then_some(())
    })
    .await;
}
