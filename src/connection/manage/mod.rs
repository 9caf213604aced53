//! What people and applications do with connections, other than using them: connect, list, rename, disconnect, erase.
//!
//! - `rename`: another label; `erase`: a whole user; `labels`: how many there may be
//! - `unconfirmed`: grants that wait for somebody's word

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{
    events::{Cause, Kind},
    id::{Account, CallerId, ConnectionId},
    oauth,
    provider::{Live, Service, Services},
};

use super::{
    cache::{Held, Selection, retire},
    edit::{Editor, Moves},
    keys::ApiKeys,
    model::{Connection, Unavailable, Unusable},
    recall::{LastUse, Reader, Times},
    record::{change::Change, facts::Fact, form::Record, records::Records, unreadable, view::view},
    revoke::Revoker,
};

mod erase;
mod labels;
mod rename;
mod unconfirmed;

pub use erase::Erased;
pub use labels::LABELS_MAX;
pub use unconfirmed::{Unconfirmed, UnconfirmedGrant};

/// How long a provider is waited for that is asked to revoke a connection: one that is quick, so that "disconnected" is true
/// in every respect.
const PATIENCE: Duration = Duration::from_secs(3);

/// What managing takes.
pub(super) struct ManagerParts {
    /// All records.
    pub records: Arc<Records>,
    /// Who reads them for lists.
    pub reader: Arc<Reader>,
    /// Who changes them.
    pub editor: Arc<Editor>,
    /// Who gives them other labels.
    pub moves: Arc<Moves>,
    /// Who parts with grants.
    pub revoker: Arc<Revoker>,
    /// What waits for somebody's word.
    pub unconfirmed: Arc<Unconfirmed>,
    /// API keys.
    pub api_keys: Arc<ApiKeys>,
    /// When connections were last used.
    pub last_use: Arc<LastUse>,
    /// What connections belong to.
    pub live: Live,
    /// The long-lived runtime, for what goes on when whoever asked goes away.
    pub handle: Handle,
}

/// Manages connections.
pub struct Manager {
    parts: ManagerParts,
}

impl Manager {
    /// Of these parts.
    pub(super) fn new(parts: ManagerParts) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    /// Everything the caller has.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn list(&self, caller: &CallerId) -> Result<Vec<Connection>, Unavailable> {
        let snapshot = self.parts.reader.snapshot(caller).await?;
        let used = self.parts.last_use.of(caller).await;
        let connected = snapshot.connections.iter().map(|held| self.seen(held, &used));
        Ok(connected.chain(snapshot.unconfirmed(self.parts.records.now()).cloned()).collect())
    }

    /// The connection of this name.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn get(&self, id: &ConnectionId) -> Result<Option<Connection>, Unavailable> {
        let snapshot = self.parts.reader.snapshot(&id.caller).await?;
        let Selection::One(held) = snapshot.select(&id.service, Some(&id.account)) else { return Ok(None) };
        Ok(Some(self.seen(held, &self.parts.last_use.of(&id.caller).await)))
    }

    /// The connection that `account` means.
    ///
    /// # Errors
    /// [`Unusable::AccountRequired`] where several are there and none is named; [`Unusable::Unavailable`].
    pub async fn find(
        &self,
        caller: &CallerId,
        service: &Service,
        account: Option<&Account>,
    ) -> Result<Option<Connection>, Unusable> {
        let snapshot = self.parts.reader.snapshot(caller).await?;
        match snapshot.select(&service.owner, account) {
            Selection::One(held) => Ok(Some(self.seen(held, &self.parts.last_use.of(caller).await))),
            Selection::None(_) if self.parts.reader.is_hidden(&snapshot, &service.owner, account, false) => {
                Err(Unavailable::Keys.into())
            }
            Selection::None(label) => Ok(snapshot
                .unconfirmed(self.parts.records.now())
                .find(|waiting| waiting.service == service.owner && (account.is_none() || waiting.account == label))
                .cloned()),
            Selection::Several(accounts) => Err(Unusable::AccountRequired { accounts }),
        }
    }

    /// Stores what a code exchange (or an import) gave; an older grant under this label is replaced.
    ///
    /// # Errors
    /// While the store or the keys are away. The caller then still has what was there before.
    pub async fn connect(
        &self,
        id: &ConnectionId,
        grant: oauth::Grant,
        identity: Option<oauth::Identity>,
        requested: &[String],
        cause: &Cause,
    ) -> Result<Connection, Unavailable> {
        let client = client(&self.parts.live.services(), id);
        let change = || Change::Connected {
            grant: grant.clone(),
            identity: identity.clone(),
            requested: requested.to_vec(),
            client: client.clone(),
        };
        let record = self.parts.editor.change(id, &Fact::new(Kind::Connected, cause), |_| Some(change())).await?;
        let services = self.parts.live.services();
        let owner = services.get(id.service.as_str()).map(AsRef::as_ref);
        Ok(view(&record.unwrap_or_else(|| Record::empty(id.clone())), owner, self.parts.records.now()))
    }

    /// Gives the connection up: unusable at once, revoked at the provider where it can be (retried by the healer), then
    /// deleted. `false`: there was none.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn disconnect(&self, id: &ConnectionId, cause: &Cause) -> Result<bool, Unavailable> {
        let fact = Fact::new(Kind::Revoked, cause);
        if self.parts.reader.has_unreadable(id).await? && unreadable::remove(&self.parts.records, id, &fact).await? {
            return Ok(true);
        }
        let given_up = |record: &Record| record.stands().then_some(Change::Disconnected);
        let gone = self.parts.editor.change(id, &fact, given_up).await?;
        if gone.is_none() {
            return self.parts.unconfirmed.discard(id).await;
        }
        let key = self.parts.records.roots().key(id).await?;
        let revoker = Arc::clone(&self.parts.revoker);
        let revocation = self.parts.handle.spawn(async move { revoker.finish(key).await });
        let _ = tokio::time::timeout(PATIENCE, revocation).await;
        Ok(true)
    }

    fn seen(&self, held: &Held, used: &Times) -> Connection {
        let mut connection = held.connection_at(self.parts.records.now());
        connection.last_used_at = used.of(held);
        let (services, now) = (self.parts.live.services(), self.parts.records.now());
        let owner = services.get(connection.service.as_str());
        if let Some(owner) = owner {
            retire(&mut connection, &owner.api_keys, now);
        }
        connection.foresee(owner.map(AsRef::as_ref), now);
        connection
    }
}

/// The OAuth client that grants of this connection are given to.
fn client(services: &Services, id: &ConnectionId) -> Option<String> {
    services.get(id.service.as_str())?.oauth.as_ref().map(|oauth| oauth.client_id.clone())
}
