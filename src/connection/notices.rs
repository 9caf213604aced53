//! What a process does when the store says that something changed: what it holds of that caller is no longer believed, and
//! read again before anybody asks. Never decides what a call gets.

use std::time::Duration;

use tokio::{
    sync::broadcast::error::RecvError,
    time::{interval, sleep},
};

use crate::store::{Change, OwnerId};

use super::Connections;

/// How often a change is read before it is left to the next call, …
const RELOADS: u32 = 10;
/// … with this pause after a failure.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

impl Connections {
    /// Follows the store's change notices for as long as the process lives.
    pub(super) fn watch_changes(&self) {
        let connections = self.clone();
        let mut changes = self.0.parts.store.changes();
        self.0.parts.handle.spawn(async move {
            let mut tick = interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    change = changes.recv() => match change {
                        Ok(Change::Record(key)) => {
                            if connections.0.snapshots.changed(&key.owner) {
                                connections.read_again(key.owner);
                            }
                        }
                        // Nothing to do: stamps of the broken stretch no longer compare equal.
                        Ok(Change::Gap) => connections.0.unsaved.gap(),
                        Err(RecvError::Lagged(_)) => connections.0.snapshots.changed_all(),
                        Err(RecvError::Closed) => return,
                    },
                    _ = tick.tick() => {
                        if connections.0.parts.store.channel_up() {
                            connections.0.snapshots.trusted(connections.now());
                        }
                    }
                }
            }
        });
    }

    /// Reads what changed before anybody asks, and again if the store fails: should it go away, what serves meanwhile is
    /// the latest.
    fn read_again(&self, owner: OwnerId) {
        let connections = self.clone();
        self.0.parts.handle.spawn(async move {
            for _ in 0..RELOADS {
                let store = &connections.0.parts.store;
                if connections.0.snapshots.fresh(&owner, store.channel_epoch()).is_some() {
                    return;
                }
                let loading = connections.clone();
                let load = connections.0.loads.join(owner, || async move { loading.load(owner, None).await });
                if !matches!(load.await, Some(Ok(_))) {
                    sleep(RELOAD_PAUSE).await;
                }
            }
        });
    }
}
