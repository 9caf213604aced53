//! Connect links and the tickets in them, and all other addresses of Valetkey's own that leave the house. Made from the
//! configured `public_url` and from nothing else (never from `Host`). Nothing is stored for a link.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{Funnel, Refused, ReturnTo, Settings, Ticket, token};
use crate::{
    clock::Timestamp,
    connection::{Roots, Unavailable},
    id::{Account, CallerId, ServiceName},
    provider::Service,
};

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

/// Makes links.
pub struct Links {
    roots: Roots,
    funnel: Funnel,
    settings: Arc<Settings>,
}

impl Links {
    pub(super) fn new(roots: Roots, funnel: Funnel, settings: Arc<Settings>) -> Self {
        Self { roots, funnel, settings }
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

    /// A way to connect that carries no ticket: the page lets in whoever proves to be the person, by their session or their JWT.
    /// It has no end; what is told of it is a ticket's.
    pub fn link_to_sign_in(&self, service: &Service, account: &Account) -> Link {
        let url = format!("{}?account={account}", self.settings.at(&format!("connect/{}", service.owner)));
        Link { url, expires_in: self.settings.connect.ticket_ttl.as_secs() }
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
            issued: now,
            expires: now.plus(ttl),
            session_ends: session,
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

    /// The connect page of a service for this ticket.
    pub fn connect_url(&self, service: &ServiceName, ticket: &str) -> String {
        format!("{}?ticket={ticket}", self.settings.at(&format!("connect/{service}")))
    }

    /// Where the provider sends browsers back to: fixed, and one for each service (RFC 9700 §4.4.2.2).
    pub fn redirect_uri(&self, service: &ServiceName) -> Url {
        let mut url = self.settings.public_url.clone();
        url.set_path(&format!("{}/oauth/callback/{service}", url.path().trim_end_matches('/')));
        url
    }
}
