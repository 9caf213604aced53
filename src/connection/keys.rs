//! API keys beside grants: that they retire by the clock, who still rests on one, when they were last used, and their
//! removal. How a key becomes a credential is `manage`'s affair; whom to remind, `migration`'s.

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::{
    clock::Timestamp,
    config::ApiKeys,
    events::Kind,
    id::ConnectionId,
    store::{Claim, Expect},
    vault::Root,
};

use super::{
    AuthKind, Connection, Connections, Reason, Status, Unavailable,
    held::Footing,
    manage::rests_on,
    record::{Record, StoredKey},
    state::Change,
};

/// How many records a page of the census has.
const PAGE: usize = 256;
/// For so long is remembered when a key was last used.
const USE_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// What may be known of a stored API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFacts {
    /// When it was stored.
    pub stored_at: Option<Timestamp>,
    /// Whether the upstream refused it.
    pub refused: bool,
}

pub(super) fn facts(key: &StoredKey) -> KeyFacts {
    KeyFacts { stored_at: key.stored_at, refused: key.refused }
}

/// Why calls get no credential where all that is left is a key, and keys are retired at `now`.
pub(super) fn retired(footing: Footing, keys: &ApiKeys, now: Timestamp) -> Option<Reason> {
    if footing.auth_kind != AuthKind::ApiKey || !keys.is_retired(now) {
        return None;
    }
    // Of what is active on a key, the reason is that of the grant's loss.
    let lost = footing.reason.filter(|_| footing.status == Status::Active);
    Some(lost.unwrap_or(Reason::ApiKeyRetired))
}

/// The connection as it is at `now`.
pub(super) fn retire(connection: &mut Connection, keys: &ApiKeys, now: Timestamp) {
    let Some(reason) = retired(connection.footing(), keys, now) else { return };
    if reason != Reason::ApiKeyRetired {
        connection.auth_kind = AuthKind::OAuth;
    }
    connection.status = Status::Invalid;
    connection.invalid_reason = Some(reason);
    connection.invalidated_at = connection.invalidated_at.or(keys.retire_on);
}

/// What a connection has of grant and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// An API key, and no grant that works.
    OnKey,
    /// A grant that works, and an API key beside it.
    Both,
    /// No API key.
    OAuth,
}

/// One connection in the census.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Whose, to what, under which label.
    pub id: ConnectionId,
    /// What it has.
    pub standing: Standing,
    /// Since when: the key's time where it rests on one, else the grant's.
    pub since: Option<Timestamp>,
    /// The key, where there is one.
    pub key: Option<KeyFacts>,
}

/// A page of the census.
#[derive(Debug)]
pub struct HolderPage {
    /// The connections of it. One may come again on another page.
    pub holders: Vec<Holder>,
    /// How many records were looked at.
    pub records: usize,
    /// How many of them no key of the vault opens.
    pub unreadable: usize,
    /// Where the next page begins; `None`: that was all.
    pub next: Option<String>,
}

impl Holder {
    fn of(record: Record, now: Timestamp) -> Option<Self> {
        // Given up, or no connection yet.
        if record.farewell.is_some() || record.aside.is_some() {
            return None;
        }
        let key = record.api_key.as_ref().map(facts);
        let standing = match (rests_on(&record, now), key) {
            (Ok(AuthKind::OAuth), Some(_)) => Standing::Both,
            (_, Some(_)) => Standing::OnKey,
            (_, None) if record.grant.is_some() => Standing::OAuth,
            (_, None) => return None,
        };
        let since = if standing == Standing::OnKey { key.and_then(|key| key.stored_at) } else { record.connected_at };
        Some(Self { id: record.id, standing, since, key })
    }

    /// Whether calls of this connection go out with a key that the upstream takes.
    pub fn rests_on_key(&self) -> bool {
        self.standing == Standing::OnKey && self.key.is_some_and(|key| !key.refused)
    }
}

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
pub(super) fn about(root: &Root, what: &str, id: &ConnectionId, more: &[&[u8]]) -> String {
    let own = [id.caller.issuer.as_str(), id.caller.subject.as_str(), id.service.as_str(), id.account.as_str()];
    let parts: Vec<&[u8]> = own.iter().map(|part| part.as_bytes()).chain(more.iter().copied()).collect();
    name(root, what, &parts)
}

