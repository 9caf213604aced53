//! What the rest of the house knows of a connection: how people and applications see one, and why a call gets no credential.
//! Holds no secret and decides nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    clock::Timestamp,
    events::KeyError,
    id::{Account, ServiceName},
    store, vault,
};

/// What kind of credential a connection rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// An OAuth access token.
    #[serde(rename = "oauth")]
    OAuth,
    /// A static key.
    ApiKey,
}

/// A connection as people and applications may see it. Never holds a secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Connection {
    /// The service that owns the connection.
    pub service: ServiceName,
    /// Its label.
    pub account: Account,
    /// Whether calls can use it.
    pub status: Status,
    /// What it rests on.
    pub auth_kind: AuthKind,
    /// What was granted; empty where that is unknown.
    #[schema(value_type = Vec<String>)]
    pub scopes: Box<[String]>,
    /// When it was made.
    #[schema(required)]
    pub connected_at: Option<Timestamp>,
    /// When its access token was last renewed.
    #[schema(required)]
    pub refreshed_at: Option<Timestamp>,
    /// When its access token expires.
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
    /// When a call last used it: to the second as this process saw it, to the hour as others did.
    #[schema(required)]
    pub last_used_at: Option<Timestamp>,
    /// When it will end if nobody does anything, as far as its provider's rules and its last use tell; connecting again puts that
    /// off. None is known of what Valetkey keeps alive by itself.
    #[schema(required)]
    pub expected_end: Option<Timestamp>,
    /// When it became unusable.
    #[schema(required)]
    pub invalidated_at: Option<Timestamp>,
    /// Why.
    #[schema(required)]
    pub invalid_reason: Option<Reason>,
    /// Who granted access, at the provider.
    #[schema(required)]
    pub identity: Option<Box<str>>,
    /// What tells that account from every other one there, whatever it calls itself.
    #[serde(skip)]
    pub identity_id: Option<Box<str>>,
    /// The API key beside or instead of a grant, as far as people may know.
    #[serde(skip)]
    pub api_key: Option<KeyFacts>,
    /// What may end it.
    #[serde(skip)]
    pub ends: Ends,
}

/// When a connection ends by itself, if nobody does anything, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When, as far as it can be foretold.
    pub at: Timestamp,
    /// Why.
    pub reason: EndReason,
}

impl End {
    /// One of this time, for this reason.
    pub const fn new(at: Timestamp, reason: EndReason) -> Self {
        Self { at, reason }
    }
}

/// Why a connection ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its access token expires, and nothing renews it.
    AccessToken,
    /// Its refresh token expires, and renewing doesn't put that off.
    RefreshToken,
    /// The provider lets grants live only so long after their consent.
    Consent,
    /// The provider ends what is not used for so long.
    Unused,
}

impl EndReason {
    /// Its name in notices.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
            Self::Consent => "consent",
            Self::Unused => "unused",
        }
    }
}

/// What may end a connection. Which of it comes first, its last use decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// The end of its tokens, where renewing doesn't prevent it.
    pub tokens: Option<End>,
    /// The end that the provider sets from the consent on.
    pub consent: Option<Timestamp>,
    /// The provider's limit for what is not used.
    pub unused: Option<Unused>,
    /// When the grant was last seen alive, but for its use.
    pub lived: Option<Timestamp>,
    /// An API key that was not refused lies beside the grant: calls go on with it.
    pub beside_key: bool,
}

/// A limit for what is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unused {
    /// When the grant was last seen alive, but for its use.
    pub since: Timestamp,
    /// How long it may go unused.
    pub limit: Duration,
    /// When it is renewed for its own sake, which counts as use.
    pub renewal: Option<Timestamp>,
}

impl Ends {
    /// Whether there is anything that could end the connection.
    pub const fn can_come(&self) -> bool {
        self.tokens.is_some() || self.consent.is_some() || self.unused.is_some()
    }

    /// Whether its last use may decide when it ends.
    pub fn hang_on_use(&self) -> bool {
        let is_open = |unused: Unused| unused.renewal.is_none_or(|renewal| renewal > unused.since.plus(unused.limit));
        self.consent.is_some() || self.unused.is_some_and(is_open)
    }

    /// The end that comes first, of a connection that was last used then. Where API keys are taken (`keys_taken`), one that lies
    /// beside the grant takes over.
    pub fn first(&self, last_used: Option<Timestamp>, keys_taken: bool) -> Option<End> {
        if self.beside_key && keys_taken {
            return None;
        }
        // What was seen alive after its end has another one than the configuration says.
        let consent = self.consent.filter(|at| self.lived.max(last_used).is_none_or(|lived| lived <= *at));
        let consent = consent.map(|at| End::new(at, EndReason::Consent));
        let unused = self.unused.and_then(|unused| {
            let at = last_used.map_or(unused.since, |used| used.max(unused.since)).plus(unused.limit);
            unused.renewal.is_none_or(|renewal| renewal > at).then_some(End::new(at, EndReason::Unused))
        });
        [self.tokens, consent, unused].into_iter().flatten().min_by_key(|end| end.at)
    }
}

/// Whether calls can use a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionStatus)]
pub enum Status {
    /// They can.
    Active,
    /// Not until the application confirms it.
    Pending,
    /// Not until the person connects again.
    Invalid,
}

/// Why there is no usable credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There never was one, or it was disconnected.
    NotConnected,
    /// The access token has expired and there is no refresh token.
    Expired,
    /// The provider refused the refresh token.
    Revoked,
    /// The upstream refused a refreshed or unrefreshable token, or the API key.
    RejectedByUpstream,
    /// A refresh was cut off after its token was sent, and the token is spent.
    RefreshInterrupted,
    /// Only an API key is there, and the service no longer takes them.
    ApiKeyRetired,
    /// Connected, but not yet confirmed by the application.
    Pending,
}

/// Why a call gets no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The person must connect (again).
    #[error("no usable credential: {reason:?}")]
    AuthRequired {
        /// Why.
        reason: Reason,
        /// Under which label.
        account: Account,
    },
    /// Several connections, none named, and no `default`.
    #[error("several accounts, none named")]
    AccountRequired {
        /// Their labels.
        accounts: Vec<Account>,
    },
    /// The grant lacks scopes.
    #[error("scopes are missing")]
    MissingScopes {
        /// Which.
        scopes: Vec<String>,
        /// Under which label.
        account: Account,
    },
    /// The access token has expired, and the provider's token endpoint fails for now.
    #[error("the provider's token endpoint fails for now")]
    RefreshFailed,
    /// It can't be known now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What is away; never the caller's fault, never a reason to disconnect anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The store.
    #[error("the store is unavailable")]
    Store,
    /// The key that opens the record, or its service.
    #[error("no key opens the record")]
    Keys,
    /// Someone else is at it and takes too long.
    #[error("the connection is being renewed")]
    Busy,
}

impl From<store::Error> for Unavailable {
    fn from(error: store::Error) -> Self {
        if error == store::Error::LeaseLost {
            return Self::Busy;
        }
        tracing::warn!(%error, "the store failed");
        Self::Store
    }
}

impl From<vault::Error> for Unavailable {
    fn from(error: vault::Error) -> Self {
        tracing::error!(%error, "sealing or opening failed");
        Self::Keys
    }
}

impl From<KeyError> for Unavailable {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Vault(error) => error.into(),
            KeyError::Busy => Self::Busy,
        }
    }
}

/// What may be known of a stored API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFacts {
    /// When it was stored.
    pub stored_at: Option<Timestamp>,
    /// Whether the upstream refused it.
    pub refused: bool,
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
