//! Which change notices tell a process of what it wrote itself, and what it holds in memory shows. They are told apart by the
//! version, which nobody else chooses; one that is not recognized costs no more than a look at the store.

use quick_cache::sync::Cache;

use crate::store::{Key, Version};

/// The notices of own writes that have yet to come; bounded in number.
pub struct OwnNotices(Cache<(Key, Version), ()>);

impl OwnNotices {
    /// At most this many.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// A write is about to be sent. Its notice may be here before its answer.
    pub fn expect(&self, key: Key, version: Version) {
        self.0.insert((key, version), ());
    }

    /// Nobody knows whether that write was done, or it was not: its notice, should it come, is news.
    pub fn give_up(&self, key: &Key, version: Version) {
        self.0.remove(&(*key, version));
    }

    /// Whether this is one of them; said once.
    pub fn is_own(&self, key: &Key, version: Version) -> bool {
        self.0.remove(&(*key, version)).is_some()
    }
}
