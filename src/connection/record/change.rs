//! How a record changes: one total function of a record and what happened. Pure: no I/O, no clock of its own. Whoever
//! wants to know what a refusal, a refresh or a new consent does to a connection reads `apply`.

use crate::{clock::Timestamp, connection::model::Reason, id::Account, oauth, secret::SecretString};

use super::form::{Farewell, Mark, Moving, Record, StoredGrant, StoredKey};

/// Something that changes a record.
#[derive(Debug)]
pub enum Change {
    /// A code exchange or an import brought a grant.
    Connected {
        /// The grant.
        grant: oauth::Grant,
        /// Who granted it.
        identity: Option<oauth::Identity>,
        /// What was asked for: what is granted, where the provider doesn't say (RFC 6749 §5.1).
        requested: Vec<String>,
        /// The OAuth client.
        client: Option<String>,
    },
    /// The same, of a grant that waited and has been spoken for: it goes by this number.
    Kept(u64, Box<Change>),
    /// A refresh token is about to be sent.
    RefreshStarted(Mark),
    /// The provider renewed the grant.
    Refreshed {
        /// The new grant.
        grant: oauth::Grant,
        /// The version of the record that told of its being asked for.
        asked: u64,
        /// What came of an earlier request is unknown.
        contested: bool,
    },
    /// The refresh ended without an answer that could have spent the token.
    RefreshUnspent,
    /// The refresh ended, and whether the token is spent is unknown.
    RefreshUnknown,
    /// The grant is lost.
    Invalidated(Reason),
    /// An API key was stored.
    KeyStored(SecretString),
    /// The upstream refused the API key.
    KeyRefused,
    /// The API key was removed.
    KeyRemoved,
    /// The caller gave the connection up.
    Disconnected,
    /// The provider could not be asked to revoke yet.
    FarewellFailed,
    /// It is to get another label.
    Moving(Account),
    /// It keeps its label after all.
    Stayed,
    /// It stands under its new label.
    Arrived,
}

impl Change {
    /// Whether it can be the first of a record, and replace one that can't be read.
    pub const fn begins(&self) -> bool {
        matches!(self, Self::Connected { .. } | Self::Kept(..) | Self::KeyStored(_))
    }
}

impl Record {
    /// The record after `change`, at `now`, to be stored as `version`.
    #[must_use]
    pub fn apply(mut self, change: Change, now: Timestamp, version: u64) -> Self {
        match change {
            Change::Connected { grant, identity, requested, client } => {
                self.origin = None;
                let scopes = grant.scopes.clone().or_else(|| (!requested.is_empty()).then(|| requested.clone()));
                let unnamed = spelled_otherwise(&scopes, requested);
                let kept = self.still_good(&grant, identity.as_ref(), client.as_deref());
                let mark = self.mark.take().filter(|_| kept.is_some());
                let kept_from = self.grant.as_ref().filter(|_| kept.is_some()).map(StoredGrant::renewed_by);
                let stored = stored(grant, kept, scopes, now, version);
                self.grant = Some(StoredGrant { unnamed, client, kept_from, ..stored });
                // A grant whose owner isn't known never wears the name of the one before it.
                self.identity = identity.map(|new| new.named_as(self.identity.as_ref()));
                self.connected_at = Some(now);
                self.consent = Some(version);
                self.refreshed_at = None;
                self.restore();
                // A kept refresh token may be spent as before.
                self.mark = mark.map(|mark| Mark { spends: version, ..mark });
                self.farewell = None;
                self.moving = None;
                self.awaits = None;
            }
            Change::Kept(origin, connected) => {
                self = self.apply(*connected, now, version);
                self.origin = Some(origin);
            }
            Change::RefreshStarted(mark) => self.mark = Some(mark),
            Change::Refreshed { grant, asked, contested } => {
                // RFC 6749 §6: an answer without a refresh token leaves the old one in force, and one without
                // scopes leaves them as they were.
                let (old_refresh, old_scopes, hidden, client) = match self.grant.take() {
                    Some(old) => (old.refresh_token, old.scopes, old.unnamed, old.client),
                    None => (None, None, Vec::new(), None),
                };
                let scopes = grant.scopes.clone().or(old_scopes);
                let unnamed = unnamed(&scopes, hidden);
                let renewed = stored(grant, old_refresh, scopes, now, version);
                self.grant = Some(StoredGrant { asked: Some(asked), contested, unnamed, client, ..renewed });
                self.refreshed_at = Some(now);
                self.restore();
            }
            Change::RefreshUnspent => self.mark = None,
            Change::RefreshUnknown => {
                if let Some(mark) = &mut self.mark {
                    mark.settled = true;
                }
            }
            Change::Invalidated(reason) => {
                self.invalid = Some(reason);
                self.invalidated_at = Some(now);
                self.mark = None;
            }
            Change::KeyStored(key) => {
                self.api_key = Some(StoredKey { key, stored_at: Some(now), refused: false, generation: version });
                self.connected_at = self.connected_at.or(Some(now));
                self.farewell = None;
                self.awaits = None;
            }
            Change::KeyRefused => {
                if let Some(key) = &mut self.api_key {
                    key.refused = true;
                }
                if self.grant.is_none() {
                    self.invalidated_at = Some(now);
                }
            }
            Change::KeyRemoved => self.api_key = None,
            Change::Disconnected => {
                self.farewell = self.to_revoke();
                self.grant = None;
                self.api_key = None;
                self.identity = None;
                self.mark = None;
                self.moving = None;
                self.aside = None;
            }
            Change::FarewellFailed => {
                if let Some(farewell) = &mut self.farewell {
                    farewell.attempts = farewell.attempts.saturating_add(1);
                }
            }
            Change::Moving(to) => self.moving = Some(Moving { to, id: version }),
            Change::Stayed => self.moving = None,
            Change::Arrived => self.arrive(version),
        }
        self
    }

