//! How a person's consent becomes a connection: the authorization-code flow (RFC 6749 §4.1) with PKCE (RFC 7636), from the
//! connect link through the provider to the stored grant. Owns tickets, the state between leaving and coming back, which
//! browser may go on with what, where a browser may be sent, and how far attempts come. Never renders a page and never keeps a token: the grant
//! goes straight to `connection`.

use std::{fmt, sync::Arc, time::Duration};

use url::Url;

use crate::{
    clock::Timestamp,
    config,
    connection::{Connections, Roots, Unavailable},
    id::{Account, CallerId, ServiceName},
    oauth,
    provider::Service,
    store::Store,
};

mod begin;
mod binding;
mod callback;
mod ended;
mod forget;
mod funnel;
mod held;
mod return_to;
mod session;
mod settle;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod ticket;

pub use begin::{BeginError, Plan};
pub use binding::Browser;
pub use callback::{Answer, CallbackError, Retry};
pub use ended::Ended;
pub use funnel::{Funnel, Stage};
pub use return_to::{Refused, ReturnTo};
pub use session::{Reach, Session};
pub use settle::{Choice, Completed, HeldError, Outcome, Pending, Question};
pub use ticket::{Ticket, TicketError};

/// How long a browser may stay at the provider.
pub const STATE_TTL: Duration = Duration::from_secs(600);
/// How long a browser may use the dashboard.
pub const SESSION_TTL: Duration = Duration::from_secs(1800);

/// The connect flow.
pub struct Consent {
    roots: Roots,
    store: Arc<dyn Store>,
    oauth: Arc<oauth::Client>,
    connections: Connections,
    funnel: Funnel,
    settings: Settings,
}

/// What the flow takes of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers reach Valetkey. Redirect URIs are made from it and from nothing else (never from `Host`).
    pub public_url: Url,
    /// Who may use a link, for how long, and where browsers may be sent back to.
    pub connect: config::Connect,
}

/// A way to connect, to be shown to the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The connect page, with the ticket.
    pub url: String,
    /// Seconds until it expires.
    pub expires_in: u64,
}

/// What a connect link is to be for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// For whom.
    pub caller: &'a CallerId,
    /// Their name or address, where the caller's JWT has one, for the page.
    pub name: Option<&'a str>,
    /// The application that asks, where it differs from the configuration's.
    pub application: Option<&'a str>,
    /// To what; the owner of its connection is what gets connected.
    pub service: &'a Service,
    /// Under which label.
    pub account: &'a Account,
    /// Scopes on top of the service's own.
    pub scopes: &'a [String],
    /// Where the browser goes afterwards.
    pub return_to: Option<&'a ReturnTo>,
}

impl Consent {
    /// Puts the flow together from its parts.
    pub fn new(
        roots: Roots,
        store: Arc<dyn Store>,
        oauth: Arc<oauth::Client>,
        connections: Connections,
        funnel: Funnel,
        settings: Settings,
    ) -> Self {
        Self { roots, store, oauth, connections, funnel, settings }
    }

    /// Makes a connect link. Any replica that shares store and keys opens it; nothing is stored for it.
    ///
    /// # Errors
    /// Where the shared secret can't be had yet.
    pub async fn link(&self, wish: &Wish<'_>, now: Timestamp) -> Result<Link, Unavailable> {
        self.link_for(wish, self.settings.connect.ticket_ttl, now).await
    }

    /// Makes a connect link that lives as long as a notification may lie in an inbox.
    ///
    /// # Errors
    /// Where the shared secret can't be had yet.
    pub async fn notification_link(&self, wish: &Wish<'_>, now: Timestamp) -> Result<Link, Unavailable> {
        self.link_for(wish, self.settings.connect.notification_ttl, now).await
    }

