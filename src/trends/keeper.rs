//! Writes, once a minute, what has been counted since.

use std::{mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{Measure, day};
use crate::{
    clock::Clock,
    connection::{Roots, Unavailable},
    store::{Store, Tally},
    telemetry::{Metrics, metrics::Totals},
};

/// How often it is written.
const EACH: Duration = Duration::from_secs(60);
/// How long it is kept.
const KEPT: Duration = Duration::from_secs(400 * 86_400);
/// How long it is remembered that something was counted. Where the store is away for longer, a minute may count twice.
const KNOWN: Duration = Duration::from_secs(3600);
/// How many counts wait for a store that is away: more than half a day of them. Beyond it the oldest are given up.
const WAITING: usize = 20_000;

/// One count that is to be written.
struct Count {
    counter: String,
    day: u64,
    id: String,
    n: u64,
}

#[derive(Default)]
struct State {
    /// As the metrics stood when they were last looked at.
    before: Totals,
    /// How often that was.
    round: u64,
    waiting: Vec<Count>,
}

/// The trends of this process and of all.
pub struct Trends {
    pub(super) roots: Roots,
    pub(super) store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock: Clock,
    process: String,
    state: Mutex<State>,
}

impl Trends {
    /// Of what these metrics count, in this store; `process` names this process, and no other.
    pub fn new(
        (roots, store): (Roots, Arc<dyn Store>),
        metrics: Arc<Metrics>,
        clock: Clock,
        process: String,
    ) -> Arc<Self> {
        Arc::new(Self { roots, store, metrics, clock, process, state: Mutex::default() })
    }

    /// From now on it is written each minute.
    pub fn keep(self: &Arc<Self>, handle: &Handle) {
        let trends = Arc::clone(self);
        handle.spawn(async move {
            loop {
                sleep(EACH).await;
                if let Err(error) = trends.write().await {
                    tracing::debug!(%error, "what was counted waits to be written");
                }
            }
        });
    }

    /// Writes the last of it, for at most so long: the process ends.
    pub async fn drain(&self, limit: Duration) {
        if !matches!(timeout(limit, self.write()).await, Ok(Ok(()))) {
            tracing::debug!("what was counted in the last minute is not in the charts of /admin");
        }
    }

    /// Writes what has been counted since the last time.
    ///
    /// # Errors
    /// While store or keys are away: what is not written waits for the next time.
    pub async fn write(&self) -> Result<(), Unavailable> {
        let root = self.roots.get().await?;
        let mut waiting = {
            let state = &mut *self.state.lock();
            state.round += 1;
            let (day, totals) = (day(self.clock.now()), self.metrics.totals());
            for ((measure, now), (_, before)) in Measure::of(&totals).zip(Measure::of(&state.before)) {
                if now > before {
                    let id = format!("{}-{}", self.process, state.round);
                    state.waiting.push(Count { counter: measure.counter(&root), day, id, n: now - before });
                }
            }
            state.before = totals;
            let over = state.waiting.len().saturating_sub(WAITING);
            state.waiting.drain(..over);
            mem::take(&mut state.waiting)
        };
        while let Some(Count { counter, day, id, n }) = waiting.last() {
            let tally = Tally { name: counter, bucket: *day, id, n: *n, known_for: KNOWN, kept_for: KEPT };
            if let Err(error) = self.store.count_up(&tally).await {
                self.state.lock().waiting.append(&mut waiting);
                return Err(error.into());
            }
            waiting.pop();
        }
        Ok(())
    }
}
