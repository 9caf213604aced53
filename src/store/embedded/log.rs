//! The log in tables of its own: what is appended lies behind everything before it.

use std::time::Duration;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use super::{EmbeddedStore, Failure, now_ms};
use crate::store::{Entry, EntryId, Error, Keep, Log, Logged, Order, Position, Shard, Stream};

/// Log, shard, and position.
type Place = (&'static str, u8, u64, u64);

/// Where an entry stands → its id (16 bytes), the sealed bytes.
const LOG: TableDefinition<'static, Place, &'static [u8]> = TableDefinition::new("log");
/// Log, shard and id of what was appended by itself.
const APPENDED: TableDefinition<'static, (&'static str, u8, &'static [u8; 16]), ()> = TableDefinition::new("appended");
/// Log and shard → the last position that was given.
const LAST: TableDefinition<'static, (&'static str, u8), (u64, u64)> = TableDefinition::new("log_last");

const FIRST: (u64, u64) = (0, 0);
const BEYOND: (u64, u64) = (u64::MAX, u64::MAX);

fn place(stream: &Stream, (at_ms, nth): (u64, u64)) -> (&'static str, u8, u64, u64) {
    (stream.log.as_str(), stream.shard.0, at_ms, nth)
}

/// The tables inside a write transaction.
pub(super) struct LogTables<'a> {
    log: Table<'a, Place, &'static [u8]>,
    appended: Table<'a, (&'static str, u8, &'static [u8; 16]), ()>,
    last: Table<'a, (&'static str, u8), (u64, u64)>,
}

impl<'a> LogTables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            log: transaction.open_table(LOG)?,
            appended: transaction.open_table(APPENDED)?,
            last: transaction.open_table(LAST)?,
        })
    }

    /// Appends entries that go with a change of a record.
    pub(super) fn add(&mut self, shard: Shard, entries: &[Entry], now_ms: u64) -> Result<(), Failure> {
        for entry in entries {
            let stream = Stream { log: entry.log, shard };
            let name = (entry.log.as_str(), shard.0);
            let last = self.last.get(name)?.map(|last| last.value());
            let last = last.map(|(at_ms, nth)| Position { at_ms, nth });
            let Position { at_ms, nth } = Position::next(last, now_ms);
            self.last.insert(name, (at_ms, nth))?;
            let stored = [entry.id.0.as_slice(), &entry.sealed].concat();
            self.log.insert(place(&stream, (at_ms, nth)), stored.as_slice())?;
        }
        Ok(())
    }

    /// Appends entries that go with none, each once.
    fn append(&mut self, shard: Shard, entries: &[Entry], now_ms: u64) -> Result<(), Failure> {
        for entry in entries {
            if self.appended.insert((entry.log.as_str(), shard.0, &entry.id.0), ())?.is_none() {
                self.add(shard, std::slice::from_ref(entry), now_ms)?;
            }
        }
        Ok(())
    }

    fn trim(&mut self, stream: &Stream, keep: Keep, now_ms: u64) -> Result<u64, Failure> {
        let mut gone = 0;
        if let Some(age) = keep.age {
            gone += self.remove(stream, (kept_from(age, now_ms), 0), u64::MAX)?;
        }
        if let Some(Position { at_ms, nth }) = keep.behind {
            gone += self.remove(stream, (at_ms, nth.saturating_add(1)), u64::MAX)?;
        }
        if let Some(entries) = keep.entries {
            let there = self.log.range(place(stream, FIRST)..=place(stream, BEYOND))?.count() as u64;
            gone += self.remove(stream, BEYOND, there.saturating_sub(entries))?;
        }
        Ok(gone)
    }

    /// Removes the oldest entries before this position, so many at most.
    fn remove(&mut self, stream: &Stream, before: (u64, u64), most: u64) -> Result<u64, Failure> {
        let mut gone = 0;
        while gone < most {
            let oldest = {
                let mut range = self.log.range(place(stream, FIRST)..place(stream, before))?;
                let Some(entry) = range.next() else { break };
                let (position, stored) = entry?;
                let (_, _, at_ms, nth) = position.value();
                ((at_ms, nth), EntryId::split(stored.value())?.0)
            };
            let (position, id) = oldest;
            self.log.remove(place(stream, position))?;
            self.appended.remove((stream.log.as_str(), stream.shard.0, &id.0))?;
            gone += 1;
        }
        Ok(gone)
    }
}

fn read(transaction: &ReadTransaction, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Failure> {
    let table = transaction.open_table(LOG)?;
    let logged = |entry: Result<(redb::AccessGuard<'_, Place>, redb::AccessGuard<'_, &'static [u8]>), _>| {
        let (position, stored) = entry?;
        let (_, _, at_ms, nth) = position.value();
        let (id, sealed) = EntryId::split(stored.value())?;
        Ok::<_, Failure>(Logged { position: Position { at_ms, nth }, id, sealed: sealed.to_vec() })
    };
    let beyond = |position: Option<Position>, end| position.map_or(end, |Position { at_ms, nth }| (at_ms, nth));
    match order {
        Order::Oldest(None) => {
            table.range(place(stream, FIRST)..=place(stream, BEYOND))?.take(limit).map(logged).collect()
        }
        Order::Oldest(after @ Some(_)) => {
            let after = std::ops::Bound::Excluded(place(stream, beyond(after, FIRST)));
            let range = (after, std::ops::Bound::Included(place(stream, BEYOND)));
            table.range::<(&str, u8, u64, u64)>(range)?.take(limit).map(logged).collect()
        }
        Order::Newest(before) => {
            let range = place(stream, FIRST)..place(stream, beyond(before, BEYOND));
            table.range(range)?.rev().take(limit).map(logged).collect()
        }
    }
}

/// Whether anything is to be trimmed.
fn is_too_long(transaction: &ReadTransaction, stream: &Stream, keep: Keep, now_ms: u64) -> Result<bool, Failure> {
    let table = transaction.open_table(LOG)?;
    let all = place(stream, FIRST)..=place(stream, BEYOND);
    let Some((oldest, _)) = table.range(all.clone())?.next().transpose()? else { return Ok(false) };
    let (_, _, at_ms, nth) = oldest.value();
    let too_old = keep.age.is_some_and(|age| at_ms < kept_from(age, now_ms));
    if too_old || keep.behind.is_some_and(|behind| Position { at_ms, nth } <= behind) {
        return Ok(true);
    }
    let Some(entries) = keep.entries else { return Ok(false) };
    Ok(table.range(all)?.count() as u64 > entries)
}

/// What was appended before then is too old.
fn kept_from(age: Duration, now_ms: u64) -> u64 {
    now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[async_trait]
impl Log for EmbeddedStore {
    async fn append(&self, shard: Shard, entries: &[Entry]) -> Result<(), Error> {
        let entries = entries.to_vec();
        self.writer.write(move |tables| tables.log.append(shard, &entries, now_ms())).await
    }

    async fn read(&self, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Error> {
        EmbeddedStore::read(self, |transaction| read(transaction, stream, order, limit))
    }

    async fn trim(&self, stream: &Stream, keep: Keep) -> Result<u64, Error> {
        let stream = *stream;
        // Looking costs nothing; writing, a flush of the disk.
        if !EmbeddedStore::read(self, |transaction| is_too_long(transaction, &stream, keep, now_ms()))? {
            return Ok(0);
        }
        self.writer.write(move |tables| tables.log.trim(&stream, keep, now_ms())).await
    }
}
