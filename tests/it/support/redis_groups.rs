//! Several Redis servers together: a master with a replica and sentinels; a cluster.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::redis::Redis;
use super::{ports, wait};

const MASTER: &str = "vk";

/// How long a server may be silent. Less than that, and a busy machine's server counts as dead: a second promotion takes
/// back what the first one's master has acknowledged since.
const SILENCE_MS: u64 = 2_000;

/// A master, its replica, and three sentinels that watch them.
pub(crate) struct Watched {
    /// Both servers; which is the master changes.
    pub(crate) servers: Vec<Redis>,
    sentinels: Vec<(u16, Process, TempDir)>,
}

impl Watched {
    /// All of them, agreed.
    pub(crate) async fn start() -> Self {
        let mut master = Redis::reserved();
        let password = master.password.clone();
        master.arguments(&["--masterauth", &password]);
        master.run().await;
        let mut replica = Redis::reserved();
        replica.arguments(&["--masterauth", &password, "--replicaof", "127.0.0.1", &master.port.to_string()]);
        replica.run().await;
        await_replication(&replica).await;
        let sentinels = (0..3).map(|_| sentinel(&master)).collect();
        let watched = Self { servers: vec![master, replica], sentinels };
        wait::until("the sentinels know each other and the replica", || async {
            for (port, ..) in &watched.sentinels {
                let seen = Redis::ask(*port, None, &["SENTINEL", "MASTER", MASTER]).await.ok()?;
                let has = |field: &str, value: &str| {
                    seen.split("\r\n")
                        .collect::<Vec<_>>()
                        .windows(3)
                        .any(|words| words[0] == field && words[2] == value)
                };
                if !has("num-other-sentinels", "2") || !has("num-slaves", "1") {
                    return None;
                }
            }
            Some(())
        })
        .await;
        watched
    }

    /// The value of `store.redis` for it.
    pub(crate) fn config(&self) -> Value {
        let addresses: Vec<_> = self.sentinels.iter().map(|(port, ..)| format!("127.0.0.1:{port}")).collect();
        json!({
            "url": "redis://sentinels/0", "password": self.servers[0].password,
            "sentinel": { "master": MASTER, "addresses": addresses },
        })
    }

    /// Kills the master, waits until the other server is it, and lets the killed one come back as its replica.
    pub(crate) async fn fail_over(&mut self) {
        let at = self.master().await;
        self.servers[at].stop();
        let heir = &self.servers[1 - at];
        let port = heir.port.to_string();
        wait::until("the replica is promoted", || async { heir.is_master().await.then_some(()) }).await;
        self.sentinels_say(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER], |answer| answer.contains(&port)).await;
        // As an orchestrator would: a server that comes back empty must not be taken for the master even for a moment.
        self.servers[at].run().await;
        self.servers[at].say(&["REPLICAOF", "127.0.0.1", &port]).await;
        await_replication(&self.servers[at]).await;
        self.sentinels_say(&["SENTINEL", "REPLICAS", MASTER], |answer| {
            !answer.contains("s_down") && !answer.contains("disconnected")
        })
        .await;
    }

    async fn sentinels_say(&self, words: &[&str], well: impl Fn(&str) -> bool) {
        for (port, ..) in &self.sentinels {
            wait::until("the sentinels see it", || async {
                Redis::ask(*port, None, words).await.is_ok_and(|answer| well(&answer)).then_some(())
            })
            .await;
        }
    }

    async fn master(&self) -> usize {
        if self.servers[0].is_master().await { 0 } else { 1 }
    }
}

fn sentinel(master: &Redis) -> (u16, Process, TempDir) {
    let (port, folder) = (ports::free_port(), TempDir::new().expect("a folder"));
    let config = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {} 2\nsentinel auth-pass {MASTER} {}\n\
         sentinel down-after-milliseconds {MASTER} {SILENCE_MS}\nsentinel failover-timeout {MASTER} 5000\n",
        folder.path().display(),
        master.port,
        master.password,
    );
    let file = folder.path().join("sentinel.conf");
    std::fs::write(&file, config).expect("the file is written");
    let mut command = Command::new("redis-server");
    command.arg(&file).arg("--sentinel");
    let process = Process::start("redis-sentinel", command, folder.path());
    (port, process, folder)
}

/// Three masters, and a replica of the first.
pub(crate) struct Cluster {
    /// The masters, then the replica.
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    /// All of them, agreed.
    pub(crate) async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..4 {
            let mut node = Redis::reserved();
            let (password, bus) = (node.password.clone(), ports::free_port().to_string());
            node.arguments(&["--masterauth", &password, "--cluster-enabled", "yes", "--cluster-port", &bus]);
            node.arguments(&["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"]);
            node.run().await;
            nodes.push(node);
            buses.push(bus);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            nodes[0].say(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), bus]).await;
        }
        for (node, (from, to)) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            node.say(&["CLUSTER", "ADDSLOTSRANGE", from, to]).await;
        }
        let cluster = Self { nodes };
        cluster.agree_on("cluster_known_nodes:4").await;
        let id = cluster.nodes[0].say(&["CLUSTER", "MYID"]).await;
        let id = id.split("\r\n").nth(1).expect("an id");
        cluster.nodes[3].say(&["CLUSTER", "REPLICATE", id]).await;
        await_replication(&cluster.nodes[3]).await;
        cluster.agree().await;
        // Until all know of the replica, none could vote for it.
        for node in &cluster.nodes {
            wait::until("the replica is known", || async {
                node.say(&["CLUSTER", "NODES"]).await.contains(&format!("slave {id}")).then_some(())
            })
            .await;
        }
        cluster
    }

    /// Waits until every node sees all slots served.
    pub(crate) async fn agree(&self) {
        self.agree_on("cluster_slots_ok:16384").await;
    }

    async fn agree_on(&self, sign: &str) {
        for node in &self.nodes {
            wait::until("the cluster agrees", || async {
                let state = node.say(&["CLUSTER", "INFO"]).await;
                (state.contains("cluster_state:ok") && state.contains(sign)).then_some(())
            })
            .await;
        }
    }

    /// The value of `store.redis` for it.
    pub(crate) fn config(&self) -> Value {
        let addresses: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        json!({
            "url": "redis://cluster/0", "password": self.nodes[0].password, "cluster": { "addresses": addresses },
        })
    }
}

async fn await_replication(replica: &Redis) {
    wait::until("replication", || async {
        replica.say(&["INFO", "replication"]).await.contains("master_link_status:up").then_some(())
    })
    .await;
}
