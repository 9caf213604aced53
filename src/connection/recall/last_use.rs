//! When connections were last used. Each process notes what it sees at the credentials that it holds and writes it to the
//! store now and then, off every call's way, beside the records: no version moves for it, and a time that is lost is
//! nobody's loss. What stands in the store are hashed names and times.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    runtime::Handle,
    time::{interval, timeout},
};

use crate::{
    clock::Timestamp,
    connection::{
        cache::{Credential, Held, Selection, SnapshotCache},
        model::Unavailable,
        record::{records::Records, root},
    },
    id::{CallerId, ConnectionId},
    store::{self, Claim, Key, OwnerId, RecordId},
    vault::Root,
};

/// A connection's time is written at most this often.
const COARSE: Duration = Duration::from_secs(60 * 60);
/// How often is looked for what should be written.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long the times of a caller outlive their last use.
const KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// How many connections of a caller have times in the store at most: those used last.
const MOST: usize = 256;
/// How many callers' times are written at the same time.
const AT_ONCE: usize = 16;
/// How often a write is tried again when someone else was quicker.
const ATTEMPTS: u32 = 3;
/// A connection's name and time.
const ENTRY: usize = 24;

/// Times as they are stored.
type Stored = BTreeMap<RecordId, Timestamp>;

/// When a caller's connections were last used, as all processes wrote it.
pub struct Times {
    root: Option<Arc<Root>>,
    stored: Stored,
}

impl Times {
    /// When this one was, as far as anybody knows.
    pub fn of(&self, held: &Held) -> Option<Timestamp> {
        let record = self.root.as_ref().map(|root| root::key(root, &held.id).record);
        held.last_used().max(record.and_then(|record| self.stored.get(&record).copied()))
    }

    /// When this one was, as far as the store knows.
    pub fn at(&self, id: &ConnectionId) -> Option<Timestamp> {
        let record = root::key(self.root.as_ref()?, id).record;
        self.stored.get(&record).copied()
    }
}

/// When the credential's connection was last used, where the store should hear of it.
fn unwritten(credential: &Credential, coarse: Duration) -> Option<Timestamp> {
    let used = credential.last_used()?;
    let due = credential.use_written().is_none_or(|written| written < used && used.since(written) >= coarse);
    due.then_some(used)
}

/// Notes when connections were last used.
pub struct LastUse {
    records: Arc<Records>,
    cache: Arc<SnapshotCache>,
}

impl LastUse {
    /// What is seen at the credentials of `cache` is written beside these records.
    pub fn new(records: Arc<Records>, cache: Arc<SnapshotCache>) -> Arc<Self> {
        Arc::new(Self { records, cache })
    }

    /// Writes what was used, again and again, for as long as the process lives.
    pub fn keep_writing(self: &Arc<Self>, handle: &Handle) {
        let last_use = Arc::clone(self);
        handle.spawn(async move {
            let mut tick = interval(INTERVAL);
            loop {
                tick.tick().await;
                last_use.write_now(COARSE).await;
            }
        });
    }

    /// Writes all that the store doesn't know, within this time or not at all.
    pub async fn write_all(&self, limit: Duration) {
        let _ = timeout(limit, self.write_now(Duration::ZERO)).await;
    }

    async fn write_now(&self, coarse: Duration) {
        let Some(root) = self.records.roots().known() else { return };
        let writes = stream::iter(self.unwritten(coarse)).map(Ok).try_for_each_concurrent(AT_ONCE, |(owner, used)| {
            let times = used.iter().map(|(credential, at)| (root::key(root, &credential.id).record, *at)).collect();
            async move {
                self.merge(owner, &times).await?;
                used.iter().for_each(|(credential, at)| credential.set_use_written(*at));
                Ok::<(), store::Error>(())
            }
        });
        if let Err(error) = writes.await {
            tracing::debug!(%error, "times of use are written later");
        }
    }