/// The name of a one-time value: says nothing to who lacks the root.
pub(super) fn name(root: &Root, what: &str, parts: &[&[u8]]) -> String {
    let hash: String = root.blind(what, parts).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("key-{hash}")
}

fn moment(stored: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_millis(u64::from_be_bytes(stored.try_into().ok()?)))
}

impl Connections {
    /// A call was accepted with an API key: noted, and told, once a day. Never waits.
    pub(super) fn note_key_use(&self, id: &ConnectionId, at: Timestamp) {
        if !self.0.key_uses.is_news(id, at) {
            return;
        }
        let (connections, id) = (self.clone(), id.clone());
        self.0.parts.handle.spawn(async move {
            match connections.claim_key_use(&id, at).await {
                Ok(true) => connections.tell(&id, Kind::ApiKeyUsed, None),
                Ok(false) => {}
                Err(error) => {
                    connections.0.key_uses.0.remove(&id);
                    tracing::debug!(%error, "the use of an API key could not be noted");
                }
            }
        });
    }

    /// Whether no other process has noted a use on that day.
    pub(super) async fn claim_key_use(&self, id: &ConnectionId, at: Timestamp) -> Result<bool, Unavailable> {
        let store = &self.0.parts.store;
        let name = about(self.0.parts.roots.get().await?.as_ref(), "api-key-use", id, &[]);
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
    pub async fn key_last_used(&self, id: &ConnectionId) -> Result<Option<Timestamp>, Unavailable> {
        let name = about(self.0.parts.roots.get().await?.as_ref(), "api-key-use", id, &[]);
        Ok(self.0.parts.store.peek(&name).await?.and_then(|stored| moment(&stored)))
    }

    /// Forgets when the connection's API key was used.
    pub(super) async fn forget_key_use(&self, id: &ConnectionId) -> Result<(), Unavailable> {
        let name = about(self.0.parts.roots.get().await?.as_ref(), "api-key-use", id, &[]);
        self.0.parts.store.take(&name).await?;
        Ok(())
    }

    /// A page of the census of all connections: who rests on what. The first begins at `None`. Whoever goes through all
    /// pages sees each connection that is there all along at least once.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn holders(&self, cursor: Option<String>) -> Result<HolderPage, Unavailable> {
        let (stored, next) = self.0.parts.store.scan(cursor, PAGE).await?;
        let mut page = HolderPage { holders: Vec::new(), records: stored.len(), unreadable: 0, next };
        for (key, stored) in stored {
            match Record::open(&self.0.parts.vault, &key, stored.version, &stored.value) {
                Ok(record) => page.holders.extend(Holder::of(record, self.now())),
                Err(_) => page.unreadable += 1,
            }
        }
        Ok(page)
    }

    /// How many records there are, for progress.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn count(&self) -> Result<u64, Unavailable> {
        Ok(self.0.parts.store.count().await?)
    }

    /// Removes an API key that is retired; a grant beside it stays. `false`: there was none.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn remove_retired_key(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        self.drop_api_key(id, Some("retired")).await
    }

    /// Removes an API key, and the record where it holds nothing else. `false`: there was none.
    pub(super) async fn drop_api_key(
        &self,
        id: &ConnectionId,
        detail: Option<&'static str>,
    ) -> Result<bool, Unavailable> {
        let removed = self.change(id, |record| record.api_key.is_some().then_some(Change::KeyRemoved)).await?;
        let Some(record) = removed else { return Ok(false) };
        let is_bare = |record: &Record| record.grant.is_none() && record.api_key.is_none() && record.farewell.is_none();
        if is_bare(&record) {
            let key = self.key(id).await?;
            // Somebody may have connected since: then it is theirs.
            if let Some((record, version)) = self.read(&key).await?
                && is_bare(&record)
            {
                self.0.parts.store.delete(&key, Expect::Version(version)).await?;
                self.0.snapshots.changed(&key.owner);
            }
        }
        self.tell(id, Kind::ApiKeyRemoved, detail);
        Ok(true)
    }
}
