//! The funnel: how many attempts to connect come how far, and where they end. An attempt is one ticket, not one click: it
//! counts once at each stage, however often the person tries again and on whichever replica. Counts are kept in the store, by
//! service and hour, so that they add up over replicas and restarts.
//!
//! | stage | counted when |
//! | --- | --- |
//! | `offered` | a connect link was given out |
//! | `opened` | a browser asked for its page |
//! | `initiated` | the browser was sent to the provider |
//! | `authorized` | it came back with a code and a valid state |
//! | `completed` | the grant is stored |
//! | `failed` | it ended otherwise: `error` has the kinds. An attempt that fails and is then tried again may count as completed, too |
//!
//! - `tallies`: what is to be counted, until the store has counted it; `counters`: what counters are called
//! - `browser`, `duration`, `error`, `asked`: by what attempts are told apart
//! - `report`: what it adds up to, as `figures`; `insights`: what that means, in words
//!
//! Counting never fails what is counted. It holds it up by one operation of the store at most; where the store is away it goes
//! on in the background, and is finished while the process drains.

use std::{sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{Ended, STATE_TTL, Ticket, digest};
use crate::{
    clock::Timestamp,
    connection::Roots,
    events::failures::Failures,
    id::{RequestId, ServiceName},
    store::Store,
    telemetry::{Metrics, metrics::ConnectOutcome},
};

mod asked;
mod browser;
mod counters;
mod duration;
mod error;
mod figures;
mod insights;
mod report;
mod tallies;

pub use asked::Fingerprint;
pub use browser::Family;
pub use figures::Report;
pub use insights::LOW_CONVERSION;

use asked::Generations;
use counters::{Counter, hour};
use tallies::{Count, Tallies};

const DAY: Duration = Duration::from_secs(86_400);
/// How long counts are kept.
const KEPT: Duration = DAY.saturating_mul(400);
/// The longest span that a report covers, in days.
pub const DAYS_MAX: u32 = 400;
/// How many openings this process remembers: whoever loads a page again and again asks the store for nothing.
const REMEMBERED: usize = 10_000;

/// How far an attempt has come. That it failed, [`Funnel::failed`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A link was given out.
    Offered,
    /// A browser asked for its page.
    Opened,
    /// The browser was sent to the provider.
    Initiated,
    /// It came back with a code and a valid state.
    Authorized,
    /// The grant is stored.
    Completed,
}

impl Stage {
    /// Its name. Part of what is stored: never change one.
    const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Opened => "opened",
            Self::Initiated => "initiated",
            Self::Authorized => "authorized",
            Self::Completed => "completed",
        }
    }
}

/// What is known of an attempt since it was initiated; kept with it until its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    /// In which browser.
    #[serde(rename = "b", default)]
    pub browser: Family,
    /// When the person was first sent to the provider with this ticket.
    #[serde(rename = "s", default, with = "crate::clock::millis")]
    pub since: Option<Timestamp>,
    /// Which set of scopes the service asked for.
    #[serde(rename = "q", default)]
    pub asked: Fingerprint,
}

/// Counts attempts. Cheap to clone; one for the whole process, so that reloads lose nothing.
#[derive(Clone)]
pub struct Funnel(Arc<Inner>);

struct Inner {
    roots: Roots,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    failures: Failures,
    tallies: Tallies,
    opened: Cache<String, ()>,
    generations: Generations,
}

impl Funnel {
    /// In this store and these metrics; attempts that fail are noted in `failures`, too. What nobody waits for runs on `handle`.
    pub fn new(roots: Roots, store: Arc<dyn Store>, metrics: Arc<Metrics>, failures: Failures, handle: Handle) -> Self {
        let tallies = Tallies::new(roots.clone(), Arc::clone(&store), handle);
        let generations = Generations::new(Arc::clone(&store));
        Self(Arc::new(Inner { roots, store, metrics, failures, tallies, opened: Cache::new(REMEMBERED), generations }))
    }

    /// A link was given out. Never waits: each refused call gives one. Counted in the background at once, and together with
    /// others where there are many; what a kill -9 finds uncounted, the links of the last tenth of a second, is lost.
    pub(super) fn offered(&self, service: &ServiceName, now: Timestamp) {
        self.0.metrics.service(service).connect(ConnectOutcome::Offered);
        self.0.tallies.offered(service, hour(now));
    }

