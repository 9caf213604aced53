//! What people and applications do with connections beside using them: connect, list, disconnect, store an API key. Each
//! change is a read, a pure change of state and a compare-and-set, tried again where someone else was quicker.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    events::Kind,
    id::{Account, CallerId, ConnectionId},
    oauth,
    provider::Service,
    secret::SecretString,
    store::{Expect, OwnerId, Put},
};

use super::{
    AuthKind, Connection, Connections, Credential, Reason, Status, Unavailable, Unusable,
    credential::refresh_at,
    held::Held,
    keys,
    record::{Record, StoredGrant},
    rename::stands,
    snapshot::Selection,
    state::Change,
    used::Times,
};

/// How often a change is tried again when someone else was quicker.
const ATTEMPTS: u32 = 16;

impl Connections {
    /// Everything the caller has.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn list(&self, caller: &CallerId) -> Result<Vec<Connection>, Unavailable> {
        let snapshot = self.snapshot(caller).await?;
        let used = self.last_used(caller).await;
        let connected = snapshot.connections.iter().map(|held| self.seen(held, &used));
        Ok(connected.chain(snapshot.aside(self.now()).cloned()).collect())
    }

    /// The connection of this name.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn get(&self, id: &ConnectionId) -> Result<Option<Connection>, Unavailable> {
        let snapshot = self.snapshot(&id.caller).await?;
        let Selection::One(held) = snapshot.select(&id.service, Some(&id.account)) else { return Ok(None) };
        Ok(Some(self.seen(held, &self.last_used(&id.caller).await)))
    }

    /// The connection that `account` means: the named one; else `default`; else the only one.
    ///
    /// # Errors
    /// [`Unusable::AccountRequired`] where several are there and none is named; [`Unusable::Unavailable`].
    pub async fn find(
        &self,
        caller: &CallerId,
        service: &Service,
        account: Option<&Account>,
    ) -> Result<Option<Connection>, Unusable> {
        let snapshot = self.snapshot(caller).await?;
        match snapshot.select(&service.owner, account) {
            Selection::One(held) => Ok(Some(self.seen(held, &self.last_used(caller).await))),
            Selection::None(_) if self.is_hidden(&snapshot, &service.owner, account, false) => {
                Err(Unavailable::Keys.into())
            }
            Selection::None(label) => Ok(snapshot
                .aside(self.now())
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
    ) -> Result<Connection, Unavailable> {
        let client = self.client(id);
        let change = || Change::Connected {
            grant: grant.clone(),
            identity: identity.clone(),
            requested: requested.to_vec(),
            client: client.clone(),
        };
        let record = self.change(id, |_| Some(change())).await?;
        self.tell(id, Kind::Connected, None);
        Ok(view(&record.unwrap_or_else(|| Record::empty(id.clone())), self.now()))
    }

    /// Stores an API key.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn store_api_key(&self, id: &ConnectionId, key: &SecretString) -> Result<(), Unavailable> {
        self.change(id, |_| Some(Change::KeyStored(key.clone()))).await?;
        self.tell(id, Kind::ApiKeyStored, None);
        Ok(())
    }

    /// Removes an API key; `false`: there was none.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn remove_api_key(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        self.drop_api_key(id, None).await
    }

    /// Gives the connection up: unusable at once, revoked at the provider where it can be (retried by the healer), then
    /// deleted. `false`: there was none.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        if self.has_unreadable(id).await? && self.remove_unreadable(id).await? {
            self.tell(id, Kind::Revoked, None);
            return Ok(true);
        }
        let gone = self.change(id, |record| stands(record).then_some(Change::Disconnected)).await?;
        if gone.is_none() {
            return self.discard_aside(id).await;
        }
        self.tell(id, Kind::Revoked, None);
        let key = self.key(id).await?;
        let (connections, handle) = (self.clone(), self.0.parts.handle.clone());
        let farewell = handle.spawn(async move { connections.finish_farewell(key).await });
        // A provider that is quick is waited for, so that "disconnected" is true in every respect; a slow one is not.
        let _ = tokio::time::timeout(Duration::from_secs(3), farewell).await;
        Ok(true)
    }

    /// Changes a record, or begins one. `decide` sees what stands there; `None` from it ends the matter.
    pub(super) async fn change(
        &self,
        id: &ConnectionId,
        decide: impl Fn(&Record) -> Option<Change>,
    ) -> Result<Option<Record>, Unavailable> {
        let key = self.key(id).await?;
        for _ in 0..ATTEMPTS {
            // Nothing can be compared with a grant that the store doesn't have yet.
            self.save_first(key).await?;
            let (record, expect, unreadable) = self.read_or_replace(&key, id).await?;
            // A move that was left half-done is finished first: it would take a record along that has changed since, or
            // bring one back that was given up.
            if record.moving.is_some() {
                self.finish_move(key).await?;
                continue;
            }
            self.settle_arrival(&record).await?;
            let exists = expect.is_some() && !unreadable;
            let Some(change) = decide(&record) else { return Ok(None) };
            if !exists && !matches!(change, Change::Connected { .. } | Change::Kept(..) | Change::KeyStored(_)) {
                return if unreadable { Err(Unavailable::Keys) } else { Ok(None) };
            }
            // First of all: who dies after it leaves a grant to be revoked, unless that is still in use.
            let grave = match record.let_go_by(&change) {
                Some(farewell) => Some(self.bury(id, &farewell).await?),
                None => None,
            };
            let now = self.now();
            let version = self.version_after(expect, now);
            let record = record.apply(change, now, version.0);
            let sealed = record.seal(&self.0.parts.vault, &key, version)?;
            let expect = expect.map_or(Expect::Absent, Expect::Version);
            let due = self.due(&record, now);
            if let Put::Stored = self.0.parts.store.put(&key, expect, version, &sealed, due).await? {
                self.0.snapshots.changed(&key.owner);
                self.know_at_once(key.owner, &record);
                if let Some(grave) = grave {
                    let connections = self.clone();
                    self.0.parts.handle.spawn(async move { connections.finish_farewell(grave).await });
                }
                return Ok(Some(record));
            }
        }
        Err(Unavailable::Busy)
    }

    /// What is held in memory becomes what this process itself has just stored, should the store go away before it is read
    /// again.
    fn know_at_once(&self, owner: OwnerId, record: &Record) {
        if stands(record) {
            self.0.snapshots.amend(owner, self.hold(record));
        } else {
            self.0.snapshots.drop_one(owner, &record.id);
        }
    }

    /// A record as it is held in memory.
    pub(super) fn hold(&self, record: &Record) -> Held {
        let (window, now) = (self.0.parts.refresh.window, self.now());
        let (id, owner) = (Arc::new(record.id.clone()), self.owner_of(&record.id));
        let sharing = owner.iter().flat_map(|owner| self.0.parts.services.sharing(owner));
        let credentials = sharing
            .filter_map(|service| {
                let credential = credential(Arc::clone(&id), record, service, window, now)?;
                Some((service.name.clone(), Arc::new(credential)))
            })
            .collect();
        Held::new(id, view(record, now), credentials)
    }

    /// A grant that waits for the application, as people may see it.
    pub(super) fn waiting(&self, record: &Record) -> Connection {
        Connection { status: Status::Pending, ..view(record, self.now()) }
    }

    /// The OAuth client that grants of this connection are given to.
    pub(super) fn client(&self, id: &ConnectionId) -> Option<String> {
        self.owner_of(id)?.oauth.as_ref().map(|oauth| oauth.client_id.clone())
    }

    fn owner_of(&self, id: &ConnectionId) -> Option<Arc<Service>> {
        self.0.parts.services.get(id.service.as_str()).cloned()
    }

    fn seen(&self, held: &Held, used: &Times) -> Connection {
        let mut connection = held.connection_at(self.now());
        connection.last_used_at = used.of(held);
        if let Some(owner) = self.0.parts.services.get(connection.service.as_str()) {
            keys::retire(&mut connection, &owner.api_keys, self.now());
        }
        connection
    }
}

