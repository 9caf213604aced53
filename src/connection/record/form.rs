//! The record of one connection, as it is sealed into the store: grant, API key, identity, times and the write-ahead mark
//! of a refresh. Owns the plaintext form and its sealing; `state` owns how a record changes. Never leaves this module's
//! parent in clear.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::{Timestamp, millis},
    connection::model::{Reason, Unavailable},
    id::{Account, ConnectionId},
    oauth::Identity,
    secret::{self, SecretString},
    store::{Key, Version},
    vault::{self, Context, Purpose, Vault},
};

/// What is known of one connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Whose it is, to what, under which label.
    pub id: ConnectionId,
    /// The OAuth grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<StoredGrant>,
    /// The API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<StoredKey>,
    /// Who granted access, at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// When the grant (or key) came in.
    #[serde(with = "millis", default)]
    pub connected_at: Option<Timestamp>,
    /// The version of the record that told of that grant: two may have come in within a millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<u64>,
    /// When the access token was last renewed.
    #[serde(with = "millis", default)]
    pub refreshed_at: Option<Timestamp>,
    /// When the grant was lost.
    #[serde(with = "millis", default)]
    pub invalidated_at: Option<Timestamp>,
    /// Why the grant is unusable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Reason>,
    /// Set before a refresh token is sent, gone once the answer is stored: the token may be spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Disconnected: unusable, unseen, kept only until the provider has revoked these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub farewell: Option<Farewell>,
    /// On its way to another label: still serves, is renewed no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// The move that brought it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<u64>,
    /// The label that it had before that move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Account>,
    /// No connection yet, only a place for what that move brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<u64>,
    /// No connection yet: waits for somebody's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<Aside>,
    /// Tells the grant that waited and was spoken for from all others, also once its tokens were renewed: the same is not
    /// stored twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<u64>,
}

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
    /// When it is over; unknown where the provider doesn't say.
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
    pub generation: u64,
    /// The generation that brought the refresh token, where that is an earlier one: a consent without one left it in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<u64>,
    /// The version of the record that told of its being asked for: of two renewals of one grant, the one that was asked
    /// for later counts. None where it came with the consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// When it was asked for, nobody knew what had come of an earlier request: that may yet be carried out, and end this
    /// access token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contested: bool,
}

impl StoredGrant {
    /// Whether both are one grant: a copy, not what came of it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.access_token.expose() == other.access_token.expose()
    }

    /// The generation that brought its refresh token: the same says that it is the same token.
    pub fn renewed_by(&self) -> u64 {
        self.kept_from.unwrap_or(self.generation)
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
    /// As [`StoredGrant::generation`].
    pub generation: u64,
}

/// A refresh is under way, or was when its process died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The process and flight that set it.
    pub holder: String,
    /// The generation whose refresh token was sent.
    pub spends: u64,
    /// When it was set, by the store's clock: microseconds since the epoch. No clock of any process tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Nobody is at work any more, and nobody knows whether the token is spent.
    #[serde(default)]
    pub settled: bool,
}

/// A move to another label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// The label.
    pub to: Account,
    /// Tells this move from others: the version that began it.
    pub id: u64,
}

/// What a grant that is no connection yet waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Whether lists show it.
    pub shown: bool,
    /// When it is given up.
    #[serde(with = "millis")]
    pub until: Option<Timestamp>,
}

/// Tokens still to be revoked at the provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Farewell {
    /// The grant that was given up.
    pub grant: StoredGrant,
    /// How often the provider has been asked.
    pub attempts: u32,
    /// The account at the provider that granted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// A record that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The vault has no key for it, or it was tampered with.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// It opened, but holds something else than a record.
    #[error("the record is not of a form that this version knows")]
    Form,
}

impl From<SealError> for Unavailable {
    fn from(error: SealError) -> Self {
        tracing::error!(%error, "a record can't be used; it stays as it is");
        Self::Keys
    }
}

impl Record {
    /// A record of nothing yet.
    pub const fn empty(id: ConnectionId) -> Self {
        Self {
            id,
            grant: None,
            api_key: None,
            identity: None,
            connected_at: None,
            consent: None,
            refreshed_at: None,
            invalidated_at: None,
            invalid: None,
            mark: None,
            farewell: None,
            moving: None,
            moved_by: None,
            moved_from: None,
            awaits: None,
            aside: None,
            origin: None,
        }
    }

    /// The record as one that waits for somebody's word until then.
    #[must_use]
    pub fn aside(self, shown: bool, until: Timestamp) -> Self {
        Self { aside: Some(Aside { shown, until: Some(until) }), ..self }
    }

    /// Seals the record for its place in the store: elsewhere, or under another version, it won't open.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn seal(&self, vault: &Vault, key: &Key, version: Version) -> Result<Vec<u8>, SealError> {
        let plain = Zeroizing::new(serde_json::to_vec(self).map_err(|_| SealError::Form)?);
        let version = version.0.to_be_bytes();
        Ok(vault.seal(&Context { purpose: Purpose::Record, parts: &place(key, &version) }, &plain)?)
    }

    /// Opens what was sealed for this place and version.
    ///
    /// # Errors
    /// Where no key opens it, it was changed, or belongs elsewhere.
    pub fn open(vault: &Vault, key: &Key, version: Version, sealed: &[u8]) -> Result<Self, SealError> {
        let version = version.0.to_be_bytes();
        let plain = vault.open(&Context { purpose: Purpose::Record, parts: &place(key, &version) }, sealed)?;
        // One look at all of it, instead of one at each text.
        let text = std::str::from_utf8(plain.expose()).map_err(|_| SealError::Form)?;
        serde_json::from_str(text).map_err(|_| SealError::Form)
    }
}

/// What a sealed record is bound to: owner and record name are keyed hashes of issuer, subject, service and account.
fn place<'a>(key: &'a Key, version: &'a [u8; 8]) -> [&'a [u8]; 3] {
    [&key.owner.0, &key.record.0, version]
}
