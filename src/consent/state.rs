//! What waits for a browser to come back from the provider. The `state` parameter is a random handle; the store knows its
//! hash, and keeps what belongs to it sealed: the PKCE verifier, the browser's hash, the service and the ticket.

use serde::{Deserialize, Serialize};

use super::{Browser, Consent, Plan, STATE_TTL, digest, token};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    id::ServiceName,
    oauth::Verifier,
    store::Claim,
    vault::{Purpose, Root},
};

/// The sealed record behind a `state`.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    #[serde(rename = "b")]
    browser: String,
    /// The service whose callback it is for.
    #[serde(rename = "s")]
    pub service: ServiceName,
    #[serde(rename = "v")]
    verifier: String,
    /// The ticket, as the link had it: a person who comes back empty-handed may try again with it.
    #[serde(rename = "t")]
    pub ticket: String,
    /// What was asked for.
    #[serde(rename = "x")]
    pub scopes: Vec<String>,
    /// Where the browser goes afterwards.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    #[serde(rename = "e")]
    expires: u64,
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
    pub fn new(browser: &Browser, service: ServiceName, verifier: &Verifier, plan: Plan, now: Timestamp) -> Self {
        Self {
            browser: browser.hash(),
            service,
            verifier: verifier.secret().expose().clone(),
            ticket: plan.text,
            scopes: plan.scopes,
            return_to: plan.return_to.map(|url| url.to_string()),
            expires: now.plus(STATE_TTL).seconds(),
        }
    }

    /// Whether this browser left for the provider with it.
    pub fn belongs_to(&self, browser: Option<&Browser>) -> bool {
        browser.is_some_and(|browser| browser.is(&self.browser))
    }

    /// When it was made.
    pub fn begun(&self) -> Timestamp {
        Timestamp::from_seconds(self.expires).before(STATE_TTL)
    }

    /// The PKCE verifier (RFC 7636 §4.1).
    pub fn verifier(&self) -> Option<Verifier> {
        Verifier::from_secret(self.verifier.as_str().into())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.verifier);
    }
}

impl Consent {
    /// Keeps a state; what comes back is the `state` parameter.
    pub(super) async fn keep(&self, root: &Root, state: &State) -> Result<String, Unavailable> {
        let value = token::<32>()?;
        let handle = Handle::of(&value);
        let plaintext =
            zeroize::Zeroizing::new(serde_json::to_vec(state).expect("texts, numbers and lists of texts are JSON"));
        let sealed = root.seal(Purpose::State, &plaintext, &[handle.0.as_bytes()])?;
        match self.store.put_once(&handle.0, sealed.as_bytes(), Some(STATE_TTL)).await? {
            Claim::Mine => Ok(value),
            // 256 random bits that were there before: no random source behaves so.
            Claim::Theirs(_) => Err(Unavailable::Keys),
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
        Ok(state.filter(|state| !Timestamp::from_seconds(state.expires).reached(now)))
    }

    /// Spends a state: of several that try, one hears `true`.
    pub(super) async fn spend_state(&self, handle: &Handle) -> Result<bool, Unavailable> {
        Ok(self.store.take(&handle.0).await?.is_some())
    }
}
