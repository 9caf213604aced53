//! Faults at random moments, many times over, under load and with tokens of two seconds. Each test counts what callers
//! noticed, and adds a row to the table that `make chaos` prints and docs/RELIABILITY.md holds.
//!
//! A grant may be lost in one case only: the process died between sending a refresh token that the provider rotated and
//! storing the answer. No protocol can prevent that (RFC 6749 has no way to ask again). The authorization server's log
//! tells these cases from all others, of which there must be none.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::refresh::refreshes;
use crate::support::chance::Chance;
use crate::support::load::{Asked, Load, Tally, lasting_jwt, now_millis};
use crate::support::process::say;
use crate::support::redis::Outage;
use crate::support::redis_groups::{Cluster, Watched};
use crate::support::{Answer, Config, Rig, Store, Valetkey, wait};

/// How long after the provider's answer was sent it may not be stored yet: its way, sealing, a durable write, all on a
/// busy machine.
const ON_ITS_WAY_MS: i64 = 1_000;

/// A line of the table.
#[derive(Debug, Default)]
struct Row {
    calls: u64,
    cut: u64,
    failed: u64,
    steady_calls: u64,
    steady_failed: u64,
    rotations: u64,
    lost_on_the_way: u64,
    note: String,
}

impl Row {
    fn of(tally: &Tally, steady: Option<&Tally>) -> Self {
        use std::sync::atomic::Ordering::SeqCst;
        Self {
            calls: tally.calls.load(SeqCst),
            cut: tally.cut.load(SeqCst),
            failed: tally.failures(),
            steady_calls: steady.map_or(0, |steady| steady.calls.load(SeqCst)),
            steady_failed: steady.map_or(0, |steady| steady.failures() + steady.cut.load(SeqCst)),
            note: tally.failed().iter().map(|(what, count)| format!("{count} × {what}")).collect::<Vec<_>>().join(", "),
            ..Self::default()
        }
    }

    /// Prints it, and leaves it for scripts/reliability-table.mjs.
    fn report(&self, name: &str, faults: u64, chance: &Chance, began: Instant) {
        let row = json!({
            "name": name, "faults": faults, "calls": self.calls, "cut": self.cut, "failed": self.failed,
            "steady_calls": self.steady_calls, "steady_failed": self.steady_failed, "rotations": self.rotations,
            "lost_on_the_way": self.lost_on_the_way, "lost_otherwise": 0, "note": self.note,
            "seed": chance.seed.to_string(), "seconds": began.elapsed().as_secs(),
        });
        say(&format!("{row}\n"));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("chaos");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.json")), row.to_string()).expect("written");
    }
}

/// `name-0`, `name-1` …
fn people(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}-{number}")).collect()
}

/// One installation of several replicas, each of which has a name of its own at the token endpoint.
struct Fleet {
    rig: Rig,
    others: Vec<Valetkey>,
}

impl Fleet {
    async fn start(store: Store, replicas: usize, change: impl FnOnce(Config) -> Config) -> Self {
        let rig = Rig::with(store, |config, server| {
            change(config.set("services.crm.token_url", server.token_url("0")).set("refresh.timeout", "3s"))
        })
        .await;
        let mut others = Vec::new();
        for number in 1..replicas {
            let name = rig.server.token_url(&number.to_string());
            others.push(Valetkey::start(&rig.replica_config().set("services.crm.token_url", name)).await);
        }
        Self { rig, others }
    }

    fn all(&self) -> Vec<&Valetkey> {
        std::iter::once(&self.rig.valetkey).chain(&self.others).collect()
    }

    fn urls(&self) -> Vec<String> {
        self.all().iter().map(|valetkey| valetkey.url.clone()).collect()
    }

    fn get_mut(&mut self, number: usize) -> &mut Valetkey {
        if number == 0 { &mut self.rig.valetkey } else { &mut self.others[number - 1] }
    }

    async fn connect(&self, users: &[String]) {
        for some in users.chunks(4) {
            join_all(some.iter().map(|user| self.rig.connect(user))).await;
        }
        for user in users {
            for valetkey in self.all() {
                assert_eq!(call(valetkey, user).await.status, 200);
            }
        }
    }

    /// Connects people whose tokens live long, and then lets all later tokens live for two seconds.
    async fn steady(&self, users: &[String]) {
        self.connect(users).await;
        self.rig.server.access_token_ttl(2).await;
    }

