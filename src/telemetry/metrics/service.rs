//! What is counted of one service. Made once for as long as the process lives, with all its series at zero.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    cells::Counter,
    histogram::{CALLS, Histogram, OWN},
    labels::{ConnectOutcome, RefreshOutcome, RequestOutcome},
};
use crate::{clock::Timestamp, telemetry::TraceId};

/// How long a call took that the upstream has answered.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// From the request's head to the end of the answer.
    pub total: Duration,
    /// Valetkey's own part (docs/OBSERVABILITY.md says what that is), and …
    pub own: Duration,
    /// … how long the answer's head was waited for.
    pub upstream: Duration,
}

/// The handles of one service. Cheap to record with: no lock, no memory.
#[derive(Debug)]
pub struct ServiceMetrics {
    pub(super) service: Arc<str>,
    pub(super) requests: [Counter; RequestOutcome::ALL.len()],
    pub(super) request_duration: Histogram,
    pub(super) overhead: Histogram,
    pub(super) upstream_duration: Histogram,
    pub(super) refreshes: [Counter; RefreshOutcome::ALL.len()],
    pub(super) refresh_duration: Histogram,
    pub(super) connects: [Counter; ConnectOutcome::ALL.len()],
    /// The moment from which the next field counts.
    began: Instant,
    /// Until when the token endpoint is asked by nobody, in milliseconds; 0: it is asked.
    circuit_open_until: AtomicU64,
}

impl ServiceMetrics {
    pub(super) fn new(service: Arc<str>, began: Instant) -> Self {
        Self {
            service,
            requests: Default::default(),
            request_duration: Histogram::new(&CALLS),
            overhead: Histogram::new(&OWN),
            upstream_duration: Histogram::new(&CALLS),
            refreshes: Default::default(),
            refresh_duration: Histogram::new(&CALLS),
            connects: Default::default(),
            began,
            circuit_open_until: AtomicU64::new(0),
        }
    }

    /// Counts a request that has ended without an answer of the upstream's, and how long it took.
    pub fn request(&self, outcome: RequestOutcome, took: Duration) {
        self.requests[outcome as usize].inc();
        self.request_duration.observe(took);
    }

    /// Counts a call that has ended, and how long what of it took. `trace`: the trace that it belongs to, where that is recorded, and
    /// when the call began.
    pub fn call(&self, outcome: RequestOutcome, took: &Took, trace: Option<(TraceId, Timestamp)>) {
        self.requests[outcome as usize].inc();
        let all = [
            (&self.request_duration, took.total),
            (&self.overhead, took.own),
            (&self.upstream_duration, took.upstream),
        ];
        for (histogram, took) in all {
            match trace {
                None => histogram.observe(took),
                Some((trace, at)) => histogram.observe_traced(took, trace, at),
            }
        }
    }

    /// Counts a refresh that has ended, and how long it took.
    pub fn refresh(&self, outcome: RefreshOutcome, took: Duration) {
        self.refreshes[outcome as usize].inc();
        self.refresh_duration.observe(took);
    }

    /// Counts connect attempts that have reached a stage.
    pub fn connect(&self, outcome: ConnectOutcome) {
        self.connects[outcome as usize].inc();
    }

    /// The token endpoint is asked by nobody until then; `None`: it is asked.
    pub fn circuit_open_until(&self, until: Option<Instant>) {
        let millis =
            |until: Instant| u64::try_from(until.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        self.circuit_open_until.store(until.map_or(0, millis), Ordering::Relaxed);
    }

    /// Whether the token endpoint is asked by nobody now.
    pub(super) fn is_circuit_open(&self, now: Instant) -> bool {
        let until = Duration::from_millis(self.circuit_open_until.load(Ordering::Relaxed));
        now.saturating_duration_since(self.began) < until
    }
}
