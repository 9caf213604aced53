//! From the store to a snapshot: a caller's records are read, opened and held. Decides nothing about them.

use std::sync::{Arc, LazyLock};

use crate::{
    id::{Account, CallerId, ConnectionId},
    store::{Key, OwnerId},
};

use super::{
    Connections, Unavailable,
    record::Record,
    snapshot::{Rare, Snapshot},
};

impl Connections {
    /// Reads a caller's connections. What is held of them shares the texts of `caller`, where that is known.
    pub(super) async fn load(&self, owner: OwnerId, caller: Option<&CallerId>) -> Result<Arc<Snapshot>, Unavailable> {
        let store = &self.0.parts.store;
        let stamp = self.0.snapshots.stamp(&owner, store.channel_epoch());
        let (mut held, mut rare) = (Vec::new(), Rare::default());
        for (record, stored) in store.list(&owner).await? {
            let key = Key { owner, record };
            let unsaved = self.0.unsaved.sealed(&key).filter(|(version, _)| *version > stored.version);
            let (version, sealed) = unsaved.unwrap_or((stored.version, stored.value));
            let mut record = match Record::open(&self.0.parts.vault, &key, version, &sealed) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(%error, "a record can't be used; it stays as it is");
                    match self.believed(&key, &error) {
                        Some((still, since)) => {
                            held.push(still);
                            rare.believed.push((key.record, since));
                        }
                        None => rare.unreadable.push(key.record),
                    }
                    continue;
                }
            };
            if self.repair(key, &record, version).await? {
                let Some((repaired, _)) = self.read(&key).await? else { continue };
                record = repaired;
            }
            if let Some(waiting) = &record.aside {
                if waiting.shown {
                    rare.aside.push((waiting.until.unwrap_or(self.now()), self.waiting(&record)));
                }
                continue;
            }
            if record.farewell.is_none() && (record.grant.is_some() || record.api_key.is_some()) {
                self.share_texts(&mut record.id, caller);
                held.push(self.hold(&record));
            }
        }
        held.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(self.0.snapshots.keep(owner, stamp, self.now(), held, rare))
    }

    /// Puts texts that are held anyway in place of equal ones: thousands of callers have the same issuer and service.
    fn share_texts(&self, id: &mut ConnectionId, caller: Option<&CallerId>) {
        if let Some(caller) = caller.filter(|caller| **caller == id.caller) {
            id.caller = caller.clone();
        }
        if let Some(service) = self.0.parts.services.get(id.service.as_str()) {
            id.service = service.name.clone();
        }
        if id.account == *DEFAULT_ACCOUNT {
            id.account = DEFAULT_ACCOUNT.clone();
        }
    }
}

static DEFAULT_ACCOUNT: LazyLock<Account> = LazyLock::new(Account::default);
