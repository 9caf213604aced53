//! When connections were last used. Each process notes what it sees in memory and writes it to the store now and then, off
//! every call's way, beside the records: no version moves for it, and a time that is lost is nobody's loss. What stands in
//! the store are hashed names and times.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::{interval, timeout};

use crate::{
    clock::Timestamp,
    id::{Account, CallerId, ConnectionId, ServiceName},
    store::{self, Claim, OwnerId, RecordId},
    vault::Root,
};

use super::{Connections, Credential, Unavailable, root};

/// A connection's time is written at most this often.
const COARSE: Duration = Duration::from_secs(60 * 60);
/// How often is looked for what should be written.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long the times of a caller outlive their last use.
const KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// So many connections of a caller have times in the store: those used last.
const MOST: usize = 256;
/// So often is a write tried again when someone else was quicker.
const ATTEMPTS: u32 = 3;
/// A connection's name and time.
const ENTRY: usize = 24;

/// When connections were last used, as this process has seen it; bounded.
pub struct LastUsed(Cache<Arc<ConnectionId>, Arc<Noted>>);

/// When a connection was last used, in milliseconds since the epoch. Its credential keeps it at hand.
#[derive(Default)]
pub struct Noted {
    seen: AtomicU64,
    /// What of that the store knows; 0 for nothing.
    written: AtomicU64,
}

impl Noted {
    fn seen(&self) -> Timestamp {
        Timestamp::from_millis(self.seen.load(Ordering::Relaxed))
    }
}

/// Times as they are stored.
type Stored = BTreeMap<RecordId, Timestamp>;

/// When a caller's connections were last used.
pub struct Times {
    connections: Connections,
    caller: CallerId,
    root: Option<Arc<Root>>,
    stored: Stored,
}

impl Times {
    /// When this one was, as far as anybody knows.
    pub fn of(&self, service: &ServiceName, account: &Account) -> Option<Timestamp> {
        let (service, account) = (service.clone(), account.clone());
        let id = ConnectionId { caller: self.caller.clone(), service, account };
        let here = self.connections.0.used.get(&id);
        let record = self.root.as_ref().map(|root| root::key(root, &id).record);
        here.max(record.and_then(|record| self.stored.get(&record).copied()))
    }
}

impl LastUsed {
    /// Remembers so many.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// A call used the connection.
    pub fn note(&self, id: &ConnectionId, now: Timestamp) {
        self.noted(&Arc::new(id.clone())).seen.store(now.millis(), Ordering::Relaxed);
    }

    /// A call used the connection with this credential.
    pub fn note_of(&self, credential: &Credential, now: Timestamp) {
        match credential.noted.get() {
            // Nobody else has it where it was pushed out, or its owner forgotten.
            Some(noted) if Arc::strong_count(noted) > 1 => noted.seen.store(now.millis(), Ordering::Relaxed),
            Some(_) => self.noted(&credential.id).seen.store(now.millis(), Ordering::Relaxed),
            None => {
                let noted = credential.noted.get_or_init(|| self.noted(&credential.id));
                noted.seen.store(now.millis(), Ordering::Relaxed);
            }
        }
    }

    fn noted(&self, id: &Arc<ConnectionId>) -> Arc<Noted> {
        let Ok(noted) = self.0.get_or_insert_with(id, || Ok::<_, std::convert::Infallible>(Arc::default()));
        noted
    }

    /// The connection has another label now.
    pub fn renamed(&self, from: &ConnectionId, to: &ConnectionId) {
        if let Some(time) = self.get(from) {
            self.note(to, time);
        }
    }

    fn get(&self, id: &ConnectionId) -> Option<Timestamp> {
        self.0.get(id).map(|noted| noted.seen())
    }

    fn forget(&self, caller: &CallerId) {
        self.0.retain(|id, _| id.caller != *caller);
    }

    /// What was used since it was last written, where that is so long ago.
    fn unwritten(&self, coarse: Duration) -> Vec<(Arc<ConnectionId>, Timestamp)> {
        let stale = |noted: &Noted| match noted.written.load(Ordering::Relaxed) {
            0 => true,
            written => {
                let (written, seen) = (Timestamp::from_millis(written), noted.seen());
                written < seen && seen.since(written) >= coarse
            }
        };
        self.0.iter().filter(|(_, noted)| stale(noted)).map(|(id, noted)| (id, noted.seen())).collect()
    }

    fn written(&self, id: &ConnectionId, at: Timestamp) {
        if let Some(noted) = self.0.peek(id) {
            noted.written.store(at.millis(), Ordering::Relaxed);
        }
    }
}

impl Connections {
    /// Writes what was used, again and again, for as long as the process lives.
    pub(super) fn write_use(&self) {
        let connections = self.clone();
        self.0.parts.handle.spawn(async move {
            let mut tick = interval(INTERVAL);
            loop {
                tick.tick().await;
                connections.write_use_now(COARSE).await;
            }
        });
    }

    /// Writes all that the store doesn't know, within this time or not at all.
    pub(super) async fn write_last_use(&self, limit: Duration) {
        let _ = timeout(limit, self.write_use_now(Duration::ZERO)).await;
    }

    async fn write_use_now(&self, coarse: Duration) {
        let unwritten = self.0.used.unwritten(coarse);
        let Some(root) = self.0.parts.roots.known().filter(|_| !unwritten.is_empty()) else { return };
        let mut by_owner: BTreeMap<OwnerId, Vec<(Arc<ConnectionId>, Timestamp)>> = BTreeMap::new();
        for (id, at) in unwritten {
            by_owner.entry(root::owner(root, &id.caller)).or_default().push((id, at));
        }
        for (owner, used) in by_owner {
            let times = used.iter().map(|(id, at)| (root::key(root, id).record, *at)).collect();
            match self.merge_use(owner, &times).await {
                Ok(()) => used.iter().for_each(|(id, at)| self.0.used.written(id, *at)),
                Err(error) => {
                    tracing::debug!(%error, "times of use are written later");
                    return;
                }
            }
        }
    }

    async fn merge_use(&self, owner: OwnerId, times: &Stored) -> Result<(), store::Error> {
        let (store, id) = (&self.0.parts.store, name(&owner));
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
    pub(super) async fn last_used(&self, caller: &CallerId) -> Times {
        let root = self.0.parts.roots.known().cloned();
        let stored = match &root {
            Some(root) => self.0.parts.store.peek(&name(&root::owner(root, caller))).await.ok().flatten(),
            None => None,
        };
        let stored = stored.as_deref().map(read).unwrap_or_default();
        Times { connections: self.clone(), caller: caller.clone(), root, stored }
    }

    /// Nothing of the caller's use is kept.
    pub(super) async fn forget_use(&self, caller: &CallerId, owner: OwnerId) -> Result<(), Unavailable> {
        self.0.used.forget(caller);
        self.0.parts.store.take(&name(&owner)).await?;
        Ok(())
    }
}

fn name(owner: &OwnerId) -> String {
    let hex: String = owner.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("used-{hex}")
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
