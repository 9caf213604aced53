//! All records. The only thing that reads, seals, opens and writes them; each write goes by one protocol: a version that
//! nobody else chooses, a seal for this place and version, the moment at which somebody should look again, a compare-and-set,
//! and word to the cache that what it holds is no longer true, unless it shows what was written. Decides nothing about what a
//! record should become.

use std::sync::Arc;

use crate::{
    clock::{Clock, Timestamp},
    connection::{cache::SnapshotCache, model::Unavailable},
    events::{Events, Gathered, Sealer},
    id::ConnectionId,
    store::{self, Expect, Key, OwnerId, Put, Store, Version, Write},
    vault::Vault,
};

use super::{
    change::Change,
    due,
    facts::{Fact, Facts, Prepared, Telling},
    form::{Record, SealError},
    root::Roots,
    state::IllegalTransition,
    unsaved::OwnGrants,
    version::Versions,
};

/// How often a write is tried again when someone else was quicker.
pub const ATTEMPTS: u32 = 16;

/// What becomes of what is held in memory once something was written.
#[derive(Clone, Copy)]
pub(super) enum Held {
    /// It is no longer believed.
    Stale,
    /// It shows that already, or is about to: the notice is no news.
    Shows,
}

/// All records of a store.
pub struct Records {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    roots: Roots,
    clock: Clock,
    cache: Arc<SnapshotCache>,
    versions: Versions,
    own: OwnGrants,
    facts: Facts,
}

/// A record as it was listed: read, or why not.
pub struct Listed {
    /// Where it stands.
    pub key: Key,
    /// What stands there.
    pub record: Result<Record, SealError>,
}