    /// Everybody is served everywhere, within the deadline.
    async fn all_well(&self, users: &[String]) {
        for user in users {
            for valetkey in self.all() {
                wait::until("everybody is served again", || async {
                    let answer = call(valetkey, user).await;
                    assert_ne!(answer.header("valetkey-status"), Some("auth_required"), "{user}: {}", answer.text());
                    (answer.status == 200).then_some(())
                })
                .await;
            }
        }
    }

    /// Nothing was lost, and no refresh token was sent twice.
    async fn assert_nothing_lost(&self, loads: &[&Load]) {
        for load in loads {
            assert!(load.asked().is_empty(), "{:?}", load.asked());
        }
        let state = self.rig.server.state().await;
        assert_eq!((&state["reuse_detected"], &state["grants_revoked"]), (&json!(0), &json!(0)), "{state}");
        self.rig.server.assert_sound().await;
    }
}

async fn call(valetkey: &Valetkey, user: &str) -> Answer {
    let request = valetkey.anonymous(reqwest::Method::GET, "/proxy/crm/whoami");
    valetkey.send(request.bearer_auth(lasting_jwt(user))).await
}

/// A process that was killed: when that was asked for, when it was surely dead, and its name at the token endpoint.
#[derive(Debug)]
struct Kill {
    begun: u64,
    done: u64,
    via: String,
}

/// Whether the grant that `asked` tells the loss of was on its way to a process when that was killed: how many
/// milliseconds after the answer was sent.
fn on_its_way(log: &[Value], kills: &[Kill], asked: &Asked) -> Option<i64> {
    let last = log.iter().rfind(|entry| {
        entry["user"] == asked.user.as_str() && entry["rotated"].as_u64().is_some_and(|at| at <= asked.at)
    })?;
    let millis = |name: &str| last[name].as_i64();
    let sent = millis("sent").or(millis("cut")).or(millis("rotated"))?;
    // A request may be read from the socket after its sender's death; then its answer found nobody.
    let late = if millis("cut").is_some() { ON_ITS_WAY_MS as u64 } else { 0 };
    let received = last["received"].as_u64()?;
    kills
        .iter()
        .filter(|kill| last["via"] == kill.via.as_str() && received <= kill.done + late)
        .map(|kill| kill.begun as i64 - sent)
        .find(|gap| *gap < ON_ITS_WAY_MS)
}

/// Kills a random replica, again and again, and starts it at once.
pub(crate) async fn kills(store: Store, replicas: usize, rounds: u64) {
    let name = format!("kill-9-{}", if store == Store::Redis { "redis" } else { "embedded" });
    let (mut chance, began) = (Chance::announced(&name), Instant::now());
    let mut fleet = Fleet::start(store, replicas, |config| config).await;
    let users = people("user", 10);
    fleet.rig.server.access_token_ttl(2).await;
    fleet.connect(&users).await;
    // Answers take their time, as over a real network: so there is something to be caught on its way.
    fleet.rig.server.fault(json!({ "grant": "refresh_token", "times": 0, "after": true, "delay_ms": 60 })).await;
    let load = Load::start(&users, 2, &fleet.urls());
    let (mut killed, mut gaps) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        sleep(chance.millis(0, 2_000)).await;
        let number = chance.index(replicas);
        let victim = fleet.get_mut(number);
        let begun = now_millis();
        victim.kill();
        killed.push(Kill { begun, done: now_millis(), via: number.to_string() });
        victim.run().await;
        victim.ready().await;
        say(&format!("{name}: {round} of {rounds} after {} s, {} lost\n", began.elapsed().as_secs(), gaps.len()));
        settle(&fleet, &load, &killed, &mut gaps).await;
    }
    // What was cut off last comes to light, too.
    for user in &users {
        for valetkey in fleet.all() {
            wait::until("everybody has a clear answer", || async {
                let answer = call(valetkey, user).await;
                (answer.status == 200 || answer.header("valetkey-status") == Some("auth_required")).then_some(())
            })
            .await;
        }
    }
    sleep(Duration::from_millis(500)).await;
    settle(&fleet, &load, &killed, &mut gaps).await;
    fleet.all_well(&users).await;
    let tally = load.stop().await;
    let state = fleet.rig.server.state().await;
    assert_eq!(state["reuse_detected"], gaps.len(), "each loss was found out by one attempt: {state}");
    fleet.rig.server.assert_sound().await;
    let mut row = Row::of(&tally, None);
    row.rotations = fleet.rig.server.count("refreshed").await;
    row.lost_on_the_way = gaps.len() as u64;
    if let (Some(first), Some(last)) = (gaps.iter().min(), gaps.iter().max()) {
        let note = format!("lost by kills from {first} to {last} ms after the answer was sent");
        row.note = [row.note, note].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    }
    row.report(&name, rounds, &chance, began);
    assert!(tally.failed().keys().all(|what| what == "unavailable"), "{tally:?}");
}

