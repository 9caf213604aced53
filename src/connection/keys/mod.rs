//! API keys, beside grants or instead of them: storing and removing them, who still rests on one, when they were last used.
//!
//! - `census`: who rests on what; `calendar`: the daily work on deprecated and retired keys
//!
//! How a key becomes a credential is `record`'s affair.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;

use crate::{
    clock::Timestamp,
    events::{Actor, Cause, Kind},
    id::ConnectionId,
    provider::Live,
    secret::SecretString,
    store::Claim,
    vault::Root,
};

use super::{
    edit::Editor,
    lease::Leases,
    model::Unavailable,
    record::{change::Change, facts::Fact, form::Record, records::Records},
};

mod calendar;
mod census;

pub use census::{Holder, Standing};

/// How long it is remembered when a key was last used.
const USE_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// On which day each connection's key was last used, as this process has seen it; bounded, in memory.
pub(super) struct Uses(Cache<ConnectionId, u64>);

impl Uses {
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// Whether this is the first use of that day that this process sees.
    fn is_news(&self, id: &ConnectionId, at: Timestamp) -> bool {
        if self.0.get(id) == Some(day(at)) {
            return false;
        }
        self.0.insert(id.clone(), day(at));
        true
    }
}

const fn day(at: Timestamp) -> u64 {
    at.seconds() / 86_400
}

/// The name of a one-time value about a connection.
fn about(root: &Root, what: &str, id: &ConnectionId, more: &[&[u8]]) -> String {
    name(root, what, &[&id.parts()[..], more].concat())
}

/// The name of a one-time value: reveals nothing without the root.
fn name(root: &Root, what: &str, parts: &[&[u8]]) -> String {
    format!("key-{}", HEXLOWER.encode(&root.blind(what, parts)))
}

fn moment(stored: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_millis(u64::from_be_bytes(stored.try_into().ok()?)))
}

/// The API keys of all connections.
pub struct ApiKeys {
    records: Arc<Records>,
    editor: Arc<Editor>,
    leases: Arc<Leases>,
    live: Live,
    uses: Uses,
    handle: Handle,
}

impl ApiKeys {
    /// In these records. Uses are remembered for this many connections.
    pub(super) fn new(
        (records, editor): (Arc<Records>, Arc<Editor>),
        leases: Arc<Leases>,
        live: Live,
        capacity: usize,
        handle: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { records, editor, leases, live, uses: Uses::new(capacity), handle })
    }

    /// Stores an API key.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn store(&self, id: &ConnectionId, key: &SecretString, cause: &Cause) -> Result<(), Unavailable> {
        let fact = Fact::new(Kind::ApiKeyStored, cause);
        self.editor.change(id, &fact, |_| Some(Change::KeyStored(key.clone()))).await?;
        Ok(())
    }

    /// Removes an API key; `false`: there was none.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn remove(&self, id: &ConnectionId, cause: &Cause) -> Result<bool, Unavailable> {
        self.drop_key(id, &Fact::new(Kind::ApiKeyRemoved, cause)).await
    }

    /// A call was accepted with an API key: noted, and told, once a day. Never waits.
    pub(super) fn note_use(self: &Arc<Self>, id: &ConnectionId, at: Timestamp) {
        if !self.uses.is_news(id, at) {
            return;
        }
        let (keys, id) = (Arc::clone(self), id.clone());
        self.handle.spawn(async move {
            match keys.claim_use(&id, at).await {
                Ok(true) => keys.tell(&id, Kind::ApiKeyUsed, Actor::Caller),
                Ok(false) => {}
                Err(error) => {
                    keys.uses.0.remove(&id);
                    tracing::debug!(%error, "the use of an API key could not be noted");
                }
            }
        });
    }

    /// Whether no other process has noted a use on that day.
    pub(super) async fn claim_use(&self, id: &ConnectionId, at: Timestamp) -> Result<bool, Unavailable> {
        let store = self.records.store();
        let name = about(self.records.roots().get().await?.as_ref(), "api-key-use", id, &[]);
        let value = at.millis().to_be_bytes();
        match store.put_once(&name, &value, Some(USE_KEPT)).await? {
            Claim::Mine => Ok(true),
            Claim::Theirs(before) if moment(&before).is_some_and(|before| day(before) >= day(at)) => Ok(false),
            Claim::Theirs(before) => Ok(store.replace(&name, &before, &value, Some(USE_KEPT)).await?),
        }
    }

    /// When a call of any replica last used the connection's API key, exact to the day: the first use of that day.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn last_used(&self, id: &ConnectionId) -> Result<Option<Timestamp>, Unavailable> {
        let name = about(self.records.roots().get().await?.as_ref(), "api-key-use", id, &[]);
        Ok(self.records.store().peek(&name).await?.and_then(|stored| moment(&stored)))
    }

    /// Forgets when the connection's API key was used.
    pub(super) async fn forget_use(&self, id: &ConnectionId) -> Result<(), Unavailable> {
        let name = about(self.records.roots().get().await?.as_ref(), "api-key-use", id, &[]);
        self.records.store().take(&name).await?;
        Ok(())
    }

    /// Removes an API key that is retired; a grant beside it stays. `false`: there was none.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn remove_retired(&self, id: &ConnectionId, cause: &Cause) -> Result<bool, Unavailable> {
        let fact = Fact { detail: Some("retired"), ..Fact::new(Kind::ApiKeyRemoved, cause) };
        self.drop_key(id, &fact).await
    }

    /// Removes an API key, and the record where it holds nothing else. `false`: there was none.
    async fn drop_key(&self, id: &ConnectionId, fact: &Fact<'_>) -> Result<bool, Unavailable> {
        let removes = |record: &Record| record.api_key.is_some().then_some(Change::KeyRemoved);
        let removed = self.editor.change(id, fact, removes).await?;
        let Some(record) = removed else { return Ok(false) };
        if record.is_bare() {
            let key = self.records.roots().key(id).await?;
            // Somebody may have connected since: then it is theirs.
            if let Some((record, version)) = self.records.read(&key).await?
                && record.is_bare()
            {
                self.records.delete(&key, version, None).await?;
            }
        }
        Ok(true)
    }

    fn tell(&self, id: &ConnectionId, kind: Kind, actor: Actor) {
        self.records.facts().tell(id, &Fact::new(kind, &Cause::of(actor)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Account, CallerId, Issuer, ServiceName, Subject};

    #[test]
    fn names_at_rest_stay_what_they_are() {
        let caller = CallerId {
            issuer: Issuer::parse("https://app.example/").unwrap(),
            subject: Subject::parse("ada").unwrap(),
        };
        let (service, account) = (ServiceName::parse("crm").unwrap(), Account::parse("work").unwrap());
        let (root, id) = (Root::from_bytes([7; 32]), ConnectionId { caller, service, account });
        assert_eq!(about(&root, "api-key-use", &id, &[]), "key-83d69a304826494bfa4d26c46c9ded75");
        assert_eq!(about(&root, "api-key-notice", &id, &[b"end"]), "key-8e4af5899792cebbf74e0ddb6ff546c9");
    }
}