impl Records {
    /// Over this store; what happens is told to `events`, and goes into the log. `process` names this process, and no other; what was written lately is kept for at most `capacity` records.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        roots: Roots,
        clock: Clock,
        cache: Arc<SnapshotCache>,
        (events, log): (Events, (Arc<Sealer>, Arc<Gathered>)),
        (process, capacity): (&str, usize),
    ) -> Self {
        let versions = Versions::new(process.to_owned());
        let facts = Facts::new(events, log, roots.clone(), clock.clone(), process);
        Self { store, vault, roots, clock, cache, versions, own: OwnGrants::new(capacity), facts }
    }

    /// The store itself, for whatever is no record.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The shared secret, and the names that follow from it.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The grants that this process itself got from providers.
    pub fn own(&self) -> &OwnGrants {
        &self.own
    }

    /// Who tells what happens.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The record as it stands: this process's own unsaved one, else the store's.
    ///
    /// # Errors
    /// While the store is away, or others change the record all the while; [`Unavailable::Keys`] where it can't be opened.
    pub async fn read(&self, key: &Key) -> Result<Option<(Record, Version)>, Unavailable> {
        if let Some((version, sealed)) = self.own.unsaved.sealed(key) {
            return Ok(Some((self.open(key, version, &sealed)?, version)));
        }
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.store.get(key).await? else { return Ok(None) };
            let record = self.open(key, stored.version, &stored.value)?;
            if !self.repair(*key, &record, stored.version).await? {
                return Ok(Some((record, stored.version)));
            }
        }
        Err(Unavailable::Busy)
    }

    /// The keys of all records of an owner, in no order.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn keys(&self, owner: OwnerId) -> Result<Vec<Key>, Unavailable> {
        Ok(self.store.list(&owner).await?.into_iter().map(|(record, _)| Key { owner, record }).collect())
    }

    /// All records of an owner as they stand, in no order.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn list(&self, owner: OwnerId) -> Result<Vec<Listed>, Unavailable> {
        let stored = self.store.list(&owner).await?;
        let mut all = Vec::with_capacity(stored.len());
        for (record, stored) in stored {
            let key = Key { owner, record };
            let (version, sealed) = self.own.newest(&key, stored);
            let record = match self.open(&key, version, &sealed) {
                Ok(record) if self.repair(key, &record, version).await? => match self.read(&key).await? {
                    Some((repaired, _)) => Ok(repaired),
                    None => continue,
                },
                opened => opened,
            };
            all.push(Listed { key, record });
        }
        Ok(all)
    }

    /// Opens what is stored at this place and version.
    ///
    /// # Errors
    /// Where no key opens it, or it is damaged.
    pub fn open(&self, key: &Key, version: Version, sealed: &[u8]) -> Result<Record, SealError> {
        Record::open(&self.vault, key, version, sealed)
    }

    /// Stores what `make` makes of the next version and the time, where `expect` holds. `None`: something else stands there.
    /// A change that is told has its fact appended to the log with it: neither without it nor twice.
    ///
    /// # Errors
    /// While the store or the keys are away: whether it was written is unknown then.
    pub async fn put(
        &self,
        key: Key,
        expect: Expect,
        fact: Option<&Fact<'_>>,
        make: impl FnOnce(Version, Timestamp) -> Result<Record, IllegalTransition>,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        let told = self.facts.prepare_for(&key.owner, fact).await?;
        self.put_and(Held::Stale, None, key, expect, told, make).await
    }

    /// The same, where this lease is still held, for whom what the fact needs was prepared for before they decided.
    ///
    /// # Errors
    /// [`Unavailable::Busy`], too, where it isn't: then nothing was written.
    pub async fn put_under(
        &self,
        lease: Option<store::Held<'_>>,
        key: Key,
        expect: Expect,
        told: (Prepared, &Fact<'_>),
        make: impl FnOnce(Version, Timestamp) -> Result<Record, IllegalTransition>,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        self.put_and(Held::Stale, lease, key, expect, Some(told), make).await
    }

    async fn put_and(
        &self,
        held: Held,
        under: Option<store::Held<'_>>,
        key: Key,
        expect: Expect,
        told: Option<(Prepared, &Fact<'_>)>,
        make: impl FnOnce(Version, Timestamp) -> Result<Record, IllegalTransition>,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        let before = if let Expect::Version(version) = expect { Some(version) } else { None };
        let now = self.now();
        let version = self.versions.after(before, now);
        let record = make(version, now)?;
        let sealed = self.seal(&record, &key, version)?;
        let telling = match told {
            Some((prepared, fact)) => Some(self.facts.telling(prepared, &key.owner, &record.id, fact).await?),
            None => None,
        };
        let write = Write { under, ..Write::of(version, &sealed).due(due::at(&record, now).map(Timestamp::millis)) };
        let put = self.put_sealed(held, &key, expect, write, telling.as_ref()).await?;
        Ok(matches!(put, Put::Stored).then_some((record, version)))
    }

    /// Applies a change where `expect` still stands, and tells the fact where there is one. `None`: something else stands
    /// there now.
    ///
    /// # Errors
    /// As [`Records::put`].
    pub async fn write(
        &self,
        key: Key,
        record: Record,
        expect: Version,
        change: Change,
        fact: Option<&Fact<'_>>,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        self.put(key, Expect::Version(expect), fact, |version, now| record.apply(change, now, version)).await
    }

    /// Applies a change that nothing which is held in memory shows.
    ///
    /// # Errors
    /// As [`Records::put`].
    pub async fn write_unseen(
        &self,
        key: Key,
        record: Record,
        expect: Version,
        change: Change,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        let make = |version: Version, now| record.apply(change, now, version);
        self.put_and(Held::Shows, None, key, Expect::Version(expect), None, make).await
    }

    /// Deletes the record, where this version stands, and tells the fact of this connection where there is one. `false`:
    /// something else stands there. Where nothing does, it is gone already.
    ///
    /// # Errors
    /// While the store is away, or the keys, where there is something to tell.
    pub async fn delete(
        &self,
        key: &Key,
        version: Version,
        fact: Option<(&ConnectionId, &Fact<'_>)>,
    ) -> Result<bool, Unavailable> {
        let telling = self.facts.telling_of(&key.owner, fact).await?;
        let entries = telling.as_ref().map_or(&[][..], Telling::entries);
        let put = self.store.delete(key, Expect::Version(version), entries).await?;
        self.cache.changed(&key.owner);
        let deleted = matches!(put, Put::Stored);
        if let Some(telling) = telling.filter(|_| deleted) {
            self.facts.stored(&telling);
        }
        Ok(deleted)
    }

    /// Something of this owner changed elsewhere, or may have: what is held of them is read again.
    pub fn is_stale(&self, owner: &OwnerId) {
        self.cache.changed(owner);
    }

    /// Nothing of this owner's is kept in memory.
    pub fn forget(&self, owner: &OwnerId, keys: &[Key]) {
        self.cache.forget(owner);
        keys.iter().for_each(|key| self.own.written.forget(key));
    }

    /// A version after this one, which nobody else chooses after it.
    pub fn version_after(&self, previous: Option<Version>, now: Timestamp) -> Version {
        self.versions.after(previous, now)
    }

    pub(super) fn seal(&self, record: &Record, key: &Key, version: Version) -> Result<Vec<u8>, SealError> {
        record.seal(&self.vault, key, version)
    }

    /// The last step of each write. What is to be told is appended with it, and told once it is stored.
    pub(super) async fn put_sealed(
        &self,
        held: Held,
        key: &Key,
        expect: Expect,
        write: Write<'_>,
        telling: Option<&Telling>,
    ) -> Result<Put, Unavailable> {
        let version = write.version;
        if let Held::Shows = held {
            self.own.notices.expect(*key, version);
        }
        let entries = telling.map_or(&[][..], Telling::entries);
        let put = self.store.put(key, expect, Write { entries, ..write }).await;
        match (&put, held) {
            (Ok(Put::Stored), Held::Shows) => {}
            (Ok(Put::Stored), Held::Stale) => self.is_stale(&key.owner),
            // What nobody knows to be done is told anew, should it be.
            (Ok(Put::Conflict(_)) | Err(_), _) => self.own.notices.give_up(key, version),
        }
        let put = put?;
        if let (Put::Stored, Some(telling)) = (&put, telling) {
            self.facts.stored(telling);
        }
        Ok(put)
    }
}
