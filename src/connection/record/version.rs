//! Versions that no other process chooses for the same successor.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{clock::Timestamp, store::Version};

/// The next version is drawn at random from the following 65,536 µs.
const SPREAD: u64 = 1 << 16;

/// Chooses versions in this process's name.
pub struct Versions {
    process: String,
    chosen: AtomicU64,
}

impl Versions {
    /// For the process of this name, which no other has.
    pub fn new(process: String) -> Self {
        Self { process, chosen: AtomicU64::new(0) }
    }

    /// A version after this one, which nobody else chooses after it: where a failover, or a grant that only this process
    /// has, makes two records successors of the same one, neither may be taken for the other. A clock that is behind the
    /// one before would lead all to the same number.
    pub fn after(&self, previous: Option<Version>, now: Timestamp) -> Version {
        let mut hasher = DefaultHasher::new();
        (&self.process, self.chosen.fetch_add(1, Ordering::Relaxed), now.millis()).hash(&mut hasher);
        Version(Version::next(previous, now.micros()).0.saturating_add(hasher.finish() % SPREAD))
    }
}
