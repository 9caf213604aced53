//! Facts of a fleet: what a replica asks the store, and what all of them ask of providers, however many there are. In the
//! simulation asking what is due is one operation; in Redis it is a command for each of 256 shards.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;

use super::{
    rig::Rig,
    sim::{provider::Mood, store::Weather},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How long tokens live: their last quarter, in which they are renewed, is one and a quarter minutes.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// How many grants become due.
const GRANTS: usize = 40;
/// How many replicas have a turn to look at what is due, at the same time.
const PLACES: usize = 8;
/// How many operations a renewal takes, whoever does it: the five that somebody may wait for, …
const RENEWAL: usize = 5;
/// … and afterwards, for the log, a look at the person's key, the first time making it, and the batch with the event.
const LOGGED: usize = 3;

/// What replicas asked the store, by what it was.
#[derive(Debug)]
struct Asked(BTreeMap<&'static str, usize>);

impl Asked {
    /// By all of them, since it was last looked.
    fn by(rig: &Rig) -> Self {
        let mut all = BTreeMap::new();
        for process in &rig.processes {
            for name in std::mem::take(&mut *process.gate.asked.lock()) {
                *all.entry(name).or_default() += 1;
            }
            *all.entry("turn").or_default() += process.gate.turns.swap(0, Ordering::Relaxed);
        }
        Self(all)
    }

    fn of(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn all_but(&self, names: &[&str]) -> usize {
        self.0.iter().filter(|(name, _)| !names.contains(name)).map(|(_, count)| count).sum()
    }
}

/// What a fleet of so many asks in a minute in which nothing is due, and what while all grants are renewed.
async fn costs(replicas: usize) -> (Asked, Asked) {
    // The worst case: all have begun in the same moment, and so ask in the same moment.
    let rig = Rig::start(replicas, GRANTS, LIFE).await;
    rig.world.server.weather(Weather { delay: 2, ..Weather::default() });
    rig.world.provider.mood(Mood { delay: 200, ..Mood::default() });
    sleep(MINUTE).await;
    Asked::by(&rig);
    sleep(MINUTE).await;
    let idle = Asked::by(&rig);
    sleep(LIFE - MINUTE * 2).await;
    let busy = Asked::by(&rig);
    assert_eq!(rig.asked(), GRANTS, "each grant is renewed once, by {replicas} replicas");
    rig.assert_nothing_spent_twice();
    (idle, busy)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_replicas_ask_no_more_than_ten_but_whose_turn_it_is() {
    for replicas in [10, 100, 1000] {
        let (idle, busy) = costs(replicas).await;
        println!("{replicas} replicas: idle {idle:?}, busy {busy:?}");
        // Six rounds a minute: a replica asks at most each place whether it is free, and few ask more.
        assert!(idle.of("turn") <= 6 * PLACES * replicas, "{idle:?}");
        assert!(idle.of("due") <= 6 * PLACES.min(replicas), "all together: {idle:?}");
        assert_eq!(idle.all_but(&["turn", "due"]), 0, "{idle:?}");
        // To those who look, a due grant is three reads and a try for its lease; each reads the shared secret once.
        let looks = GRANTS * PLACES.min(replicas) * 4;
        let most = GRANTS * (RENEWAL + LOGGED) + looks + replicas;
        assert!(busy.all_but(&["turn", "due"]) <= most, "{busy:?}, more than {most}");
        assert_eq!(busy.of("put"), GRANTS * 2, "intent and grant");
    }
}
