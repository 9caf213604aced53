//! Faults under load, none of which is a process of Valetkey's that dies: stores and providers that fail, replicas that
//! stand still for a while, clocks that jump.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tokio::time::sleep;

use super::fleet::{Fleet, people};
use super::row::Row;
use crate::support::chance::Chance;
use crate::support::clock::{faketime, set_clock_by};
use crate::support::load::Load;
use crate::support::process::say;
use crate::support::redis::Outage;
use crate::support::redis_groups::{Cluster, Watched};
use crate::support::{Store, wait};

/// What befalls an installation under load, from outside.
trait Weather {
    /// One fault, begun and ended.
    async fn strike(&mut self, fleet: &mut Fleet, chance: &mut Chance);
}

/// Faults under load, none of which is a process of Valetkey's that dies: nothing may be lost, and whoever's token is
/// cached and valid notices nothing.
async fn weather(name: &str, mut fleet: Fleet, mut weather: impl Weather, rounds: u64) {
    let (mut chance, began) = (Chance::announced(name), Instant::now());
    let (calm, busy) = (people("steady", 3), people("rotating", 6));
    fleet.steady(&calm).await;
    fleet.connect(&busy).await;
    let (steady, load) = (Load::start(&calm, 1, &fleet.urls()), Load::start(&busy, 1, &fleet.urls()));
    for round in 1..=rounds {
        sleep(chance.millis(200, 1_500)).await;
        weather.strike(&mut fleet, &mut chance).await;
        say(&format!("{name}: {round} of {rounds} after {} s\n", began.elapsed().as_secs()));
    }
    fleet.all_well(&busy).await;
    fleet.all_well(&calm).await;
    fleet.assert_nothing_lost(&[&steady, &load]).await;
    let (steady, tally) = (steady.stop().await, load.stop().await);
    let mut row = Row::of(&tally, Some(&steady));
    row.rotations = fleet.rig.server.count("refreshed").await;
    row.report(name, rounds, &chance, began);
    assert_eq!((steady.failed(), row.steady_failed), ([].into(), 0), "a cached, valid token was not used");
    let allowed = ["unavailable", "refresh_failed"];
    assert!(tally.failed().keys().all(|what| allowed.contains(&what.as_str())), "{tally:?}");
}

struct RedisFails;

