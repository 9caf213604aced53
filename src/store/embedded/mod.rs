//! The store of one machine: a redb file that survives a crash at any moment, held by one process at a time. Writes are
//! flushed to the disk before they are answered; reads run in the calling thread.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redb::{ReadableDatabase, ReadableTableMetadata};
use tokio::sync::broadcast;

use self::leases::Leases;
use self::slot::Slot;
use self::tables::{DUE, NEVER, RECORDS, Tables};
use self::writer::Writer;
use super::notices::Notices;
use super::{
    Change, Claim, Due, Entry, Error, Expect, Key, OwnerId, Page, Put, RecordId, Store, Taken, Versioned, Write,
    check_one_time_id,
};
use crate::clock::Clock;

mod counters;
mod file;
mod leases;
mod log;
mod slot;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

pub use file::OpenError;

/// What can go wrong inside a transaction: the database, or what it holds.
enum Failure {
    Database(redb::Error),
    Store(Error),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// The store in a file.
pub struct EmbeddedStore {
    slot: Arc<Slot>,
    writer: Writer,
    leases: Arc<Leases>,
    notices: Arc<Notices>,
}

impl EmbeddedStore {
    /// Opens the file, made with mode 0600 if there is none. Blocks for as long as the disk takes; after a crash redb
    /// checks the file first.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what to do.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let damaged = |error: redb::Error| OpenError::Damaged { path: path.to_owned(), reason: error.to_string() };
        let database = file::open(path)?;
        let transaction = database.begin_write().map_err(|error| damaged(error.into()))?;
        Tables::open(&transaction).map_err(|error| damaged(error.into()))?;
        transaction.commit().map_err(|error| damaged(error.into()))?;

        let slot = Arc::new(Slot::new(path.to_owned(), database));
        let notices = Arc::new(Notices::new());
        notices.up();
        let writer = Writer::start(Arc::clone(&slot), Arc::clone(&notices))
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self { slot, writer, leases: Arc::default(), notices })
    }

    fn read<T>(&self, work: impl FnOnce(&redb::ReadTransaction) -> Result<T, Failure>) -> Result<T, Error> {
        self.slot.with(|database| work(&database.begin_read()?))
    }
}

fn now_ms() -> u64 {
    Clock::system().now().millis()
}

