//! Names of events: sortable by time, made without asking anybody, the same wherever the event is told of.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use sha2::{Digest, Sha256};

use crate::{clock::Timestamp, store::EntryId};

/// Sixteen bytes: when (milliseconds since the epoch, 6 bytes), and what tells events of one moment apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId([u8; 16]);

impl EventId {
    /// Of an event that several may tell of: they agree on when it was, and on what tells it from all others.
    pub fn agreed(at: Timestamp, distinct: [u8; 10]) -> Self {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&at.millis().to_be_bytes()[2..]);
        id[6..].copy_from_slice(&distinct);
        Self(id)
    }

    /// As the store's log knows it.
    pub const fn entry(self) -> EntryId {
        EntryId(self.0)
    }
}

/// Thirty-two hexadecimal digits, in whose order events happened.
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.entry(), f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes the ids of one process's events.
#[derive(Debug)]
pub struct EventIds {
    process: [u8; 6],
    next: AtomicU32,
}

impl EventIds {
    /// Of the process of this name, which no other has.
    pub fn new(process: &str) -> Self {
        let mut name = [0; 6];
        name.copy_from_slice(&Sha256::digest(process.as_bytes())[..6]);
        Self { process: name, next: AtomicU32::new(0) }
    }

    /// The id of something that happens now.
    pub fn next(&self, now: Timestamp) -> EventId {
        let mut distinct = [0; 10];
        distinct[..6].copy_from_slice(&self.process);
        distinct[6..].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        EventId::agreed(now, distinct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_time_and_no_two_are_the_same() {
        let (one, other) = (EventIds::new("one"), EventIds::new("other"));
        let at = Timestamp::from_seconds(1_800_000_000);
        let ids = [one.next(at), one.next(at), other.next(at), one.next(at.plus(std::time::Duration::from_millis(1)))];
        assert!(ids[..3].iter().all(|id| *id < ids[3]), "{ids:?}");
        assert!(ids[0] < ids[1] && ids[2] != ids[0] && ids[2] != ids[1], "{ids:?}");
        assert!(ids.map(|id| id.to_string()).is_sorted_by_key(|text| text[..12].to_owned()));
    }
}
