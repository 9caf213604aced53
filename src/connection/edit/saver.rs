//! Writes the grants that only this process has, again and again, and what the store has forgotten.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::timeout};

use crate::{
    connection::{
        model::Unavailable,
        record::{landing::Landed, records::Records},
        revoke::Revoker,
    },
    store::Key,
};

/// Between two tries to write.
const PAUSE: Duration = Duration::from_millis(250);

/// Writes what waits.
pub struct Saver {
    records: Arc<Records>,
    revoker: Arc<Revoker>,
}

impl Saver {
    /// For these records; what is superseded meanwhile is revoked.
    pub fn new(records: Arc<Records>, revoker: Arc<Revoker>) -> Arc<Self> {
        Arc::new(Self { records, revoker })
    }

    /// Stores what only this process has of `key`, where there is something: before that, no intent can be written on it, and
    /// nothing of it may be spent.
    ///
    /// # Errors
    /// Where that does not come about.
    pub async fn save_first(&self, key: Key) -> Result<(), Unavailable> {
        if self.records.own().unsaved.sealed(&key).is_some() {
            self.save(key).await;
        }
        if self.records.own().unsaved.sealed(&key).is_some() { Err(Unavailable::Store) } else { Ok(()) }
    }

    async fn save(&self, key: Key) {
        if let Some((Landed::Superseded | Landed::Gone, record)) = self.records.save(key).await {
            self.revoker.give_up(&record);
        }
    }

    /// Writes what waits, again and again, for as long as the process lives.
    pub fn keep_saving(self: &Arc<Self>, handle: &Handle) {
        let saver = Arc::clone(self);
        handle.spawn(async move {
            let unsaved = &saver.records.own().unsaved;
            loop {
                unsaved.hurried().await;
                while unsaved.len() > 0 {
                    for key in unsaved.keys() {
                        saver.save(key).await;
                    }
                    unsaved.told();
                    let pause = if unsaved.len() > 0 { PAUSE } else { Duration::ZERO };
                    let _ = timeout(pause, unsaved.hurried()).await;
                }
            }
        });
    }

    /// After each gap in the notifications, which a failover leaves, sees to it that the store still has what this process
    /// wrote lately: before another process spends again what it finds there.
    pub fn repair_after_gaps(self: &Arc<Self>, handle: &Handle) {
        let saver = Arc::clone(self);
        handle.spawn(async move {
            let records = &saver.records;
            // Not yet looked at since the last gap: what can't be read must not keep the next gap from being noticed.
            let mut left: Vec<Key> = Vec::new();
            loop {
                let gap = records.own().unsaved.gapped();
                let noticed = if left.is_empty() {
                    gap.await;
                    true
                } else {
                    timeout(PAUSE, gap).await.is_ok()
                };
                let lately = records.own().written_lately(records.now());
                let looked_at: Vec<Key> = lately.into_iter().filter(|key| noticed || left.contains(key)).collect();
                left.clear();
                for key in looked_at {
                    if let Err(Unavailable::Store | Unavailable::Busy) = records.read(&key).await {
                        left.push(key);
                    }
                }
            }
        });
    }
}