    async fn link_for(&self, wish: &Wish<'_>, ttl: Duration, now: Timestamp) -> Result<Link, Unavailable> {
        let ticket = self.ticket_for(wish, ttl, None, now).await?;
        let url = self.connect_url(&wish.service.owner, &ticket);
        Ok(Link { url, expires_in: ttl.as_secs() })
    }

    /// Makes the ticket of such a link.
    ///
    /// # Errors
    /// Where the shared secret can't be had yet.
    pub async fn ticket(&self, wish: &Wish<'_>, now: Timestamp) -> Result<String, Unavailable> {
        self.ticket_for(wish, self.settings.connect.ticket_ttl, None, now).await
    }

    /// Makes a ticket for a session that reaches one connection only: it ends with the session, and so does what it gives.
    ///
    /// # Errors
    /// Where the shared secret can't be had yet.
    pub async fn ticket_within(
        &self,
        wish: &Wish<'_>,
        session: Timestamp,
        now: Timestamp,
    ) -> Result<String, Unavailable> {
        let ttl = self.settings.connect.ticket_ttl.min(session.until(now));
        self.ticket_for(wish, ttl, Some(session), now).await
    }

    async fn ticket_for(
        &self,
        wish: &Wish<'_>,
        ttl: Duration,
        session: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<String, Unavailable> {
        let root = self.roots.get().await?;
        let ticket = Ticket {
            caller: wish.caller.clone(),
            name: wish.name.map(str::to_owned),
            application: wish.application.map(str::to_owned),
            service: wish.service.owner.clone(),
            account: wish.account.clone(),
            scopes: wish.scopes.to_vec(),
            return_to: wish.return_to.map(ToString::to_string),
            issued: now.seconds(),
            expires: now.plus(ttl).seconds(),
            session_ends: session.map(Timestamp::seconds),
            id: token::<16>()?,
        };
        let sealed = ticket.seal(&root)?;
        self.funnel.offered(&ticket.service, now);
        Ok(sealed)
    }

    /// Checks a `return_to` against the allow-list.
    ///
    /// # Errors
    /// Where it is no URL, or lies outside the list.
    pub fn return_to(&self, text: &str) -> Result<ReturnTo, Refused> {
        ReturnTo::parse(text, &self.settings.connect.return_to)
    }

    /// How far attempts come.
    pub fn funnel(&self) -> &Funnel {
        &self.funnel
    }

    /// What the flow was configured with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The connect page of a service for this ticket.
    pub fn connect_url(&self, service: &ServiceName, ticket: &str) -> String {
        format!("{}?ticket={ticket}", self.at(&format!("connect/{service}")))
    }

    /// Where the provider sends browsers back to: fixed, and one for each service (RFC 9700 §4.4.2.2).
    pub fn redirect_uri(&self, service: &ServiceName) -> Url {
        let mut url = self.settings.public_url.clone();
        url.set_path(&format!("{}/oauth/callback/{service}", url.path().trim_end_matches('/')));
        url
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.settings.public_url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consent").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What to call a caller on a page, by the claims of their JWT: an address or name that they know themselves by. Whoever can
/// choose it freely could pass for somebody else, so pages show the subject beside it.
pub fn shown_name(claims: &serde_json::Map<String, serde_json::Value>) -> Option<String> {
    let claim = |name: &str| {
        let text = claims.get(name)?.as_str()?.trim();
        let fit = !text.is_empty() && text.len() <= 128 && !text.chars().any(misleading);
        fit.then_some(text)
    };
    match (claim("name"), claim("email").or_else(|| claim("preferred_username"))) {
        (Some(name), Some(address)) => Some(format!("{name} ({address})")),
        (name, address) => name.or(address).map(str::to_owned),
    }
}

/// Control characters, and those that turn or hide the text around them.
fn misleading(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Random bytes of the system, as base64url.
fn token<const N: usize>() -> Result<String, Unavailable> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Unavailable::Keys)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256, as base64url: how a value that a browser holds is known to the store.
fn digest(kind: &str, value: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    hash.update([0]);
    hash.update(value.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
