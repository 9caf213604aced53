//! What goes with no change of a record: gathered, and appended to the store's log each second. Never waits for, and bounded:
//! where the store is away for so long that the place is used up, what comes in then is lost, and that becomes an entry of its
//! own, which says how many. An entry goes by its event's id, so that one whose append nobody answered isn't there twice.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep, timeout},
};

use super::{entry, person::KeyError, sealer::Sealer};
use crate::{
    clock::{Clock, Timestamp},
    events::{Event, EventIds},
    store::{Entry, OwnerId, Shard, Store},
    telemetry::Metrics,
};

/// How many events wait at most.
const CAPACITY: usize = 10_000;
/// How long they are gathered, and how long is waited after a failure.
const GATHERED: Duration = Duration::from_secs(1);
/// How many are appended in one step at most.
const AT_ONCE: usize = 100;
/// What the log calls events that were lost. Part of what is stored.
pub const DROPPED: &str = "events_dropped";

/// Events on their way into the store's log.
pub struct Gathered {
    sealer: Arc<Sealer>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    clock: Clock,
    ids: EventIds,
    waiting: Mutex<Waiting>,
    /// Something came in.
    news: Notify,
    /// One at a time writes.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<(OwnerId, Event)>,
    /// What was sealed and is not certain to be stored.
    sealed: BTreeMap<Shard, Vec<Entry>>,
    /// Since when the oldest of them waits.
    since: Option<Timestamp>,
    /// How many were lost that no entry tells of yet.
    dropped: u64,
}

impl Waiting {
    fn len(&self) -> usize {
        self.events.len() + self.sealed.values().map(Vec::len).sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0 && self.dropped == 0
    }
}

impl Gathered {
    /// For the log in this store; `process` names this process, and no other.
    pub fn new(
        sealer: Arc<Sealer>,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        clock: Clock,
        process: &str,
    ) -> Arc<Self> {
        Arc::new(Self {
            sealer,
            store,
            metrics,
            clock,
            ids: EventIds::new(&format!("{process} log")),
            waiting: Mutex::default(),
            news: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// Takes an event in, which happened to this owner. Never waits.
    pub fn add(&self, owner: OwnerId, event: &Event) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= CAPACITY {
            waiting.dropped += 1;
            drop(waiting);
            self.metrics.audit_dropped(1);
            return;
        }
        waiting.since.get_or_insert(event.at);
        waiting.events.push_back((owner, event.clone()));
        drop(waiting);
        self.news.notify_one();
    }

    /// Appends what comes in, for as long as the process lives.
    pub fn keep_writing(self: &Arc<Self>, handle: &Handle) {
        let gathered = Arc::clone(self);
        handle.spawn(async move {
            loop {
                if gathered.waiting.lock().is_empty() {
                    gathered.news.notified().await;
                }
                sleep(GATHERED).await;
                if let Err(error) = gathered.write().await {
                    tracing::debug!(%error, "events are not in the log yet");
                }
            }
        });
    }

    /// Appends all that waits, within this time. Says whether it is there.
    pub async fn settle(&self, limit: Duration) -> bool {
        let write = async {
            while self.write().await.is_err() {
                sleep(GATHERED / 4).await;
            }
        };
        let done = timeout(limit, write).await.is_ok();
        if !done {
            tracing::error!(lost = self.waiting.lock().len(), "events could not be appended to the log");
        }
        done
    }

    /// Appends what waits now.
    ///
    /// # Errors
    /// While the store is away, or a person's key isn't to be had. What was not appended waits on.
    pub(super) async fn write(&self) -> Result<(), KeyError> {
        let _writing = self.writing.lock().await;
        let written = self.write_all().await;
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            waiting.since = None;
        }
        let lag = waiting.since.map_or(Duration::ZERO, |since| self.clock.now().since(since));
        drop(waiting);
        self.metrics.audit_lag(lag);
        written
    }

    async fn write_all(&self) -> Result<(), KeyError> {
        self.seal_all().await?;
        loop {
            let Some((shard, entries)) = self.next() else { return Ok(()) };
            self.store.append(shard, &entries).await?;
            let mut waiting = self.waiting.lock();
            if let Some(left) = waiting.sealed.get_mut(&shard) {
                left.drain(..entries.len());
                if left.is_empty() {
                    waiting.sealed.remove(&shard);
                }
            }
        }
    }

    /// Makes entries of all events that wait. One whose person's key doesn't open keeps no other from it.
    async fn seal_all(&self) -> Result<(), KeyError> {
        let (mut failed, mut left) = (None, self.waiting.lock().events.len());
        while left > 0 {
            left -= 1;
            let Some((owner, event)) = self.waiting.lock().events.front().cloned() else { break };
            let sealed = self.sealer.entry(&owner, &event).await;
            let mut waiting = self.waiting.lock();
            let event = waiting.events.pop_front();
            match sealed {
                Ok(entry) => waiting.sealed.entry(Shard(owner.0[0])).or_default().push(entry),
                Err(error) => {
                    waiting.events.extend(event);
                    let is_away = matches!(error, KeyError::Store(_));
                    failed = Some(error);
                    if is_away {
                        break;
                    }
                }
            }
        }
        let dropped = std::mem::take(&mut self.waiting.lock().dropped);
        if dropped > 0 {
            let now = self.clock.now();
            let id = self.ids.next(now).entry();
            let shard = Shard(id.0[6]);
            match entry::seal_count(self.sealer.vault(), shard, id, (now, DROPPED, dropped)) {
                Ok(entry) => self.waiting.lock().sealed.entry(shard).or_default().push(entry),
                Err(error) => {
                    self.waiting.lock().dropped += dropped;
                    return Err(error.into());
                }
            }
            tracing::error!(dropped, "events were lost: the log could not take them for too long");
        }
        failed.map_or(Ok(()), Err)
    }

    fn next(&self) -> Option<(Shard, Vec<Entry>)> {
        let waiting = self.waiting.lock();
        let (shard, entries) = waiting.sealed.first_key_value()?;
        Some((*shard, entries.iter().take(AT_ONCE).cloned().collect()))
    }
}
