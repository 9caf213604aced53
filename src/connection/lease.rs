//! The lease on a connection, between processes: taken for a short time, renewed while its holder works, given back when
//! it is done, gone by itself when its holder dies. It keeps two processes from spending the same refresh token; that no
//! older grant overwrites a newer one is the store's compare-and-set, which doesn't trust leases.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinHandle, time::Instant};

use crate::store::{Error, Key, Store, Taken};

/// How long a lease outlives its holder.
pub const TTL: Duration = Duration::from_secs(15);

/// A lease that is held. Dropping it stops the renewal; [`Lease::release`] also gives it back at once.
pub struct Lease {
    store: Arc<dyn Store>,
    key: Key,
    holder: String,
    /// Its number, which is the store's time when it was taken.
    fence: u64,
    taken: Instant,
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

impl Lease {
    /// Asks for the lease on `key`. `holder` names this acquisition and no other: a release that the network delivers
    /// late must not end the next one.
    ///
    /// # Errors
    /// Where the store doesn't say: nobody knows whose the lease is, and nothing may be spent.
    pub async fn ask(store: &Arc<dyn Store>, key: Key, holder: String, handle: &Handle) -> Result<Asked, Error> {
        let asked = Instant::now();
        match store.lease(&key, &holder, TTL).await {
            Ok(Taken::Theirs { remaining }) => Ok(Asked::Theirs(remaining)),
            Ok(Taken::Mine { fence }) => {
                let until = Arc::new(Mutex::new(asked + TTL));
                let renewal = handle.spawn(renew(Arc::clone(store), key, holder.clone(), Arc::clone(&until)));
                let taken = Instant::now();
                Ok(Asked::Mine(Self { store: Arc::clone(store), key, holder, fence, taken, until, renewal }))
            }
            Err(error) => {
                // If it is ours after all, others need not wait until it runs out.
                let store = Arc::clone(store);
                handle.spawn(async move { store.release(&key, &holder).await });
                Err(error)
            }
        }
    }

    /// Whether it certainly is still ours: a process that was stopped, or cut off from the store, may find that its time
    /// is over.
    pub fn holds(&self) -> bool {
        Instant::now() < *self.until.lock()
    }

    /// The time by the store's clock, in microseconds since the epoch: the same for all processes.
    pub fn store_time(&self) -> u64 {
        self.fence.saturating_add(u64::try_from(self.taken.elapsed().as_micros()).unwrap_or(u64::MAX))
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

async fn renew(store: Arc<dyn Store>, key: Key, holder: String, until: Arc<Mutex<Instant>>) {
    loop {
        tokio::time::sleep(TTL / 3).await;
        let asked = Instant::now();
        match store.renew(&key, &holder, TTL).await {
            Ok(true) => *until.lock() = asked + TTL,
            Ok(false) => {
                *until.lock() = asked;
                tracing::warn!("a lease was lost while its holder worked; what it writes is still compared");
                return;
            }
            Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
        }
    }
}
