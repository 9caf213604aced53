//! What becomes of a grant that a flow brought: stored at once, or first put before the person (it belongs to another
//! account than the one it would replace) or the application (`binding: confirm`).

use url::Url;

use super::{
    Browser, Consent, ReturnTo, Ticket,
    held::{Held, Waiting, WaitsFor},
};
use crate::{
    clock::Timestamp,
    config::Binding,
    connection::{Connection, Status, Unavailable},
    events::Cause,
    id::{Account, CallerId},
    provider::Service,
};

/// How a flow went on after the provider granted access.
#[derive(Debug)]
pub enum Outcome {
    /// The grant is stored.
    Stored(Box<Completed>),
    /// The person is asked whether it may replace another account's.
    Question(Question),
    /// The application is to confirm it.
    Pending(Pending),
}

/// A grant is stored.
#[derive(Debug)]
pub struct Completed {
    /// Whose.
    pub caller: CallerId,
    /// Their name or address, where known.
    pub name: Option<String>,
    /// The application that asked, where it is not the configured one.
    pub application: Option<String>,
    /// The label that was asked for; an account that is connected already keeps the one that it has.
    pub asked: Account,
    /// What there is now.
    pub connection: Connection,
    /// Where to send the browser, if not to the dashboard.
    pub return_to: Option<Url>,
    /// When the session ends that this flow may give, where it must end earlier than others.
    pub session_ends: Option<Timestamp>,
}

/// Another account at the provider would take the place of the one that is connected.
#[derive(Debug)]
pub struct Question {
    /// Leads to the grant, for ten minutes, in this browser.
    pub code: String,
    /// Under which label.
    pub account: Account,
    /// The account that is connected.
    pub before: String,
    /// The account that granted access now; `None` where the provider doesn't say.
    pub after: Option<String>,
    /// The application that asked, where it is not the configured one.
    pub application: Option<String>,
}

/// The application has ten minutes to confirm with this code and the caller's JWT.
#[derive(Debug)]
pub struct Pending {
    /// The code, once.
    pub code: String,
    /// The application that asked, where it is not the configured one.
    pub application: Option<String>,
    /// Where to send the browser; it holds the code. Without it the page shows the code.
    pub return_to: Option<Url>,
}

/// What the person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The new account takes the place of the old.
    Replace,
    /// The new one is kept beside it, under this label.
    Beside(Account),
}

