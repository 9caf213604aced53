//! One connection as a process holds it for each of its callers, thousands of them: the credentials, what decides whether
//! they may be used, and the rest of what people may see, packed small. Unpacked it is a [`Connection`]. Holds no refresh
//! token, and never changes.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    connection::model::{AuthKind, Connection, End, Ends, KeyFacts, Reason, Status},
    id::ConnectionId,
    provider::Service,
};

use super::{credential::Credential, few::Few};

/// One connection as it is held in memory.
#[derive(Debug, Clone)]
pub struct Held {
    /// Whose it is, to what, under which label; shared with its credentials.
    pub id: Arc<ConnectionId>,
    /// Whether calls can use it, and why not.
    pub footing: Footing,
    connected_at: Option<Timestamp>,
    refreshed_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    scopes: Box<[String]>,
    apart: Option<Box<Apart>>,
    /// What calls carry, for each service that uses the connection; good for this very service, as it was then.
    pub credentials: Few<(Arc<Service>, Arc<Credential>)>,
}

/// What a connection stands on, as of its record; the clock may yet retire an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footing {
    /// Whether calls can use it.
    pub status: Status,
    /// What it rests on.
    pub auth_kind: AuthKind,
    /// Why a grant was lost.
    pub reason: Option<Reason>,
}

/// What many connections have nothing of, kept apart from the rest so that those pay a pointer for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Apart {
    identity: Option<Box<str>>,
    identity_id: Option<Box<str>>,
    invalidated_at: Option<Timestamp>,
    api_key: Option<KeyFacts>,
    ends: Ends,
}

impl Held {
    /// Packs what people may see, beside the credentials.
    pub fn new(
        id: Arc<ConnectionId>,
        connection: Connection,
        credentials: Few<(Arc<Service>, Arc<Credential>)>,
    ) -> Self {
        let footing = connection.footing();
        let Connection { connected_at, refreshed_at, expires_at, scopes, .. } = connection;
        let Connection { identity, identity_id, invalidated_at, api_key, ends, .. } = connection;
        // Most have nothing that could end them, and pay nothing for it.
        let ends = if ends.can_come() { ends } else { Ends::default() };
        let apart = Apart { identity, identity_id, invalidated_at, api_key, ends };
        let apart = (apart != Apart::NOTHING).then(|| Box::new(apart));
        Self { id, footing, connected_at, refreshed_at, expires_at, scopes, apart, credentials }
    }

    /// What people may see of it, but for its last use, of which other processes know, too.
    pub fn connection(&self) -> Connection {
        let Apart { identity, identity_id, invalidated_at, api_key, ends } = self.apart().clone();
        Connection {
            service: self.id.service.clone(),
            account: self.id.account.clone(),
            status: self.footing.status,
            auth_kind: self.footing.auth_kind,
            scopes: self.scopes.clone(),
            connected_at: self.connected_at,
            refreshed_at: self.refreshed_at,
            expires_at: self.expires_at,
            last_used_at: None,
            expected_end: None,
            invalidated_at,
            invalid_reason: self.footing.reason,
            identity,
            identity_id,
            api_key,
            ends,
        }
    }

    /// The same as a call at `now` would find it: a token that nothing renews ends by the clock.
    pub fn connection_at(&self, now: Timestamp) -> Connection {
        let mut connection = self.connection();
        let ends = |credential: &Credential| credential.kind == AuthKind::OAuth && !credential.refreshable;
        let ended = |credential: &Credential| ends(credential) && credential.has_expired(now);
        if self.credentials.iter().any(|(_, credential)| ended(credential)) {
            connection.invalid_reason = Some(Reason::Expired);
            if self.has_key() {
                connection.auth_kind = AuthKind::ApiKey;
            } else {
                connection.status = Status::Invalid;
                connection.invalidated_at = connection.expires_at;
            }
        }
        connection
    }

    /// When it was made.
    pub const fn connected_at(&self) -> Option<Timestamp> {
        self.connected_at
    }

    /// Whether an API key that was never refused lies beside whatever is used.
    pub fn has_key(&self) -> bool {
        self.apart().api_key.is_some_and(|key| !key.refused)
    }

    /// The credential for calls to this very service: one of the same name, from before a change of the configuration or
    /// after it, may have another header.
    pub fn credential(&self, service: &Arc<Service>) -> Option<&Arc<Credential>> {
        self.credentials.iter().find(|(of, _)| Arc::ptr_eq(of, service)).map(|(_, credential)| credential)
    }

    /// Whether there is one for another service of the same name.
    pub fn is_of_another(&self, service: &Arc<Service>) -> bool {
        self.credential(service).is_none() && self.credentials.iter().any(|(of, _)| of.name == service.name)
    }

    /// When a call last used it, as far as this process knows.
    pub fn last_used(&self) -> Option<Timestamp> {
        self.credentials.iter().filter_map(|(_, credential)| credential.last_used()).max()
    }

    /// It takes the place of `other`, which goes by the same name.
    pub fn succeeds(&self, other: &Self) {
        for (service, credential) in self.credentials.iter() {
            if let Some((_, before)) = other.credentials.iter().find(|(of, _)| of.name == service.name) {
                credential.succeeds(before);
            }
        }
    }

    fn apart(&self) -> &Apart {
        self.apart.as_deref().unwrap_or(&Apart::NOTHING)
    }
}

impl Apart {
    const NOTHING: Self = Self {
        identity: None,
        identity_id: None,
        invalidated_at: None,
        api_key: None,
        ends: Ends { tokens: None, consent: None, unused: None, lived: None, beside_key: false },
    };
}

impl Connection {
    /// What it stands on.
    pub fn footing(&self) -> Footing {
        Footing { status: self.status, auth_kind: self.auth_kind, reason: self.invalid_reason }
    }

    /// How it will end by itself; nothing that is not in use ends any more. `service` owns it, where it is configured.
    pub fn end(&self, service: Option<&Service>, now: Timestamp) -> Option<End> {
        let keys_taken = service.is_some_and(|service| !service.api_keys.is_retired(now));
        self.ends.first(self.last_used_at, keys_taken).filter(|_| self.status == Status::Active)
    }

    /// Tells when that is.
    pub fn foresee(&mut self, service: Option<&Service>, now: Timestamp) {
        self.expected_end = self.end(service, now).map(|end| end.at);
    }
}
