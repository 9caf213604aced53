//! What happened to connections, as facts: `Event`, and the sinks that are told. Events say who, what and why, never a
//! secret and never an HTTP status. Sinks are best effort and never hold up a call; today there is one, the audit line
//! in the log. Links to pages are made by whoever composes the sinks, not here.

use std::{fmt, sync::Arc};

use crate::{clock::Timestamp, id::ConnectionId};

/// Something that happened to a connection.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which connection.
    pub connection: ConnectionId,
    /// What happened.
    pub kind: Kind,
    /// Why or how, in a word (`revoked`, `rejected_by_upstream`, `healer`), where there is more to say.
    pub detail: Option<&'static str>,
}

/// Kinds of events, named as the audit log names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A grant was stored after a code exchange or an import.
    Connected,
    /// The access token was renewed.
    Refreshed,
    /// Disconnected by the caller.
    Revoked,
    /// The access token is over and there is no refresh token.
    Expired,
    /// The provider or the upstream refused it for good.
    Invalidated,
    /// An API key was stored.
    ApiKeyStored,
    /// A call used an API key: once a connection and day at most.
    ApiKeyUsed,
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
    /// The operator's client is refused by the provider: nobody's connection is touched.
    ClientRefused,
}

impl Kind {
    /// Its name in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refreshed => "refreshed",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::ApiKeyStored => "api_key_stored",
            Self::ApiKeyUsed => "api_key_used",
            Self::ApiKeyRemoved => "api_key_removed",
            Self::ApiKeyDeprecated { .. } => "api_key_deprecated",
            Self::ApiKeyReminder { .. } => "api_key_reminder",
            Self::ClientRefused => "client_refused",
        }
    }
}

/// Where events go.
pub trait Sink: Send + Sync {
    /// Takes note of an event; must not block.
    fn tell(&self, event: &Event);
}

/// All sinks, cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Arc<Vec<Box<dyn Sink>>>);

impl Events {
    /// Sends every event to all of these.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self(Arc::new(sinks))
    }

    /// Tells all sinks.
    pub fn tell(&self, event: &Event) {
        for sink in self.0.iter() {
            sink.tell(event);
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({} sinks)", self.0.len())
    }
}

/// Writes one audit line an event to the log.
#[derive(Debug, Clone, Copy)]
pub struct AuditLog;

impl Sink for AuditLog {
    fn tell(&self, event: &Event) {
        let ConnectionId { caller, service, account } = &event.connection;
        tracing::info!(
            target: "valetkey::audit",
            event = event.kind.name(),
            detail = event.detail,
            issuer = %caller.issuer,
            user = %caller.subject,
            %service,
            %account,
            "connection event"
        );
    }
}
