//! Which events are worth a notice, and when two notices are the same: one for a connection and a cause, however many
//! calls met it, on however many replicas; where it is about the operator's client, one for a service and a day. Pure, but for the trait by which the composition root says what only it knows.

use std::sync::Arc;

use async_trait::async_trait;
use quick_cache::sync::Cache;

use super::{Event, Kind};
use crate::store::Version;
use crate::{clock::Timestamp, config::NoticeKind, id::ConnectionId, secret::SecretString, vault::Root};

/// How many failures to renew in a row are worth a word.
const FAILURES: u32 = 3;
/// Connections whose failures are counted.
const COUNTED: usize = 10_000;
/// Why a refresh failed where the provider refuses the operator's client.
const CLIENT_REFUSED: &str = "client_refused";

/// Something that somebody is to be told, once.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    /// Whose connection.
    pub connection: ConnectionId,
    /// What about it.
    pub kind: NoticeKind,
    /// Why, in one word.
    pub reason: Option<&'static str>,
    /// Scopes that a call lacked.
    pub scopes: Vec<String>,
    /// Which of the connection's successive grants.
    pub token_version: Version,
    /// From when on API keys are not taken, where it is about one.
    pub retire_on: Option<Timestamp>,
    /// When the connection ends, where it is about that.
    pub ends_at: Option<Timestamp>,
    /// When it happened.
    pub at: Timestamp,
}

impl Notice {
    /// What tells this notice from every other, the same on each replica; says nothing of whom it concerns.
    pub fn identity(&self, root: &Root) -> [u8; 16] {
        let id = &self.connection;
        // A client is the service's: whichever connection happened to meet the refusal, it is one thing to put right.
        if self.reason == Some(CLIENT_REFUSED) {
            let (service, day) = (id.service.as_str(), self.at.date());
            let parts = [CLIENT_REFUSED, service, self.kind.name(), day.as_str()].map(str::as_bytes);
            return root.blind("notice", &parts);
        }
        // What a call lacked is the application's word, and it may say another with each call: the hour decides, not the
        // word.
        let (token_version, time) = match self.kind {
            NoticeKind::PermissionsNeeded => (Version::default(), (self.at.seconds() / 3600).to_string()),
            NoticeKind::KeyReminder | NoticeKind::ConnectionEnding => (self.token_version, self.at.date()),
            // Whether it is news, the loss of which was told decides.
            NoticeKind::ConnectionRecovered => (self.token_version, self.at.millis().to_string()),
            _ => (self.token_version, String::new()),
        };
        let token_version = token_version.0.to_be_bytes();
        let retire_on = self.retire_on.map(Timestamp::date).unwrap_or_default();
        let retire_on = self.ends_at.map_or(retire_on, Timestamp::date);
        let own: [&[u8]; 4] = [self.kind.name().as_bytes(), &token_version, time.as_bytes(), retire_on.as_bytes()];
        root.blind("notice", &[id.parts(), own].concat())
    }
}

/// Decides which events are worth a notice.
#[derive(Debug)]
pub(super) struct Judge {
    failures: Cache<(ConnectionId, Version), u32>,
}

impl Judge {
    pub fn new() -> Self {
        Self { failures: Cache::new(COUNTED) }
    }

    /// The notice that an event is worth, if any.
    pub fn notice(&self, event: &Event, at: Timestamp) -> Option<Notice> {
        let token_version = event.token_version.unwrap_or_default();
        let kind = match event.kind {
            Kind::Expired | Kind::Invalidated => NoticeKind::ConnectionInvalid,
            Kind::ScopesMissing => NoticeKind::PermissionsNeeded,
            Kind::ApiKeyDeprecated { .. } => NoticeKind::KeyDeprecated,
            Kind::ApiKeyReminder { .. } => NoticeKind::KeyReminder,
            Kind::Ending { .. } => NoticeKind::ConnectionEnding,
            // A key is as good as a grant where the service takes it. Only what was told to be lost is told to be back.
            Kind::Connected | Kind::ApiKeyStored => NoticeKind::ConnectionRecovered,
            Kind::ClientRefused => NoticeKind::HealingFailed,
            Kind::RefreshFailed if self.has_failed_often(&event.connection, token_version) => NoticeKind::HealingFailed,
            Kind::RefreshFailed
            | Kind::Refreshed
            | Kind::Revoked
            | Kind::RevocationFailed
            | Kind::ApiKeyUsed
            | Kind::ActedFor
            | Kind::ApiKeyRemoved
            | Kind::Erased => return None,
        };
        let reason = match event.kind {
            // Told by this word from other failures to renew, in the notice's identity, too.
            Kind::ClientRefused => Some(CLIENT_REFUSED),
            // Whatever the provider said.
            Kind::RefreshFailed => Some("refresh_failed"),
            Kind::Expired => event.detail.or(Some("expired")),
            _ => event.detail,
        };
        let retire_on = match event.kind {
            Kind::ApiKeyDeprecated { retire_on } | Kind::ApiKeyReminder { retire_on } => Some(retire_on),
            _ => None,
        };
        let ends_at = if let Kind::Ending { at } = event.kind { Some(at) } else { None };
        let (connection, scopes) = (event.connection.clone(), event.scopes.clone());
        Some(Notice { connection, kind, reason, scopes, token_version, retire_on, ends_at, at })
    }

    /// Whether this failure is just the one that makes it too many. A renewed grant has another token version: its count
    /// begins anew.
    fn has_failed_often(&self, connection: &ConnectionId, token_version: Version) -> bool {
        let key = (connection.clone(), token_version);
        let count = self.failures.get(&key).unwrap_or(0).saturating_add(1);
        self.failures.insert(key, count);
        count == FAILURES
    }
}

/// What only the composition root can say of a connection.
#[derive(Debug, Clone)]
pub struct About {
    /// The application's name for this caller.
    pub application: String,
    /// The service's name as people know it.
    pub service: String,
    /// Where the person can do something about it.
    pub link: Option<Link>,
}

/// A link for a notice.
#[derive(Debug, Clone)]
pub struct Link {
    /// The page. Whoever holds it may go on, so it is a secret.
    pub url: SecretString,
    /// When it expires; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What lies around: made by the composition root, since pages, tickets and names are above events.
#[async_trait]
pub trait Surroundings: Send + Sync {
    /// The shared secret that names derive from; `None`: not to be had now.
    async fn root(&self) -> Option<Arc<Root>>;

    /// What a notice says beside the event, with a link that asks for `scopes`, too; `name` is what the page calls the caller.
    /// `None`: not to be had now.
    async fn about(&self, connection: &ConnectionId, scopes: &[String], name: Option<&str>) -> Option<About>;
}
