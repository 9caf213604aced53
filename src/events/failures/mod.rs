//! What fails, by service and error: attempts to connect, refreshes, grants that are lost. Each process gathers for some
//! seconds and appends what it gathered to a sealed log in the store, so that an outage with a hundred thousand failures an hour
//! is a few hundred entries. Errors come from closed lists, so neither memory nor the log grows by what anybody makes up. Decides
//! nothing about what is too much; that is `alerts`' affair.
//!
//! - `gathered`: what is not stored yet; `keeper`: stores it; `kept`: a batch at rest; `log`: reads the batches of all replicas

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Event, Kind, Sink};
use crate::{
    clock::{Clock, Timestamp},
    id::{RequestId, ServiceName},
    store::{Keep, LogName},
};

mod gathered;
mod keeper;
mod kept;
mod log;
#[cfg(test)]
mod tests;

use gathered::Gathered;
pub use keeper::Keeper;
pub use kept::Batch;
pub(in crate::events) use log::added_up;
pub use log::{Failure, FailureLog, HOURS_MAX};

/// The log of what failed.
pub const FAILURES: LogName = LogName::new("failures");

/// What of it is kept of each stream: about six megabytes at most.
const KEPT: Keep = Keep { age: Some(Duration::from_secs(32 * 86_400)), entries: Some(20_000), behind: None };

/// How long failures are gathered before they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At first …
    pub first: Duration,
    /// … and at most, where it goes on and on.
    pub longest: Duration,
}

impl Pace {
    /// For whoever looks at a rolling window of this length.
    pub fn for_window(window: Duration) -> Self {
        let first = (window / 5).min(Duration::from_secs(5));
        Self { first, longest: (window / 60).clamp(first, Duration::from_secs(60).max(first)) }
    }
}

/// Where failures are noted; exists before whatever is needed to store them. Cheap to clone.
#[derive(Clone)]
pub struct Failures(Arc<Inner>);

struct Inner {
    clock: Clock,
    gathered: Mutex<Gathered>,
    changed: Notify,
}

impl Failures {
    /// None yet.
    pub fn new(clock: Clock, pace: Pace) -> Self {
        Self(Arc::new(Inner { clock, gathered: Mutex::new(Gathered::new(pace)), changed: Notify::new() }))
    }

    /// Something failed. Never waits. `error` is of a closed list: `class`, or `class:word`.
    pub fn note(&self, service: &ServiceName, error: Cow<'_, str>, request: Option<&RequestId>) {
        let now = self.now();
        if self.0.gathered.lock().note(service, error, request, now) {
            self.0.changed.notify_one();
        }
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl Sink for Failures {
    fn tell(&self, event: &Event) {
        let class = match event.kind {
            Kind::RefreshFailed => "refresh_failed",
            Kind::ClientRefused => "client_refused",
            Kind::Invalidated => "invalidated",
            Kind::RevocationFailed => "revocation_failed",
            _ => return,
        };
        let error = event.detail.map_or(Cow::Borrowed(class), |word| format!("{class}:{word}").into());
        self.note(&event.connection.service, error, event.cause.request.as_ref());
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failures")
    }
}
