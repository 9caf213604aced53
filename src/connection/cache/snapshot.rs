//! What a process knows of one caller's connections, and until when it may believe it. A snapshot carries the stamp of
//! its caller's change counter from before the store was read: a notice that came in meanwhile makes it stale, whatever
//! the order. When the notice channel breaks, every snapshot is stale at once; while the store can't be reached, a stale
//! one still serves for `offline_max`. Holds credentials, never refresh tokens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::sync::Cache;

use crate::{
    clock::Timestamp,
    connection::model::Connection,
    id::{Account, ConnectionId, ServiceName},
    store::{OwnerId, RecordId},
};

use super::{few::Few, held::Held};

/// How many change counters there are. Callers share them; a neighbour's change costs one more read of the store.
const COUNTERS: usize = 4096;

/// One caller's connections.
#[derive(Debug)]
pub struct Snapshot {
    stamp: Stamp,
    /// When the store was read.
    loaded_at: Timestamp,
    /// Until when it was true, in milliseconds since the epoch, once it is known that something changed; else 0.
    outdated_at: AtomicU64,
    /// All of them, by service and account.
    pub connections: Few<Held>,
    /// What hardly anybody has: where it is nothing, it costs a pointer.
    pub rare: Option<Box<Rare>>,
}

/// What a snapshot holds beside connections.
#[derive(Debug, Clone, Default)]
pub struct Rare {
    /// Grants that wait for the application, and until when.
    pub unconfirmed: Vec<(Timestamp, Connection)>,
    /// Records that could not be read, …
    pub unreadable: Vec<RecordId>,
    /// … and those of them whose credential is still believed, as where the store is away; since when.
    pub believed: Vec<(RecordId, Timestamp)>,
}

impl Rare {
    fn is_nothing(&self) -> bool {
        self.unconfirmed.is_empty() && self.unreadable.is_empty() && self.believed.is_empty()
    }
}

/// Which of a caller's connections to a service is meant.
#[derive(Debug)]
pub enum Selection<'a> {
    /// This one.
    One(&'a Held),
    /// There is none under this label.
    None(Account),
    /// Several, none named, and no `default`.
    Several(Vec<Account>),
}

impl Snapshot {
    /// The connection that `account` means: the named one; else `default`; else the only one.
    pub fn select(&self, owner: &ServiceName, account: Option<&Account>) -> Selection<'_> {
        let mut of_service = self.connections.iter().filter(|held| held.id.service == *owner);
        if let Some(account) = account {
            return of_service
                .find(|held| held.id.account == *account)
                .map_or_else(|| Selection::None(account.clone()), Selection::One);
        }
        let Some(first) = of_service.next() else { return Selection::None(Account::default()) };
        let rest: Vec<&Held> = of_service.collect();
        if rest.is_empty() {
            return Selection::One(first);
        }
        let all = || std::iter::once(first).chain(rest.iter().copied());
        match all().find(|held| held.id.account.as_str() == Account::DEFAULT) {
            Some(default) => Selection::One(default),
            None => Selection::Several(all().map(|held| held.id.account.clone()).collect()),
        }
    }
}

impl Snapshot {
    /// The grants that wait for the application.
    pub fn unconfirmed(&self, now: Timestamp) -> impl Iterator<Item = &Connection> {
        self.rare
            .iter()
            .flat_map(|rare| rare.unconfirmed.iter())
            .filter(move |(until, _)| !until.reached(now))
            .map(|(_, connection)| connection)
    }

    /// The records that could not be read.
    pub fn unreadable(&self) -> &[RecordId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.unreadable)
    }
}

/// A moment in the history of a caller's connections. Small, as each snapshot has one: two moments look alike only if
/// exactly 2³² changes lie between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    changes: u32,
    era: Era,
}

/// The services that headers are made for, by their number, and the store's unbroken stretch of notices. Packed into one
/// number: two look alike only where 2¹² sets of services or 2²⁰ stretches lie between them, and each header knows its own
/// service besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Era(u32);

impl Era {
    /// Notices don't come: no stretch has this number.
    const BROKEN: u32 = (1 << Self::EPOCH_BITS) - 1;
    const EPOCH_BITS: u32 = 20;
    /// How many sets of services have numbers of their own.
    const SETS: u32 = 1 << (u32::BITS - Self::EPOCH_BITS);

