//! Change notices inside this process: who wants to know that a record changed listens here. It never reads a record,
//! and never promises that a notice arrives: it promises that a gap is announced.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use super::Key;

/// A change notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// This record was written or deleted, here or on another replica.
    Record(Key),
    /// Notices may have been missed: distrust everything read before.
    Gap,
}

/// How many notices a slow listener may fall behind before it is told that it lagged (which is a gap).
const BACKLOG: usize = 4096;

/// The broadcaster and the state of the channel that feeds it.
pub(super) struct Notices {
    sender: broadcast::Sender<Change>,
    /// Odd while the channel works; grows at each change of state, so that each odd number is one unbroken stretch.
    epoch: AtomicU64,
}

impl Notices {
    /// A channel that isn't up yet.
    pub(super) fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), epoch: AtomicU64::new(0) }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.sender.subscribe()
    }

    /// Tells all listeners; that there are none is fine.
    pub(super) fn send(&self, change: Change) {
        let _ = self.sender.send(change);
    }

    /// The channel works from now on. The gap is told before the state changes, so that nobody trusts in between.
    pub(super) fn up(&self) {
        if self.epoch().is_none() {
            self.send(Change::Gap);
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The channel is broken from now on.
    pub(super) fn down(&self) {
        if self.epoch().is_some() {
            self.epoch.fetch_add(1, Ordering::AcqRel);
            self.send(Change::Gap);
        }
    }

    /// Something was missed although the channel works: a new stretch begins.
    pub(super) fn missed(&self) {
        if self.epoch().is_some() {
            self.down();
            self.up();
        }
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        let epoch = self.epoch.load(Ordering::Acquire);
        (epoch % 2 == 1).then_some(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_and_each_recovery_is_a_gap_and_no_epoch_returns() {
        let notices = Notices::new();
        let mut listener = notices.subscribe();
        assert_eq!(notices.epoch(), None);
        notices.up();
        let first = notices.epoch();
        assert!(first.is_some());
        notices.down();
        notices.down();
        assert_eq!(notices.epoch(), None);
        notices.up();
        assert!(notices.epoch() > first);
        let gaps = std::iter::from_fn(|| listener.try_recv().ok()).filter(|change| *change == Change::Gap).count();
        assert_eq!(gaps, 3);
    }
}
