//! The contract and the worst hours of each kind of Redis: TLS under the documented ACL, Sentinel, Cluster.

use std::fs;

use rcgen::ExtendedKeyUsagePurpose;

use super::*;
use crate::secret::Secret;
use crate::store::contract::{self, eventually, key, put, run_all, trusted};
use crate::store::redis::testing::{Authority, Cluster, PASSWORD, Watched, free_port};
use crate::store::{Counters, Keep, Log, Stream, Tally};

/// The lines of docs/STORE.md that grant what the store needs.
pub(super) fn documented_acl() -> Vec<&'static str> {
    include_str!("../../../../docs/STORE.md").lines().filter(|line| line.starts_with("user valetkey")).collect()
}

const ACCOUNT_PASSWORD: &str = "a-password-of-the-account";

/// A server that speaks TLS on a port of its own, wants client certificates, and grants what is documented.
fn guarded(authority: &Authority) -> (Server, RedisOptions) {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let pair = authority.issue(&["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
    let line = documented_acl()[0].replace("PASSWORD", ACCOUNT_PASSWORD);
    let files = [
        ("ca.pem", authority.pem()),
        ("cert.pem", pair.certificate),
        ("key.pem", pair.key),
        ("users.acl", format!("user default on >{PASSWORD} ~* &* +@all\n{line}\n")),
    ];
    for (name, content) in &files {
        fs::write(directory.path().join(name), content).expect("the directory is writable");
    }
    let tls_port = free_port();
    let server = Server::start_in(
        directory,
        free_port(),
        &[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-ca-cert-file",
            "ca.pem",
            "--tls-cert-file",
            "cert.pem",
            "--tls-key-file",
            "key.pem",
            "--tls-auth-clients",
            "yes",
            "--aclfile",
            "users.acl",
        ],
    );
    let mut options = RedisOptions::standalone(format!("rediss://localhost:{tls_port}"));
    options.username = Some("valetkey".into());
    options.password = Some(Secret::new(ACCOUNT_PASSWORD.into()));
    options.tls = authority.client();
    (server, options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_over_tls_under_exactly_the_documented_acl() {
    let (server, options) = guarded(&Authority::new());
    let store = connect(options);
    run_all(&store).await;
    assert_eq!(server.admin(&["ACL", "LOG"]), Vec::<String>::new(), "nothing was refused in passing either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_permission_of_the_documented_acl_is_idle() {
    let line = documented_acl()[0];
    let granted: Vec<&str> = line.split_whitespace().filter_map(|word| word.strip_prefix('+')).collect();
    let server = Server::start();
    let store = connect(server.options());
    run_all(&store).await;
    let stats = server.admin(&["INFO", "commandstats"]).concat();
    for command in granted {
        assert!(stats.contains(&format!("cmdstat_{command}:")), "{command} is granted and never used");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_is_not_trusted() {
    let (_server, mut options) = guarded(&Authority::new());
    options.tls = Authority::new().client();
    let store = connect(options);
    let error = store.ping().await.expect_err("it is a stranger");
    assert!(error.to_string().contains("not trusted"), "{error}");
    assert!(!error.to_string().contains(ACCOUNT_PASSWORD));
    assert!(!store.channel_up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_a_certificate_is_not_entered_without() {
    let (_server, mut options) = guarded(&Authority::new());
    (options.tls.cert_pem, options.tls.key_pem) = (None, None);
    let error = connect(options).ping().await.expect_err("it has no certificate");
    assert!(error.to_string().contains("client certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let server = Server::start();
    let mut options = server.options();
    options.password = Some(Secret::new("not-the-password".into()));
    let store = connect(options);
    let error = store.ping().await.expect_err("the password is wrong");
    assert!(matches!(error, Error::Refused { passing: false, .. }), "{error}");
    assert!(!error.to_string().contains("not-the-password"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_in_the_newer_protocol_and_another_database() {
    let server = Server::start();
    let mut options = server.options();
    options.url = Secret::new(format!("redis://127.0.0.1:{}/3?protocol=resp3", server.port));
    let store = connect(options);
    run_all(&store).await;
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    assert!(server.admin(&["INFO", "keyspace"]).concat().contains("db3:"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_in_redis_is_longer_lived_than_documented() {
    let server = Server::start();
    let store = connect(server.options());
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    store.lease(&key(1, 1), "a", Duration::from_secs(60)).await.expect("the store answers");
    store.put_once("state", b"x", Some(Duration::from_secs(60))).await.expect("the store answers");
    store.delete(&key(1, 1), Expect::Any, &[contract::entry(1)]).await.expect("the store answers");
    let shard = key(1, 1).shard();
    store.append(shard, &[contract::entry(2)]).await.expect("the store answers");
    let life = Duration::from_secs(60);
    let tally = Tally { name: "counter", bucket: 1, id: "one", n: 1, known_for: life, kept_for: life };
    store.count_up(&tally).await.expect("the store answers");
    let nothing = Keep { entries: Some(0), ..Keep::default() };
    store.trim(&Stream { log: contract::entry(1).log, shard }, nothing).await.expect("the store answers");
    for name in server.admin(&["KEYS", "*"]) {
        let lasting = server.admin(&["PTTL", &name]) == [":-1"];
        assert_eq!(lasting, name.ends_with(":fence") || name.contains(":a:"), "{name}");
        assert!(name.starts_with("vk:{"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_behind_sentinels() {
    let watched = Watched::start();
    let store = connect(watched.options());
    run_all(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_sentinel_is_followed() {
    let mut watched = Watched::start();
    let store = connect(watched.options());
    trusted(&store).await;
    put(&store, key(1, 1), Expect::Absent, 1, b"x").await;
    eventually("replication", || async {
        let there = watched.replica.admin(&["HLEN", "vk:{01}:r:010101010101010101010101010101ee"]);
        (there == [":1"]).then_some(())
    })
    .await;
    let epoch = store.channel_epoch();
    watched.lose_a_sentinel();
    watched.master.kill();
    let wrote = eventually("a write to the new master", || async {
        store.put(&key(1, 1), Expect::Version(Version(1)), Write::of(Version(2), b"y")).await.ok()
    })
    .await;
    assert_eq!(wrote, Put::Stored);
    trusted(&store).await;
    assert_ne!(store.channel_epoch(), epoch, "there was a gap");
    assert_eq!(watched.replica.admin(&["ROLE"]).first().map(String::as_str), Some("master"));

    // The old master comes back as a replica of the new one and is not mistaken for a master.
    watched.master.restart();
    eventually("the old master's demotion", || async {
        let role = watched.master.try_admin(&["ROLE"]).ok()?;
        (role.first().map(String::as_str) == Some("slave")).then_some(())
    })
    .await;
    assert_eq!(
        connect(watched.options()).get(&key(1, 1)).await.map(|record| record.map(|record| record.version)),
        Ok(Some(Version(2)))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_master_is_refused() {
    let watched = Watched::start();
    let mut options = watched.options();
    if let Topology::Sentinel { master, .. } = &mut options.topology {
        *master = "another".into();
    }
    let error = connect(options).ping().await.expect_err("no sentinel knows it");
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_on_a_cluster() {
    let cluster = Cluster::start();
    let store = connect(cluster.options());
    run_all(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_on_a_cluster_under_exactly_the_documented_acl() {
    let cluster = Cluster::start();
    let line = format!("{} +cluster|slots", documented_acl()[0].replace("PASSWORD", ACCOUNT_PASSWORD));
    for node in &cluster.nodes {
        let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(line.split_whitespace().skip(1)).collect();
        node.admin(&words);
    }
    let mut options = cluster.options();
    options.username = Some("valetkey".into());
    options.password = Some(Secret::new(ACCOUNT_PASSWORD.into()));
    let store = connect(options);
    contract::run_all(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_cluster_node_costs_its_own_shards_until_its_replica_takes_over() {
    let mut cluster = Cluster::start();
    let store = connect(cluster.options());
    trusted(&store).await;
    for owner in 0..=0xff {
        put(&store, key(owner, 1), Expect::Absent, 1, b"x").await;
    }
    cluster.nodes[0].kill();
    // Slots of the others are served all along.
    let mut served = 0;
    for owner in 0..=0xff {
        let answer =
            tokio::time::timeout(Duration::from_secs(20), store.get(&key(owner, 1))).await.expect("every call ends");
        match answer {
            Ok(record) => {
                assert_eq!(record.map(|record| record.version), Some(Version(1)));
                served += 1;
            }
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    assert!(served >= 128, "{served} of 256");
    cluster.await_takeover();
    for owner in 0..=0xff {
        let wrote = eventually("a write to every shard", || async {
            store.put(&key(owner, 1), Expect::Version(Version(1)), Write::of(Version(2), b"y")).await.ok()
        })
        .await;
        assert_eq!(wrote, Put::Stored, "owner {owner:02x}");
    }
    trusted(&store).await;
    assert_eq!(eventually("the whole count", || async { store.count().await.ok() }).await, 256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_cluster_node_lets_every_call_end_and_is_used_again() {
    let cluster = Cluster::start();
    let store = connect(cluster.options());
    trusted(&store).await;
    for owner in 0..=0xff {
        put(&store, key(owner, 1), Expect::Absent, 1, b"x").await;
    }
    // The second node has no replica.
    cluster.nodes[1].signal("STOP");
    let calls = (0..=0xff).map(|owner| {
        let key = key(owner, 1);
        let store = &store;
        async move { store.get(&key).await.is_ok() }
    });
    let served = tokio::time::timeout(Duration::from_secs(20), join_all(calls)).await.expect("every call ends");
    assert!(served.iter().filter(|served| **served).count() >= 128, "the other two nodes' shards are served");
    cluster.nodes[1].signal("CONT");
    for owner in 0..=0xff {
        eventually("every shard", || async { store.get(&key(owner, 1)).await.ok() }).await;
    }
    trusted(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_down_as_a_whole_is_found_again() {
    let mut cluster = Cluster::start();
    let store = connect(cluster.options());
    trusted(&store).await;
    cluster.nodes.iter_mut().for_each(Server::kill);
    eventually("a failure", || async { store.get(&key(1, 1)).await.err() }).await;
    eventually("the loss of the channel", || async { (!store.channel_up()).then_some(()) }).await;
    cluster.nodes.iter_mut().for_each(Server::restart);
    for owner in 0..=0xff {
        eventually("every shard", || async {
            store.put(&key(owner, 1), Expect::Any, Write::of(Version(1), b"x")).await.ok()
        })
        .await;
    }
    trusted(&store).await;
}
