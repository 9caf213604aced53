//! Which browser may go on. A browser is known by a random cookie; the store and the state know only its hash. The first
//! browser that goes on with a ticket owns it, may try again until a grant is stored, and nobody may after that.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::{BeginError, STATE_TTL, Ticket, digest, token};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    secret::SecretString,
    store::{Claim, Store},
    vault::Root,
};

/// A browser, by the cookie that it holds.
#[derive(Debug, Clone)]
pub struct Browser(SecretString);

/// What stands in the store once a ticket's grant is stored. No hash looks like it.
const SPENT: &[u8] = b"spent";

impl Browser {
    /// A browser that was never seen.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn new() -> Result<Self, Unavailable> {
        Ok(Self(token::<32>()?.into()))
    }

    /// The browser that sent this cookie; `None` where we never gave it out like this.
    pub fn from_cookie(value: &str) -> Option<Self> {
        (URL_SAFE_NO_PAD.decode(value).ok()?.len() == 32).then(|| Self(value.into()))
    }

    /// The cookie's value.
    pub fn cookie(&self) -> &str {
        self.0.expose()
    }

    /// What the store may know of it.
    pub(super) fn hash(&self) -> String {
        digest("browser", self.0.expose())
    }

    /// Whether this is the browser with that hash, in time that tells nothing.
    pub(super) fn is(&self, hash: &str) -> bool {
        self.hash().as_bytes().ct_eq(hash.as_bytes()).into()
    }

    /// A value for a form that only this browser's pages hold.
    pub fn form_token(&self, root: &Root) -> String {
        URL_SAFE_NO_PAD.encode(root.blind("form", &[self.0.expose().as_bytes()]))
    }

    /// Whether a form came from this browser's own page.
    pub fn sent_form(&self, root: &Root, token: &str) -> bool {
        self.form_token(root).as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// Which browsers use which tickets.
pub(super) struct Uses {
    store: Arc<dyn Store>,
}

impl Uses {
    /// As the store has it.
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Makes the ticket this browser's, or sees that it is.
    pub(super) async fn bind(&self, ticket: &Ticket, browser: &Browser, now: Timestamp) -> Result<(), BeginError> {
        let hash = browser.hash();
        match self.store.put_once(&use_of(ticket), hash.as_bytes(), Some(memory(ticket, now))).await {
            Ok(Claim::Mine) => Ok(()),
            Ok(Claim::Theirs(value)) if value == SPENT => Err(BeginError::Used),
            Ok(Claim::Theirs(value)) if bool::from(value.ct_eq(hash.as_bytes())) => Ok(()),
            Ok(Claim::Theirs(_)) => Err(BeginError::OtherBrowser),
            Err(error) => Err(BeginError::Unavailable(error.into())),
        }
    }

    /// What has become of a ticket, as seen from this browser. Changes nothing.
    pub(super) async fn usable(&self, ticket: &Ticket, browser: Option<&Browser>) -> Result<(), BeginError> {
        match self.store.peek(&use_of(ticket)).await {
            Ok(None) => Ok(()),
            Ok(Some(value)) if value == SPENT => Err(BeginError::Used),
            Ok(Some(value)) if browser.is_some_and(|b| value.ct_eq(b.hash().as_bytes()).into()) => Ok(()),
            Ok(Some(_)) => Err(BeginError::OtherBrowser),
            Err(error) => Err(BeginError::Unavailable(error.into())),
        }
    }

    /// Spends the ticket: a grant is stored.
    pub(super) async fn spend(&self, ticket: &Ticket, browser: &Browser) {
        let hash = browser.hash();
        // Where this fails the ticket stays with the browser that just connected: nobody else gains by that.
        if let Err(error) = self.store.replace(&use_of(ticket), hash.as_bytes(), SPENT, None).await {
            tracing::warn!(%error, "a used connect link could not be marked as used");
        }
    }
}

fn use_of(ticket: &Ticket) -> String {
    format!("ticket.{}", digest("ticket", &ticket.id))
}

/// A ticket's use is remembered for as long as any of its flows can come back.
fn memory(ticket: &Ticket, now: Timestamp) -> Duration {
    ticket.expires.until(now) + STATE_TTL + Duration::from_secs(60)
}
