//! Counters in tables of their own. What has expired is cleared away by later writes.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use redb::{ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

use super::{EmbeddedStore, Failure, now_ms};
use crate::store::{
    Counters, Error, Tally,
    counters::{check_counts, check_tally},
};

/// Counter and bucket → end of life, count.
const COUNTS: TableDefinition<'static, (&'static str, u64), (u64, u64)> = TableDefinition::new("counts");
/// Counter and id of what was counted → end of life.
const COUNTED: TableDefinition<'static, (&'static str, &'static str), u64> = TableDefinition::new("counted");
/// End of life, counter, bucket: what can be purged of counts, …
const COUNT_ENDS: TableDefinition<'static, (u64, &'static str, u64), ()> = TableDefinition::new("count_ends");
/// … and end of life, counter, id: of what was counted.
const COUNTED_ENDS: TableDefinition<'static, (u64, &'static str, &'static str), ()> =
    TableDefinition::new("counted_ends");

/// The tables inside a write transaction.
pub(super) struct CounterTables<'a> {
    counts: Table<'a, (&'static str, u64), (u64, u64)>,
    counted: Table<'a, (&'static str, &'static str), u64>,
    count_ends: Table<'a, (u64, &'static str, u64), ()>,
    counted_ends: Table<'a, (u64, &'static str, &'static str), ()>,
}

impl<'a> CounterTables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            counts: transaction.open_table(COUNTS)?,
            counted: transaction.open_table(COUNTED)?,
            count_ends: transaction.open_table(COUNT_ENDS)?,
            counted_ends: transaction.open_table(COUNTED_ENDS)?,
        })
    }

    fn count_up(&mut self, tally: &Tally<'_>, now_ms: u64) -> Result<(), Failure> {
        let end =
            |time: std::time::Duration| now_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mark = (tally.name, tally.id);
        if let Some(known_until) = self.counted.get(mark)?.map(|end| end.value()) {
            if known_until > now_ms {
                return Ok(());
            }
            self.counted_ends.remove((known_until, tally.name, tally.id))?;
        }
        let known_until = end(tally.known_for);
        self.counted.insert(mark, known_until)?;
        self.counted_ends.insert((known_until, tally.name, tally.id), ())?;

        let bucket = (tally.name, tally.bucket);
        let mut count = 0;
        if let Some((old_end, there)) = self.counts.get(bucket)?.map(|stored| stored.value()) {
            self.count_ends.remove((old_end, tally.name, tally.bucket))?;
            count = if old_end > now_ms { there } else { 0 };
        }
        let kept_until = end(tally.kept_for);
        self.counts.insert(bucket, (kept_until, count.saturating_add(tally.n)))?;
        self.count_ends.insert((kept_until, tally.name, tally.bucket), ())?;
        Ok(())
    }

    /// Clears away what has expired, so many of each at most.
    pub(super) fn purge(&mut self, now_ms: u64, most: usize) -> Result<(), Failure> {
        for _ in 0..most {
            let first = self.count_ends.first()?.map(|(key, _)| {
                let (end, name, bucket) = key.value();
                (end, name.to_owned(), bucket)
            });
            let Some((end, name, bucket)) = first.filter(|(end, _, _)| *end <= now_ms) else { break };
            self.count_ends.remove((end, name.as_str(), bucket))?;
            self.counts.remove((name.as_str(), bucket))?;
        }
        for _ in 0..most {
            let first = self.counted_ends.first()?.map(|(key, _)| {
                let (end, name, id) = key.value();
                (end, name.to_owned(), id.to_owned())
            });
            let Some((end, name, id)) = first.filter(|(end, _, _)| *end <= now_ms) else { break };
            self.counted_ends.remove((end, name.as_str(), id.as_str()))?;
            self.counted.remove((name.as_str(), id.as_str()))?;
        }
        Ok(())
    }
}

impl EmbeddedStore {
    /// Whether this was counted before, and is still known.
    fn is_counted(&self, name: &str, id: &str) -> Result<bool, Error> {
        let now = now_ms();
        EmbeddedStore::read(self, |transaction| {
            let counted = transaction.open_table(COUNTED)?;
            let known_until = counted.get((name, id))?.map(|end| end.value());
            Ok(known_until.is_some_and(|end| end > now))
        })
    }
}

#[async_trait]
impl Counters for EmbeddedStore {
    async fn count_up(&self, tally: &Tally<'_>) -> Result<(), Error> {
        check_tally(tally)?;
        // Who opens a link again and again costs a look, and no write.
        if self.is_counted(tally.name, tally.id)? {
            return Ok(());
        }
        let (name, id, tally) =
            (tally.name.to_owned(), tally.id.to_owned(), (tally.bucket, tally.n, tally.known_for, tally.kept_for));
        self.writer
            .write(move |tables| {
                let (bucket, n, known_for, kept_for) = tally;
                let tally = Tally { name: &name, bucket, id: &id, n, known_for, kept_for };
                tables.counters.count_up(&tally, now_ms())
            })
            .await
    }

    async fn counts(&self, name: &str, buckets: RangeInclusive<u64>) -> Result<Vec<(u64, u64)>, Error> {
        check_counts(name, &buckets)?;
        let now = now_ms();
        EmbeddedStore::read(self, |transaction| {
            let table = transaction.open_table(COUNTS)?;
            let mut found = Vec::new();
            for entry in table.range((name, *buckets.start())..=(name, *buckets.end()))? {
                let (key, stored) = entry?;
                let (end, count) = stored.value();
                if end > now {
                    found.push((key.value().1, count));
                }
            }
            Ok(found)
        })
    }
}
