//! The lease on a connection, between processes: taken for a short time, renewed while its holder works, given back when
//! it is done, gone by itself when its holder dies. It keeps two processes from spending the same refresh token; that no
//! older grant overwrites a newer one is the store's compare-and-set, which doesn't trust leases. What must not be written once
//! a lease is lost, is written under it: then the store looks at it in the same step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::store::{Error, Held, Key, Store, Taken};

/// How long a lease outlives its holder.
pub const TTL: Duration = Duration::from_secs(15);
/// How long after it was asked for it is renewed, …
const INTERVAL: Duration = Duration::from_secs(5);
/// … and after a failure again.
const PAUSE: Duration = Duration::from_secs(1);

/// A lease that is held. Dropping it stops the renewal; [`Lease::release`] also gives it back at once.
pub struct Lease {
    store: Arc<dyn Store>,
    key: Key,
    holder: String,
    /// Its number, which is the store's time when it was taken: some time between these two moments.
    fence: u64,
    asked: Instant,
    answered: Instant,
    /// Until then nobody else can have it.
    until: Arc<Mutex<Instant>>,
    renewal: JoinHandle<()>,
}

/// What came of asking for a lease. Not knowing is the third answer: `Err`.
pub enum Asked {
    /// It is ours.
    Mine(Lease),
    /// Another holds it, for this long unless it is renewed.
    Theirs(Duration),
}

/// Asks for leases in this process's name.
pub struct Leases {
    store: Arc<dyn Store>,
    process: String,
    /// How many it has asked for.
    asked: AtomicU64,
    /// Where they are renewed.
    handle: Handle,
}

impl Leases {
    /// For the process of this name, which no other has.
    pub fn new(store: Arc<dyn Store>, process: String, handle: Handle) -> Self {
        Self { store, process, asked: AtomicU64::new(0), handle }
    }

    /// Whose leases these are.
    pub fn process(&self) -> &str {
        &self.process
    }

    /// Asks for the lease on `key`. Each acquisition has a name of its own: a release that the network delivers late must
    /// not end the next one.
    ///
    /// # Errors
    /// Where the store doesn't say: nobody knows whose the lease is, and nothing may be spent.
    pub async fn ask(&self, key: Key) -> Result<Asked, Error> {
        let holder = format!("{}-{}", self.process, self.asked.fetch_add(1, Ordering::Relaxed));
        let (store, handle) = (&self.store, &self.handle);
        let asked = Instant::now();
        match store.lease(&key, &holder, TTL).await {
            Ok(Taken::Theirs { remaining }) => Ok(Asked::Theirs(remaining)),
            Ok(Taken::Mine { fence }) => {
                let until = Arc::new(Mutex::new(asked + TTL));
                let answered = Instant::now();
                let renewal = handle.spawn(keep(Arc::clone(store), key, holder.clone(), Arc::clone(&until)));
                Ok(Asked::Mine(Lease { store: Arc::clone(store), key, holder, fence, asked, answered, until, renewal }))
            }
            Err(error) => {
                // If it is ours after all, others need not wait until it runs out.
                let store = Arc::clone(store);
                handle.spawn(async move { store.release(&key, &holder).await });
                Err(error)
            }
        }
    }
}

impl Lease {
    /// Whether it certainly stays ours for this long, should the store go away at once: renewed where it must be. A process
    /// that was stopped, or that the store answered late, may find that little or nothing is left of it.
    pub async fn secured_for(&self, time: Duration) -> bool {
        self.covers(time) || (prolong(&self.store, &self.key, &self.holder, &self.until).await && self.covers(time))
    }

    /// The same without asking the store, by what it said last.
    pub fn covers(&self, time: Duration) -> bool {
        Instant::now() + time <= *self.until.lock()
    }

    /// The time by the store's clock, in microseconds since the epoch: the same for all processes, and no later than this.
    /// How long the lease's answer was on its way, nobody knows.
    pub fn store_time_at_most(&self) -> u64 {
        self.fence.saturating_add(micros(self.asked.elapsed()))
    }

    /// As [`Lease::store_time_at_most`], and no earlier than this.
    pub fn store_time_at_least(&self) -> u64 {
        self.fence.saturating_add(micros(self.answered.elapsed()))
    }

    /// What a write under it asks the store for.
    pub fn held(&self) -> Held<'_> {
        Held { key: &self.key, holder: &self.holder }
    }

    /// Gives the lease back. If the store is away it runs out by itself.
    pub async fn release(self) {
        self.renewal.abort();
        if let Err(error) = self.store.release(&self.key, &self.holder).await {
            tracing::debug!(%error, "a lease was left to run out");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Renews the lease well before its end, counted from when it was last asked for: the answer may have come late.
async fn keep(store: Arc<dyn Store>, key: Key, holder: String, until: Arc<Mutex<Instant>>) {
    let mut pause = Duration::ZERO;
    loop {
        let left = until.lock().saturating_duration_since(Instant::now());
        sleep(left.saturating_sub(TTL - INTERVAL).max(pause)).await;
        if !prolong(&store, &key, &holder, &until).await {
            return;
        }
        pause = PAUSE;
    }
}

/// Asks once for a whole new term. `false`: the lease is lost.
async fn prolong(store: &Arc<dyn Store>, key: &Key, holder: &str, until: &Mutex<Instant>) -> bool {
    let asked = Instant::now();
    match store.renew(key, holder, TTL).await {
        Ok(true) => {
            let mut until = until.lock();
            *until = (*until).max(asked + TTL);
        }
        Ok(false) => {
            *until.lock() = asked;
            tracing::warn!("a lease was lost while its holder worked; what it writes is still compared");
            return false;
        }
        Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
    }
    true
}
