//! A store that measures how long operations take and counts those that fail, for the metrics; else it is the one behind it.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{
    Change, Claim, Counters, Due, Entry, Error, Expect, Keep, Key, Log, Logged, Order, OwnerId, Page, Put, RecordId,
    Shard, Store, Stream, Taken, Tally, Versioned, Write,
};
use crate::telemetry::{Metrics, metrics::StoreOperation};

/// Measures and counts.
pub struct Counted {
    inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl Counted {
    /// Tells `metrics` how `inner` does.
    pub fn new(inner: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    async fn measured<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let outcome = work.await;
        let failed = outcome.as_ref().is_err_and(|error| *error != Error::LeaseLost);
        self.metrics.store_operation(operation, began.elapsed(), failed);
        outcome
    }
}

#[async_trait]
impl Store for Counted {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        self.measured(StoreOperation::Get, self.inner.get(key)).await
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error> {
        self.measured(StoreOperation::List, self.inner.list(owner)).await
    }

    async fn put(&self, key: &Key, expect: Expect, write: Write<'_>) -> Result<Put, Error> {
        self.measured(StoreOperation::Put, self.inner.put(key, expect, write)).await
    }

    async fn delete(&self, key: &Key, expect: Expect, entries: &[Entry]) -> Result<Put, Error> {
        self.measured(StoreOperation::Delete, self.inner.delete(key, expect, entries)).await
    }

    async fn due(&self, until_ms: u64, after: Option<Due>, limit: usize) -> Result<Vec<Due>, Error> {
        self.measured(StoreOperation::Due, self.inner.due(until_ms, after, limit)).await
    }

    async fn lease(&self, key: &Key, holder: &str, ttl: Duration) -> Result<Taken, Error> {
        self.measured(StoreOperation::Lease, self.inner.lease(key, holder, ttl)).await
    }

    async fn renew(&self, key: &Key, holder: &str, ttl: Duration) -> Result<bool, Error> {
        self.measured(StoreOperation::Renew, self.inner.renew(key, holder, ttl)).await
    }

    async fn release(&self, key: &Key, holder: &str) -> Result<(), Error> {
        self.measured(StoreOperation::Release, self.inner.release(key, holder)).await
    }

    async fn put_once(&self, id: &str, value: &[u8], ttl: Option<Duration>) -> Result<Claim, Error> {
        self.measured(StoreOperation::PutOnce, self.inner.put_once(id, value, ttl)).await
    }

    async fn peek(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        self.measured(StoreOperation::Peek, self.inner.peek(id)).await
    }

    async fn take(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        self.measured(StoreOperation::Take, self.inner.take(id)).await
    }

    async fn replace(&self, id: &str, expected: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, Error> {
        self.measured(StoreOperation::Replace, self.inner.replace(id, expected, value, ttl)).await
    }

    async fn count(&self) -> Result<u64, Error> {
        self.measured(StoreOperation::Count, self.inner.count()).await
    }

    async fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Page, Error> {
        self.measured(StoreOperation::Scan, self.inner.scan(cursor, limit)).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.measured(StoreOperation::Ping, self.inner.ping()).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes()
    }

    fn channel_up(&self) -> bool {
        self.inner.channel_up()
    }

    fn channel_epoch(&self) -> Option<u64> {
        self.inner.channel_epoch()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Log for Counted {
    async fn append(&self, shard: Shard, entries: &[Entry]) -> Result<(), Error> {
        self.measured(StoreOperation::Append, self.inner.append(shard, entries)).await
    }

    async fn read(&self, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Error> {
        self.measured(StoreOperation::Read, self.inner.read(stream, order, limit)).await
    }

    async fn trim(&self, stream: &Stream, keep: Keep) -> Result<u64, Error> {
        self.measured(StoreOperation::Trim, self.inner.trim(stream, keep)).await
    }
}

#[async_trait]
impl Counters for Counted {
    async fn count_up(&self, tally: &Tally<'_>) -> Result<(), Error> {
        self.measured(StoreOperation::CountUp, self.inner.count_up(tally)).await
    }

    async fn counts(&self, name: &str, buckets: RangeInclusive<u64>) -> Result<Vec<(u64, u64)>, Error> {
        self.measured(StoreOperation::Counts, self.inner.counts(name, buckets)).await
    }
}
