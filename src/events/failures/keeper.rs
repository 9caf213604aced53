//! Stores what was gathered. While the store is away the rest is gathered on, so that memory stays what it is; an entry whose
//! fate is unknown is appended again under its own id, which appends it once.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::Mutex,
    time::{sleep, timeout},
};

use super::{Failures, KEPT, kept::stream_of};
use crate::{
    backoff::Backoff,
    store::{Entry, Store, Stream},
    vault::Vault,
};

/// Between tries where the store is away.
const PATIENCE: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// After so many batches a stream is cut to what is kept.
const TRIM_AFTER: u64 = 32;

/// Stores failures for as long as the process lives. Cheap to clone.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    failures: Failures,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    /// What was taken and is not known to be stored; held by whoever is at work.
    unsure: Mutex<Unsure>,
}

#[derive(Default)]
struct Unsure {
    entries: Vec<(Stream, Entry)>,
    appended: u64,
}

impl Keeper {
    /// Begins to store what is noted in `failures`.
    pub fn start(failures: Failures, store: Arc<dyn Store>, vault: Arc<Vault>, handle: &Handle) -> Self {
        let keeper = Self(Arc::new(Inner { failures, store, vault, unsure: Mutex::default() }));
        let keeping = keeper.clone();
        handle.spawn(async move {
            let mut failed = 0;
            loop {
                let pause = match failed {
                    0 => keeping.until_due(),
                    failed => Some(PATIENCE.after(failed - 1)),
                };
                tokio::select! {
                    () = sleep(pause.unwrap_or(Duration::from_secs(3600))) => {
                        failed = if keeping.store(false).await { 0 } else { failed + 1 };
                    }
                    () = keeping.0.failures.0.changed.notified(), if failed == 0 => {}
                }
            }
        });
        keeper
    }

    /// Stores all that there is, within this time.
    pub async fn drain(&self, limit: Duration) {
        let all = async {
            let mut failed = 0;
            while !self.store(true).await {
                sleep(PATIENCE.after(failed)).await;
                failed += 1;
            }
        };
        if timeout(limit, all).await.is_err() {
            tracing::warn!("what failed last is not in the log of failures: the store is away");
        }
    }

    fn until_due(&self) -> Option<Duration> {
        let now = self.0.failures.now();
        self.0.failures.0.gathered.lock().next_due().map(|due| due.until(now))
    }

    /// Stores what is due, or `all`. Says whether it is stored.
    async fn store(&self, all: bool) -> bool {
        let mut unsure = self.0.unsure.lock().await;
        if unsure.entries.is_empty() {
            let batches = self.0.failures.0.gathered.lock().take(self.0.failures.now(), all);
            for batch in batches {
                match batch.entry(&self.0.vault) {
                    Ok(entry) => unsure.entries.push((stream_of(&batch.service), entry)),
                    Err(error) => tracing::warn!(%error, "a batch of failures can't be sealed"),
                }
            }
        }
        while let Some((stream, entry)) = unsure.entries.last() {
            if let Err(error) = self.0.store.append(stream.shard, std::slice::from_ref(entry)).await {
                tracing::debug!(%error, "a batch of failures is stored later");
                return false;
            }
            let stream = *stream;
            unsure.entries.pop();
            unsure.appended += 1;
            if unsure.appended % TRIM_AFTER == 0 {
                let _ = self.0.store.trim(&stream, KEPT).await;
            }
        }
        !all || self.0.failures.0.gathered.lock().next_due().is_none()
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}
