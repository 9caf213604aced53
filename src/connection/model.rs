//! What the rest of the house knows of a connection: how people and applications see one, and why a call gets no credential.
//! Holds no secret and decides nothing.

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
}

/// Whether calls can use a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
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
