//! What a record is for: one of five things, and which changes each of them allows. Pure. What a change does is `change`'s.

use serde::{Deserialize, Serialize};

use super::{
    change::Change,
    form::{Record, StoredGrant},
};
use crate::{
    clock::{Timestamp, millis},
    connection::model::Unavailable,
    id::Account,
};

/// What a record is for.
#[derive(Debug, Clone)]
pub enum State {
    /// A connection, or the place of one: it may hold nothing yet, or no longer.
    Connected,
    /// A connection on its way to another label: it still serves calls, and is not renewed.
    Moving(Move),
    /// No connection yet: an empty place, kept for what the move of this number brings.
    Reserved(u64),
    /// No connection yet: its grant waits for somebody's word.
    Unconfirmed(Wait),
    /// No connection any more: unusable, in no list, kept until the provider has revoked this.
    PendingRevocation(Box<PendingRevocation>),
}

/// A move to another label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The label.
    pub to: Account,
    /// Tells this move from others: the version that began it.
    pub id: u64,
}

/// What an unconfirmed grant waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Whether lists show it.
    pub shown: bool,
    /// When it is given up.
    #[serde(with = "millis")]
    pub until: Option<Timestamp>,
}

/// Tokens still to be revoked at the provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PendingRevocation {
    /// The grant that was given up.
    pub grant: StoredGrant,
    /// How often the provider has been asked.
    pub attempts: u32,
    /// The account at the provider that granted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// A change that the record's state doesn't allow: a defect in this program. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record that is {state} can't be changed by {change}")]
pub struct IllegalTransition {
    state: &'static str,
    change: &'static str,
}

impl From<IllegalTransition> for Unavailable {
    fn from(error: IllegalTransition) -> Self {
        tracing::error!(%error, "a change was not written");
        Self::Busy
    }
}

impl State {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Moving(_) => "moving",
            Self::Reserved(_) => "reserved",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::PendingRevocation(_) => "pending revocation",
        }
    }

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
