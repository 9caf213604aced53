//! The store: sealed bytes under hashed names, with versions, leases, due times, change notices, a log and counters. It
//! never sees plaintext, never a name in clear, and knows nothing of what the bytes mean; records live with their owners.
//!
//! Two backends behave alike, held to it by one suite ([`contract`]): [`redis`] (alone, Sentinel, Cluster) for several
//! replicas, [`embedded`] (a redb file) for one machine. docs/STORE.md has the layout and what operators must grant.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

#[cfg(test)]
pub(crate) mod contract;
mod counted;
pub(crate) mod counters;
pub mod embedded;
mod error;
mod key;
mod log;
mod notices;
pub mod redis;
mod version;

pub use counted::Counted;
pub use counters::{BUCKETS_MAX, COUNTER_NAME_MAX, Counters, Tally};
pub use embedded::EmbeddedStore;
pub use error::Error;
pub use key::{Key, OwnerId, RecordId};
pub use log::{Entry, EntryId, Keep, Log, LogName, Logged, Order, Position, Shard, Stream};
pub use notices::Change;
pub use redis::RedisStore;
pub use version::{Version, Versioned};

/// What a writer takes to be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing is.
    Absent,
    /// Exactly this version is.
    Version(Version),
    /// Anything, as long as it is older than what is written.
    Any,
}

/// What is written of a record, and what goes with it in the same step.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Larger than the one that is stored.
    pub version: Version,
    /// The sealed bytes.
    pub value: &'a [u8],
    /// When [`Store::due`] should name the record, in milliseconds since the epoch; `None`: not at all.
    pub due: Option<u64>,
    /// Appended to the logs of the record's shard.
    pub entries: &'a [Entry],
    /// Nothing is written unless this lease is held.
    pub under: Option<Held<'a>>,
}

impl<'a> Write<'a> {
    /// This, and nothing with it.
    pub const fn of(version: Version, value: &'a [u8]) -> Self {
        Self { version, value, due: None, entries: &[], under: None }
    }

    /// The same, due then: milliseconds since the epoch.
    #[must_use]
    pub const fn due(self, at: Option<u64>) -> Self {
        Self { due: at, ..self }
    }
}

/// A lease in somebody's hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held<'a> {
    /// On which record of the same owner as what is written under it.
    pub key: &'a Key,
    /// In whose.
    pub holder: &'a str,
}

/// What became of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Put {
    /// It is done (of a delete: the record is gone, also where there was none).
    Stored,
    /// It wasn't done; this is what stands there.
    Conflict(Option<Versioned>),
}

/// Who holds a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The one who asked.
    Mine {
        /// Larger at each acquisition of this lease by anybody, and no smaller than the store's clock at that time, in
        /// microseconds since the epoch.
        fence: u64,
    },
    /// Somebody else.
    Theirs {
        /// How long they hold it if they don't renew it.
        remaining: Duration,
    },
}

/// Whose a one-time value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It was free, and is now the one's who asked.
    Mine,
    /// It stood there before, with this value.
    Theirs(Vec<u8>),
}

/// One page of [`Store::scan`] and where the next one begins.
pub type Page = (Vec<(Key, Versioned)>, Option<String>);

/// A record, and when it is due, in milliseconds since the epoch.
pub type Due = (Key, u64);

/// The longest name of a one-time value, in bytes.
pub const ONE_TIME_ID_MAX: usize = 64;

/// A byte store. Each operation is one atomic step; an error leaves the outcome of a write unknown, and writing the same
/// version and bytes again is the same write.
#[async_trait]
pub trait Store: Log + Counters + Send + Sync + 'static {
    /// The record, if there is one.
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, Error>;

    /// All records of an owner, in no order.
    async fn list(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error>;

    /// Writes where `expect` holds and the version is larger than the stored one; tells [`Store::changes`]. What is already
    /// stored with this very version and value is [`Put::Stored`]. The entries are appended in the same step: with the write,
    /// and neither without it nor a second time when it is repeated. [`Error::LeaseLost`]: it was to be written under a lease
    /// that isn't held.
    async fn put(&self, key: &Key, expect: Expect, write: Write<'_>) -> Result<Put, Error>;

    /// Deletes the record, where `expect` holds, and its due time; tells [`Store::changes`]. An absent record is
    /// [`Put::Stored`] whatever was expected. `entries` are appended as by [`Store::put`]: none where there was no record.
    async fn delete(&self, key: &Key, expect: Expect, entries: &[Entry]) -> Result<Put, Error>;

    /// At most `limit` records due at or before `until_ms` (milliseconds since the epoch) with their due times, in their
    /// order and that of their keys, from the first one behind `after` on. Costs what is due, not what exists.
    async fn due(&self, until_ms: u64, after: Option<Due>, limit: usize) -> Result<Vec<Due>, Error>;

    /// Takes the lease on a key for `ttl`. `holder` is random per acquisition; asking again with the same one extends
    /// the lease and answers with the same fence. An error means that nobody knows who holds it.
    async fn lease(&self, key: &Key, holder: &str, ttl: Duration) -> Result<Taken, Error>;

    /// Extends the lease, only for its holder; `false`: it isn't (or no longer) theirs.
    async fn renew(&self, key: &Key, holder: &str, ttl: Duration) -> Result<bool, Error>;

    /// Ends the lease, only for its holder.
    async fn release(&self, key: &Key, holder: &str) -> Result<(), Error>;

    /// Writes a small one-time value where `id` (opaque, at most [`ONE_TIME_ID_MAX`] bytes) is free, for `ttl` or for
    /// good.
    async fn put_once(&self, id: &str, value: &[u8], ttl: Option<Duration>) -> Result<Claim, Error>;

    /// A one-time value, left where it is.
    async fn peek(&self, id: &str) -> Result<Option<Vec<u8>>, Error>;

    /// A one-time value, removed: of several takers at most one gets it. After an error it may be gone.
    async fn take(&self, id: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Writes a one-time value over `expected`; `false`: something else stands there, or nothing. `ttl` counts from
    /// now; `None` leaves the value the time it has.
    async fn replace(&self, id: &str, expected: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, Error>;

    /// How many records there are. Goes through all owners: for administration.
    async fn count(&self) -> Result<u64, Error>;

    /// About `limit` records from `cursor` (`None`: the beginning) and the next cursor (`None`: that was all). A record
    /// that exists all along is seen at least once.
    async fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Page, Error>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), Error>;

    /// Change notices of all replicas, own writes included. A receiver that lagged has missed notices: a gap.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// False while notices may be missed: each use must then read the store again.
    fn channel_up(&self) -> bool;

    /// The present unbroken stretch of the notice channel, `None` while it is broken. What was read in one stretch
    /// can't be trusted in another, even before its [`Change::Gap`] was received.
    fn channel_epoch(&self) -> Option<u64> {
        self.channel_up().then_some(1)
    }

    /// Whether other processes may use it at the same time.
    fn is_shared(&self) -> bool {
        true
    }

    /// Ends connections and background work; every later operation is [`Error::Unavailable`].
    async fn close(&self);
}

/// Refuses a one-time value's name that no backend should have to bear.
fn check_one_time_id(id: &str) -> Result<(), Error> {
    if id.is_empty() || id.len() > ONE_TIME_ID_MAX {
        return Err(Error::Refused { reason: "a one-time value's name has 1 to 64 bytes".into(), passing: false });
    }
    Ok(())
}
