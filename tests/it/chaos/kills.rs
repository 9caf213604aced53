//! Replicas that die, or freeze for so long that others must take them for dead, while answers are on their way to them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::fleet::{Fleet, call, people};
use super::row::Row;
use crate::support::chance::Chance;
use crate::support::load::{Asked, Load, now_millis};
use crate::support::process::say;
use crate::support::{Store, wait};

/// How long after the provider's answer was sent it may not be stored yet: its way, sealing, a durable write, all on a
/// busy machine.
const ON_ITS_WAY_MS: i64 = 1_000;

/// What befalls a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGKILL; it is started again at once.
    Kill,
    /// SIGSTOP for longer than its leases last and an answer may take to land: the others must take it for dead.
    Freeze,
}

impl Blow {
    /// Strikes the replica of this number and sets it going again.
    async fn fall(self, fleet: &mut Fleet, number: usize) -> Struck {
        let (victim, begun) = (fleet.get_mut(number), now_millis());
        let struck = |done| Struck { begun, done, via: number.to_string() };
        match self {
            Self::Kill => {
                victim.kill();
                let struck = struck(now_millis());
                victim.run().await;
                victim.ready().await;
                struck
            }
            Self::Freeze => {
                victim.process().signal("STOP");
                sleep(LONGER_THAN_A_LEASE).await;
                victim.process().signal("CONT");
                struck(now_millis())
            }
        }
    }
}

/// 15 s, and the 2 s that another process's answer has to be stored; and time for others to find that out.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(22);

/// A process that was struck: when that was asked for, when no more could come of what it had begun, and its name at the token
/// endpoint.
#[derive(Debug)]
struct Struck {
    begun: u64,
    done: u64,
    via: String,
}

/// Whether the grant that `asked` tells the loss of was on its way to a process when that was struck: how many
/// milliseconds after the answer was sent.
fn on_its_way(log: &[Value], blows: &[Struck], asked: &Asked) -> Option<i64> {
    let last = log.iter().rfind(|entry| {
        entry["user"] == asked.user.as_str() && entry["rotated"].as_u64().is_some_and(|at| at <= asked.at)
    })?;
    let millis = |name: &str| last[name].as_i64();
    let sent = millis("sent").or(millis("cut")).or(millis("rotated"))?;
    // A request may be read from the socket after its sender's death; then its answer found nobody.
    let late = if millis("cut").is_some() { ON_ITS_WAY_MS as u64 } else { 0 };
    let received = last["received"].as_u64()?;
    blows
        .iter()
        .filter(|blow| last["via"] == blow.via.as_str() && received <= blow.done + late)
        .map(|blow| blow.begun as i64 - sent)
        .find(|gap| *gap < ON_ITS_WAY_MS)
}

/// Strikes a random replica, again and again, while answers take `delay` to reach it.
pub(crate) async fn strikes(name: &str, blow: Blow, (store, replicas): (Store, usize), delay: Duration, rounds: u64) {
    let (mut chance, began) = (Chance::announced(name), Instant::now());
    let mut fleet = Fleet::start(store, replicas, |config| config).await;
    let users = people("user", 10);
    fleet.rig.server.access_token_ttl(2).await;
    fleet.connect(&users).await;
    // Answers take their time, as over a real network: so there is something to be caught on its way.
    let delay_ms = delay.as_millis() as u64;
    fleet.rig.server.fault(json!({ "grant": "refresh_token", "times": 0, "after": true, "delay_ms": delay_ms })).await;
    let load = Load::at_each(&users, 2_usize.div_ceil(replicas), &fleet.urls());
    let (mut struck, mut gaps) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        sleep(chance.millis(0, 2_000)).await;
        let number = chance.index(replicas);
        struck.push(blow.fall(&mut fleet, number).await);
        say(&format!("{name}: {round} of {rounds} after {} s, {} lost\n", began.elapsed().as_secs(), gaps.len()));
        settle(&fleet, &load, &struck, &mut gaps).await;
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
    settle(&fleet, &load, &struck, &mut gaps).await;
    fleet.all_well(&users).await;
    let tally = load.stop().await;
    let state = fleet.rig.server.state().await;
    assert_eq!(state["reuse_detected"], gaps.len(), "each loss was found out by one attempt: {state}");
    fleet.rig.server.assert_sound().await;
    let mut row = Row::of(&tally, None);
    row.rotations = fleet.rig.server.count("refreshed").await;
    row.lost_on_the_way = gaps.len() as u64;
    if let (Some(first), Some(last)) = (gaps.iter().min(), gaps.iter().max()) {
        let note = format!("struck from {first} to {last} ms after the answer was sent");
        row.note = [row.note, note].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    }
    row.report(name, rounds, &chance, began);
    // A process that thaws finds that the time for its own request to the provider is long over.
    let allowed = if blow == Blow::Freeze { &["unavailable", "refresh_failed"][..] } else { &["unavailable"] };
    assert!(tally.failed().keys().all(|what| allowed.contains(&what.as_str())), "{tally:?}");
}

/// Sees to those who were told to connect again: that this was inherent, is said steadily, and that connecting heals it.
async fn settle(fleet: &Fleet, load: &Load, struck: &[Struck], gaps: &mut Vec<i64>) {
    for asked in load.asked() {
        let log = fleet.rig.server.token_log().await;
        let gap = on_its_way(&log, struck, &asked);
        let of_user: Vec<_> = log.iter().filter(|entry| entry["user"] == asked.user.as_str()).collect();
        let last = &of_user[of_user.len().saturating_sub(6)..];
        let gap =
            gap.unwrap_or_else(|| panic!("lost without need: {asked:?}; blows {struck:?}; token requests {last:?}"));
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

/// What the fast network of one machine adds to an answer so that kills find some on their way.
pub(crate) const A_NETWORK: Duration = Duration::from_millis(60);

#[tokio::test]
#[ignore = "long: make chaos"]
async fn two_hundred_kills_with_the_embedded_store() {
    strikes("kill-9-embedded", Blow::Kill, (Store::Embedded, 1), A_NETWORK, 200).await;
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn two_hundred_kills_among_three_replicas_on_redis() {
    strikes("kill-9-redis", Blow::Kill, (Store::Redis, 3), A_NETWORK, 200).await;
}

#[tokio::test]
#[ignore = "long: make chaos"]
async fn replicas_that_freeze_for_longer_than_a_lease() {
    // A freeze takes half a minute, so that each should find something.
    let slow = Duration::from_millis(400);
    strikes("replica-frozen-long", Blow::Freeze, (Store::Redis, 3), slow, 10).await;
}