impl Weather for RedisFails {
    async fn strike(&mut self, fleet: &mut Fleet, chance: &mut Chance) {
        let outages = [Outage::Killed, Outage::Frozen, Outage::Paused, Outage::Full];
        let outage = outages[chance.index(outages.len())];
        let redis = fleet.rig.redis.as_mut().expect("Redis");
        redis.strike(outage).await;
        sleep(chance.millis(200, 3_000)).await;
        redis.mend(outage).await;
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn redis_killed_frozen_paused_and_full() {
    let mut fleet = Fleet::start(Store::Redis, 2, |config| config).await;
    fleet.rig.redis.as_mut().expect("Redis").keep().await;
    weather("redis-outages", fleet, RedisFails, 60).await;
}

struct ProviderFails;

impl Weather for ProviderFails {
    async fn strike(&mut self, fleet: &mut Fleet, chance: &mut Chance) {
        let mut faults = vec![
            json!({ "reset": true }),
            json!({ "half": true }),
            json!({ "hang": true }),
            json!({ "status": 503, "body": "" }),
            json!({ "status": 429, "headers": { "retry-after": "1" }, "body": "" }),
            json!({ "status": 200, "body": "not a token answer" }),
            json!({ "status": 401, "body": "{\"error\":\"invalid_client\"}" }),
            json!({ "delay_ms": 1_000 }),
        ];
        let mut fault = faults.swap_remove(chance.index(faults.len()));
        fault["grant"] = "refresh_token".into();
        fault["times"] = 0.into();
        fleet.rig.server.fault(fault).await;
        sleep(chance.millis(200, 4_000)).await;
        fleet.rig.server.heal().await;
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn a_token_endpoint_that_fails_in_every_way() {
    let fleet = Fleet::start(Store::Redis, 2, |config| config).await;
    weather("token-endpoint", fleet, ProviderFails, 60).await;
}

struct ReplicasFreeze;

impl Weather for ReplicasFreeze {
    async fn strike(&mut self, fleet: &mut Fleet, chance: &mut Chance) {
        let number = chance.index(3);
        fleet.get_mut(number).process().signal("STOP");
        sleep(chance.millis(200, 4_000)).await;
        fleet.get_mut(number).process().signal("CONT");
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn replicas_that_freeze_for_shorter_than_a_lease() {
    // Longer than any freeze: an answer that arrived meanwhile is read, not given up.
    let fleet = Fleet::start(Store::Redis, 3, |config| config.set("refresh.timeout", "10s")).await;
    weather("replica-frozen", fleet, ReplicasFreeze, 40).await;
}

struct FailOver(Watched);

impl Weather for FailOver {
    async fn strike(&mut self, _: &mut Fleet, _: &mut Chance) {
        self.0.fail_over().await;
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn masters_killed_under_sentinel() {
    let watched = Watched::start().await;
    let store = watched.config();
    let fleet = Fleet::start(Store::Redis, 2, |config| config.set("store.redis", store)).await;
    weather("sentinel-failover", fleet, FailOver(watched), 6).await;
}

/// A node whose replica takes its place.
struct NodeDies(Cluster);

impl Weather for NodeDies {
    async fn strike(&mut self, _: &mut Fleet, _: &mut Chance) {
        self.0.nodes[0].stop();
        let heir = &self.0.nodes[3];
        wait::until("its replica is promoted", || async { heir.is_master().await.then_some(()) }).await;
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn a_node_of_a_cluster_killed() {
    let cluster = Cluster::start().await;
    let store = cluster.config();
    let fleet = Fleet::start(Store::Redis, 2, |config| config.set("store.redis", store)).await;
    weather("cluster-node", fleet, NodeDies(cluster), 1).await;
}

/// A node that nobody replaces: a third of the users is without a store until it is back.
struct LoneNodeDies(Cluster);

impl Weather for LoneNodeDies {
    async fn strike(&mut self, _: &mut Fleet, chance: &mut Chance) {
        let lone = 1 + chance.index(2);
        self.0.nodes[lone].stop();
        sleep(chance.millis(200, 4_000)).await;
        self.0.nodes[lone].run().await;
        self.0.agree().await;
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn a_node_of_a_cluster_without_a_replica_killed_and_restarted() {
    let mut cluster = Cluster::start().await;
    for lone in &mut cluster.nodes[1..3] {
        lone.keep().await;
    }
    let store = cluster.config();
    let fleet = Fleet::start(Store::Redis, 2, |config| config.set("store.redis", store)).await;
    weather("cluster-lone-node", fleet, LoneNodeDies(cluster), 20).await;
}

/// A clock that jumps: libfaketime reads its offset from a file.
struct ClockJumps(PathBuf);

impl Weather for ClockJumps {
    async fn strike(&mut self, _: &mut Fleet, chance: &mut Chance) {
        let offsets = ["+3600s", "-3600s", "+60s", "-60s", "+0s"];
        std::fs::write(&self.0, offsets[chance.index(offsets.len())]).expect("written");
        sleep(chance.millis(500, 3_000)).await;
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn the_clock_of_one_replica_jumps_by_an_hour() {
    let faketime = faketime();
    if !std::path::Path::new(&faketime).exists() {
        say("clock-jumps: libfaketime is not installed; nothing was tried\n");
        return;
    }
    let mut fleet = Fleet::start(Store::Redis, 2, |config| config).await;
    let file = fleet.rig.config_file().with_file_name("clock");
    std::fs::write(&file, "+0s").expect("written");
    fleet.rig.valetkey.kill();
    set_clock_by(&mut fleet.rig.valetkey, &file);
    fleet.rig.valetkey.run().await;
    fleet.rig.valetkey.ready().await;
    weather("clock-jumps", fleet, ClockJumps(file), 20).await;
}
