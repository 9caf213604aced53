//! Grants that wait: for the application to confirm them (`binding: confirm`), or for the person to say that another
//! account may take the place of the one that was there. They lie sealed under a one-time code, are no connection yet, and
//! go after ten minutes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Beginning, Browser, Consent, STATE_TTL, digest, token};
use crate::{
    clock::Timestamp,
    connection::{Connection, Unavailable, UnconfirmedGrant},
    events::Cause,
    id::{Account, ConnectionId},
    oauth::{Grant, Identity},
    secret::{self, SecretString},
    store::Claim,
    vault::Purpose,
};

/// A grant and all that is needed to store it. Plaintext; it leaves this process sealed only.
#[derive(Serialize, Deserialize)]
pub(super) struct Held {
    /// What it is to become.
    pub id: ConnectionId,
    /// The label that was asked for.
    pub asked: Account,
    /// Who granted it.
    pub identity: Option<Identity>,
    /// What was asked for.
    pub requested: Vec<String>,
    /// The caller's name or address, where known.
    pub name: Option<String>,
    /// The application, where it is not the configured one.
    pub application: Option<String>,
    /// The ticket that led to it, as the link had it.
    pub ticket: String,
    /// Where the browser goes afterwards.
    pub return_to: Option<String>,
    /// For what it waits.
    pub waits_for: WaitsFor,
    /// How the attempt began, for whoever counts.
    #[serde(default)]
    pub beginning: Beginning,
    browser: String,
    #[serde(serialize_with = "secret::reveal")]
    access_token: SecretString,
    #[serde(serialize_with = "secret::reveal")]
    refresh_token: Option<SecretString>,
    expires_in_ms: Option<u64>,
    scopes: Option<Vec<String>>,
    refresh_expires_in_ms: Option<u64>,
    id_token_subject: Option<String>,
    received_ms: u64,
}

/// For what a held grant waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WaitsFor {
    /// The application's word, with the caller's JWT.
    Application,
    /// The person's, in the same browser.
    Person,
}

/// Where a grant waits.
pub(super) struct Waiting {
    /// Its one-time code.
    pub code: String,
    /// What it was to become when it was put there.
    pub id: ConnectionId,
}

/// What belongs to a grant beside its tokens.
pub(super) struct Around {
    pub id: ConnectionId,
    pub identity: Option<Identity>,
    pub requested: Vec<String>,
    pub name: Option<String>,
    pub application: Option<String>,
    pub ticket: String,
    pub return_to: Option<String>,
    pub beginning: Beginning,
}

impl Held {
    pub fn new(around: Around, grant: &Grant, browser: &Browser, now: Timestamp) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Around { id, identity, requested, name, application, ticket, return_to, beginning } = around;
        Self {
            asked: id.account.clone(),
            id,
            identity,
            requested,
            name,
            application,
            ticket,
            return_to,
            waits_for: WaitsFor::Person,
            beginning,
            browser: browser.hash(),
            access_token: grant.access_token.clone(),
            refresh_token: grant.refresh_token.clone(),
            expires_in_ms: grant.expires_in.map(millis),
            scopes: grant.scopes.clone(),
            refresh_expires_in_ms: grant.refresh_expires_in.map(millis),
            id_token_subject: grant.id_token_subject.clone(),
            received_ms: now.millis(),
        }
    }

    /// The grant, its times counted from now.
    pub fn grant(&self, now: Timestamp) -> Grant {
        let waited = now.since(Timestamp::from_millis(self.received_ms));
        let left = |ms: u64| Duration::from_millis(ms).saturating_sub(waited);
        Grant {
            access_token: self.access_token.clone(),
            refresh_token: self.refresh_token.clone(),
            expires_in: self.expires_in_ms.map(left),
            scopes: self.scopes.clone(),
            refresh_expires_in: self.refresh_expires_in_ms.map(left),
            id_token_subject: self.id_token_subject.clone(),
        }
    }

    /// Tells it from all other grants, under whichever code it waits.
    fn origin(&self) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.received_ms.to_be_bytes());
        hash.update(self.ticket.as_bytes());
        hash.update(self.access_token.expose().as_bytes());
        u64::from_be_bytes(*hash.finalize().first_chunk().expect("SHA-256 has 32 bytes"))
    }

    /// Whether this browser brought it.
    pub fn is_from(&self, browser: &Browser) -> bool {
        browser.hash().as_bytes().ct_eq(self.browser.as_bytes()).into()
    }
}

