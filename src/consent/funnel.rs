//! How far attempts to connect come: offered, opened, sent to the provider, back with a code, stored, or ended otherwise. An
//! attempt goes by its ticket, and counts once at each stage, whoever tries again and whichever replica it meets: by hour and
//! service, in the store. The metrics of this process count as well, each press of the button that shows or begins something. Counting
//! is best effort: it never fails what is counted, and holds it up by one operation of the store at most.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::sleep};

use super::{Ended, STATE_TTL, Ticket, digest, token};
use crate::{
    clock::Timestamp,
    connection::{Roots, Unavailable},
    id::ServiceName,
    store::{Store, Tally},
    telemetry::{Metrics, metrics::ConnectOutcome},
    vault::Root,
};

const DAY: Duration = Duration::from_secs(86_400);
/// How long counts are kept.
const KEPT: Duration = DAY.saturating_mul(400);
/// How long offers are gathered before they are counted: each refused call makes one.
const GATHERED: Duration = Duration::from_secs(5);
/// How often it is tried again to count where the store is away, …
const TRIES: u32 = 12;
/// … and how long is waited between.
const PAUSE: Duration = Duration::from_secs(10);

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// There is a link.
    Offered,
    /// A browser has shown it.
    Opened,
    /// The browser was sent to the provider.
    Initiated,
    /// It came back with a code.
    Authorized,
    /// The grant is stored.
    Completed,
    /// It ended otherwise.
    Failed(Ended),
}

impl Stage {
    /// Its name, and why it ended. Part of what is stored: never change one.
    const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Offered => ["offered", ""],
            Self::Opened => ["opened", ""],
            Self::Initiated => ["initiated", ""],
            Self::Authorized => ["authorized", ""],
            Self::Completed => ["completed", ""],
            Self::Failed(why) => ["failed", why.name()],
        }
    }

    /// As this process's metrics count it.
    const fn outcome(self) -> ConnectOutcome {
        match self {
            Self::Offered => ConnectOutcome::Offered,
            Self::Opened => ConnectOutcome::Opened,
            Self::Initiated => ConnectOutcome::Initiated,
            Self::Authorized => ConnectOutcome::Authorized,
            Self::Completed => ConnectOutcome::Completed,
            Self::Failed(_) => ConnectOutcome::Failed,
        }
    }
}

/// Counts.
#[derive(Clone)]
pub struct Funnel(Arc<Inner>);

struct Inner {
    roots: Roots,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    handle: Handle,
    /// Offers that are not counted yet, by service and hour. Whoever makes the first one sees to them all.
    offers: Mutex<BTreeMap<(ServiceName, u64), u64>>,
}

/// One count that is to be written.
struct Count {
    name: String,
    hour: u64,
    id: String,
    n: u64,
    known_for: Duration,
}

const fn hour(at: Timestamp) -> u64 {
    at.seconds() / 3600
}

/// The counter's name, which says nothing without the root.
fn counter(root: &Root, service: &ServiceName, stage: Stage) -> String {
    let [stage, why] = stage.names();
    let parts = [service.as_str(), stage, why].map(str::as_bytes);
    HEXLOWER.encode(&root.blind("funnel", &parts))
}

impl Funnel {
    /// In this store and these metrics; what nobody waits for runs on `handle`.
    pub fn new(roots: Roots, store: Arc<dyn Store>, metrics: Arc<Metrics>, handle: Handle) -> Self {
        Self(Arc::new(Inner { roots, store, metrics, handle, offers: Mutex::default() }))
    }

    /// How many attempts at this service reached a stage, in each hour (of the epoch) in which any did.
    ///
    /// # Errors
    /// While the store or the keys are away; where too many hours are asked for.
    pub async fn counts(
        &self,
        service: &ServiceName,
        stage: Stage,
        hours: RangeInclusive<u64>,
    ) -> Result<Vec<(u64, u64)>, Unavailable> {
        let root = self.0.roots.get().await?;
        Ok(self.0.store.counts(&counter(&root, service, stage), hours).await?)
    }

    /// A link was made. Gathered, as each refused call makes one: what a process that ends has not counted yet is lost.
    pub(super) fn offered(&self, service: &ServiceName, now: Timestamp) {
        self.0.metrics.service(service).connect(Stage::Offered.outcome());
        let mut offers = self.0.offers.lock();
        let first = offers.is_empty();
        *offers.entry((service.clone(), hour(now))).or_default() += 1;
        if first {
            let funnel = self.clone();
            self.0.handle.spawn(async move {
                sleep(GATHERED).await;
                funnel.count_offers().await;
            });
        }
    }

    /// Counts the offers that were gathered.
    pub(super) async fn count_offers(&self) {
        let offers = std::mem::take(&mut *self.0.offers.lock());
        let Ok(root) = self.0.roots.get().await else {
            tracing::debug!(offers = offers.len(), "offers of links are not counted: the store or the keys are away");
            return;
        };
        for ((service, hour), n) in offers {
            let Ok(id) = token::<16>() else { return };
            let name = counter(&root, &service, Stage::Offered);
            self.count(Count { name, hour, id, n, known_for: DAY }).await;
        }
    }

    /// An attempt has reached a stage.
    pub(super) async fn reached(&self, ticket: &Ticket, stage: Stage, now: Timestamp) {
        self.0.metrics.service(&ticket.service).connect(stage.outcome());
        let Ok(root) = self.0.roots.get().await else { return };
        // For as long as anything may come of the ticket: its own life, a stay at the provider, and somebody's word.
        let known_for = ticket.expires.until(now) + STATE_TTL * 2 + DAY;
        let (name, id) = (counter(&root, &ticket.service, stage), digest("funnel", &ticket.id));
        self.count(Count { name, hour: hour(now), id, n: 1, known_for }).await;
    }

    /// Writes a count, and again where the store is away: then nobody waits for it.
    async fn count(&self, count: Count) {
        if self.try_to_count(&count).await {
            return;
        }
        let funnel = self.clone();
        self.0.handle.spawn(async move {
            for _ in 0..TRIES {
                sleep(PAUSE).await;
                if funnel.try_to_count(&count).await {
                    return;
                }
            }
            tracing::debug!("a stage of an attempt to connect is not counted: the store is away");
        });
    }

    async fn try_to_count(&self, count: &Count) -> bool {
        let Count { name, hour, id, n, known_for } = count;
        let tally = Tally { name, bucket: *hour, id, n: *n, known_for: *known_for, kept_for: KEPT };
        self.0.store.count_up(&tally).await.is_ok()
    }
}
