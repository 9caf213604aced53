//! Several servers together: a master with a replica and sentinels, a cluster.

use std::fs;
use std::time::{Duration, Instant};

use super::{PASSWORD, Server, free_port};
use crate::secret::Secret;
use crate::store::redis::{RedisOptions, Topology};

/// The sentinels' own password.
pub(crate) const SENTINEL_PASSWORD: &str = "a-password-of-sentinels";

const PATIENCE: Duration = Duration::from_secs(30);

fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A master, its replica, and three sentinels that watch them.
pub(crate) struct Watched {
    pub(crate) master: Server,
    pub(crate) replica: Server,
    sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        let master = Server::start();
        let port = master.port.to_string();
        let replica = Server::start_with(&[
            "--requirepass",
            PASSWORD,
            "--masterauth",
            PASSWORD,
            "--replicaof",
            "127.0.0.1",
            &port,
        ]);
        await_that("replication", || {
            replica.admin(&["INFO", "replication"]).concat().contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|_| sentinel(master.port)).collect::<Vec<_>>();
        let watched = Self { master, replica, sentinels };
        await_that("the sentinels' agreement", || {
            watched.sentinels.iter().all(|sentinel| {
                let seen =
                    super::ask(sentinel.port, SENTINEL_PASSWORD, &["SENTINEL", "MASTER", "vk"]).expect("it answers");
                let of =
                    |field: &str| seen.iter().position(|word| word == field).and_then(|at| seen.get(at + 1)).cloned();
                of("num-other-sentinels").as_deref() == Some("2") && of("num-slaves").as_deref() == Some("1")
            })
        });
        watched
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let mut options = RedisOptions::standalone("redis://vk");
        options.password = Some(Secret::new(PASSWORD.to_owned()));
        options.topology = Topology::Sentinel {
            master: "vk".into(),
            addresses: self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect(),
            username: None,
            password: Some(Secret::new(SENTINEL_PASSWORD.to_owned())),
        };
        options
    }

    /// Kills one of the sentinels, which two others survive.
    pub(crate) fn lose_a_sentinel(&mut self) {
        if let Some(sentinel) = self.sentinels.first_mut() {
            sentinel.kill();
        }
    }
}

fn sentinel(master: u16) -> Server {
    let directory = tempfile::tempdir().expect("there is a temporary directory");
    let config = format!(
        "sentinel monitor vk 127.0.0.1 {master} 2\n\
         sentinel auth-pass vk {PASSWORD}\n\
         sentinel sentinel-pass {SENTINEL_PASSWORD}\n\
         sentinel down-after-milliseconds vk 500\n\
         sentinel failover-timeout vk 2000\n\
         requirepass {SENTINEL_PASSWORD}\n"
    );
    fs::write(directory.path().join("redis.conf"), config).expect("the directory is writable");
    Server::start_in(directory, free_port(), &["--sentinel"])
}

/// Three masters, and a replica of the first.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let buses: Vec<String> = (0..4).map(|_| free_port().to_string()).collect();
        let nodes: Vec<Server> = buses
            .iter()
            .map(|bus| {
                Server::start_with(&[
                    "--requirepass",
                    PASSWORD,
                    "--masterauth",
                    PASSWORD,
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    bus,
                    "--cluster-node-timeout",
                    "1000",
                    "--cluster-require-full-coverage",
                    "no",
                ])
            })
            .collect();
        let cluster = Self { nodes };
        let [first, others @ ..] = cluster.nodes.as_slice() else { return cluster };
        for (node, bus) in others.iter().zip(&buses[1..]) {
            first.admin(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), bus]);
        }
        for (node, (from, to)) in cluster.nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            node.admin(&["CLUSTER", "ADDSLOTSRANGE", from, to]);
        }
        cluster.await_agreement("cluster_known_nodes:4");
        let id = first.admin(&["CLUSTER", "MYID"]).concat();
        cluster.nodes[3].admin(&["CLUSTER", "REPLICATE", &id]);
        await_that("replication", || {
            cluster.nodes[3].admin(&["INFO", "replication"]).concat().contains("master_link_status:up")
        });
        cluster.await_agreement("cluster_slots_ok:16384");
        // Until all know of the replica, none could vote for it.
        await_that("the replica's fame", || {
            cluster.nodes.iter().all(|node| node.admin(&["CLUSTER", "NODES"]).concat().contains(&format!("slave {id}")))
        });
        cluster
    }

    fn await_agreement(&self, sign: &str) {
        await_that("the cluster's agreement", || {
            self.nodes.iter().all(|node| {
                let state = node.admin(&["CLUSTER", "INFO"]).concat();
                state.contains("cluster_state:ok") && state.contains(sign)
            })
        });
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let mut options = RedisOptions::standalone("redis://cluster");
        options.password = Some(Secret::new(PASSWORD.to_owned()));
        let addresses = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        options.topology = Topology::Cluster { addresses };
        options
    }

    /// Waits until the replica has taken over from the first node.
    pub(crate) fn await_takeover(&self) {
        await_that("the replica's takeover", || {
            self.nodes[3].admin(&["ROLE"]).first().is_some_and(|role| role == "master")
        });
    }
}
