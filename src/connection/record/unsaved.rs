//! What this process has of grants that the store may lack: those that it could not write yet, and those that it wrote lately,
//! in case a failover loses them. Sealed all the while.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::{
    sync::{Notify, futures::Notified},
    time::timeout,
};

use crate::{
    clock::Timestamp,
    store::{Key, Version, Versioned},
};

use super::notices::OwnNotices;

/// How long ago something was written that is on every replica of the store by now, or was found missing since.
const LATELY: Duration = Duration::from_secs(10 * 60);

/// Grants that the provider gave and the store doesn't have yet.
#[derive(Default)]
pub struct Unsaved {
    waiting: Mutex<HashMap<Key, Grant>>,
    /// Something came in, or the store may be back.
    hurry: Notify,
    saved: Notify,
    /// The store may have forgotten something.
    gap: Notify,
}

/// A new grant, sealed for its place and version.
#[derive(Clone)]
pub struct Grant {
    /// The token version that brought the refresh token which paid for it.
    pub spends: Version,
    /// What is taken to be stored.
    pub expect: Version,
    /// Its version.
    pub version: Version,
    /// The record that holds it.
    pub sealed: Vec<u8>,
}

impl Unsaved {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Writes now rather than at the next interval.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// The store was away: it may be back, and it may have forgotten something.
    pub fn gap(&self) {
        self.hurry();
        self.gap.notify_one();
    }

    /// The sealed record that is newer than the store's, if there is one.
    pub fn sealed(&self, key: &Key) -> Option<(Version, Vec<u8>)> {
        self.waiting.lock().get(key).map(|grant| (grant.version, grant.sealed.clone()))
    }

    /// The keys of all that wait, in order.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.waiting.lock().keys().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Keeps a grant until it is written.
    pub fn keep(&self, key: Key, grant: Grant) {
        self.waiting.lock().insert(key, grant);
        self.hurry();
    }

    /// The grant that waits there.
    pub fn get(&self, key: &Key) -> Option<Grant> {
        self.waiting.lock().get(key).cloned()
    }

    /// A round of writing is done.
    pub fn told(&self) {
        self.saved.notify_waiters();
    }

    /// Resolves when something should be written now.
    pub fn hurried(&self) -> Notified<'_> {
        self.hurry.notified()
    }

    /// Resolves when the store may have forgotten something.
    pub fn gapped(&self) -> Notified<'_> {
        self.gap.notified()
    }

    /// That grant needs no more writing. A later refresh may have put a newer one in its place.
    pub fn settled(&self, key: &Key, version: Version) {
        let mut waiting = self.waiting.lock();
        if waiting.get(key).is_some_and(|grant| grant.version == version) {
            waiting.remove(key);
        }
    }

    /// Waits until nothing waits, at most this long. Says whether that came about.
    pub async fn settle(&self, limit: Duration) -> bool {
        self.hurry();
        timeout(limit, async {
            loop {
                // A store that fails at once is asked again after the usual pause, not as fast as it fails.
                let saved = self.saved.notified();
                if self.len() == 0 {
                    return;
                }
                saved.await;
            }
        })
        .await
        .is_ok()
    }
}

/// A record with a renewed grant, as this process last wrote it.
pub struct Stored {
    /// As [`Grant::spends`].
    pub spends: Version,
    /// Its version.
    pub version: Version,
    /// Itself.
    pub sealed: Vec<u8>,
    /// When it was written.
    pub at: Timestamp,
}

/// Records with renewed grants as this process last wrote them; bounded in number.
pub struct Written(Cache<Key, Arc<Stored>>);

impl Written {
    /// Of at most this many records.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// Remembers what was written.
    pub fn keep(&self, key: Key, stored: Stored) {
        self.0.insert(key, Arc::new(stored));
    }

    /// What this process last wrote there, if that is known.
    pub fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.0.get(key)
    }

    /// Where this process wrote since then, in order.
    pub fn since(&self, since: Timestamp) -> Vec<Key> {
        let lately = self.0.iter().filter(|(_, stored)| stored.at >= since);
        let mut keys: Vec<Key> = lately.map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    /// Nothing of what was written there is kept.
    pub fn forget(&self, key: &Key) {
        self.0.remove(key);
    }
}

/// What this process itself got from providers and the store lacks, or may lose; and which notices tell of its own writes.
pub struct OwnGrants {
    /// What the store doesn't have yet.
    pub unsaved: Unsaved,
    /// What it was given lately.
    pub written: Written,
    /// Notices of writes that what is held in memory shows already.
    pub notices: OwnNotices,
}

impl OwnGrants {
    /// Nothing yet. What was written is kept for at most this many records.
    pub fn new(capacity: usize) -> Self {
        Self { unsaved: Unsaved::default(), written: Written::new(capacity), notices: OwnNotices::new(capacity) }
    }

    /// The version and seal that wait there, where they are newer than the store's; else the store's.
    pub fn newest(&self, key: &Key, stored: Versioned) -> (Version, Vec<u8>) {
        let unsaved = self.unsaved.sealed(key).filter(|(version, _)| *version > stored.version);
        unsaved.unwrap_or((stored.version, stored.value))
    }

    /// Which version of a record this process got from the provider and wrote, or has yet to write (then without the
    /// moment).
    pub fn grant(&self, key: &Key) -> Option<(Version, Option<Timestamp>)> {
        if let Some((version, _)) = self.unsaved.sealed(key) {
            return Some((version, None));
        }
        self.written.get(key).map(|written| (written.version, Some(written.at)))
    }

    /// What was written lately, in order: after a gap in the notices, which a failover leaves, reading it again repairs what
    /// the store has lost.
    pub fn written_lately(&self, now: Timestamp) -> Vec<Key> {
        self.written.since(now.before(LATELY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{OwnerId, RecordId};

    #[test]
    fn what_was_written_lately_is_found_again_until_it_is_forgotten() {
        let written = Written::new(16);
        let keys = [1, 2].map(|record| Key { owner: OwnerId([7; 16]), record: RecordId([record; 16]) });
        for (key, number) in keys.iter().zip([1_u8, 2]) {
            let at = Timestamp::from_seconds(1000 * u64::from(number));
            written.keep(
                *key,
                Stored { spends: Version(0), version: Version(u64::from(number)), sealed: vec![number], at },
            );
        }
        assert_eq!(written.since(Timestamp::from_seconds(1500)), [keys[1]]);
        let first = written.get(&keys[0]).expect("it is still known");
        assert_eq!((first.version, first.sealed.as_slice()), (Version(1), &[1][..]));
        written.forget(&keys[0]);
        assert!(written.get(&keys[0]).is_none());
    }
}
