//! Erasing a whole user: every connection unusable at once, revoked at its provider where that can be, and deleted. What a
//! provider can't be asked now stays as a sealed tombstone, which nobody sees and the healer asks again for. Works on the
//! records as they are stored: also on those of services that are no longer configured.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    events::Kind,
    id::CallerId,
    store::{Expect, Key, OwnerId, Put},
};

use super::{Connections, Unavailable, record::Record, root, state::Change};

/// How often a record is tried again when someone else was quicker.
const ATTEMPTS: u32 = 16;
/// How long providers are waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What became of a user's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// How many were erased now.
    pub connections: usize,
    /// How many wait for their provider to revoke them, from now or from before.
    pub revocation_pending: usize,
}

/// What became of one record.
enum Retired {
    /// It was in use until now.
    Now(Box<Record>),
    /// It was given up before, and waits for its provider.
    Before,
    /// There is none, or there is none any more.
    Gone,
}

impl Connections {
    /// Erases all that is kept for the caller. Done again, it finds nothing more to do.
    ///
    /// # Errors
    /// While the store or the keys are away. Some connections may be erased by then; the others are as they were.
    pub async fn erase(&self, caller: &CallerId) -> Result<Erased, Unavailable> {
        let owner = root::owner(self.0.parts.roots.get().await?.as_ref(), caller);
        let mut erased = Erased::default();
        for _ in 0..ATTEMPTS {
            let keys = self.retire_all(owner, &mut erased).await?;
            self.part_with_all(&keys).await;
            self.0.snapshots.forget(&owner, &keys);
            // Once more: what was on its way meanwhile to another label, or into the store, has arrived.
            let left = self.0.parts.store.list(&owner).await?;
            erased.revocation_pending = left.len();
            if left.iter().all(|(record, _)| keys.contains(&Key { owner, record: *record })) {
                self.forget_use(owner).await?;
                return Ok(erased);
            }
        }
        Err(Unavailable::Busy)
    }

    /// Makes all records of an owner unusable, until none is listed that is not; what comes back are those that are left.
    async fn retire_all(&self, owner: OwnerId, erased: &mut Erased) -> Result<Vec<Key>, Unavailable> {
        for _ in 0..ATTEMPTS {
            let listed = self.0.parts.store.list(&owner).await?;
            let keys: Vec<Key> = listed.into_iter().map(|(record, _)| Key { owner, record }).collect();
            let mut are_tombstones = true;
            for key in &keys {
                match self.retire(*key).await? {
                    Retired::Now(record) => {
                        are_tombstones = false;
                        if record.aside.is_none() {
                            erased.connections += 1;
                            self.tell(&record.id, Kind::Erased, None);
                        }
                        if record.api_key.is_some() {
                            self.forget_key_use(&record.id).await?;
                        }
                    }
                    Retired::Gone => are_tombstones = false,
                    Retired::Before => {}
                }
            }
            if are_tombstones {
                return Ok(keys);
            }
        }
        Err(Unavailable::Busy)
    }

    async fn part_with_all(&self, keys: &[Key]) {
        let farewells = join_all(keys.iter().map(|key| {
            let (connections, key) = (self.clone(), *key);
            self.0.parts.handle.spawn(async move { connections.finish_farewell(key).await })
        }));
        // A provider that is quick is waited for, so that "erased" is true in every respect; a slow one is not.
        let _ = timeout(PATIENCE, farewells).await;
    }

    /// Makes one record unusable: a tombstone, or nothing where there is no grant to revoke.
    async fn retire(&self, key: Key) -> Result<Retired, Unavailable> {
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.0.parts.store.get(&key).await? else { return Ok(Retired::Gone) };
            // A grant that waits to be stored is the one to revoke.
            let (newest, sealed) = self.0.unsaved.sealed(&key).unwrap_or((stored.version, stored.value));
            let expect = Expect::Version(stored.version);
            let record = match Record::open(&self.0.parts.vault, &key, newest, &sealed) {
                Ok(record) => record,
                Err(_) => {
                    tracing::warn!("a record that can't be read is erased without being revoked");
                    self.0.parts.store.delete(&key, expect).await?;
                    return Ok(Retired::Gone);
                }
            };
            if record.farewell.is_some() {
                return Ok(Retired::Before);
            }
            let now = self.now();
            let version = self.version_after(Some(newest.max(stored.version)), now);
            let gone = record.clone().apply(Change::Disconnected, now, version.0);
            let put = if gone.farewell.is_none() {
                self.0.parts.store.delete(&key, expect).await?
            } else {
                let sealed = gone.seal(&self.0.parts.vault, &key, version)?;
                self.0.parts.store.put(&key, expect, version, &sealed, self.due(&gone, now)).await?
            };
            if let Put::Stored = put {
                self.0.snapshots.changed(&key.owner);
                return Ok(Retired::Now(Box::new(record)));
            }
        }
        Err(Unavailable::Busy)
    }
}
