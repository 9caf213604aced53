//! What a record holds that calls or refreshes rest on: an OAuth grant, an API key, and the intent of a refresh, as they lie in the
//! store. Data only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Timestamp, millis},
    provider::OAuth,
    secret::{self, SecretString},
    store::Version,
};

/// An OAuth grant at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredGrant {
    /// What calls carry.
    #[serde(serialize_with = "secret::reveal")]
    pub access_token: SecretString,
    /// What renews it.
    #[serde(serialize_with = "secret::reveal", default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<SecretString>,
    /// When the access token was issued.
    #[serde(with = "millis", default)]
    pub issued_at: Option<Timestamp>,
    /// When it expires; unknown where the provider doesn't say.
    #[serde(with = "millis", default)]
    pub expires_at: Option<Timestamp>,
    /// What was granted; `None` where neither the provider nor the request said.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// What else the consent asked for, or an earlier answer told of, and the provider no longer names: it may be granted
    /// under another name, or under none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unnamed: Vec<String>,
    /// The OAuth client that it was granted to; unknown in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Tells this access token from those before and after it: the version of the record that first held it.
    #[serde(rename = "generation")]
    pub token_version: Version,
    /// The token version that brought the refresh token, where that is an earlier one: a consent without one left it in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<Version>,
    /// The version of the record that told of its being asked for: of two renewals of one grant, the one that was asked
    /// for later counts. None where it came with the consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Version>,
    /// How long the refresh token lives, as far as the provider's answers show.
    #[serde(default, skip_serializing_if = "RefreshLife::is_unknown")]
    pub refresh_life: RefreshLife,
    /// Another request may have ended this access token, or end it yet: when it was asked for, nobody knew what had come of
    /// an earlier one; or it came with a consent while a renewal was on its way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contested: bool,
}

impl StoredGrant {
    /// Whether both are one grant: a copy, not what came of it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.access_token.expose() == other.access_token.expose()
    }

    /// What renews it, where this client may send it: a refresh token is bound to the client that it was issued to (RFC 6749
    /// §6), and a provider could take another's request for a theft. Where somebody mistook a `client_id` nothing is lost:
    /// with the right one it renews again.
    pub fn refresh_token_for(&self, client: Option<&OAuth>) -> Option<&SecretString> {
        let bound = |known: &str| client.is_some_and(|client| client.client_id == known);
        self.refresh_token.as_ref().filter(|_| self.client.as_deref().is_none_or(bound))
    }

    /// The token version that brought its refresh token: the same says that it is the same token.
    pub fn renewed_by(&self) -> Version {
        self.kept_from.unwrap_or(self.token_version)
    }
}

/// What the provider's answers show of a refresh token's life. Nothing but a prediction rests on it: where it was lost, as in a
/// record that an earlier version wrote, the next renewal tells anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshLife {
    /// When the token was received.
    #[serde(with = "millis", default)]
    pub received_at: Option<Timestamp>,
    /// When it ends, where an answer said so.
    #[serde(with = "millis", default)]
    pub expires_at: Option<Timestamp>,
    /// The last renewal left its end where it was: renewing doesn't put it off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_fixed: bool,
}

impl RefreshLife {
    /// Answers that are closer to each other say nothing of whether an end moves: each rounds and travels.
    const TELLING: Duration = Duration::from_secs(60);

    /// Of a token that came with a consent at `now`, whose answer tells it this life. Whether renewing puts its end off, nobody
    /// knows yet.
    pub fn begun(told: Option<Duration>, now: Timestamp) -> Self {
        Self { received_at: Some(now), expires_at: told.map(|life| now.plus(life)), is_fixed: false }
    }

    /// Of a token that a second consent left in force.
    #[must_use]
    pub fn kept(self, told: Option<Duration>, now: Timestamp) -> Self {
        Self { expires_at: told.map(|life| now.plus(life)).or(self.expires_at), ..self }
    }

    /// After a renewal at `now` of an access token issued at `issued_at`: it brought another refresh token or left the old one in
    /// force, and told it this life. An end moves where the renewal moved it about as far as time has gone on; where no end is
    /// told, where another token came.
    #[must_use]
    pub fn renewed(self, is_new: bool, told: Option<Duration>, issued_at: Option<Timestamp>, now: Timestamp) -> Self {
        let told = told.map(|life| now.plus(life));
        let expires_at = told.or(self.expires_at.filter(|_| !is_new));
        let received_at = if is_new { Some(now) } else { self.received_at };
        let passed = issued_at.map_or(Duration::ZERO, |issued| now.since(issued));
        let is_fixed = match (self.expires_at, told) {
            (Some(_), Some(_)) if passed < Self::TELLING => self.is_fixed,
            (Some(before), Some(after)) => after.since(before) < passed / 2,
            _ => !is_new,
        };
        Self { received_at, expires_at, is_fixed }
    }

    const fn is_unknown(&self) -> bool {
        self.received_at.is_none() && self.expires_at.is_none()
    }
}

/// An API key at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredKey {
    /// The key.
    #[serde(serialize_with = "secret::reveal")]
    pub key: SecretString,
    /// When it was stored.
    #[serde(with = "millis", default)]
    pub stored_at: Option<Timestamp>,
    /// The upstream refused it.
    #[serde(default)]
    pub refused: bool,
    /// As [`StoredGrant::token_version`].
    #[serde(rename = "generation")]
    pub token_version: Version,
}

/// The write-ahead intent of a refresh: one is under way, or was when its process died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The process and flight that wrote it.
    pub holder: String,
    /// The token version whose refresh token was sent.
    pub spends: Version,
    /// When it was written, by the store's clock: microseconds since the epoch. No clock of any process tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Nobody is at work any more, and nobody knows whether the token is spent.
    #[serde(default)]
    pub settled: bool,
}
