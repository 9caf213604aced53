//! No new grant is ever lost. What the provider gave is written before anything else happens; where the store is away it
//! stays here, sealed, is used, and is written again until it lands, also while the process drains. A write that meets
//! another is reconciled: who spent the token that the record still holds has the only valid one.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use crate::{
    clock::Timestamp,
    store::{Expect, Key, Put, Version},
};

use super::{Connections, Unavailable, record::Record, state::Change};

/// Between two tries to write.
const PAUSE: Duration = Duration::from_millis(250);
/// What was written this long ago is on every replica of the store, or was found missing since.
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
struct Grant {
    spends: u64,
    expect: Version,
    version: Version,
    sealed: Vec<u8>,
}

/// What became of a new grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It is in the store.
    Saved,
    /// The store is away; it is used from memory and written later.
    Waiting,
    /// Meanwhile the caller connected anew: that grant counts.
    Superseded,
    /// Meanwhile another process renewed the same grant: what it got counts. Revoking ours would take that along
    /// (RFC 7009 §2.1).
    Outrun,
    /// Meanwhile the caller disconnected: nothing is resurrected.
    Gone,
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

    /// That grant needs no more writing. A later refresh may have put a newer one in its place.
    fn settled(&self, key: &Key, version: Version) {
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

impl Connections {
    /// The record as it stands: this process's own unsaved one, else the store's.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<(Record, Version)>, Unavailable> {
        let open = |version, sealed: &[u8]| Record::open(&self.0.parts.vault, key, version, sealed);
        if let Some((version, sealed)) = self.0.unsaved.sealed(key) {
            return Ok(Some((open(version, &sealed)?, version)));
        }
        let Some(stored) = self.0.parts.store.get(key).await? else { return Ok(None) };
        let record = open(stored.version, &stored.value)?;
        if !self.repair(*key, &record, stored.version).await? {
            return Ok(Some((record, stored.version)));
        }
        let Some(stored) = self.0.parts.store.get(key).await? else { return Ok(None) };
        Ok(Some((open(stored.version, &stored.value)?, stored.version)))
    }

    /// Applies a change where `expect` still stands. `None`: something else stands there now.
    pub(super) async fn write(
        &self,
        key: Key,
        record: Record,
        expect: Version,
        change: Change,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        let now = self.now();
        let version = self.version_after(Some(expect), now);
        let record = record.apply(change, now, version.0);
        let sealed = record.seal(&self.0.parts.vault, &key, version)?;
        let due = self.due(&record, now);
        match self.0.parts.store.put(&key, Expect::Version(expect), version, &sealed, due).await? {
            Put::Stored => {
                self.0.snapshots.changed(&key.owner);
                Ok(Some((record, version)))
            }
            Put::Conflict(_) => Ok(None),
        }
    }

    /// Stores `record`, which holds a grant bought with the refresh token of generation `spends`, where version `expect`
    /// stands.
    pub(super) async fn land(
        &self,
        key: Key,
        expect: Version,
        record: &Record,
        spends: u64,
    ) -> Result<Landed, Unavailable> {
        let version = Version(record.grant.as_ref().map_or(expect.0.saturating_add(1), |grant| grant.generation));
        let sealed = record.seal(&self.0.parts.vault, &key, version)?;
        let grant = Grant { spends, expect, version, sealed };
        match self.try_to_land(key, grant.clone()).await {
            Ok(landed) => Ok(landed),
            Err(unavailable) => {
                tracing::error!(%unavailable, "a renewed grant could not be stored; it is kept in memory and written again");
                self.0.unsaved.waiting.lock().insert(key, grant);
                self.0.unsaved.hurry();
                Ok(Landed::Waiting)
            }
        }
    }

    async fn try_to_land(&self, key: Key, mut grant: Grant) -> Result<Landed, Unavailable> {
        loop {
            let now = self.now();
            let ours = Record::open(&self.0.parts.vault, &key, grant.version, &grant.sealed)?;
            let due = self.due(&ours, now);
            let put =
                self.0.parts.store.put(&key, Expect::Version(grant.expect), grant.version, &grant.sealed, due).await?;
            let current = match put {
                Put::Stored => {
                    self.0.snapshots.changed(&key.owner);
                    self.0.snapshots.wrote(key, grant.version, grant.sealed, self.now());
                    return Ok(Landed::Saved);
                }
                Put::Conflict(None) => return Ok(Landed::Gone),
                Put::Conflict(Some(current)) => current,
            };
            let theirs = Record::open(&self.0.parts.vault, &key, current.version, &current.value)?;
            if theirs.farewell.is_some() {
                return Ok(Landed::Gone);
            }
            match &theirs.grant {
                // Given up, and something else was stored since.
                None => return Ok(Landed::Gone),
                Some(held) if held.generation != grant.spends && !is_later(&ours, &theirs) => {
                    let same = theirs.connected_at == ours.connected_at;
                    return Ok(if same { Landed::Outrun } else { Landed::Superseded });
                }
                // It still holds the token that we spent, and ours is the only valid one; or one that somebody
                // asked for before us, and who was stopped before the answer was stored: ours is the newer one.
                Some(_) => {
                    grant.expect = current.version;
                    grant.version = self.version_after(Some(current.version.max(grant.version)), now);
                    grant.sealed =
                        rebase(theirs, ours, grant.version).seal(&self.0.parts.vault, &key, grant.version)?;
                }
            }
        }
    }

    /// Writes what waits, again and again, for as long as the process lives.
    pub(super) fn save_the_unsaved(&self) {
        let connections = self.clone();
        self.0.parts.handle.spawn(async move {
            loop {
                connections.0.unsaved.hurry.notified().await;
                while connections.0.unsaved.len() > 0 {
                    for key in connections.0.unsaved.keys() {
                        connections.save(key).await;
                    }
                    connections.0.unsaved.saved.notify_waiters();
                    let pause = if connections.0.unsaved.len() > 0 { PAUSE } else { Duration::ZERO };
                    let _ = timeout(pause, connections.0.unsaved.hurry.notified()).await;
                }
            }
        });
    }

    /// Stores what only this process has of `key`, where there is something: before that, no mark can be set on it, and
    /// nothing of it may be spent.
    pub(super) async fn save_first(&self, key: Key) -> Result<(), Unavailable> {
        if self.0.unsaved.sealed(&key).is_some() {
            self.save(key).await;
        }
        if self.0.unsaved.sealed(&key).is_some() { Err(Unavailable::Store) } else { Ok(()) }
    }

    async fn save(&self, key: Key) {
        let Some(grant) = self.0.unsaved.waiting.lock().get(&key).cloned() else { return };
        let (version, sealed) = (grant.version, grant.sealed.clone());
        match self.try_to_land(key, grant).await {
            Ok(landed) => {
                tracing::info!(?landed, "a grant that was kept in memory is settled");
                self.0.unsaved.settled(&key, version);
                self.0.snapshots.changed(&key.owner);
                if matches!(landed, Landed::Superseded | Landed::Gone)
                    && let Ok(record) = Record::open(&self.0.parts.vault, &key, version, &sealed)
                {
                    self.give_up(&record);
                }
            }
            Err(error) => tracing::debug!(%error, "a grant is still kept in memory"),
        }
    }

    /// After a failover that lost an acknowledged write, the store holds an older grant than this process wrote: writes
    /// that again. `true`: the record must be read again.
    pub(super) async fn repair(&self, key: Key, stored: &Record, version: Version) -> Result<bool, Unavailable> {
        let Some(ours) = self.0.snapshots.written(&key) else { return Ok(false) };
        let (written, sealed) = (ours.0, &ours.1);
        let Some(held) = &stored.grant else { return Ok(false) };
        if held.generation >= written.0 {
            return Ok(false);
        }
        let ours = Record::open(&self.0.parts.vault, &key, written, sealed)?;
        // A later connection of this name may have a lower number, where clocks differ.
        if stored.farewell.is_some() || !is_same_stay(&ours, stored) {
            return Ok(false);
        }
        // What the caller read may simply be older than that write: a second look tells a loss from a race.
        if self.0.parts.store.get(&key).await?.is_none_or(|current| current.version != version) {
            return Ok(true);
        }
        tracing::warn!("the store went back behind a grant that this process wrote; it is written again");
        let grant = Grant { spends: held.generation, expect: version, version: written, sealed: sealed.clone() };
        self.try_to_land(key, grant).await?;
        Ok(true)
    }

    /// After each gap in the notices, which a failover leaves, sees to it that the store still has what this process
    /// wrote lately: before another process spends again what it finds there.
    pub(super) fn repair_after_gaps(&self) {
        let connections = self.clone();
        self.0.parts.handle.spawn(async move {
            // Not yet looked at since the last gap: what can't be read must not keep the next gap from being noticed.
            let mut left: Vec<Key> = Vec::new();
            loop {
                let gap = connections.0.unsaved.gap.notified();
                let noticed = if left.is_empty() {
                    gap.await;
                    true
                } else {
                    timeout(PAUSE, gap).await.is_ok()
                };
                let lately = connections.0.snapshots.written_since(connections.now().before(LATELY));
                let looked_at = lately.into_iter().filter(|key| noticed || left.contains(key)).collect::<Vec<_>>();
                left.clear();
                for key in looked_at {
                    if let Err(Unavailable::Store | Unavailable::Busy) = connections.read(&key).await {
                        left.push(key);
                    }
                }
            }
        });
    }

    /// When the healer should look at a record.
    pub(super) fn due(&self, record: &Record, now: Timestamp) -> Option<u64> {
        super::heal::due(record, now).map(Timestamp::millis)
    }
}

/// Whether ours is of the same connection, and was asked for after theirs.
fn is_later(ours: &Record, theirs: &Record) -> bool {
    let asked = |record: &Record| record.grant.as_ref().and_then(|grant| grant.asked);
    is_same_stay(ours, theirs) && asked(ours) > asked(theirs)
}

/// Whether both are of one connection, which bore no other label in between: each arrival numbers the grant anew, by the
/// clock of whoever moved it.
fn is_same_stay(ours: &Record, theirs: &Record) -> bool {
    ours.connected_at == theirs.connected_at && ours.moved_by == theirs.moved_by
}

/// Our grant on top of whatever else was written meanwhile.
fn rebase(theirs: Record, ours: Record, version: Version) -> Record {
    let mut grant = ours.grant;
    if let Some(grant) = &mut grant {
        grant.generation = version.0;
    }
    Record { grant, refreshed_at: ours.refreshed_at, invalid: None, invalidated_at: None, mark: None, ..theirs }
}
