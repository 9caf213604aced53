//! The record of one connection: its state, grant, API key, identity, times and the write-ahead intent of a refresh. Owns the
//! plaintext and its sealing; `at_rest` owns how it is spelled in the store, `change` how a record changes. Never leaves
//! this module's parent in clear.

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

use super::{at_rest::AtRest, state::State};

/// What is known of one connection. What the fields mean depends on `state`; only `apply` changes that.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "AtRest", into = "AtRest")]
pub struct Record {
    /// Whose it is, to what, under which label.
    pub id: ConnectionId,
    /// What the record is for.
    pub state: State,
    /// The OAuth grant.
    pub grant: Option<StoredGrant>,
    /// The API key.
    pub api_key: Option<StoredKey>,
    /// Who granted access, at the provider.
    pub identity: Option<Identity>,
    /// When the grant (or key) came in.
    pub connected_at: Option<Timestamp>,
    /// The version of the record that told of that grant: two may have come in within a millisecond.
    pub consent: Option<u64>,
    /// When the access token was last renewed.
    pub refreshed_at: Option<Timestamp>,
    /// When the grant was lost.
    pub invalidated_at: Option<Timestamp>,
    /// Why the grant is unusable.
    pub invalid: Option<Reason>,
    /// Set before a refresh token is sent, gone once the answer is stored: the token may be spent.
    pub intent: Option<Intent>,
    /// The move that brought it here.
    pub moved_by: Option<u64>,
    /// The label that it had before that move.
    pub moved_from: Option<Account>,
    /// Tells the grant that waited and was spoken for from all others, also once its tokens were renewed: the same is not
    /// stored twice.
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

/// The write-ahead intent of a refresh: one is under way, or was when its process died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The process and flight that wrote it.
    pub holder: String,
    /// The generation whose refresh token was sent.
    pub spends: u64,
    /// When it was written, by the store's clock: microseconds since the epoch. No clock of any process tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Nobody is at work any more, and nobody knows whether the token is spent.
    #[serde(default)]
    pub settled: bool,
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
            state: State::Connected,
            grant: None,
            api_key: None,
            identity: None,
            connected_at: None,
            consent: None,
            refreshed_at: None,
            invalidated_at: None,
            invalid: None,
            intent: None,
            moved_by: None,
            moved_from: None,
            origin: None,
        }
    }

    /// A record of nothing but its state.
    pub fn only(id: ConnectionId, state: State) -> Self {
        Self { state, ..Self::empty(id) }
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
