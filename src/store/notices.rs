//! Change notices inside this process: who wants to know that a record changed listens here. It never reads a record,
//! and never promises that a notice arrives: it promises that a gap is announced.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use super::{Key, Version};

/// A change notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// This record was written, as this version, or (`None`) deleted, here or on another replica.
    Record(Key, Option<Version>),
    /// Notices may have been missed: distrust everything read before.
    Gap,
}

impl Change {
    /// What a written or deleted record's notice says between replicas: 64 hexadecimal digits, and where it was written 16
    /// more.
    pub(super) fn text(key: &Key, version: Option<Version>) -> String {
        version.map_or_else(|| key.to_string(), |Version(version)| format!("{key}{version:016x}"))
    }

    /// The reverse of [`Change::text`].
    pub(super) fn from_text(text: &[u8]) -> Option<Self> {
        let (key, version) = text.split_at_checked(64)?;
        let version = match version {
            [] => None,
            digits if digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit) => {
                Some(Version(u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?))
            }
            _ => return None,
        };
        Some(Self::Record(Key::from_hex(key)?, version))
    }
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
    use crate::store::{OwnerId, RecordId};

    #[test]
    fn a_notice_names_the_record_and_its_version() {
        let key = Key { owner: OwnerId([0xa7; 16]), record: RecordId([0x0f; 16]) };
        for version in [None, Some(Version(0)), Some(Version(0x1234_5678_9abc_def0))] {
            let text = Change::text(&key, version);
            assert_eq!(Change::from_text(text.as_bytes()), Some(Change::Record(key, version)), "{text}");
        }
        let text = Change::text(&key, Some(Version(7)));
        for wrong in [&text[..63], &text[..79], &format!("{text}0"), &format!("{}+000000000000007", &text[..64])] {
            assert_eq!(Change::from_text(wrong.as_bytes()), None, "{wrong}");
        }
    }

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
