//! What is known of a caller's connections: from memory where that can be believed, else from the store, else, while that is
//! away, from memory all the same. Decides nothing about them.
//!
//! - `load`: from records to a snapshot; `hidden`: what could not be read, and may be meant
//! - `watch`: what the store says has changed; `last_use`: when connections were last used

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::{
    id::CallerId,
    provider::{Live, Services},
    store::OwnerId,
};

use super::{
    cache::{Snapshot, SnapshotCache},
    flight::Flights,
    model::Unavailable,
    record::{records::Records, root, view::Projector},
};

mod hidden;
mod last_use;
mod load;
mod watch;

pub(super) use last_use::{LastUse, Times};

/// How often is read anew what changes while it is read.
const ROUNDS: u32 = 6;

/// How far a snapshot can be believed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// It is what the store says.
    Fresh,
    /// It is what the store said when it could last be asked.
    Offline,
}

/// Reads callers' connections.
pub struct Reader {
    records: Arc<Records>,
    cache: Arc<SnapshotCache>,
    live: Live,
    projector: Arc<Projector>,
    /// By whose, and for which services.
    loads: Flights<(OwnerId, u32), Result<Arc<Snapshot>, Unavailable>>,
}

impl Reader {
    /// Over these records. What a call waits for is read on `calls`, the runtime that it runs on.
    pub fn new(
        records: Arc<Records>,
        cache: Arc<SnapshotCache>,
        live: Live,
        projector: Arc<Projector>,
        calls: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { records, cache, live, projector, loads: Flights::new(calls) })
    }

    /// A caller's name in the store, once the root that it derives from is known. Worth keeping: it costs an HMAC.
    pub fn owner(&self, caller: &CallerId) -> Option<OwnerId> {
        self.records.roots().known().map(|root| root::owner(root, caller))
    }

    /// What is held of a caller, where it can be believed and its headers are made for these services.
    pub fn fresh(&self, owner: &OwnerId, services: &Services) -> Option<Arc<Snapshot>> {
        self.cache.fresh(owner, self.records.store().channel_epoch(), services.number())
    }

    /// The same for the services in force.
    pub fn current(&self, owner: &OwnerId) -> Option<Arc<Snapshot>> {
        self.fresh(owner, &self.live.services())
    }

    /// What is held of a caller, fresh or not.
    pub fn held(&self, caller: &CallerId) -> Option<Arc<Snapshot>> {
        self.cache.held(&self.owner(caller)?)
    }

    /// What is known of a caller: from memory where it can be believed, else from the store, else, while that is away,
    /// from memory all the same.
    pub async fn snapshot(self: &Arc<Self>, caller: &CallerId) -> Result<Arc<Snapshot>, Unavailable> {
        self.recall(None, caller, &self.live.services()).await.map(|(snapshot, _)| snapshot)
    }

    /// The same with headers for these services, and how far it can be believed; `owner` is the caller's name in the store,
    /// where that is known.
    ///
    /// # Errors
    /// While the store or the keys are away, and nothing is held of the caller.
    pub async fn recall(
        self: &Arc<Self>,
        owner: Option<OwnerId>,
        caller: &CallerId,
        services: &Arc<Services>,
    ) -> Result<(Arc<Snapshot>, Belief), Unavailable> {
        let store = self.records.store();
        let owner = match owner {
            Some(owner) => owner,
            None => self.records.roots().owner(caller).await?,
        };
        // A flight that began before the latest change may bring what was true before it.
        for round in 0..ROUNDS {
            if let Some(snapshot) = self.fresh(&owner, services) {
                return Ok((snapshot, Belief::Fresh));
            }
            let (reader, of, mut begun) = (Arc::clone(self), caller.clone(), round > 0);
            let (number, services) = (services.number(), Arc::clone(services));
            let load = self.loads.join((owner, number), || {
                begun = true;
                async move { reader.load(owner, Some(&of), &services).await }
            });
            match load.await.unwrap_or(Err(Unavailable::Busy)) {
                // While no notices come, nothing tells of a change, and what others began to read before this call may be
                // long past, as where the process was stopped meanwhile. For a call that began before the services of now,
                // nothing is held.
                Ok(snapshot)
                    if begun && (store.channel_epoch().is_none() || self.live.services().number() != number) =>
                {
                    return Ok((snapshot, Belief::Fresh));
                }
                Ok(_) => {}
                Err(unavailable) => {
                    let offline = self.cache.offline(&owner, self.records.now()).ok_or(unavailable)?;
                    return Ok((offline, Belief::Offline));
                }
            }
        }
        Ok((self.load(owner, Some(caller), services).await?, Belief::Fresh))
    }
}
