//! What a process does when the store says that something changed: what it holds of that caller is no longer believed, and
//! read again before anybody asks, unless the change is its own and in there already; and the person's key for the log is looked
//! for anew, as they may have been erased. Never decides what a call gets.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::broadcast::error::RecvError,
    time::{interval, sleep},
};

use crate::store::{Change, OwnerId};

use super::Reader;

/// How often a change is read before it is left to the next call, …
const RELOADS: u32 = 10;
/// … with this pause after a failure.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

impl Reader {
    /// Follows the store's change notifications for as long as the process lives.
    pub fn watch(self: &Arc<Self>, handle: &Handle) {
        let (reader, on) = (Arc::clone(self), handle.clone());
        let mut changes = self.records.store().changes();
        handle.spawn(async move {
            let mut tick = interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    change = changes.recv() => match change {
                        Ok(Change::Record(key, version)) => {
                            let own = version.is_some_and(|version| reader.records.own().notices.is_own(&key, version));
                            if !own {
                                reader.records.facts().personal_keys().changed(&key.owner);
                            }
                            if !own && reader.cache.changed(&key.owner) {
                                on.spawn(Arc::clone(&reader).read_again(key.owner));
                            }
                        }
                        // Nothing to do for what is held: stamps of the broken stretch no longer compare equal.
                        Ok(Change::Gap) => {
                            reader.records.facts().personal_keys().all_changed();
                            reader.records.own().unsaved.gap();
                        }
                        Err(RecvError::Lagged(_)) => {
                            reader.records.facts().personal_keys().all_changed();
                            reader.cache.changed_all();
                        }
                        Err(RecvError::Closed) => return,
                    },
                    _ = tick.tick() => {
                        if reader.records.store().channel_up() {
                            reader.cache.trusted(reader.records.now());
                        }
                    }
                }
            }
        });
    }

    /// Reads what changed before anybody asks, and again if the store fails: should it go away, what serves meanwhile is
    /// the latest.
    async fn read_again(self: Arc<Self>, owner: OwnerId) {
        for _ in 0..RELOADS {
            let services = self.live.services();
            if self.fresh(&owner, &services).is_some() {
                return;
            }
            let reader = Arc::clone(&self);
            let load = self
                .loads
                .join((owner, services.number()), || async move { reader.load(owner, None, &services).await });
            if !matches!(load.await, Some(Ok(_))) {
                sleep(RELOAD_PAUSE).await;
            }
        }
    }
}
