//! How a record changes: one function of a record and what happened, defined where the record's state allows the change. Pure:
//! no I/O, no clock of its own. Whoever wants to know what a refusal, a refresh or a new consent does to a connection reads
//! `apply`.

use crate::store::Version;
use crate::{clock::Timestamp, connection::model::Reason, id::Account, oauth, secret::SecretString};

use super::{
    form::{Intent, Record, RefreshLife, StoredGrant, StoredKey},
    state::{IllegalTransition, Move, PendingRevocation, State, Wait},
};

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
    RefreshStarted(Intent),
    /// The provider renewed the grant.
    Refreshed {
        /// The new grant.
        grant: oauth::Grant,
        /// The version of the record that told of its being asked for.
        asked: Version,
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
    RevocationFailed,
    /// The grant that came in waits for somebody's word.
    PutAside(Wait),
    /// It is to get another label.
    Moving(Account),
    /// It keeps its label after all.
    Stayed,
    /// It stands under its new label.
    Arrived,
}

impl Change {
    /// Its name in errors.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "a consent",
            Self::Kept(..) => "a confirmed consent",
            Self::RefreshStarted(_) => "the start of a refresh",
            Self::Refreshed { .. } => "a refresh",
            Self::RefreshUnspent | Self::RefreshUnknown => "a failed refresh",
            Self::Invalidated(_) => "the loss of its grant",
            Self::KeyStored(_) => "an API key",
            Self::KeyRefused => "the refusal of its API key",
            Self::KeyRemoved => "the removal of its API key",
            Self::Disconnected => "a disconnect",
            Self::RevocationFailed => "a failed revocation",
            Self::PutAside(_) => "a wait for confirmation",
            Self::Moving(_) => "the start of a move",
            Self::Stayed => "the end of a move that failed",
            Self::Arrived => "the end of a move",
        }
    }

    /// Whether it can be the first of a record, and replace one that can't be read.
    pub const fn begins(&self) -> bool {
        matches!(self, Self::Connected { .. } | Self::Kept(..) | Self::KeyStored(_))
    }
}

impl Record {
    /// The scopes that a consent adds to a connection that works, where both are named.
    pub fn scopes_added_by(&self, change: &Change) -> Vec<String> {
        let (grant, requested) = match change {
            Change::Connected { grant, requested, .. } => (grant, requested),
            Change::Kept(_, inner) => return self.scopes_added_by(inner),
            _ => return Vec::new(),
        };
        let before = self.grant.as_ref().filter(|_| self.stands() && self.invalid.is_none());
        let Some(before) = before.and_then(|before| before.scopes.as_ref()) else { return Vec::new() };
        let after = grant.scopes.as_ref().unwrap_or(requested);
        let is_wider = before.iter().all(|scope| after.contains(scope));
        let added = after.iter().filter(|scope| is_wider && !before.contains(scope));
        added.cloned().collect()
    }

    /// The record after `change`, at `now`, to be stored as `version`.
    ///
    /// # Errors
    /// Where the record's state doesn't allow it.
    pub fn apply(mut self, change: Change, now: Timestamp, version: Version) -> Result<Self, IllegalTransition> {
        self.state.allows(&change)?;
        match change {
            Change::Connected { grant, identity, requested, client } => {
                self.origin = None;
                let scopes = grant.scopes.clone().or_else(|| (!requested.is_empty()).then(|| requested.clone()));
                let unnamed = spelled_otherwise(&scopes, requested);
                let kept = self.still_good(&grant, identity.as_ref(), client.as_deref());
                let intent = self.intent.take().filter(|_| kept.is_some());
                let told = grant.refresh_expires_in;
                let refresh_life = match (&grant.refresh_token, &kept, &self.grant) {
                    (None, None, _) => RefreshLife::default(),
                    (None, Some(_), Some(old)) => old.refresh_life.kept(told, now),
                    _ => RefreshLife::begun(told, now),
                };
                let kept_from = self.grant.as_ref().filter(|_| kept.is_some()).map(StoredGrant::renewed_by);
                let stored = stored(grant, kept, scopes, now, version);
                self.grant = Some(StoredGrant { unnamed, client, kept_from, refresh_life, ..stored });
                // A grant whose owner isn't known never wears the name of the one before it.
                self.identity = identity.map(|new| new.named_as(self.identity.as_ref()));
                self.connected_at = Some(now);
                self.consent = Some(version);
                self.refreshed_at = None;
                self.restore();
                // A kept refresh token may be spent as before.
                self.intent = intent.map(|intent| Intent { spends: version, ..intent });
                self.state = State::Connected;
            }
            Change::Kept(origin, connected) => {
                self = self.apply(*connected, now, version)?;
                self.origin = Some(origin);
            }
            Change::RefreshStarted(intent) => self.intent = Some(intent),
            Change::Refreshed { grant, asked, contested } => {
                // RFC 6749 §6: an answer without a refresh token leaves the old one in force, and one without
                // scopes leaves them as they were.
                let refresh_life = life_after(&grant, self.grant.as_ref(), now);
                let (old_refresh, old_scopes, hidden, client) = match self.grant.take() {
                    Some(old) => (old.refresh_token, old.scopes, old.unnamed, old.client),
                    None => (None, None, Vec::new(), None),
                };
                let scopes = grant.scopes.clone().or(old_scopes);
                let unnamed = unnamed(&scopes, hidden);
                let renewed = stored(grant, old_refresh, scopes, now, version);
                let asked = Some(asked);
                self.grant = Some(StoredGrant { asked, contested, unnamed, client, refresh_life, ..renewed });
                self.refreshed_at = Some(now);
                self.restore();
            }
            Change::RefreshUnspent => self.intent = None,
            Change::RefreshUnknown => {
                if let Some(intent) = &mut self.intent {
                    intent.settled = true;
                }
            }
            Change::Invalidated(reason) => {
                self.invalid = Some(reason);
                self.invalidated_at = Some(now);
                self.intent = None;
            }
            Change::KeyStored(key) => {
                self.api_key = Some(StoredKey { key, stored_at: Some(now), refused: false, token_version: version });
                self.connected_at = self.connected_at.or(Some(now));
                if self.grant.is_none() {
                    self.restore();
                }
                self.state = State::Connected;
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
                let pending = self.to_revoke().map(Box::new);
                let state = pending.map_or(State::Connected, State::PendingRevocation);
                // Which move brought it here, and which consent was spoken for, others may still ask.
                let Self { id, moved_by, moved_from, origin, .. } = self;
                self = Self { moved_by, moved_from, origin, ..Self::only(id, state) };
            }
            Change::RevocationFailed => {
                if let State::PendingRevocation(pending) = &mut self.state {
                    pending.attempts = pending.attempts.saturating_add(1);
                }
            }
            Change::PutAside(wait) => self.state = State::Unconfirmed(wait),
            Change::Moving(to) => self.state = State::Moving(Move { to, id: version }),
            Change::Stayed => self.state = State::Connected,
            Change::Arrived => self.arrive(version),
        }
        Ok(self)
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
    fn arrive(&mut self, version: Version) {
        let State::Moving(Move { to, id }) = std::mem::replace(&mut self.state, State::Connected) else { return };
        self.moved_from = Some(std::mem::replace(&mut self.id.account, to));
        self.moved_by = Some(id);
        if let Some(grant) = &mut self.grant {
            grant.token_version = version;
        }
        if let Some(key) = &mut self.api_key {
            key.token_version = version;
        }
    }

    fn restore(&mut self) {
        self.invalid = None;
        self.invalidated_at = None;
        self.intent = None;
    }
}

impl Record {
    /// What parting with its grant takes; `None` where there is none.
    pub fn to_revoke(&self) -> Option<PendingRevocation> {
        let identity = self.identity.as_ref().map(|identity| identity.id.clone());
        Some(PendingRevocation { grant: self.grant.clone()?, attempts: 0, identity })
    }

