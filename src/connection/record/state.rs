//! What a record is for: one of five things. Pure. Which changes each of them allows, and what those do, is `change`'s.

use serde::{Deserialize, Serialize};

use super::grant::StoredGrant;
use crate::{
    clock::{Timestamp, millis},
    connection::model::Unavailable,
    id::Account,
    store::Version,
};

/// What a record is for.
#[derive(Debug, Clone)]
pub enum State {
    /// A connection, or the place of one: it may hold nothing yet, or no longer.
    Connected,
    /// A connection on its way to another label: it still serves calls, and is not renewed.
    Moving(Move),
    /// No connection yet: an empty place, kept for what the move of this number brings.
    Reserved(Version),
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
    pub id: Version,
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
    pub(super) state: &'static str,
    pub(super) change: &'static str,
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
}