/// Why a held grant can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeldError {
    /// Expired, taken, never there, or not this one's to take: nobody learns which.
    #[error("the code is unknown")]
    Unknown,
    /// For now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Consent {
    /// Goes on with a grant that has just come in.
    pub(super) async fn settle(
        &self,
        held: Held,
        browser: &Browser,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, HeldError> {
        self.settle_from(None, held, browser, cause, now).await
    }

    /// The same, also with a grant that waits so far: it is let go there once it is kept elsewhere.
    async fn settle_from(
        &self,
        from: Option<&Waiting>,
        mut held: Held,
        browser: &Browser,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, HeldError> {
        if let Some((before, after)) = self.meet(&mut held).await? {
            let code = self.hold_again(from, &held).await?;
            tracing::info!(service = %held.id.service, "connect: another account, the person is asked");
            let (account, application) = (held.id.account.clone(), held.application.clone());
            return Ok(Outcome::Question(Question { code, account, before, after, application }));
        }
        self.keep_or_confirm(from, held, browser, cause, now).await
    }

    /// Sees whom the grant would meet under its label. The provider's stable id decides, not what an account calls itself.
    /// An account that is connected already is renewed under the label that it has; one that would take another's place
    /// is asked about: who is there, and who would be. Nobody knows whether an account that isn't named is the one there.
    async fn meet(&self, held: &mut Held) -> Result<Option<(String, Option<String>)>, Unavailable> {
        let connections = self.connections.manager.list(&held.id.caller).await?;
        let known = |connection: &&Connection| {
            connection.service == held.id.service
                && connection.status != Status::Pending
                && connection.identity_id.is_some()
        };
        let there = connections.iter().filter(known).find(|connection| connection.account == held.id.account);
        let before = there.and_then(|connection| connection.identity.clone()).map(String::from);
        let Some(new) = &held.identity else { return Ok(before.map(|before| (before, None))) };
        let same = |connection: &&Connection| connection.identity_id.as_deref() == Some(new.id.as_str());
        if there.as_ref().is_some_and(same) {
            return Ok(None);
        }
        if let Some(twin) = connections.iter().filter(known).find(same) {
            tracing::info!(service = %held.id.service, "connect: this account is connected already, and is renewed");
            held.id.account = twin.account.clone();
            return Ok(None);
        }
        Ok(before.map(|before| (before, Some(new.label.clone().unwrap_or_else(|| new.id.clone())))))
    }

    /// The person's answer to a [`Question`].
    ///
    /// # Errors
    /// Where the code leads to nothing that this browser brought for this service.
    pub async fn answer(
        &self,
        service: &Service,
        code: &str,
        choice: Choice,
        browser: &Browser,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, HeldError> {
        let held = self.look_at_held(code, now).await?.ok_or(HeldError::Unknown)?;
        let own = held.waits_for == WaitsFor::Person && held.is_from(browser) && held.id.service == service.name;
        if !own {
            return Err(HeldError::Unknown);
        }
        let from = Waiting { code: code.to_owned(), id: held.id.clone() };
        let (ticket, beginning, mut held) = (self.ticket_of(&held).await, held.beginning, held);
        let outcome = match choice {
            Choice::Beside(account) => {
                held.id.account = account.clone();
                held.asked = account;
                // Under another label there may be a third account.
                self.settle_from(Some(&from), held, browser, cause, now).await
            }
            Choice::Replace => self.keep_or_confirm(Some(&from), held, browser, cause, now).await,
        };
        if let (Ok(Outcome::Stored(_)), Some(ticket)) = (&outcome, ticket) {
            self.funnel.completed(&ticket, &beginning, now).await;
        }
        outcome
    }

    /// The application's word, for one of its own callers: the grant is stored.
    ///
    /// # Errors
    /// Where the code leads to nothing of this caller's.
    pub async fn confirm(
        &self,
        caller: &CallerId,
        code: &str,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Connection, HeldError> {
        let held = self.look_at_held(code, now).await?.ok_or(HeldError::Unknown)?;
        let own = held.waits_for == WaitsFor::Application && held.id.caller == *caller;
        if !own {
            return Err(HeldError::Unknown);
        }
        let from = Waiting { code: code.to_owned(), id: held.id.clone() };
        let connection = self.keep_held(&from, &held, cause, now).await?.ok_or(HeldError::Unknown)?;
        if let Some(ticket) = self.ticket_of(&held).await {
            self.funnel.completed(&ticket, &held.beginning, now).await;
        }
        Ok(connection)
    }

    /// Puts a grant by under a new code; only then it is let go where it waited before.
    async fn hold_again(&self, from: Option<&Waiting>, held: &Held) -> Result<String, HeldError> {
        let Some(from) = from else { return Ok(self.hold(held).await?) };
        if !self.still_waits(from).await? {
            return Err(HeldError::Unknown);
        }
        let code = self.hold(held).await?;
        self.release(from).await;
        Ok(code)
    }

    async fn keep_or_confirm(
        &self,
        from: Option<&Waiting>,
        mut held: Held,
        browser: &Browser,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, HeldError> {
        let service = held.id.service.clone();
        let back = self.back(held.return_to.as_deref());
        if self.settings.connect.binding == Binding::Confirm {
            held.waits_for = WaitsFor::Application;
            let code = self.hold_again(from, &held).await?;
            self.spend_of(&held, browser).await;
            tracing::info!(%service, "connect: waits for the application");
            let return_to = back.map(|url| url.with(&[("connected", service.as_str()), ("code", &code)]));
            return Ok(Outcome::Pending(Pending { code, application: held.application.clone(), return_to }));
        }
        let connection = match from {
            Some(from) => self.keep_held(from, &held, cause, now).await?.ok_or(HeldError::Unknown)?,
            None => self.store_grant(&held, cause, now).await?,
        };
        let ticket = self.spend_of(&held, browser).await;
        tracing::info!(%service, "connect: completed");
        Ok(Outcome::Stored(Box::new(Completed {
            caller: held.id.caller.clone(),
            name: held.name.clone(),
            application: held.application.clone(),
            asked: held.asked.clone(),
            connection,
            return_to: back.map(|url| url.with(&[("connected", service.as_str())])),
            session_ends: ticket.and_then(|ticket| ticket.session_ends),
        })))
    }

    async fn store_grant(&self, held: &Held, cause: &Cause, now: Timestamp) -> Result<Connection, Unavailable> {
        let (grant, identity) = (held.grant(now), held.identity.clone());
        self.connections.manager.connect(&held.id, grant, identity, &held.requested, cause).await
    }

    /// Spends the ticket that led to this grant.
    async fn spend_of(&self, held: &Held, browser: &Browser) -> Option<Ticket> {
        let ticket = self.ticket_of(held).await?;
        self.uses.spend(&ticket, browser).await;
        Some(ticket)
    }

    /// The ticket that led to this grant.
    async fn ticket_of(&self, held: &Held) -> Option<Ticket> {
        let root = self.roots.get().await.ok()?;
        Ticket::open_ever(&root, &held.ticket, &held.id.service).ok()
    }

    /// The list may have changed since the browser left.
    pub(super) fn back(&self, return_to: Option<&str>) -> Option<ReturnTo> {
        return_to.and_then(|text| self.links.return_to(text).ok())
    }
}