    fn new(epoch: Option<u64>, services: u32) -> Self {
        let epoch = epoch.and_then(|epoch| u32::try_from(epoch % u64::from(Self::BROKEN)).ok());
        Self(((services % Self::SETS) << Self::EPOCH_BITS) | epoch.unwrap_or(Self::BROKEN))
    }

    /// Whether this one's services came before the other's.
    const fn is_before(self, other: Self) -> bool {
        let ahead = (other.0 >> Self::EPOCH_BITS).wrapping_sub(self.0 >> Self::EPOCH_BITS) % Self::SETS;
        0 < ahead && ahead < Self::SETS / 2
    }
}

/// The snapshots of this process, bounded in number.
#[derive(Debug)]
pub struct SnapshotCache {
    cache: Cache<OwnerId, Arc<Snapshot>>,
    counters: Vec<AtomicU32>,
    /// When the channel was last known to be whole, in milliseconds since the epoch.
    trusted_until: AtomicU64,
    offline_max: Duration,
}

impl SnapshotCache {
    /// Keeps at most `capacity` callers.
    pub fn new(capacity: usize, offline_max: Duration) -> Self {
        let cache = Cache::new(capacity);
        // All the room at once, as with verified JWTs (`caller/cache.rs`).
        cache.reserve(capacity / 2);
        Self {
            cache,
            counters: std::iter::repeat_with(AtomicU32::default).take(COUNTERS).collect(),
            trusted_until: AtomicU64::new(0),
            offline_max,
        }
    }

    /// The present moment in the history of this owner. Taken before the store is read. `epoch` is the store's unbroken
    /// stretch of notices, `services` the number of those that headers are made for.
    pub fn stamp(&self, owner: &OwnerId, epoch: Option<u64>, services: u32) -> Stamp {
        Stamp { changes: self.counter(owner).load(Ordering::SeqCst), era: Era::new(epoch, services) }
    }

    /// The snapshot, where it can be believed and its headers are made for these services.
    pub fn fresh(&self, owner: &OwnerId, epoch: Option<u64>, services: u32) -> Option<Arc<Snapshot>> {
        let snapshot = self.cache.get(owner)?;
        (epoch.is_some() && snapshot.stamp == self.stamp(owner, epoch, services)).then_some(snapshot)
    }

    /// A snapshot that may be stale, for as long as the store can't be asked.
    pub fn offline(&self, owner: &OwnerId, now: Timestamp) -> Option<Arc<Snapshot>> {
        let snapshot = self.cache.get(owner)?;
        let trusted = match snapshot.outdated_at.load(Ordering::Relaxed) {
            0 => self.trusted_until.load(Ordering::Relaxed),
            outdated => outdated,
        };
        let trusted = Timestamp::from_millis(trusted).max(snapshot.loaded_at);
        (now.since(trusted) < self.offline_max).then_some(snapshot)
    }

    /// Whether what was true then is still believed while nobody can be asked.
    pub fn is_believed(&self, since: Timestamp, now: Timestamp) -> bool {
        now.since(since) < self.offline_max
    }

    /// Keeps what was read under `stamp`, unless what is held is made for later services: a call that began before them has
    /// then read it for itself alone.
    pub fn keep(
        &self,
        owner: OwnerId,
        stamp: Stamp,
        now: Timestamp,
        connections: Vec<Held>,
        rare: Rare,
    ) -> Arc<Snapshot> {
        let before = self.cache.peek(&owner);
        let snapshot = Arc::new(Snapshot {
            stamp,
            loaded_at: now,
            outdated_at: AtomicU64::new(0),
            connections: connections.into(),
            rare: (!rare.is_nothing()).then(|| Box::new(rare)),
        });
        let inherit = || {
            for held in snapshot.connections.iter() {
                let of_before = before.iter().flat_map(|before| before.connections.iter());
                of_before.filter(|before| before.id == held.id).for_each(|before| held.succeeds(before));
            }
        };
        inherit();
        if before.as_ref().is_some_and(|before| stamp.era.is_before(before.stamp.era)) {
            return snapshot;
        }
        self.cache.insert(owner, Arc::clone(&snapshot));
        // What was noted meanwhile of those that it replaces.
        inherit();
        snapshot
    }