impl Consent {
    /// Puts a grant by; what comes back is its code.
    pub(super) async fn hold(&self, held: &Held) -> Result<String, Unavailable> {
        let root = self.roots.get().await?;
        let code = token::<32>()?;
        let name = name_of(&code);
        let plaintext = zeroize::Zeroizing::new(
            serde_json::to_vec(held).expect("texts, numbers, lists and structures of them are JSON"),
        );
        let sealed = root.seal(Purpose::State, &plaintext, &[name.as_bytes()])?;
        let received = Timestamp::from_millis(held.received_ms);
        // Should nobody speak for it in time, this is what tells the healers to revoke it.
        let waiting = UnconfirmedGrant {
            id: &held.id,
            name: &name,
            grant: held.grant(received),
            identity: held.identity.clone(),
            requested: &held.requested,
            shown: held.waits_for == WaitsFor::Application,
            until: received.plus(STATE_TTL),
        };
        self.connections.unconfirmed.put(waiting).await?;
        match self.store.put_once(&name, sealed.as_bytes(), Some(STATE_TTL)).await? {
            Claim::Mine => Ok(code),
            Claim::Theirs(_) => Err(Unavailable::Keys),
        }
    }

    /// Looks at what lies under a code.
    pub(super) async fn look_at_held(&self, code: &str, now: Timestamp) -> Result<Option<Held>, Unavailable> {
        let root = self.roots.get().await?;
        let name = name_of(code);
        let Some(sealed) = self.store.peek(&name).await? else { return Ok(None) };
        let held = std::str::from_utf8(&sealed)
            .ok()
            .and_then(|text| root.open(Purpose::State, text, &[name.as_bytes()]).ok())
            .and_then(|plaintext| serde_json::from_slice::<Held>(plaintext.expose()).ok());
        Ok(held.filter(|held| now.since(Timestamp::from_millis(held.received_ms)) < STATE_TTL))
    }

    /// Lets go of what lies under a code, once it is kept elsewhere. Best effort: what is left goes after ten minutes, and
    /// is not revoked, because it is in use.
    pub(super) async fn release(&self, waiting: &Waiting) {
        let name = name_of(&waiting.code);
        let gone = async {
            self.connections.unconfirmed.take(&waiting.id, &name).await?;
            self.store.take(&name).await?;
            Ok::<(), Unavailable>(())
        };
        if let Err(error) = gone.await {
            tracing::debug!(%error, "a grant that is kept is left where it waited, too");
        }
    }

    /// Whether it still waits: nobody has given it up, and nobody else has said what becomes of it.
    pub(super) async fn still_waits(&self, waiting: &Waiting) -> Result<bool, Unavailable> {
        self.connections.unconfirmed.is_there(&waiting.id, &name_of(&waiting.code)).await
    }

    /// Stores it as a connection; then it no longer waits. `None`: it was given up.
    pub(super) async fn keep_held(
        &self,
        waiting: &Waiting,
        held: &Held,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Option<Connection>, Unavailable> {
        let (name, grant, identity) = (name_of(&waiting.code), held.grant(now), held.identity.clone());
        let from = (&waiting.id, name.as_str(), held.origin());
        let kept = self.connections.unconfirmed.keep(from, &held.id, grant, identity, &held.requested, cause).await?;
        if kept.is_some() {
            self.release(waiting).await;
        }
        Ok(kept)
    }
}

fn name_of(code: &str) -> String {
    format!("held.{}", digest("held", code))
}
