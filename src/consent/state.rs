//! What waits for a browser to come back from the provider. The `state` parameter is a random handle; the store knows its
//! hash, and keeps what belongs to it sealed: the PKCE verifier, the browser's hash, the service and the ticket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Beginning, Browser, Fingerprint, Plan, STATE_TTL, Ticket, digest, token};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    id::ServiceName,
    oauth::Verifier,
    secret::{self, SecretString},
    store::{Claim, Store},
    vault::{Purpose, Root},
};

/// How many states of one ticket are good at the same time: a person who goes back and presses the button again needs a few,
/// a program that does nothing else must not fill the store.
const STATES_MAX: usize = 5;
/// How often two requests with the same ticket may get in each other's way.
const TRIES: usize = 8;
/// How the list of a ticket's states begins while an attempt is under way …
const OPEN: &str = "open";
/// … and once one has come to its end; …
const OVER: &str = "over";
/// … and what is before the time at which it was begun.
const SINCE: char = '@';

/// The sealed record behind a `state`.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "b")]
    browser: String,
    /// The service whose callback it is for.
    #[serde(rename = "s")]
    pub service: ServiceName,
    #[serde(rename = "v", serialize_with = "secret::reveal")]
    verifier: SecretString,
    /// The ticket, as the link had it: a person who comes back empty-handed may try again with it.
    #[serde(rename = "t")]
    pub ticket: String,
    /// What was asked for.
    #[serde(rename = "x")]
    pub scopes: Vec<String>,
    /// Where the browser goes afterwards.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    #[serde(rename = "e", with = "crate::clock::seconds")]
    expires: Timestamp,
    /// How the attempt began, for whoever counts.
    #[serde(rename = "a", default)]
    pub beginning: Beginning,
}

/// The name under which the store keeps a state.
pub(super) struct Handle(String);

impl Handle {
    /// Of what came back as `state`.
    pub fn of(state: &str) -> Self {
        Self(format!("state.{}", digest("state", state)))
    }
}

impl State {
    pub fn new(
        browser: &Browser,
        service: ServiceName,
        verifier: &Verifier,
        plan: Plan,
        asked: Fingerprint,
        now: Timestamp,
    ) -> Self {
        Self {
            browser: browser.hash(),
            service,
            verifier: verifier.secret().clone(),
            ticket: plan.text,
            scopes: plan.scopes,
            return_to: plan.return_to.map(|url| url.to_string()),
            expires: now.plus(STATE_TTL),
            beginning: Beginning { browser: plan.family, since: None, asked },
        }
    }

    /// Whether this browser left for the provider with it.
    pub fn belongs_to(&self, browser: Option<&Browser>) -> bool {
        browser.is_some_and(|browser| browser.is(&self.browser))
    }

    /// When it was made.
    pub fn begun(&self) -> Timestamp {
        self.expires.before(STATE_TTL)
    }

    /// The PKCE verifier (RFC 7636 §4.1).
    pub fn verifier(&self) -> Option<Verifier> {
        Verifier::from_secret(self.verifier.clone())
    }
}

/// The name under which the store lists a ticket's states.
fn list_of(ticket: &Ticket) -> String {
    format!("states.{}", digest("states", &ticket.id))
}

/// The states that are kept, and which of them a ticket has.
pub(super) struct States {
    store: Arc<dyn Store>,
}

impl States {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Keeps a state, which learns when the person was first sent off with this ticket; what comes back is the `state` parameter,
    /// and whether an attempt begins with it.
    pub(super) async fn keep(
        &self,
        root: &Root,
        ticket: &Ticket,
        state: &mut State,
        now: Timestamp,
    ) -> Result<(String, bool), Unavailable> {
        let value = token::<32>()?;
        let handle = Handle::of(&value);
        // Listed before it is there: what is in the store is never missing in the list.
        let (begins, since) = self.enlist(ticket, &handle, now).await?;
        state.beginning.since = Some(since);
        let plaintext =
            zeroize::Zeroizing::new(serde_json::to_vec(state).expect("texts, numbers and lists of texts are JSON"));
        let sealed = root.seal(Purpose::State, &plaintext, &[handle.0.as_bytes()])?;
        match self.store.put_once(&handle.0, sealed.as_bytes(), Some(STATE_TTL)).await? {
            Claim::Mine => Ok((value, begins)),
            // 256 random bits that were there before: no random source behaves so.
            Claim::Theirs(_) => Err(Unavailable::Keys),
        }
    }

    /// Puts a state on its ticket's list, and the oldest out of the store where there are too many. Whether no other attempt
    /// is under way, and when the list was begun.
    async fn enlist(&self, ticket: &Ticket, handle: &Handle, now: Timestamp) -> Result<(bool, Timestamp), Unavailable> {
        let id = list_of(ticket);
        for _ in 0..TRIES {
            let Some(old) = self.store.peek(&id).await? else {
                let first = format!("{OPEN}{SINCE}{} {}", now.millis(), handle.0);
                match self.store.put_once(&id, first.as_bytes(), Some(STATE_TTL)).await? {
                    Claim::Mine => return Ok((true, now)),
                    Claim::Theirs(_) => continue,
                }
            };
            let text = String::from_utf8_lossy(&old);
            let (head, names) = text.split_once(' ').unwrap_or((OVER, ""));
            let (under_way, since) = head.split_once(SINCE).unwrap_or((head, ""));
            let since = since.parse().map_or(now, Timestamp::from_millis);
            let mut names: Vec<&str> = names.split(' ').filter(|name| !name.is_empty()).collect();
            names.push(&handle.0);
            let newest = names.split_off(names.len().saturating_sub(STATES_MAX));
            let new = format!("{OPEN}{SINCE}{} {}", since.millis(), newest.join(" "));
            if self.store.replace(&id, &old, new.as_bytes(), Some(STATE_TTL)).await? {
                for name in names {
                    self.store.take(name).await?;
                }
                return Ok((under_way != OPEN, since));
            }
        }
        Err(Unavailable::Busy)
    }

    /// An attempt with this ticket has come to its end; the next one is another. Best effort: it is for counting only.
    pub(super) async fn attempt_over(&self, ticket: &Ticket) {
        let id = list_of(ticket);
        let Ok(Some(old)) = self.store.peek(&id).await else { return };
        if let Some(rest) = old.strip_prefix(OPEN.as_bytes()) {
            let new = [OVER.as_bytes(), rest].concat();
            if let Err(error) = self.store.replace(&id, &old, &new, None).await {
                tracing::debug!(%error, "the end of an attempt could not be noted");
            }
        }
    }

    /// Looks at a state without spending it.
    pub(super) async fn look(
        &self,
        root: &Root,
        handle: &Handle,
        now: Timestamp,
    ) -> Result<Option<State>, Unavailable> {
        let Some(sealed) = self.store.peek(&handle.0).await? else { return Ok(None) };
        let state = std::str::from_utf8(&sealed)
            .ok()
            .and_then(|text| root.open(Purpose::State, text, &[handle.0.as_bytes()]).ok())
            .and_then(|plaintext| serde_json::from_slice::<State>(plaintext.expose()).ok());
        Ok(state.filter(|state| !state.expires.reached(now)))
    }

    /// Spends a state: of several that try, one hears `true`.
    pub(super) async fn spend_state(&self, handle: &Handle) -> Result<bool, Unavailable> {
        Ok(self.store.take(&handle.0).await?.is_some())
    }
}
