//! Two deployments on one Redis or Cluster, told apart by their prefix alone.

use super::topologies::documented_acl;
use super::*;
use crate::secret::Secret;
use crate::store::contract::{eventually, key, next_among, put, run_all, stored, trusted};
use crate::store::redis::testing::Cluster;

/// The store of a deployment with this prefix.
fn deployment(options: &RedisOptions, prefix: &str) -> RedisStore {
    connect(RedisOptions { prefix: prefix.to_owned(), ..options.clone() })
}

/// Everything that two deployments could see of each other: records, lists, leases, one-time values, due times, counts.
async fn neither_sees_the_other(options: &RedisOptions) {
    let (ours, theirs) = (deployment(options, "vk"), deployment(options, "vk-staging"));
    let hour = Duration::from_secs(3600);
    theirs
        .put(&key(1, 1), Expect::Absent, Write::of(Version(7), b"theirs").due(Some(1)))
        .await
        .expect("the store answers");
    theirs.lease(&key(0xf1, 1), "a", hour).await.expect("the store answers");
    assert_eq!(theirs.put_once("root", b"theirs", None).await, Ok(Claim::Mine));

    assert_eq!(stored(&ours, key(1, 1)).await, None);
    assert_eq!(ours.due(u64::MAX >> 12, None, 10).await, Ok(Vec::new()));
    assert!(matches!(ours.lease(&key(0xf1, 1), "b", hour).await, Ok(Taken::Mine { .. })), "a lease of its own");
    assert_eq!(ours.peek("root").await, Ok(None));
    assert_eq!(ours.put_once("root", b"ours", None).await, Ok(Claim::Mine));
    assert_eq!(ours.count().await, Ok(0));

    // The whole contract beside it, each test of which ends with clearing everything that its store can find.
    run_all(&ours).await;
    assert_eq!(stored(&theirs, key(1, 1)).await, Some((7, b"theirs".to_vec())));
    assert_eq!(theirs.count().await, Ok(1));
    assert_eq!(theirs.peek("root").await, Ok(Some(b"theirs".to_vec())));

    // A change of theirs isn't told here: the next that is heard is our own.
    trusted(&ours).await;
    let mut listener = ours.changes();
    put(&theirs, key(2, 2), Expect::Absent, 1, b"x").await;
    put(&ours, key(3, 3), Expect::Absent, 1, b"x").await;
    assert_eq!(next_among(&mut listener, &[key(2, 2), key(3, 3)]).await, key(3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_on_one_redis_do_not_see_each_other() {
    let server = Server::start();
    neither_sees_the_other(&server.options()).await;
    for name in server.admin(&["KEYS", "*"]) {
        assert!(name.starts_with("vk:{") || name.starts_with("vk-staging:{"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_on_one_cluster_do_not_see_each_other() {
    let cluster = Cluster::start();
    neither_sees_the_other(&cluster.options()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acl_of_one_prefix_opens_no_other() {
    const ACCOUNT_PASSWORD: &str = "a-password-of-the-account";
    let server = Server::start();
    let line = documented_acl()[0].replace("PASSWORD", ACCOUNT_PASSWORD).replace("vk:*", "vk-staging:*");
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(line.split_whitespace().skip(1)).collect();
    server.admin(&words);
    let mut options = server.options();
    options.username = Some("valetkey".into());
    options.password = Some(Secret::new(ACCOUNT_PASSWORD.into()));
    run_all(&deployment(&options, "vk-staging")).await;
    let error = deployment(&options, "vk").ping().await;
    // Reading its first key, to see whether the server is fit, is refused already.
    assert!(matches!(error, Err(Error::Refused { passing: false, .. })), "{error:?}");
    eventually("the refusal in the server's log", || async {
        server.admin(&["ACL", "LOG"]).contains(&"vk:{00}:fence".to_owned()).then_some(())
    })
    .await;
}