/// What people may see of a record.
pub(super) fn view(record: &Record, now: Timestamp) -> Connection {
    let rests_on = rests_on(record, now);
    let on_key_since = (rests_on == Ok(AuthKind::ApiKey) && has_ended(record, now)).then_some(Reason::Expired);
    let grant = record.grant.as_ref();
    Connection {
        service: record.id.service.clone(),
        account: record.id.account.clone(),
        status: if rests_on.is_ok() { Status::Active } else { Status::Invalid },
        auth_kind: match rests_on {
            Ok(kind) => kind,
            Err(_) if grant.is_some() => AuthKind::OAuth,
            Err(_) => AuthKind::ApiKey,
        },
        scopes: grant.and_then(|grant| grant.scopes.clone()).unwrap_or_default().into(),
        connected_at: record.connected_at,
        refreshed_at: record.refreshed_at,
        expires_at: grant.and_then(|grant| grant.expires_at),
        last_used_at: None,
        invalidated_at: record.invalidated_at,
        invalid_reason: record.invalid.or(rests_on.err()).or(on_key_since),
        identity_id: record.identity.as_ref().map(|identity| identity.id.as_str().into()),
        identity: record.identity.as_ref().map(|identity| identity.label.as_deref().unwrap_or(&identity.id).into()),
        api_key: record.api_key.as_ref().map(keys::facts),
    }
}

