//! Erasing a whole user: every connection unusable at once, revoked at its provider where that can be, and deleted. What a
//! provider can't be asked now stays as a sealed tombstone, which nobody sees and the healer asks again for. Works on the
//! records as they are stored: also on those of services that are no longer configured.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    connection::{
        model::Unavailable,
        record::{
            records::ATTEMPTS,
            tombstone::{self, Retired},
        },
    },
    events::Cause,
    id::CallerId,
    store::{Key, OwnerId},
};

use super::Manager;

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

impl Manager {
    /// Erases all that is kept for the caller. Done again, it finds nothing more to do.
    ///
    /// # Errors
    /// While the store or the keys are away. Some connections may be erased by then; the others are as they were.
    pub async fn erase(&self, caller: &CallerId, cause: &Cause) -> Result<Erased, Unavailable> {
        let owner = self.parts.records.roots().owner(caller).await?;
        let mut erased = Erased::default();
        for _ in 0..ATTEMPTS {
            let keys = self.retire_all(owner, &mut erased, cause).await?;
            self.part_with_all(&keys).await;
            self.parts.records.forget(&owner, &keys);
            // Once more: what was on its way meanwhile to another label, or into the store, has arrived.
            let left = self.parts.records.keys(owner).await?;
            erased.revocation_pending = left.len();
            if left.iter().all(|key| keys.contains(key)) {
                self.parts.last_use.forget(owner).await?;
                // Last of all: what the log says of the person is in by now, and goes with their key.
                self.parts.records.facts().personal_keys().destroy(&owner).await?;
                return Ok(erased);
            }
        }
        Err(Unavailable::Busy)
    }

    /// Makes all records of an owner unusable, until none is listed that is not; what comes back are those that are left.
    async fn retire_all(&self, owner: OwnerId, erased: &mut Erased, cause: &Cause) -> Result<Vec<Key>, Unavailable> {
        for _ in 0..ATTEMPTS {
            let keys = self.parts.records.keys(owner).await?;
            let mut are_tombstones = true;
            for key in &keys {
                match tombstone::retire(&self.parts.records, *key, cause).await? {
                    Retired::Now(record) => {
                        are_tombstones = false;
                        if record.waits_for().is_none() {
                            erased.connections += 1;
                        }
                        if record.api_key.is_some() {
                            self.parts.api_keys.forget_use(&record.id).await?;
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
        let revocations = join_all(keys.iter().map(|key| {
            let (revoker, key) = (Arc::clone(&self.parts.revoker), *key);
            self.parts.handle.spawn(async move { revoker.finish(key).await })
        }));
        // A provider that is quick is waited for, so that "erased" is true in every respect; a slow one is not.
        let _ = timeout(PATIENCE, revocations).await;
    }
}
