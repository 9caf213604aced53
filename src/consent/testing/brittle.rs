//! A store that breaks in the middle of something: from one of its operations on, none is answered.

use std::{ops::RangeInclusive, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use crate::store::{
    Change, Claim, Counters, Due, EmbeddedStore, Entry, Error, Expect, Keep, Key, Log, Logged, Order, OwnerId, Page,
    Put, RecordId, Shard, Store, Stream, Taken, Tally, Versioned, Write,
};

/// How it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// The operation is not done.
    Before,
    /// It is done, but its answer is lost; later ones are not done.
    After,
    /// It waits until the store is mended, and is done then.
    Waits,
}

/// The store of these tests.
pub(crate) struct Brittle {
    inner: EmbeddedStore,
    breaks: Mutex<Option<(usize, Break)>>,
    counters: Mutex<Option<Break>>,
    broken: Notify,
    mended: Notify,
}

impl Brittle {
    pub fn new(inner: EmbeddedStore) -> Self {
        Self {
            inner,
            breaks: Mutex::default(),
            counters: Mutex::default(),
            broken: Notify::new(),
            mended: Notify::new(),
        }
    }

    /// Breaks after so many operations.
    pub fn break_after(&self, operations: usize, how: Break) {
        *self.breaks.lock() = Some((operations, how));
    }

    /// Counts nothing from now on, or does again.
    pub fn counters_break(&self, how: Option<Break>) {
        *self.counters.lock() = how;
    }

    /// Works again. Says whether it was broken.
    pub fn mend(&self) -> bool {
        let broken = self.breaks.lock().take().is_some_and(|(left, _)| left == 0);
        self.mended.notify_waiters();
        broken
    }

    /// Until it breaks.
    pub async fn is_broken(&self) {
        self.broken.notified().await;
    }

    async fn act<T>(&self, work: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        let away = || Error::Unavailable { reason: "as told".into() };
        let (mut last, mut waits) = (false, None);
        if let Some((left, how)) = &mut *self.breaks.lock() {
            if *left > 1 {
                *left -= 1;
            } else if *left == 1 || *how != Break::After {
                // Only the first one whose answer is lost is done.
                (*left, last) = (0, *how == Break::After);
                if *how == Break::Waits {
                    waits = Some(self.mended.notified());
                } else if !last {
                    return Err(away());
                }
            } else {
                return Err(away());
            }
        }
        if let Some(mended) = waits {
            self.broken.notify_one();
            mended.await;
        }
        let done = work.await;
        if last { Err(away()) } else { done }
    }
}

#[async_trait]
impl Store for Brittle {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        self.act(self.inner.get(key)).await
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error> {
        self.act(self.inner.list(owner)).await
    }

    async fn put(&self, key: &Key, expect: Expect, write: Write<'_>) -> Result<Put, Error> {
        self.act(self.inner.put(key, expect, write)).await
    }

    async fn delete(&self, key: &Key, expect: Expect, entries: &[Entry]) -> Result<Put, Error> {
        self.act(self.inner.delete(key, expect, entries)).await
    }

    async fn due(&self, until_ms: u64, after: Option<Due>, limit: usize) -> Result<Vec<Due>, Error> {
        self.inner.due(until_ms, after, limit).await
    }

    async fn lease(&self, key: &Key, holder: &str, ttl: Duration) -> Result<Taken, Error> {
        self.act(self.inner.lease(key, holder, ttl)).await
    }

    async fn renew(&self, key: &Key, holder: &str, ttl: Duration) -> Result<bool, Error> {
        self.inner.renew(key, holder, ttl).await
    }

    async fn release(&self, key: &Key, holder: &str) -> Result<(), Error> {
        self.inner.release(key, holder).await
    }

    async fn put_once(&self, id: &str, value: &[u8], ttl: Option<Duration>) -> Result<Claim, Error> {
        self.act(self.inner.put_once(id, value, ttl)).await
    }

    async fn peek(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        self.act(self.inner.peek(id)).await
    }

    async fn take(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        self.act(self.inner.take(id)).await
    }

    async fn replace(&self, id: &str, expected: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<bool, Error> {
        self.act(self.inner.replace(id, expected, value, ttl)).await
    }

    async fn count(&self) -> Result<u64, Error> {
        self.inner.count().await
    }

    async fn scan(&self, cursor: Option<String>, limit: usize) -> Result<Page, Error> {
        self.inner.scan(cursor, limit).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes()
    }

    fn channel_up(&self) -> bool {
        self.inner.channel_up()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// What nobody waits for: it breaks nothing in the middle.
#[async_trait]
impl Log for Brittle {
    async fn append(&self, shard: Shard, entries: &[Entry]) -> Result<(), Error> {
        self.inner.append(shard, entries).await
    }

    async fn read(&self, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Error> {
        self.inner.read(stream, order, limit).await
    }

    async fn trim(&self, stream: &Stream, keep: Keep) -> Result<u64, Error> {
        self.inner.trim(stream, keep).await
    }
}

#[async_trait]
impl Counters for Brittle {
    async fn count_up(&self, tally: &Tally<'_>) -> Result<(), Error> {
        let broken = *self.counters.lock();
        if broken != Some(Break::Before) {
            self.inner.count_up(tally).await?;
        }
        broken.map_or(Ok(()), |_| Err(Error::Unavailable { reason: "as told".into() }))
    }

    async fn counts(&self, name: &str, buckets: RangeInclusive<u64>) -> Result<Vec<(u64, u64)>, Error> {
        self.inner.counts(name, buckets).await
    }
}
