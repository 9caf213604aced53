//! A Redis that came back empty, or with somebody else's data: processes that outlived it go on in one world, or say that
//! they don't.

use crate::support::redis::Redis;
use crate::support::{Rig, Store, Valetkey, wait};

/// The key that holds the root secret of the deployment with this prefix, if there is one.
async fn root_of(redis: &Redis, prefix: &str) -> Option<String> {
    let found = redis.say(&["KEYS", &format!("{prefix}:*:o:root")]).await;
    found.lines().find(|line| line.starts_with(prefix)).map(str::to_owned)
}

#[tokio::test]
async fn processes_that_outlive_a_flush_go_on_in_one_world() {
    let rig = Rig::start(Store::Redis).await;
    let other = rig.replica().await;
    let redis = rig.redis.as_ref().expect("it is Redis");
    redis.say(&["FLUSHALL"]).await;
    wait::until("the root is put back", || root_of(redis, "vk")).await;
    // One that starts now finds what those that were there before store, and its links are theirs, too.
    let late = rig.replica().await;
    rig.connect("ada").await;
    for replica in [&*rig, &other, &late] {
        replica.get("ada", "/proxy/crm/whoami").await.upstream(200);
    }
    let link = late.get("bob", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    rig.walk(&link, "bob").await;
    other.get("bob", "/proxy/crm/whoami").await.upstream(200);
}

#[tokio::test]
async fn a_process_whose_store_has_another_root_says_that_it_is_not_ready_and_why() {
    let rig = Rig::start(Store::Redis).await;
    let redis = rig.redis.as_ref().expect("it is Redis");
    let _elsewhere = Valetkey::start(&rig.replica_config().set("store.redis.prefix", "elsewhere")).await;
    let (ours, theirs) = (root_of(redis, "vk").await, root_of(redis, "elsewhere").await);
    let (ours, theirs) = (ours.expect("it is there"), theirs.expect("it is there"));
    redis.say(&["COPY", &theirs, &ours, "REPLACE"]).await;
    let readiness = wait::until("it is seen", || async {
        let answer = rig.admin_get("/readyz").await;
        (answer.status == 503).then(|| answer.text())
    })
    .await;
    assert!(readiness.contains("another root secret"), "{readiness}");
}
