//! What lies in the file, and each operation on it inside a transaction. It opens no transaction and commits none.

use redb::{ReadTransaction, ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction};

use super::counters::CounterTables;
use super::log::LogTables;
use crate::store::version::encode;
use crate::store::{Claim, Entry, Error, Expect, Key, Put, Version, Versioned, Write};

type RecordKey = &'static [u8; 32];

/// Key → due time, version, value: the first two eight bytes each, big endian.
pub(super) const RECORDS: TableDefinition<'static, RecordKey, &'static [u8]> = TableDefinition::new("records");
/// (due time, key): the order healers ask for.
pub(super) const DUE: TableDefinition<'static, (u64, RecordKey), ()> = TableDefinition::new("due");
/// Name → end of life, value: the first eight bytes, big endian.
pub(super) const ONCE: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("once");
/// (end of life, name): what can be purged.
pub(super) const ONCE_ENDS: TableDefinition<'static, (u64, &'static str), ()> = TableDefinition::new("once_ends");

/// "Never", of due times and ends of life.
pub(super) const NEVER: u64 = u64::MAX;

/// How many expired one-time values one transaction clears away at most.
const PURGED_AT_ONCE: usize = 256;

/// Splits a number off what lies in storage.
pub(super) fn split_number(stored: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (number, rest) = stored.split_first_chunk::<8>().ok_or(Error::Corrupt { what: "a stored value" })?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// A record as the table holds it.
pub(super) fn read_record(stored: &[u8]) -> Result<Versioned, Error> {
    Versioned::decode(split_number(stored)?.1)
}

/// A live one-time value.
pub(super) fn read_once(stored: &[u8], now_ms: u64) -> Result<Option<&[u8]>, Error> {
    let (end, value) = split_number(stored)?;
    Ok((end > now_ms).then_some(value))
}

/// Looks a one-time value up in a read transaction.
pub(super) fn peek(transaction: &ReadTransaction, id: &str, now_ms: u64) -> Result<Option<Vec<u8>>, super::Failure> {
    let table = transaction.open_table(ONCE)?;
    let stored = table.get(id)?;
    Ok(match &stored {
        Some(stored) => read_once(stored.value(), now_ms)?.map(<[u8]>::to_vec),
        None => None,
    })
}

/// All tables inside one write transaction, and which records it changed.
pub(super) struct Tables<'a> {
    records: Table<'a, RecordKey, &'static [u8]>,
    due: Table<'a, (u64, RecordKey), ()>,
    once: Table<'a, &'static str, &'static [u8]>,
    once_ends: Table<'a, (u64, &'static str), ()>,
    pub(super) log: LogTables<'a>,
    pub(super) counters: CounterTables<'a>,
    pub(super) changed: Vec<(Key, Option<Version>)>,
}

impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            due: transaction.open_table(DUE)?,
            once: transaction.open_table(ONCE)?,
            once_ends: transaction.open_table(ONCE_ENDS)?,
            log: LogTables::open(transaction)?,
            counters: CounterTables::open(transaction)?,
            changed: Vec::new(),
        })
    }

    fn record(&self, key: &[u8; 32]) -> Result<Option<(u64, Vec<u8>)>, super::Failure> {
        let stored = self.records.get(key)?;
        Ok(match &stored {
            Some(stored) => {
                let (due, rest) = split_number(stored.value())?;
                Some((due, rest.to_vec()))
            }
            None => None,
        })
    }

    /// Writes a record. Where the lease was `lost` under which that was to be done, only what was written before is.
    pub(super) fn put(
        &mut self,
        key: Key,
        expect: Expect,
        write: Write<'_>,
        lost: bool,
        now_ms: u64,
    ) -> Result<Put, super::Failure> {
        let Write { version, value, due, entries, .. } = write;
        let name = key.to_bytes();
        let bytes = encode(version, value);
        let stored = self.record(&name)?;
        let repeated = stored.as_ref().is_some_and(|(_, stored)| *stored == bytes);
        if lost && !repeated {
            return Err(Error::LeaseLost.into());
        }
        if let Some((old_due, stored)) = &stored {
            let there = Versioned::decode(stored)?;
            let fits = match expect {
                Expect::Absent => false,
                Expect::Version(expected) => there.version == expected && version > there.version,
                Expect::Any => version > there.version,
            };
            if !fits && !repeated {
                return Ok(Put::Conflict(Some(there)));
            }
            self.due.remove((*old_due, &name))?;
        } else if matches!(expect, Expect::Version(_)) {
            return Ok(Put::Conflict(None));
        }
        let due = due.unwrap_or(NEVER);
        if due != NEVER {
            self.due.insert((due, &name), ())?;
        }
        self.records.insert(&name, [due.to_be_bytes().as_slice(), &bytes].concat().as_slice())?;
        if !repeated {
            self.log.add(key.shard(), entries, now_ms)?;
        }
        self.changed.push((key, Some(version)));
        Ok(Put::Stored)
    }

    pub(super) fn delete(
        &mut self,
        key: Key,
        expect: Expect,
        (entries, now_ms): (&[Entry], u64),
    ) -> Result<Put, super::Failure> {
        let name = key.to_bytes();
        let Some((due, stored)) = self.record(&name)? else { return Ok(Put::Stored) };
        let there = Versioned::decode(&stored)?;
        let fits = match expect {
            Expect::Absent => false,
            Expect::Version(expected) => there.version == expected,
            Expect::Any => true,
        };
        if !fits {
            return Ok(Put::Conflict(Some(there)));
        }
        self.records.remove(&name)?;
        self.due.remove((due, &name))?;
        self.log.add(key.shard(), entries, now_ms)?;
        self.changed.push((key, None));
        Ok(Put::Stored)
    }

    fn once(&self, id: &str) -> Result<Option<(u64, Vec<u8>)>, super::Failure> {
        let stored = self.once.get(id)?;
        Ok(match &stored {
            Some(stored) => {
                let (end, value) = split_number(stored.value())?;
                Some((end, value.to_vec()))
            }
            None => None,
        })
    }

    fn write_once(&mut self, id: &str, value: &[u8], end: u64) -> Result<(), StorageError> {
        if end != NEVER {
            self.once_ends.insert((end, id), ())?;
        }
        self.once.insert(id, [end.to_be_bytes().as_slice(), value].concat().as_slice())?;
        Ok(())
    }

    pub(super) fn put_once(&mut self, id: &str, value: &[u8], end: u64, now_ms: u64) -> Result<Claim, super::Failure> {
        if let Some((old_end, there)) = self.once(id)? {
            if old_end > now_ms {
                return Ok(Claim::Theirs(there));
            }
            self.once_ends.remove((old_end, id))?;
        }
        self.write_once(id, value, end)?;
        Ok(Claim::Mine)
    }

    pub(super) fn take(&mut self, id: &str, now_ms: u64) -> Result<Option<Vec<u8>>, super::Failure> {
        let Some((end, value)) = self.once(id)? else { return Ok(None) };
        self.once.remove(id)?;
        self.once_ends.remove((end, id))?;
        Ok((end > now_ms).then_some(value))
    }

    pub(super) fn replace(
        &mut self,
        id: &str,
        expected: &[u8],
        value: &[u8],
        end: Option<u64>,
        now_ms: u64,
    ) -> Result<bool, super::Failure> {
        let Some((old_end, there)) = self.once(id)? else { return Ok(false) };
        if old_end <= now_ms || there != expected {
            return Ok(false);
        }
        self.once_ends.remove((old_end, id))?;
        self.write_once(id, value, end.unwrap_or(old_end))?;
        Ok(true)
    }

    /// Clears away some of the one-time values and counters that have expired.
    pub(super) fn purge(&mut self, now_ms: u64) -> Result<(), super::Failure> {
        self.counters.purge(now_ms, PURGED_AT_ONCE)?;
        for _ in 0..PURGED_AT_ONCE {
            let Some((end, id)) = self.once_ends.first()?.map(|(key, _)| (key.value().0, key.value().1.to_owned()))
            else {
                break;
            };
            if end > now_ms {
                break;
            }
            self.once_ends.remove((end, id.as_str()))?;
            self.once.remove(id.as_str())?;
        }
        Ok(())
    }
}