    /// What was used since it was last written, where that is so long ago; by caller, in order.
    fn unwritten(&self, coarse: Duration) -> BTreeMap<OwnerId, Vec<(Arc<Credential>, Timestamp)>> {
        let mut all: BTreeMap<OwnerId, Vec<(Arc<Credential>, Timestamp)>> = BTreeMap::new();
        for (owner, snapshot) in self.cache.all() {
            for (_, credential) in snapshot.connections.iter().flat_map(|held| held.credentials.iter()) {
                if let Some(at) = unwritten(credential, coarse) {
                    all.entry(owner).or_default().push((Arc::clone(credential), at));
                }
            }
        }
        all
    }

    /// When the connection was last used, as far as this process knows.
    pub fn known(&self, owner: &OwnerId, id: &ConnectionId) -> Option<Timestamp> {
        let snapshot = self.cache.held(owner)?;
        let Selection::One(held) = snapshot.select(&id.service, Some(&id.account)) else { return None };
        held.last_used()
    }

    /// The connection at `key` was last used then: for one that has another label now.
    pub async fn take_over(&self, key: Key, at: Timestamp) {
        if let Err(error) = self.merge(key.owner, &Stored::from([(key.record, at)])).await {
            tracing::debug!(%error, "the time of use is not known under the new label");
        }
    }

    async fn merge(&self, owner: OwnerId, times: &Stored) -> Result<(), store::Error> {
        let (store, id) = (self.records.store(), name(&owner));
        for _ in 0..ATTEMPTS {
            let before = store.peek(&id).await?;
            let mut all = before.as_deref().map(read).unwrap_or_default();
            for (record, at) in times {
                let known = all.entry(*record).or_default();
                *known = (*at).max(*known);
            }
            let merged = write(all);
            let done = match &before {
                Some(before) => store.replace(&id, before, &merged, Some(KEPT)).await?,
                None => store.put_once(&id, &merged, Some(KEPT)).await? == Claim::Mine,
            };
            if done {
                return Ok(());
            }
        }
        Ok(())
    }

    /// When the caller's connections were last used: what this process saw, and what others wrote.
    pub async fn of(&self, caller: &CallerId) -> Times {
        let root = self.records.roots().known().cloned();
        let stored = match &root {
            Some(root) => self.records.store().peek(&name(&root::owner(root, caller))).await.ok().flatten(),
            None => None,
        };
        let stored = stored.as_deref().map(read).unwrap_or_default();
        Times { root, stored }
    }

    /// When the caller's connections were last used, as all processes wrote it: to the hour, and what was idle for an hour to the
    /// minute.
    ///
    /// # Errors
    /// While the store or the keys are away: then nothing may be called unused.
    pub async fn stored(&self, caller: &CallerId) -> Result<Times, Unavailable> {
        let root = self.records.roots().get().await?;
        let stored = self.records.store().peek(&name(&root::owner(&root, caller))).await?;
        Ok(Times { root: Some(root), stored: stored.as_deref().map(read).unwrap_or_default() })
    }

    /// Nothing of the caller's use is kept.
    pub async fn forget(&self, owner: OwnerId) -> Result<(), Unavailable> {
        self.records.store().take(&name(&owner)).await?;
        Ok(())
    }
}

fn name(owner: &OwnerId) -> String {
    format!("used-{owner}")
}

fn read(stored: &[u8]) -> Stored {
    let entries = stored.chunks_exact(ENTRY).filter_map(|entry| {
        let (record, at) = entry.split_at_checked(16)?;
        let at = u64::from_be_bytes(at.try_into().ok()?);
        Some((RecordId(record.try_into().ok()?), Timestamp::from_millis(at)))
    });
    entries.collect()
}

fn write(times: Stored) -> Vec<u8> {
    let mut latest: Vec<(RecordId, Timestamp)> = times.into_iter().collect();
    latest.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(*at));
    latest.truncate(MOST);
    latest.iter().flat_map(|(record, at)| record.0.into_iter().chain(at.millis().to_be_bytes())).collect()
}
