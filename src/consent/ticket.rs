//! Tickets: what a connect link carries. Sealed under a key of their own purpose and bound to the service in the link's
//! path, so that a ticket can't be read, changed, or used elsewhere. Opening one spends nothing; `binding` does that.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    id::{Account, CallerId, ServiceName},
    vault::{self, Purpose, Root},
};

/// What was asked for, by whom, for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// For whom.
    #[serde(rename = "c")]
    pub caller: CallerId,
    /// Their name or address, as the caller's JWT had it.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The application that asks, where it is not the configured one.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The service that owns the connection.
    #[serde(rename = "s")]
    pub service: ServiceName,
    /// The connection's label.
    #[serde(rename = "a")]
    pub account: Account,
    /// Scopes on top of the service's own.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Where the browser goes afterwards; checked again when it does.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    /// When it was made.
    #[serde(rename = "i", with = "crate::clock::seconds")]
    pub issued: Timestamp,
    /// When it expires.
    #[serde(rename = "e", with = "crate::clock::seconds")]
    pub expires: Timestamp,
    /// When the session ends that asked for it, where that session reaches one connection only:
    /// what comes of the ticket gives no longer one, or such a session could renew itself for ever.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none", with = "crate::clock::seconds::optional")]
    pub session_ends: Option<Timestamp>,
    /// Tells it from every other ticket.
    #[serde(rename = "j")]
    pub id: String,
}

/// Why a ticket is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Changed, cut off, or of another purpose, service or installation.
    #[error("the link is not valid")]
    Invalid,
    /// It was good once.
    #[error("the link has expired")]
    Expired,
}

impl Ticket {
    /// The ticket as a link carries it.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub(super) fn seal(&self, root: &Root) -> Result<String, vault::Error> {
        let plaintext = serde_json::to_vec(self).expect("texts, numbers and lists of texts are JSON");
        root.seal(Purpose::Ticket, &plaintext, &[self.service.as_str().as_bytes()])
    }

    /// Opens a link's ticket, also one that has expired.
    pub(super) fn open_ever(root: &Root, text: &str, service: &ServiceName) -> Result<Self, TicketError> {
        let plaintext =
            root.open(Purpose::Ticket, text, &[service.as_str().as_bytes()]).map_err(|_| TicketError::Invalid)?;
        let ticket: Self = serde_json::from_slice(plaintext.expose()).map_err(|_| TicketError::Invalid)?;
        if ticket.service != *service {
            return Err(TicketError::Invalid);
        }
        Ok(ticket)
    }

    /// Opens a link's ticket for the service in the link's path.
    ///
    /// # Errors
    /// Where it isn't one of ours for this service, or has expired.
    pub(super) fn open(root: &Root, text: &str, service: &ServiceName, now: Timestamp) -> Result<Self, TicketError> {
        let ticket = Self::open_ever(root, text, service)?;
        if ticket.has_expired(now) {
            return Err(TicketError::Expired);
        }
        Ok(ticket)
    }

    /// Whether it has expired.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.reached(now)
    }

    /// Whom the pages call the caller: name or address, else the subject.
    pub fn who(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.caller.subject.as_str())
    }
}