/// What calls use: OAuth first, the API key where the grant is absent, lost or ended. Whether keys are retired, and
/// whether a grant without any key has ended, is told by the clock, at use (`keys`, `decide`).
pub(super) fn rests_on(record: &Record, now: Timestamp) -> Result<AuthKind, Reason> {
    let has_key = record.api_key.as_ref().is_some_and(|key| !key.refused);
    if record.grant.is_some() && record.invalid.is_none() && !(has_key && has_ended(record, now)) {
        return Ok(AuthKind::OAuth);
    }
    match &record.api_key {
        Some(key) if !key.refused => Ok(AuthKind::ApiKey),
        Some(_) => Err(record.invalid.unwrap_or(Reason::RejectedByUpstream)),
        None => Err(record.invalid.unwrap_or(Reason::NotConnected)),
    }
}

/// Whether its access token has ended and nothing renews it. Never stored: one process's clock decides for its own calls.
fn has_ended(record: &Record, now: Timestamp) -> bool {
    let ended =
        |grant: &StoredGrant| grant.refresh_token.is_none() && grant.expires_at.is_some_and(|at| at.reached(now));
    record.grant.as_ref().is_some_and(ended)
}

/// What calls to `service` carry; `id` is the record's.
fn credential(
    id: Arc<ConnectionId>,
    record: &Record,
    service: &Service,
    window: Duration,
    now: Timestamp,
) -> Option<Credential> {
    match rests_on(record, now).ok()? {
        AuthKind::OAuth => {
            let grant = record.grant.as_ref()?;
            Some(Credential::new(
                id,
                AuthKind::OAuth,
                Arc::clone(service.inject.shared_header()),
                service.inject.header_value(&grant.access_token).ok()?,
                grant.generation,
                grant.issued_at,
                grant.expires_at,
                refresh_at(grant.issued_at, grant.expires_at, window),
                grant.refresh_token.is_some(),
                now,
                // What was asked for and isn't named is for the upstream to judge.
                grant.scopes.as_ref().map(|named| named.iter().chain(&grant.unnamed).collect()),
            ))
        }
        AuthKind::ApiKey => {
            let key = record.api_key.as_ref()?;
            let value = service.api_key.header_value(&key.key).ok()?;
            let name = Arc::clone(service.api_key.shared_header());
            Some(Credential::new(
                id,
                AuthKind::ApiKey,
                name,
                value,
                key.generation,
                key.stored_at,
                None,
                None,
                false,
                now,
                None,
            ))
        }
    }
}

impl Reason {
    /// Its name in answers and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::RejectedByUpstream => "rejected_by_upstream",
            Self::RefreshInterrupted => "refresh_interrupted",
            Self::ApiKeyRetired => "api_key_retired",
            Self::Pending => "pending",
        }
    }
}