/// Sees to those who were told to connect again: that this was inherent, is said steadily, and that connecting heals it.
async fn settle(fleet: &Fleet, load: &Load, killed: &[Kill], gaps: &mut Vec<i64>) {
    for asked in load.asked() {
        let log = fleet.rig.server.token_log().await;
        let gap = on_its_way(&log, killed, &asked);
        let of_user: Vec<_> = log.iter().filter(|entry| entry["user"] == asked.user.as_str()).collect();
        let last = &of_user[of_user.len().saturating_sub(6)..];
        let gap =
            gap.unwrap_or_else(|| panic!("lost without need: {asked:?}; kills {killed:?}; token requests {last:?}"));
        gaps.push(gap);
        assert_eq!(asked.reason, "refresh_interrupted", "{asked:?} {last:?}");
        let mut link = String::new();
        for valetkey in fleet.all() {
            wait::until("every replica knows of the loss", || async {
                (call(valetkey, &asked.user).await.status == 401).then_some(())
            })
            .await;
            for _ in 0..3 {
                link = call(valetkey, &asked.user).await.auth_required("crm", "refresh_interrupted");
            }
        }
        fleet.rig.walk(&link, &asked.user).await;
        fleet.all_know(&asked.user).await;
        load.resume(&asked.user);
    }
}

impl Fleet {
    /// Waits until every replica has heard that this user connected again.
    async fn all_know(&self, user: &str) {
        for valetkey in self.all() {
            wait::until("every replica serves them again", || async {
                (call(valetkey, user).await.status == 200).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn two_hundred_kills_with_the_embedded_store() {
    kills(Store::Embedded, 1, 200).await;
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn two_hundred_kills_among_three_replicas_on_redis() {
    kills(Store::Redis, 3, 200).await;
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn a_thousand_rotations_of_one_grant_under_load() {
    let (chance, began) = (Chance::announced("rotations"), Instant::now());
    let fleet = Fleet::start(Store::Redis, 3, |config| config).await;
    let users = people("user", 1);
    fleet.connect(&users).await;
    let mut row = Row::default();
    for round in 1..=1_000 {
        // The token ends, and the next calls to all replicas at once meet that.
        fleet.rig.server.revoke("access", &users[0]).await;
        let all = fleet.all();
        for answer in join_all((0..12).map(|number| call(all[number % all.len()], &users[0]))).await {
            assert_eq!(answer.status, 200, "in round {round}: {}", answer.text());
            row.calls += 1;
        }
        assert_eq!(refreshes(&fleet.rig).await, round);
    }
    fleet.assert_nothing_lost(&[]).await;
    row.rotations = fleet.rig.server.count("refreshed").await;
    row.report("rotations", 1_000, &chance, began);
    assert_eq!(row.rotations, 1_000);
}

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

/// A clock that jumps: libfaketime reads its offset from a file.
struct ClockJumps(PathBuf);

impl Weather for ClockJumps {
    async fn strike(&mut self, _: &mut Fleet, chance: &mut Chance) {
        let offsets = ["+3600s", "-3600s", "+60s", "-60s", "+0s"];
        std::fs::write(&self.0, offsets[chance.index(offsets.len())]).expect("written");
        sleep(chance.millis(500, 3_000)).await;
    }
}

/// Where Debian puts libfaketime.
pub(crate) fn faketime() -> String {
    format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH)
}

/// From its next start on, the process's clock is off by what this file says (`+0s`, `-3600s`).
pub(crate) fn set_clock_by(valetkey: &mut Valetkey, file: &std::path::Path) {
    for (name, value) in [
        ("LD_PRELOAD", faketime().as_str()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("UTF-8")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        valetkey.environment(name, value);
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
