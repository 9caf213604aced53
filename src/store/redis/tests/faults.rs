//! Redis failing in the ways it does: gone, hanging, full, demoted, forgetful, unreachable by half.

use std::time::Instant;

use super::*;
use crate::secret::Secret;
use crate::store::contract::{eventually, key, next_among, put, trusted};
use crate::store::redis::testing::{PASSWORD, Shim, Way, free_port};

async fn answers(store: &RedisStore) {
    eventually("an answer", || async { store.ping().await.ok() }).await;
}

async fn failure<T>(store: &RedisStore, attempt: impl AsyncFn(&RedisStore) -> Result<T, Error>) -> Error {
    eventually("a failure", || async { attempt(store).await.err() }).await
}

async fn channel_lost(store: &RedisStore) {
    eventually("the loss of the channel", || async { (!store.channel_up()).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_later_is_found() {
    let port = free_port();
    let mut options = RedisOptions::standalone(format!("redis://127.0.0.1:{port}"));
    options.password = Some(Secret::new(PASSWORD.to_owned()));
    let store = connect(options);
    let error = store.get(&key(1, 1)).await.expect_err("nobody listens there");
    assert!(error.is_transient(), "{error}");
    assert!(!store.channel_up());
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let _server = Server::start_in(directory, port, &["--requirepass", PASSWORD]);
    answers(&store).await;
    trusted(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_found_again_after_its_restart() {
    let (store, mut server) = started().await;
    trusted(&store).await;
    let epoch = store.channel_epoch();
    let mut listener = store.changes();
    server.kill();
    let error = failure(&store, async |store| store.get(&key(1, 1)).await).await;
    assert!(error.is_transient(), "{error}");
    channel_lost(&store).await;
    assert_eq!(listener.recv().await, Ok(Change::Gap));

    // If each of these waited for a time limit of its own, this would take minutes.
    let begun = Instant::now();
    for _ in 0..300 {
        assert!(store.get(&key(1, 1)).await.is_err());
    }
    assert!(begun.elapsed() < Duration::from_secs(30));

    server.restart();
    answers(&store).await;
    trusted(&store).await;
    assert_ne!(store.channel_epoch(), epoch);
    assert_eq!(listener.recv().await, Ok(Change::Gap), "what was missed meanwhile is a gap too");
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    assert_eq!(next_among(&mut listener, &[key(1, 1)]).await, key(1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_fails_calls_fast_and_is_used_again() {
    let (store, server) = started().await;
    trusted(&store).await;
    server.signal("STOP");
    let error =
        failure(&store, async |store| store.put(&key(1, 1), Expect::Absent, Write::of(Version(1), b"x")).await).await;
    assert!(error.is_transient(), "{error}");
    channel_lost(&store).await;
    let begun = Instant::now();
    for _ in 0..300 {
        assert!(store.get(&key(1, 1)).await.is_err());
    }
    assert!(begun.elapsed() < Duration::from_secs(30));
    server.signal("CONT");
    answers(&store).await;
    trusted(&store).await;
    // The write without an answer may have been done by now, or not: repeating it is right either way.
    assert_eq!(put(&store, key(1, 1), Expect::Absent, 1, b"x").await, Put::Stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_does_a_write_once() {
    let (store, server) = started().await;
    answers(&store).await;
    for round in 1..=3 {
        server.admin(&["CLIENT", "PAUSE", "1300", "ALL"]);
        let expect = if round == 1 { Expect::Absent } else { Expect::Version(Version(round - 1)) };
        let value = round.to_be_bytes();
        let wrote = eventually("the write", || async {
            store.put(&key(1, 1), expect, Write::of(Version(round), &value)).await.ok()
        })
        .await;
        assert_eq!(wrote, Put::Stored, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_refuses_writes_and_leaves_the_rest() {
    let (store, server) = started().await;
    trusted(&store).await;
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    let epoch = store.channel_epoch();
    server.admin(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.admin(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = Error::Refused { reason: "OOM".into(), passing: true };
    assert_eq!(store.put(&key(1, 1), Expect::Any, Write::of(Version(2), b"y")).await, Err(refused.clone()));
    assert_eq!(store.lease(&key(1, 1), "a", Duration::from_secs(5)).await, Err(refused.clone()));
    assert_eq!(store.put_once("full", b"y", None).await, Err(refused));
    assert_eq!(store.get(&key(1, 1)).await.map(|record| record.map(|record| record.version)), Ok(Some(Version(1))));
    assert_eq!(store.delete(&key(1, 1), Expect::Any, &[]).await, Ok(Put::Stored), "making room is allowed");
    server.admin(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(put(&store, key(1, 1), Expect::Absent, 3, b"z").await, Put::Stored);
    assert_eq!(store.channel_epoch(), epoch, "the connection was never in doubt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_is_neither_written_nor_read() {
    let (store, server) = started().await;
    trusted(&store).await;
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    let nowhere = free_port().to_string();
    server.admin(&["REPLICAOF", "127.0.0.1", &nowhere]);
    let error = store.put(&key(1, 1), Expect::Any, Write::of(Version(2), b"y")).await.expect_err("it is a replica");
    assert!(error.is_transient(), "{error}");
    failure(&store, async |store| store.get(&key(1, 1)).await).await;
    channel_lost(&store).await;
    server.admin(&["REPLICAOF", "NO", "ONE"]);
    answers(&store).await;
    assert_eq!(put(&store, key(1, 1), Expect::Any, 2, b"y").await, Put::Stored);
    trusted(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demotion_is_noticed_even_by_those_who_only_read() {
    let (store, server) = started().await;
    trusted(&store).await;
    server.admin(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]);
    let nowhere = free_port().to_string();
    server.admin(&["REPLICAOF", "127.0.0.1", &nowhere]);
    failure(&store, async |store| store.get(&key(1, 1)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_sent_again() {
    let (store, server) = started().await;
    for number in 1..=3 {
        assert_eq!(put(&store, key(1, 1), Expect::Any, number, b"x").await, Put::Stored);
        server.admin(&["SCRIPT", "FLUSH"]);
    }
    assert!(matches!(store.lease(&key(1, 1), "a", Duration::from_secs(5)).await, Ok(Taken::Mine { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_subscription_is_a_gap_and_comes_back() {
    let (store, server) = started().await;
    trusted(&store).await;
    let epoch = store.channel_epoch();
    let mut listener = store.changes();
    server.admin(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(listener.recv().await, Ok(Change::Gap));
    assert_eq!(store.ping().await, Ok(()), "commands have a connection of their own");
    assert_eq!(listener.recv().await, Ok(Change::Gap));
    trusted(&store).await;
    assert_ne!(store.channel_epoch(), epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_account_is_refused_and_works_again_when_it_is_back() {
    let (admin_store, server) = started().await;
    answers(&admin_store).await;
    let grant = ["ACL", "SETUSER", "valetkey", "on", ">another-password", "~vk:*", "&vk:*", "+@all"];
    server.admin(&grant);
    let mut options = server.options();
    options.username = Some("valetkey".into());
    options.password = Some(Secret::new("another-password".into()));
    let store = connect(options);
    answers(&store).await;
    server.admin(&["ACL", "DELUSER", "valetkey"]);
    let error = failure(&store, async |store| match store.get(&key(1, 1)).await {
        Err(error @ Error::Unavailable { .. }) => Ok(Some(error)),
        other => other.map(|_| None),
    })
    .await;
    assert!(matches!(error, Error::Refused { passing: false, .. }), "{error}");
    assert!(!error.to_string().contains("another-password"));
    server.admin(&grant);
    answers(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_hear_of_each_others_changes() {
    let (first, server) = started().await;
    let second = connect(server.options());
    trusted(&second).await;
    let mut listener = second.changes();
    put(&first, key(1, 1), Expect::Absent, 1, b"x").await;
    assert_eq!(next_among(&mut listener, &[key(1, 1)]).await, key(1, 1));
    assert!(matches!(first.lease(&key(1, 1), "first", Duration::from_secs(60)).await, Ok(Taken::Mine { .. })));
    assert!(matches!(second.lease(&key(1, 1), "second", Duration::from_secs(60)).await, Ok(Taken::Theirs { .. })));
}

async fn behind_a_shim() -> (RedisStore, Server, Shim) {
    let server = Server::start();
    let shim = Shim::before(server.port).await;
    let mut options = server.options();
    options.url = Secret::new(format!("redis://127.0.0.1:{}", shim.port));
    let store = connect(options);
    answers(&store).await;
    (store, server, shim)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_is_stored_and_no_conflict() {
    let (store, server, shim) = behind_a_shim().await;
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    let calls = || {
        server
            .admin(&["INFO", "commandstats"])
            .concat()
            .lines()
            .find(|line| line.contains("evalsha:"))
            .map(str::to_owned)
    };
    for round in 2..=5_u64 {
        let before = calls();
        shim.set(Way::LosingAnswerTo("EVALSHA"));
        assert_eq!(
            put(&store, key(1, 1), Expect::Version(Version(round - 1)), round, b"x").await,
            Put::Stored,
            "round {round}"
        );
        let (before, after) = (evalsha_calls(before), evalsha_calls(calls()));
        assert_eq!(after, before + 2, "the server did it twice");
    }
}

fn evalsha_calls(line: Option<String>) -> u64 {
    let line = line.expect("scripts were called");
    let calls = line.split("calls=").nth(1).and_then(|rest| rest.split(',').next()).expect("the line has calls");
    calls.parse().expect("it is a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_was_lost_is_still_the_claimants() {
    let (store, _server, shim) = behind_a_shim().await;
    assert_eq!(store.put_once("warm", b"x", None).await, Ok(Claim::Mine));
    shim.set(Way::LosingAnswerTo("EVALSHA"));
    assert_eq!(store.put_once("spent", b"x", None).await, Ok(Claim::Mine));
    assert_eq!(store.put_once("spent", b"x", None).await, Ok(Claim::Theirs(b"x".to_vec())));
    assert_eq!(store.replace("spent", b"x", b"y", None).await, Ok(true));
    shim.set(Way::LosingAnswerTo("EVALSHA"));
    assert_eq!(store.replace("spent", b"y", b"z", None).await, Ok(true));
    let Ok(Taken::Mine { fence }) = store.lease(&key(1, 1), "a", Duration::from_secs(60)).await else {
        panic!("it is free")
    };
    shim.set(Way::LosingAnswerTo("EVALSHA"));
    assert_eq!(store.lease(&key(1, 1), "a", Duration::from_secs(60)).await, Ok(Taken::Mine { fence }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_value_whose_answer_was_lost_is_an_error_and_gone() {
    let (store, _server, shim) = behind_a_shim().await;
    store.put_once("state", b"x", None).await.expect("the store answers");
    shim.set(Way::LosingAnswerTo("GETDEL"));
    let error = store.take("state").await.expect_err("nobody can say that it was not there");
    assert!(error.is_transient(), "{error}");
    answers(&store).await;
    assert_eq!(store.take("state").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_noticed_by_the_heartbeat() {
    let (store, _server, shim) = behind_a_shim().await;
    trusted(&store).await;
    let mut listener = store.changes();
    shim.set(Way::Silent);
    channel_lost(&store).await;
    assert_eq!(listener.recv().await, Ok(Change::Gap));
    failure(&store, async |store| store.get(&key(1, 1)).await).await;
    shim.set(Way::Open);
    answers(&store).await;
    trusted(&store).await;
}

#[test]
fn connections_outlive_the_runtime_that_used_them_first() {
    let runtime = |threads| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("there are threads")
    };
    let server = Server::start();
    let home = runtime(1);
    let store = RedisStore::connect(&server.options(), home.handle(), home.handle()).expect("the settings are right");
    for number in 1..=3 {
        let visitor = runtime(1);
        visitor.block_on(async {
            answers(&store).await;
            assert_eq!(put(&store, key(1, 1), Expect::Any, number, b"x").await, Put::Stored);
        });
        drop(visitor);
    }
    home.block_on(async { trusted(&store).await });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_says_so() {
    let (store, _server) = started().await;
    answers(&store).await;
    store.close().await;
    assert_eq!(store.get(&key(1, 1)).await, Err(Error::unavailable("the store is closed")));
    channel_lost(&store).await;
}
