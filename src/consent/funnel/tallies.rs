//! What is to be counted, until the store has counted it: offers, which are gathered, and whatever could not be counted when it
//! happened. Bounded; each count has an id, so that asking again, when an answer was lost, counts nothing twice.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{DAY, KEPT, Stage, counters::Counter};
use crate::{
    backoff::Backoff,
    connection::Roots,
    consent::token,
    id::ServiceName,
    store::{Store, Tally},
};

/// How long offers are gathered once the first of them is counted: each refused call makes one.
const GATHERED: Duration = Duration::from_millis(100);
/// Between tries where the store is away.
const PATIENCE: Backoff = Backoff::new(GATHERED, Duration::from_secs(10));
/// How much waits at most; then the oldest is lost.
const MOST: usize = 50_000;

/// One count that is to be written.
pub(super) struct Count {
    pub name: String,
    pub bucket: u64,
    pub id: String,
    pub n: u64,
    pub known_for: Duration,
}

/// Counts in the store, now or later. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tallies(Arc<Inner>);

struct Inner {
    roots: Roots,
    store: Arc<dyn Store>,
    handle: Handle,
    waiting: Mutex<Waiting>,
    /// Who works off what waits; one at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    /// Offers by service and hour.
    offers: BTreeMap<(ServiceName, u64), u64>,
    counts: VecDeque<Count>,
    /// Whether somebody is about to work it off.
    attended: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.offers.is_empty() && self.counts.is_empty()
    }
}

impl Tallies {
    pub fn new(roots: Roots, store: Arc<dyn Store>, handle: Handle) -> Self {
        Self(Arc::new(Inner { roots, store, handle, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }))
    }

    /// An offer. Never waits.
    pub fn offered(&self, service: &ServiceName, hour: u64) {
        let mut waiting = self.0.waiting.lock();
        match waiting.offers.get_mut(&(service.clone(), hour)) {
            Some(count) => *count += 1,
            None => drop(waiting.offers.insert((service.clone(), hour), 1)),
        }
        self.attend(&mut waiting);
    }

    /// Counts now, or later where the store is away.
    pub async fn count(&self, count: Count) {
        if !self.try_to_count(&count).await {
            let mut waiting = self.0.waiting.lock();
            put_by(&mut waiting.counts, count);
            self.attend(&mut waiting);
        }
    }

    /// Works off what waits, within this time. Says whether nothing is left.
    pub async fn drain(&self, limit: Duration) -> bool {
        let all = async {
            while !self.work_off().await {
                sleep(GATHERED).await;
            }
        };
        let done = timeout(limit, all).await.is_ok();
        if !done {
            tracing::warn!("stages of attempts to connect are lost uncounted: the store is away");
        }
        done
    }

    /// Sees to it that somebody works off what waits.
    fn attend(&self, waiting: &mut Waiting) {
        if std::mem::replace(&mut waiting.attended, true) {
            return;
        }
        let tallies = self.clone();
        self.0.handle.spawn(async move {
            let mut failures = 0;
            loop {
                failures = if tallies.work_off().await { 0 } else { failures + 1 };
                sleep(PATIENCE.after(failures)).await;
                let mut waiting = tallies.0.waiting.lock();
                if waiting.is_empty() {
                    waiting.attended = false;
                    return;
                }
            }
        });
    }

    /// Counts all that waits; what can't be counted goes on waiting. Says whether nothing does.
    async fn work_off(&self) -> bool {
        let _turn = self.0.turn.lock().await;
        let Ok(root) = self.0.roots.get().await else { return self.0.waiting.lock().is_empty() };
        let counts = {
            let mut waiting = self.0.waiting.lock();
            let mut counts = std::mem::take(&mut waiting.counts);
            for ((service, hour), n) in std::mem::take(&mut waiting.offers) {
                let Ok(id) = token::<16>() else { continue };
                let counter = Counter::Stage(Stage::Offered);
                let (name, bucket) = (counter.name(&root, &service), counter.bucket(hour, 0));
                counts.push_back(Count { name, bucket, id, n, known_for: DAY });
            }
            counts
        };
        let mut away = false;
        for count in counts {
            away = away || !self.try_to_count(&count).await;
            if away {
                put_by(&mut self.0.waiting.lock().counts, count);
            }
        }
        !away
    }

    async fn try_to_count(&self, count: &Count) -> bool {
        let Count { name, bucket, id, n, known_for } = count;
        let tally = Tally { name, bucket: *bucket, id, n: *n, known_for: *known_for, kept_for: KEPT };
        self.0.store.count_up(&tally).await.is_ok()
    }
}

fn put_by(counts: &mut VecDeque<Count>, count: Count) {
    if counts.len() >= MOST && counts.pop_front().is_some() {
        tracing::warn!("too much waits to be counted: the oldest stage of an attempt is lost");
    }
    counts.push_back(count);
}