    /// The refresh token that a new consent leaves in force: providers give it with the first consent, and many with no
    /// other. Only where it is the same account's, of the same client, and not known to be refused.
    fn still_good(
        &self,
        grant: &oauth::Grant,
        identity: Option<&oauth::Identity>,
        client: Option<&str>,
    ) -> Option<SecretString> {
        let old = self.grant.as_ref().filter(|_| grant.refresh_token.is_none())?;
        let same_account = identity.is_some_and(|new| self.identity.as_ref().is_some_and(|known| known.id == new.id));
        // Records of earlier versions don't name it. It changes rarely, and a token of another's is refused, no more.
        let same_client = old.client.as_deref().is_none_or(|known| client == Some(known));
        let refused = matches!(self.invalid, Some(Reason::Revoked | Reason::RefreshInterrupted));
        old.refresh_token.clone().filter(|_| same_account && same_client && !refused)
    }

    /// Under the new label, credentials are told from those that the old one gave out.
    fn arrive(&mut self, version: u64) {
        let Some(Moving { to, id }) = self.moving.take() else { return };
        self.moved_from = Some(std::mem::replace(&mut self.id.account, to));
        self.moved_by = Some(id);
        if let Some(grant) = &mut self.grant {
            grant.generation = version;
        }
        if let Some(key) = &mut self.api_key {
            key.generation = version;
        }
    }

    fn restore(&mut self) {
        self.invalid = None;
        self.invalidated_at = None;
        self.mark = None;
    }
}

impl Record {
    /// Whether it is a connection that people see: not one that only waits for its revocation, nor a place kept free.
    pub fn stands(&self) -> bool {
        self.farewell.is_none() && (self.grant.is_some() || self.api_key.is_some())
    }

    /// What parting with its grant takes; `None` where there is none.
    pub fn to_revoke(&self) -> Option<Farewell> {
        let identity = self.identity.as_ref().map(|identity| identity.id.clone());
        Some(Farewell { grant: self.grant.clone()?, attempts: 0, identity })
    }

    /// What would be forgotten by `change`: a farewell that is still to be done, and the grant of an account whose place
    /// another takes. Of the same account, or an unknown one, the new grant is all that can be told from the old.
    pub fn let_go_by(&self, change: &Change) -> Option<Farewell> {
        match change {
            Change::KeyStored(_) => self.farewell.clone(),
            Change::Connected { identity: Some(new), .. }
                if self.identity.as_ref().is_some_and(|old| old.id != new.id) =>
            {
                self.farewell.clone().or_else(|| self.to_revoke())
            }
            Change::Connected { .. } => self.farewell.clone(),
            Change::Kept(_, connected) => self.let_go_by(connected),
            _ => None,
        }
    }

    /// Whether its grant may be in use, now or once somebody has spoken for it.
    pub fn is_alive(&self) -> bool {
        self.grant.is_some() && self.farewell.is_none() && self.invalid.is_none()
    }
}

/// What of the scopes that were asked for may hide behind other names: all that isn't named where something is named that
/// wasn't asked for, and `offline_access`, which Microsoft never names. A provider that names a part of what was asked for has
/// granted that part.
fn spelled_otherwise(named: &Option<Vec<String>>, asked: Vec<String>) -> Vec<String> {
    let others = named.iter().flatten().any(|scope| !asked.contains(scope));
    let mut hidden = unnamed(named, asked);
    hidden.retain(|scope| others || scope == "offline_access");
    hidden
}

/// What of these scopes is not among the named ones. Nothing is where none are named.
fn unnamed(named: &Option<Vec<String>>, mut scopes: Vec<String>) -> Vec<String> {
    let Some(named) = named else { return Vec::new() };
    scopes.retain(|scope| !named.contains(scope));
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

fn stored(
    grant: oauth::Grant,
    old_refresh: Option<SecretString>,
    scopes: Option<Vec<String>>,
    now: Timestamp,
    version: u64,
) -> StoredGrant {
    StoredGrant {
        expires_at: grant.expires_in.map(|life| now.plus(life)),
        access_token: grant.access_token,
        refresh_token: grant.refresh_token.or(old_refresh),
        issued_at: Some(now),
        scopes,
        unnamed: Vec::new(),
        client: None,
        generation: version,
        kept_from: None,
        asked: None,
        contested: false,
    }
}
