//! Traces of calls: which calls have one, what is recorded of them, and the form in which a collector takes it. A call that isn't
//! recorded has nothing made for it: that is decided before anything exists. Spans name methods, services, hosts, statuses
//! and paths without their query; never a user, an account, a header or a body. What is recorded waits in a queue that is
//! bounded; whoever delivers it is above.
//!
//! `context` is W3C Trace Context; `span` what is recorded; `otlp` the messages.

mod context;
mod otlp;
mod span;

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{Receiver, Sender, channel};

pub use context::Parent;
pub use otlp::{Resource, rejected};
pub use span::{Ended, Trace, Upstreamed};

/// Names a trace.
pub type TraceId = [u8; 16];
/// Names a span of a trace.
pub type SpanId = [u8; 8];

/// How many traces wait to be delivered at most.
const QUEUE: usize = 4096;
/// 2^64 divided by the golden ratio: its multiples are spread as evenly as any numbers are.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Which part of calls is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(Option<u64>);

impl Share {
    /// A part from 0 to 1.
    pub fn new(part: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "`as` saturates, and a part is known to some digits only"
        )]
        let below = (part * u64::MAX as f64) as u64;
        Self((part > 0.0).then_some(below))
    }
}

/// Chooses calls, and takes what was recorded of them.
#[derive(Debug)]
pub struct Tracer {
    dice: AtomicU64,
    queue: Sender<Box<Trace>>,
}

impl Tracer {
    /// A tracer, and what it takes.
    pub fn new() -> (Self, Receiver<Box<Trace>>) {
        let (queue, recorded) = channel(QUEUE);
        // Processes that begin together choose different calls.
        let dice = AtomicU64::new(getrandom::u64().unwrap_or_default());
        (Self { dice, queue }, recorded)
    }

    /// Whether this one is chosen: so many of each hundred, spread evenly.
    pub fn chooses(&self, share: Share) -> bool {
        share.0.is_some_and(|below| self.dice.fetch_add(STEP, Ordering::Relaxed) <= below)
    }

    /// Takes a trace that has ended. Never waits.
    ///
    /// # Errors
    /// Where there is no room for it: how many spans are lost.
    pub fn record(&self, trace: Box<Trace>) -> Result<(), usize> {
        self.queue.try_send(trace).map_err(|refused| refused.into_inner().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_each_hundred_are_chosen() {
        let (tracer, _recorded) = Tracer::new();
        for (part, least, most) in [(0.0, 0, 0), (0.01, 95, 105), (0.5, 4990, 5010), (1.0, 10_000, 10_000)] {
            let share = Share::new(part);
            let chosen = (0..10_000).filter(|_| tracer.chooses(share)).count();
            assert!((least..=most).contains(&chosen), "{part}: {chosen}");
        }
    }
}
