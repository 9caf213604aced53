//! From the store to a snapshot: a caller's records are read, opened and held. Decides nothing about them.

use std::sync::{Arc, LazyLock};

use crate::{
    clock::Timestamp,
    connection::{
        cache::{Held, Rare, Snapshot},
        model::{Connection, Status, Unavailable},
        record::{form::SealError, records::Listed, root, view::view},
    },
    id::{Account, CallerId, ConnectionId},
    provider::Services,
    store::{Key, OwnerId},
    vault,
};

use super::Reader;

impl Reader {
    /// Reads a caller's connections, with headers for these services. What is held of them shares the texts of `caller`, where
    /// that is known.
    pub(super) async fn load(
        &self,
        owner: OwnerId,
        caller: Option<&CallerId>,
        services: &Services,
    ) -> Result<Arc<Snapshot>, Unavailable> {
        let stamp = self.cache.stamp(&owner, self.records.store().channel_epoch(), services.number());
        let (mut held, mut rare) = (Vec::new(), Rare::default());
        for Listed { key, record } in self.records.list(owner).await? {
            let now = self.records.now();
            let mut record = match record {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(%error, "a record can't be used; it stays as it is");
                    match self.believed(&key, &error, now) {
                        Some((still, since)) => {
                            held.push(still);
                            rare.believed.push((key.record, since));
                        }
                        None => rare.unreadable.push(key.record),
                    }
                    continue;
                }
            };
            if let Some(wait) = record.waits_for() {
                if wait.shown {
                    let seen = Connection { status: Status::Pending, ..view(&record, None, now) };
                    rare.unconfirmed.push((wait.until.unwrap_or(now), seen));
                }
            } else if record.stands() {
                share_texts(&mut record.id, caller, services);
                held.push(self.projector.hold_for(services, &record, now));
            }
        }
        held.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(self.cache.keep(owner, stamp, self.records.now(), held, rare))
    }

    /// What was held of a connection before its record could no longer be read, for as long as it is believed. A key that
    /// this process lacks, as while others have a new one already, says nothing of the grant; damage does.
    fn believed(&self, key: &Key, error: &SealError, now: Timestamp) -> Option<(Held, Timestamp)> {
        if matches!(error, SealError::Vault(vault::Error::Corrupt)) {
            return None;
        }
        let (root, before) = (self.records.roots().known()?, self.cache.held(&key.owner)?);
        let is_it = |held: &&Held| root::record(root, &held.id.service, &held.id.account) == key.record;
        let held = before.connections.iter().find(is_it)?.clone();
        let earlier = before.rare.iter().flat_map(|rare| &rare.believed).find(|(record, _)| *record == key.record);
        let since = earlier.map_or(now, |(_, since)| *since);
        self.cache.is_believed(since, now).then_some((held, since))
    }
}

/// Puts texts that are held anyway in place of equal ones: thousands of callers have the same issuer and service.
fn share_texts(id: &mut ConnectionId, caller: Option<&CallerId>, services: &Services) {
    if let Some(caller) = caller.filter(|caller| **caller == id.caller) {
        id.caller = caller.clone();
    }
    if let Some(service) = services.get(id.service.as_str()) {
        id.service = service.name.clone();
    }
    if id.account == *DEFAULT_ACCOUNT {
        id.account = DEFAULT_ACCOUNT.clone();
    }
}

static DEFAULT_ACCOUNT: LazyLock<Account> = LazyLock::new(Account::default);
