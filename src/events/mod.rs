//! What happened to connections, as facts: `Event`, and the sinks that are told. Events say who, what and why, never a
//! secret and never an HTTP status. Sinks are best effort and never hold up a call. Links to pages are made by whoever
//! composes the sinks, not here.
//!
//! - `cause`: who or what acted; `event_id`: names of events
//! - `audit`: the log of events, sealed in the store, and a line of each in this process's own
//! - `notice`: which events are worth telling somebody, whom, and what makes two of them the same
//! - `contact`: callers' mail addresses, kept sealed
//! - `outbox`: what waits to be told, and the ways it goes
//! - `failures`: what fails, gathered and kept; `alerts`: tells operators where it fails too often

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use quick_cache::sync::Cache;

use crate::store::Version;
use crate::{clock::Timestamp, id::ConnectionId};

pub mod alerts;
pub mod audit;
mod cause;
mod contact;
mod event_id;
pub mod failures;
mod notice;
mod outbox;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use audit::once_stored;
pub use audit::{
    AUDIT, AuditLog, Gathered, KeptError, KeptEvent, KeyError, Opened, Person, PersonalKeys, Sealer, may_be_about,
};
#[cfg(test)]
pub(crate) use cause::CALLER;
pub use cause::{Actor, CLIENT_ADDRESS, Cause};
pub use contact::{Contact, Contacts};
pub use event_id::{EventId, EventIds};
pub use notice::{About, Link, Surroundings};
pub use outbox::{Inbox, MailError, Notifier, Parts};

/// How many facts that recur with every call are remembered as told.
const TOLD: usize = 10_000;

/// Something that happened to a connection.
#[derive(Debug, Clone)]
pub struct Event {
    /// Tells it from all others, in the order of time.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// Who or what brought it about.
    pub cause: Cause,
    /// Which connection.
    pub connection: ConnectionId,
    /// What happened.
    pub kind: Kind,
    /// Why or how, in a word (`revoked`, `rejected_by_upstream`, `healer`), where there is more to say.
    pub detail: Option<&'static str>,
    /// Which of the connection's successive grants or keys it happened to, where that makes a difference.
    pub token_version: Option<Version>,
    /// Scopes that a call lacked, or that a consent added.
    pub scopes: Vec<String>,
    /// The provider's own word, where it refused something.
    pub provider_error: Option<String>,
}

/// Kinds of events, named as the audit log names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A grant was stored after a code exchange or an import.
    Connected,
    /// The access token was renewed.
    Refreshed,
    /// It could not be renewed for now; nothing is lost.
    RefreshFailed,
    /// Disconnected by the caller.
    Revoked,
    /// The provider could not be asked to revoke what was given up, however often it was tried: tokens may live on there.
    RevocationFailed,
    /// Erased with everything of its user's.
    Erased,
    /// The access token has expired and there is no refresh token.
    Expired,
    /// The provider or the upstream refused it for good.
    Invalidated,
    /// A call needed scopes that the grant lacks.
    ScopesMissing,
    /// An API key was stored.
    ApiKeyStored,
    /// A call used an API key: once a connection and day at most.
    ApiKeyUsed,
    /// A pod called in the name of the connection's owner: once a connection, pod and day at most, by each process.
    ActedFor,
    /// An API key was removed.
    ApiKeyRemoved,
    /// The service's API keys are deprecated, and this connection rests on one: told once a connection and `retire_on`.
    ApiKeyDeprecated {
        /// From then on keys are no longer used.
        retire_on: Timestamp,
    },
    /// The same as a reminder, at each configured day.
    ApiKeyReminder {
        /// From then on keys are no longer used.
        retire_on: Timestamp,
    },
    /// The connection will end by itself before long: told once a connection, end and configured day.
    Ending {
        /// When.
        at: Timestamp,
    },
    /// The operator's client is refused by the provider: nobody's connection is touched.
    ClientRefused,
}

impl Kind {
    /// Its name in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refreshed => "refreshed",
            Self::RefreshFailed => "refresh_failed",
            Self::Revoked => "revoked",
            Self::RevocationFailed => "revocation_failed",
            Self::Erased => "erased",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::ScopesMissing => "scopes_missing",
            Self::ApiKeyStored => "api_key_stored",
            Self::ApiKeyUsed => "api_key_used",
            Self::ActedFor => "acted_for",
            Self::ApiKeyRemoved => "api_key_removed",
            Self::ApiKeyDeprecated { .. } => "api_key_deprecated",
            Self::ApiKeyReminder { .. } => "api_key_reminder",
            Self::Ending { .. } => "ending",
            Self::ClientRefused => "client_refused",
        }
    }
}

impl Kind {
    /// Whether the store's log keeps it although it goes with no change of a record.
    pub const fn is_kept_alone(self) -> bool {
        matches!(
            self,
            Self::Refreshed
                | Self::Expired
                | Self::ScopesMissing
                | Self::ApiKeyUsed
                | Self::ApiKeyDeprecated { .. }
                | Self::ActedFor
                | Self::RevocationFailed
        )
    }
}

/// Where events go.
pub trait Sink: Send + Sync {
    /// Takes note of an event; must not block.
    fn tell(&self, event: &Event);
}

/// All sinks, cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Inner>);

struct Inner {
    sinks: Vec<Box<dyn Sink>>,
    told: Cache<u64, ()>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Events {
    /// Sends every event to all of these.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self(Arc::new(Inner { sinks, told: Cache::new(TOLD) }))
    }

    /// Tells all sinks.
    pub fn tell(&self, event: &Event) {
        for sink in &self.0.sinks {
            sink.tell(event);
        }
    }

    /// Tells all sinks, unless this process has told the very same before, whenever that was: for what recurs with every
    /// call. Says whether it has not.
    pub fn tell_once(&self, event: &Event) -> bool {
        let mut hasher = DefaultHasher::new();
        (&event.connection, event.kind, event.detail, event.token_version, &event.scopes).hash(&mut hasher);
        let key = hasher.finish();
        if self.0.told.get(&key).is_some() {
            return false;
        }
        self.0.told.insert(key, ());
        self.tell(event);
        true
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({} sinks)", self.0.sinks.len())
    }
}