fn end_of_life(ttl: Duration) -> u64 {
    Clock::system().now().plus(ttl).millis()
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(RECORDS)?;
            let stored = table.get(&key.to_bytes())?;
            Ok(stored.map(|stored| tables::read_record(stored.value())).transpose()?)
        })
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error> {
        let first = Key { owner: *owner, record: RecordId([0; 16]) }.to_bytes();
        let last = Key { owner: *owner, record: RecordId([0xff; 16]) }.to_bytes();
        self.read(|transaction| {
            let mut found = Vec::new();
            for entry in transaction.open_table(RECORDS)?.range::<&[u8; 32]>(&first..=&last)? {
                let (key, stored) = entry?;
                found.push((Key::from_bytes(key.value())?.record, tables::read_record(stored.value())?));
            }
            Ok(found)
        })
    }

    async fn put(&self, key: &Key, expect: Expect, write: Write<'_>) -> Result<Put, Error> {
        let Write { version, due, under, .. } = write;
        let (key, value, entries) = (*key, write.value.to_vec(), write.entries.to_vec());
        let under = under.map(|held| (Arc::clone(&self.leases), *held.key, held.holder.to_owned()));
        let put = move |tables: &mut Tables<'_>| {
            let lost = under.as_ref().is_some_and(|(leases, key, holder)| !leases.is_held(key, holder, Instant::now()));
            let write = Write { entries: &entries, ..Write::of(version, &value).due(due) };
            tables.put(key, expect, write, lost, now_ms())
        };
        self.writer.write(put).await
    }

    async fn delete(&self, key: &Key, expect: Expect, entries: &[Entry]) -> Result<Put, Error> {
        let (key, entries) = (*key, entries.to_vec());
        self.writer.write(move |tables| tables.delete(key, expect, (&entries, now_ms()))).await
    }

    async fn due(&self, until_ms: u64, after: Option<Due>, limit: usize) -> Result<Vec<Due>, Error> {
        let after = after.map(|(key, at)| (at, key.to_bytes()));
        let from = after.as_ref().map_or(Bound::Unbounded, |(at, key)| Bound::Excluded((*at, key)));
        let until = Bound::Included((until_ms, &[0xff; 32]));
        if after.as_ref().is_some_and(|(at, _)| *at > until_ms) {
            return Ok(Vec::new());
        }
        self.read(|transaction| {
            let mut found = Vec::new();
            for entry in transaction.open_table(DUE)?.range::<(u64, &[u8; 32])>((from, until))?.take(limit) {
                let entry = entry?.0;
                let (at, key) = entry.value();
                found.push((Key::from_bytes(key)?, at));
            }
            Ok(found)
        })
    }

    async fn lease(&self, key: &Key, holder: &str, ttl: Duration) -> Result<Taken, Error> {
        Ok(self.leases.lease(*key, holder, ttl, Instant::now(), Clock::system().now().micros()))
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn renew(&self, key: &Key, holder: &str, ttl: Duration) -> Result<bool, Error> {
        Ok(self.leases.renew(key, holder, ttl, Instant::now()))
    }

    async fn release(&self, key: &Key, holder: &str) -> Result<(), Error> {
        self.leases.release(key, holder);
        Ok(())
    }

    async fn put_once(&self, id: &str, value: &[u8], ttl: Option<Duration>) -> Result<Claim, Error> {
        check_one_time_id(id)?;
        let (id, value, end) = (id.to_owned(), value.to_vec(), ttl.map_or(NEVER, end_of_life));
        self.writer.write(move |tables| tables.put_once(&id, &value, end, now_ms())).await
    }

    async fn peek(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        check_one_time_id(id)?;
        self.read(|transaction| tables::peek(transaction, id, now_ms()))
    }

    async fn take(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        check_one_time_id(id)?;
        // Guessing at names shouldn't cost a flush of the disk each.
        if self.peek(id).await?.is_none() {
            return Ok(None);
        }
        let id = id.to_owned();
        self.writer.write(move |tables| tables.take(&id, now_ms())).await
    }

    async fn replace(&self, id: &str, expected: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, Error> {
        check_one_time_id(id)?;
        let (id, expected, value, end) = (id.to_owned(), expected.to_vec(), value.to_vec(), ttl.map(end_of_life));
        self.writer.write(move |tables| tables.replace(&id, &expected, &value, end, now_ms())).await
    }

    async fn count(&self) -> Result<u64, Error> {
        self.read(|transaction| Ok(transaction.open_table(RECORDS)?.len()?))
    }

    /// The cursor is the last key seen, in hexadecimal digits.
    async fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Page, Error> {
        let after = match cursor {
            Some(cursor) => Some(
                Key::from_hex(cursor.as_bytes())
                    .ok_or(Error::Refused { reason: "a cursor of another store".into(), passing: false })?
                    .to_bytes(),
            ),
            None => None,
        };
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        self.read(|transaction| {
            let mut page = Vec::new();
            let (mut next, mut seen) = (None, 0);
            for entry in
                transaction.open_table(RECORDS)?.range::<&[u8; 32]>((from, Bound::Unbounded))?.take(limit.max(1))
            {
                let (key, stored) = entry?;
                let key = Key::from_bytes(key.value())?;
                (next, seen) = (Some(key), seen + 1);
                match tables::read_record(stored.value()) {
                    Ok(record) => page.push((key, record)),
                    Err(error) => tracing::warn!(%error, record = %key, "a record is skipped"),
                }
            }
            Ok((page, next.filter(|_| seen >= limit.max(1)).map(|key| key.to_string())))
        })
    }

    async fn ping(&self) -> Result<(), Error> {
        self.read(|_| Ok(()))
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.notices.subscribe()
    }

    fn channel_up(&self) -> bool {
        self.notices.epoch().is_some()
    }

    fn channel_epoch(&self) -> Option<u64> {
        self.notices.epoch()
    }

    async fn close(&self) {
        self.writer.stop().await;
        self.notices.down();
    }
}
