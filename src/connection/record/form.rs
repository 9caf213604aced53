//! The record of one connection: its state, grant, API key, identity, times and the write-ahead intent of a refresh. Owns the
//! plaintext and its sealing; `grant` is what it holds, `at_rest` owns how it is spelled in the store, `change` how a record changes. Never leaves
//! this module's parent in clear.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    connection::model::{Reason, Unavailable},
    id::{Account, ConnectionId},
    oauth::Identity,
    store::{Key, Version},
    vault::{self, Context, Purpose, Vault},
};

use super::{
    at_rest::AtRest,
    state::{Move, PendingRevocation, State, Wait},
};

pub use super::grant::{Intent, RefreshLife, StoredGrant, StoredKey};

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
    pub consent: Option<Version>,
    /// When the access token was last renewed.
    pub refreshed_at: Option<Timestamp>,
    /// When the grant was lost.
    pub invalidated_at: Option<Timestamp>,
    /// Why the grant is unusable.
    pub invalid: Option<Reason>,
    /// Set before a refresh token is sent, gone once the answer is stored: the token may be spent.
    pub intent: Option<Intent>,
    /// The move that brought it here.
    pub moved_by: Option<Version>,
    /// The label that it had before that move.
    pub moved_from: Option<Account>,
    /// Tells the grant that waited and was spoken for from all others, also once its tokens were renewed: the same is not
    /// stored twice.
    pub origin: Option<u64>,
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

impl Record {
    /// The move that is under way.
    pub const fn under_way(&self) -> Option<&Move> {
        if let State::Moving(moving) = &self.state { Some(moving) } else { None }
    }

    /// What the record's grant waits for, where it is unconfirmed.
    pub const fn waits_for(&self) -> Option<&Wait> {
        if let State::Unconfirmed(wait) = &self.state { Some(wait) } else { None }
    }

    /// What is still to be revoked.
    pub fn pending_revocation(&self) -> Option<&PendingRevocation> {
        if let State::PendingRevocation(pending) = &self.state { Some(pending) } else { None }
    }

    /// Whether it is a connection, or the place of one, on the move or not.
    pub const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected | State::Moving(_))
    }

    /// Whether it is a connection that people see: not one that only waits for its revocation, nor a place kept free.
    pub const fn stands(&self) -> bool {
        self.is_connected() && (self.grant.is_some() || self.api_key.is_some())
    }

    /// Whether nothing is in it, and nothing is to be done for it.
    pub const fn is_bare(&self) -> bool {
        !matches!(self.state, State::PendingRevocation(_)) && self.grant.is_none() && self.api_key.is_none()
    }

    /// Whether its grant may be in use, now or once somebody has spoken for it.
    pub const fn is_alive(&self) -> bool {
        self.grant.is_some() && !matches!(self.state, State::PendingRevocation(_)) && self.invalid.is_none()
    }
}

impl From<AtRest> for Record {
    fn from(at_rest: AtRest) -> Self {
        // What must not be forgotten comes first, should an earlier version have left two.
        let state = if let Some(pending) = at_rest.pending_revocation {
            State::PendingRevocation(pending)
        } else if let Some(wait) = at_rest.unconfirmed {
            State::Unconfirmed(wait)
        } else if let Some(moving) = at_rest.moving {
            State::Moving(moving)
        } else {
            at_rest.reserved.map_or(State::Connected, State::Reserved)
        };
        Self {
            id: at_rest.id,
            state,
            grant: at_rest.grant,
            api_key: at_rest.api_key,
            identity: at_rest.identity,
            connected_at: at_rest.connected_at,
            consent: at_rest.consent,
            refreshed_at: at_rest.refreshed_at,
            invalidated_at: at_rest.invalidated_at,
            invalid: at_rest.invalid,
            intent: at_rest.intent,
            moved_by: at_rest.moved_by,
            moved_from: at_rest.moved_from,
            origin: at_rest.origin,
        }
    }
}

impl From<Record> for AtRest {
    fn from(record: Record) -> Self {
        let mut at_rest = Self {
            id: record.id,
            grant: record.grant,
            api_key: record.api_key,
            identity: record.identity,
            connected_at: record.connected_at,
            consent: record.consent,
            refreshed_at: record.refreshed_at,
            invalidated_at: record.invalidated_at,
            invalid: record.invalid,
            intent: record.intent,
            pending_revocation: None,
            moving: None,
            moved_by: record.moved_by,
            moved_from: record.moved_from,
            reserved: None,
            unconfirmed: None,
            origin: record.origin,
        };
        match record.state {
            State::Connected => {}
            State::Moving(moving) => at_rest.moving = Some(moving),
            State::Reserved(id) => at_rest.reserved = Some(id),
            State::Unconfirmed(wait) => at_rest.unconfirmed = Some(wait),
            State::PendingRevocation(pending) => at_rest.pending_revocation = Some(pending),
        }
        at_rest
    }
}

/// What a sealed record is bound to: owner and record name are keyed hashes of issuer, subject, service and account.
fn place<'a>(key: &'a Key, version: &'a [u8; 8]) -> [&'a [u8]; 3] {
    [&key.owner.0, &key.record.0, version]
}