    /// A browser asked for the link's page.
    pub(super) async fn opened(&self, ticket: &Ticket, browser: Family, now: Timestamp) {
        if self.0.opened.get(&ticket.id).is_none() {
            self.measure(ticket, ConnectOutcome::Opened);
            self.reached(ticket, Stage::Opened, browser, now).await;
            self.0.opened.insert(ticket.id.clone(), ());
        }
    }

    /// The browser is sent to the provider with these scopes of the service's own; `begins`: no other attempt with this ticket
    /// is under way. Counted also where one is, which counts nothing twice: a process may have died before it counted that.
    pub(super) async fn initiated(
        &self,
        ticket: &Ticket,
        beginning: &Beginning,
        scopes: &[String],
        begins: bool,
        now: Timestamp,
    ) {
        if begins {
            self.measure(ticket, ConnectOutcome::Initiated);
        }
        self.reached(ticket, Stage::Initiated, beginning.browser, now).await;
        let Ok(root) = self.0.roots.get().await else { return };
        self.0.generations.note(&root, &ticket.service, scopes, now).await;
        let counter = Counter::Asked(beginning.asked);
        self.count(ticket, counter, counter.bucket(hour(now), asked::INITIATED), "", now).await;
    }

    /// It is back with a code and a valid state.
    pub(super) async fn authorized(&self, ticket: &Ticket, now: Timestamp) {
        self.measure(ticket, ConnectOutcome::Authorized);
        self.reached(ticket, Stage::Authorized, Family::None, now).await;
    }

    /// The grant is stored.
    pub(super) async fn completed(&self, ticket: &Ticket, beginning: &Beginning, now: Timestamp) {
        self.measure(ticket, ConnectOutcome::Completed);
        self.reached(ticket, Stage::Completed, beginning.browser, now).await;
        if let Some(since) = beginning.since {
            let counter = Counter::Durations;
            let bucket = counter.bucket(hour(now), duration::class(now.since(since)));
            self.count(ticket, counter, bucket, "", now).await;
        }
    }

    /// It ended otherwise; `word` is the provider's own, where it is listed.
    pub(super) async fn failed(
        &self,
        ticket: &Ticket,
        beginning: &Beginning,
        (why, word): (Ended, Option<&'static str>),
        request: Option<&RequestId>,
        now: Timestamp,
    ) {
        self.measure(ticket, ConnectOutcome::Failed);
        let hour = hour(now);
        self.count(ticket, Counter::Failed, Counter::Failed.bucket(hour, 0), "", now).await;
        let (number, name) = error::of(why, word);
        self.0.failures.note(&ticket.service, name.as_str().into(), request);
        self.count(ticket, Counter::Errors, Counter::Errors.bucket(hour, number), &name, now).await;
        if why == Ended::Denied {
            // Beside the attempt itself, which that counter has counted.
            let counter = Counter::Asked(beginning.asked);
            self.count(ticket, counter, counter.bucket(hour, asked::DENIED), "denied", now).await;
        }
    }

    /// Finishes what has yet to be counted, within this time. Says whether nothing is left.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.0.tallies.drain(limit).await
    }

    /// What this process's metrics count: each press of the button that begins something, not each attempt.
    fn measure(&self, ticket: &Ticket, outcome: ConnectOutcome) {
        self.0.metrics.service(&ticket.service).connect(outcome);
    }

    async fn reached(&self, ticket: &Ticket, stage: Stage, browser: Family, now: Timestamp) {
        let counter = Counter::Stage(stage);
        self.count(ticket, counter, counter.bucket(hour(now), browser as u64), "", now).await;
    }

    /// Counts the attempt once; what it counts for, where one counter counts it for several things.
    async fn count(&self, ticket: &Ticket, counter: Counter, bucket: u64, what: &str, now: Timestamp) {
        let Ok(root) = self.0.roots.get().await else { return };
        // For as long as anything may come of the ticket: its own life, a stay at the provider, and somebody's word.
        let known_for = ticket.expires.until(now) + STATE_TTL * 2 + DAY;
        let id = digest("funnel", &if what.is_empty() { ticket.id.clone() } else { format!("{} {what}", ticket.id) });
        self.0.tallies.count(Count { name: counter.name(&root, &ticket.service), bucket, id, n: 1, known_for }).await;
    }
}

impl std::fmt::Debug for Funnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Funnel")
    }
}