    /// This process itself has just written this connection's record: it takes its place in what is held, which is as fresh
    /// as it was, and nothing needs to be read again. What is being read just now may be older, and won't be believed.
    pub fn wrote(&self, owner: OwnerId, held: Held) {
        let before = self.counter(&owner).fetch_add(1, Ordering::SeqCst);
        let Some(old) = self.cache.get(&owner) else { return };
        let mut stamp = old.stamp;
        if stamp.changes == before {
            stamp.changes = before.wrapping_add(1);
        }
        self.replace(owner, &old, stamp, with(&old, held));
    }

    /// Replaces one connection in what is held, without making it any fresher: for a grant that only this process has.
    pub fn amend(&self, owner: OwnerId, held: Held) {
        let Some(old) = self.cache.get(&owner) else { return };
        self.replace(owner, &old, old.stamp, with(&old, held));
    }

    /// Takes one connection out of what is held, without making it any fresher: this process itself has just given it up.
    pub fn drop_one(&self, owner: OwnerId, id: &ConnectionId) {
        let Some(old) = self.cache.get(&owner) else { return };
        let others = old.connections.iter().filter(|held| *held.id != *id).cloned().collect();
        self.replace(owner, &old, old.stamp, others);
    }

    fn replace(&self, owner: OwnerId, old: &Snapshot, stamp: Stamp, connections: Vec<Held>) {
        let snapshot = Snapshot {
            stamp,
            loaded_at: old.loaded_at,
            outdated_at: AtomicU64::new(old.outdated_at.load(Ordering::Relaxed)),
            connections: connections.into(),
            rare: old.rare.clone(),
        };
        self.cache.insert(owner, Arc::new(snapshot));
    }

    /// The same name, of the texts that are held already where this connection is.
    pub fn shared(&self, owner: &OwnerId, id: ConnectionId) -> ConnectionId {
        let held = self.held(owner);
        let mut ids = held.iter().flat_map(|held| held.connections.iter()).map(|held| held.id.as_ref());
        ids.find(|held| **held == id).cloned().unwrap_or(id)
    }

    /// What is held of this owner, fresh or not.
    pub fn held(&self, owner: &OwnerId) -> Option<Arc<Snapshot>> {
        self.cache.peek(owner)
    }

    /// All that is held, in no order.
    pub fn all(&self) -> impl Iterator<Item = (OwnerId, Arc<Snapshot>)> {
        self.cache.iter()
    }

    /// Something of this owner changed. Says whether anything of theirs is held.
    pub fn changed(&self, owner: &OwnerId) -> bool {
        self.counter(owner).fetch_add(1, Ordering::SeqCst);
        let Some(snapshot) = self.cache.peek(owner) else { return false };
        let trusted = self.trusted_until.load(Ordering::Relaxed);
        let _ = snapshot.outdated_at.compare_exchange(0, trusted.max(1), Ordering::Relaxed, Ordering::Relaxed);
        true
    }

    /// Notices were missed: nothing that was read before can be believed.
    pub fn changed_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The notice channel was whole until now.
    pub fn trusted(&self, now: Timestamp) {
        self.trusted_until.fetch_max(now.millis(), Ordering::Relaxed);
    }

    /// Nothing of this owner is kept.
    pub fn forget(&self, owner: &OwnerId) {
        self.changed(owner);
        self.cache.remove(owner);
    }

    fn counter(&self, owner: &OwnerId) -> &AtomicU32 {
        let [a, b, ..] = owner.0;
        &self.counters[usize::from(u16::from_be_bytes([a, b])) % COUNTERS]
    }
}

/// The connections of `old`, and this one in its place.
fn with(old: &Snapshot, held: Held) -> Vec<Held> {
    let mut connections = old.connections.to_vec();
    match connections.iter_mut().find(|other| other.id == held.id) {
        Some(place) => {
            held.succeeds(place);
            *place = held;
        }
        None => connections.push(held),
    }
    connections
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{caller::Caller, connection::cache::Credential};

    /// What an `Arc` counts by.
    const COUNTS: usize = 2 * size_of::<usize>();

    #[test]
    fn a_cached_caller_with_one_connection_takes_little_beside_its_texts() {
        let caller = COUNTS + size_of::<Caller>();
        let snapshot = COUNTS + size_of::<Snapshot>();
        let name = COUNTS + size_of::<ConnectionId>();
        let credential = COUNTS + size_of::<Credential>();
        let all = [caller, snapshot, name, credential];
        assert!(all.iter().sum::<usize>() <= 440, "{all:?} bytes");
    }

    #[test]
    fn a_moment_that_may_be_missing_takes_no_more_than_one_that_is_there() {
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<Timestamp>());
    }
}
