//! The log: entries that are appended and never changed, in streams, one for each shard of records. An entry that goes with
//! a change of a record is appended in the same atomic step ([`Store::put`](super::Store::put)); what changes no record is
//! appended by itself. Like everything here an entry is sealed bytes: who reads a log merges its streams and opens it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use data_encoding::HEXLOWER;

use super::Error;

/// A part of the records: all of an owner's are in one, and one atomic step reaches no further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Shard(pub u8);

impl Shard {
    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        (0..=u8::MAX).map(Self)
    }
}

/// The name of a log. Part of what is stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LogName(&'static str);

impl LogName {
    /// A name of lowercase letters.
    ///
    /// # Panics
    /// Where it has anything else in it.
    pub const fn new(name: &'static str) -> Self {
        let (bytes, mut at) = (name.as_bytes(), 0);
        while at < bytes.len() {
            assert!(bytes[at].is_ascii_lowercase(), "a log's name has lowercase letters only");
            at += 1;
        }
        Self(name)
    }

    /// The name itself.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// One shard's part of a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Stream {
    /// Of which log.
    pub log: LogName,
    /// Of which shard.
    pub shard: Shard,
}

/// What its writer calls an entry: no other entry of the log goes by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub [u8; 16]);

impl EntryId {
    /// Splits it off what lies in storage.
    pub(super) fn split(stored: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (id, sealed) = stored.split_first_chunk().ok_or(Error::Corrupt { what: "an entry of the log" })?;
        Ok((Self(*id), sealed))
    }
}

/// Thirty-two hexadecimal digits.
impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_write(&self.0, f)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something to be appended.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// To which log; the shard is that of the record, or the one that is named.
    pub log: LogName,
    /// Its name.
    pub id: EntryId,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// It is sealed, and still nobody's business in a log line: only its length is shown.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, id, sealed } = self;
        f.debug_struct("Entry").field("log", log).field("id", id).field("bytes", &sealed.len()).finish()
    }
}

/// Where an entry stands in its stream: in the order of appending, and never given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Position {
    /// When it was appended: milliseconds since the epoch by the store's clock, which never goes back here.
    pub at_ms: u64,
    /// Tells entries of one millisecond apart.
    pub nth: u64,
}

impl Position {
    /// The position after `last`, at this time.
    pub(crate) fn next(last: Option<Self>, now_ms: u64) -> Self {
        match last {
            Some(last) if last.at_ms >= now_ms => Self { at_ms: last.at_ms, nth: last.nth.saturating_add(1) },
            _ => Self { at_ms: now_ms, nth: 0 },
        }
    }
}

/// An entry as it was appended.
#[derive(Clone, PartialEq, Eq)]
pub struct Logged {
    /// Where it stands.
    pub position: Position,
    /// Its name.
    pub id: EntryId,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, id, sealed } = self;
        f.debug_struct("Logged").field("position", position).field("id", id).field("bytes", &sealed.len()).finish()
    }
}

/// In which order a stream is read, and behind which entry to go on (`None`: from its end). An entry that is appended
/// meanwhile moves no other: who reads the oldest first finds it at last, who reads the newest first doesn't meet it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The oldest first.
    Oldest(Option<Position>),
    /// The newest first.
    Newest(Option<Position>),
}

/// What is kept of a stream; everything older goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keep {
    /// What was appended no longer ago, by the store's clock; `None`: however old.
    pub age: Option<Duration>,
    /// At most this many entries, the newest; `None`: however many.
    pub entries: Option<u64>,
    /// What was appended behind this one; `None`: wherever.
    pub behind: Option<Position>,
}

/// A store's log.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends entries that go with no change of a record, all of them or none. One whose id was appended by itself before,
    /// and is still there, is not appended again: an error leaves the outcome unknown, and asking again is safe.
    async fn append(&self, shard: Shard, entries: &[Entry]) -> Result<(), Error>;

    /// At most `limit` entries of a stream.
    async fn read(&self, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Error>;

    /// Removes the oldest entries, all but those to be kept; how many went. Positions are not given anew.
    async fn trim(&self, stream: &Stream, keep: Keep) -> Result<u64, Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_when_the_clock_stands_or_goes_back() {
        let first = Position::next(None, 1000);
        assert_eq!(first, Position { at_ms: 1000, nth: 0 });
        let same = Position::next(Some(first), 1000);
        let back = Position::next(Some(same), 400);
        assert_eq!((same, back), (Position { at_ms: 1000, nth: 1 }, Position { at_ms: 1000, nth: 2 }));
        assert_eq!(Position::next(Some(back), 1001), Position { at_ms: 1001, nth: 0 });
    }

    #[test]
    fn what_is_sealed_is_not_shown() {
        let entry = Entry { log: LogName::new("audit"), id: EntryId([0xab; 16]), sealed: b"sealed".to_vec() };
        let logged = Logged { position: Position::next(None, 7), id: entry.id, sealed: entry.sealed.clone() };
        for shown in [format!("{entry:?}"), format!("{logged:?}")] {
            assert!(!shown.contains("115, 101") && shown.contains("abababab"), "{shown}");
        }
    }
}