    /// What would be forgotten by `change`: a revocation that is still to be done, and the grant of an account whose place
    /// another takes. Of the same account, or an unknown one, the new grant is all that can be told from the old.
    pub fn let_go_by(&self, change: &Change) -> Option<PendingRevocation> {
        let pending = || self.pending_revocation().cloned();
        match change {
            Change::KeyStored(_) => pending(),
            Change::Connected { identity: Some(new), .. }
                if self.identity.as_ref().is_some_and(|old| old.id != new.id) =>
            {
                pending().or_else(|| self.to_revoke())
            }
            Change::Connected { .. } => pending(),
            Change::Kept(_, connected) => self.let_go_by(connected),
            _ => None,
        }
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

/// What is known of the refresh token's life once `grant` has renewed the old one. The same token sent again is no other one.
fn life_after(grant: &oauth::Grant, old: Option<&StoredGrant>, now: Timestamp) -> RefreshLife {
    let Some(old) = old else { return RefreshLife::begun(grant.refresh_expires_in, now) };
    let before = old.refresh_token.as_ref().map(SecretString::expose);
    let is_new = grant.refresh_token.as_ref().is_some_and(|new| Some(new.expose()) != before);
    old.refresh_life.renewed(is_new, grant.refresh_expires_in, old.issued_at, now)
}

fn stored(
    grant: oauth::Grant,
    old_refresh: Option<SecretString>,
    scopes: Option<Vec<String>>,
    now: Timestamp,
    version: Version,
) -> StoredGrant {
    StoredGrant {
        expires_at: grant.expires_in.map(|life| now.plus(life)),
        access_token: grant.access_token,
        refresh_token: grant.refresh_token.or(old_refresh),
        issued_at: Some(now),
        scopes,
        unnamed: Vec::new(),
        client: None,
        token_version: version,
        kept_from: None,
        asked: None,
        refresh_life: RefreshLife::default(),
        contested: false,
    }
}

impl State {
    /// Whether this state allows the change.
    ///
    /// # Errors
    /// Where it doesn't.
    pub(super) fn allows(&self, change: &Change) -> Result<(), IllegalTransition> {
        use Change::{
            Arrived, Connected, Disconnected, Invalidated, Kept, KeyRefused, KeyRemoved, KeyStored, Moving, PutAside,
            RefreshStarted, RefreshUnknown, RefreshUnspent, Refreshed, RevocationFailed, Stayed,
        };
        let allowed = match change {
            Connected { .. } | Kept(..) | KeyStored(_) => {
                matches!(self, Self::Connected | Self::Reserved(_) | Self::PendingRevocation(_))
            }
            RefreshStarted(_) | Refreshed { .. } | RefreshUnspent | RefreshUnknown | Moving(_) | PutAside(_) => {
                matches!(self, Self::Connected)
            }
            Invalidated(_) | KeyRefused | KeyRemoved => matches!(self, Self::Connected | Self::Moving(_)),
            Disconnected => !matches!(self, Self::PendingRevocation(_)),
            RevocationFailed => matches!(self, Self::PendingRevocation(_)),
            Stayed | Arrived => matches!(self, Self::Moving(_)),
        };
        let illegal = IllegalTransition { state: self.name(), change: change.name() };
        if allowed { Ok(()) } else { Err(illegal) }
    }
}
