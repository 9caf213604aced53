//! From the provider back to a stored grant. The order is the point: who comes back is checked before anything is spent,
//! the state is spent before the code is sent anywhere, and the code is sent only to the token endpoint of the service
//! whose state it came with (RFC 9700 §4.4). A callback that is not its owner's leaves the state as it was.

use url::Url;

use super::{
    BeginError, Browser, Consent, Ended, Outcome, Ticket,
    begin::connection_id,
    held::{Around, Held},
    state::{Handle, State},
};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    events::{Actor, Cause},
    oauth,
    provider::{OAuth, Service},
    secret::SecretString,
};

/// What the provider sent the browser back with (RFC 6749 §4.1.2).
#[derive(Debug)]
pub struct Answer {
    state: String,
    code: Option<SecretString>,
    error: Option<String>,
    issuer: Option<String>,
}

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// No `state`, or a parameter twice.
    #[error("the callback is malformed")]
    Malformed,
    /// Expired, spent, or never ours.
    #[error("the state is unknown")]
    Unknown,
    /// Another service's state.
    #[error("the state belongs to another service")]
    OtherService,
    /// Another browser's.
    #[error("the state belongs to another browser")]
    OtherBrowser,
    /// `iss` is not the provider's (RFC 9207 §2.4).
    #[error("the answer came from another issuer")]
    OtherIssuer,
    /// For now; nothing is spent.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The attempt is over, and the state spent.
    #[error("the attempt ended: {why:?}")]
    Ended {
        /// How.
        why: Ended,
        /// What the provider or the call to it said, in a word of the closed list, where it did.
        word: Option<&'static str>,
        /// What the person can do.
        retry: Box<Retry>,
    },
}

/// What a person can do after an attempt that ended.
#[derive(Debug)]
pub struct Retry {
    /// The connect page again, while the ticket lives.
    pub again: Option<String>,
    /// Back to the application, told what happened.
    pub back: Option<Url>,
    /// The application that asked, where it is not the configured one.
    pub application: Option<String>,
}

/// Somebody is back from the provider who is the one who left.
#[derive(Clone, Copy)]
struct Arrived<'a> {
    service: &'a Service,
    client: &'a OAuth,
    browser: &'a Browser,
    ticket: &'a Ticket,
    state: &'a State,
}

impl Answer {
    /// Reads a callback's query. Every parameter that matters may be there once at most (RFC 6749 §3.1).
    ///
    /// # Errors
    /// [`CallbackError::Malformed`].
    pub fn parse(query: &str) -> Result<Self, CallbackError> {
        let (mut state, mut code, mut error, mut issuer) = (None, None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut state,
                "code" => &mut code,
                "error" => &mut error,
                "iss" => &mut issuer,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(CallbackError::Malformed);
            }
        }
        let filled = |text: &String| !text.is_empty();
        Ok(Self {
            state: state.filter(filled).ok_or(CallbackError::Malformed)?,
            code: code.filter(filled).map(SecretString::new),
            error: error.filter(filled),
            issuer,
        })
    }
}

/// How providers say that the person said no, beside RFC 6749's `access_denied`: LinkedIn and Apple, and what is known of
/// others. OpenID's `consent_required` and its like are not among them: nobody was asked there.
const NO: [&str; 20] = [
    "access_denied",
    "user_cancelled_login",
    "user_cancelled_authorize",
    "user_cancelled_authorization",
    "user_cancelled",
    "user_denied",
    "user_denied_access",
    "user_declined",
    "user_refused",
    "user_rejected",
    "consent_denied",
    "consent_declined",
    "consent_rejected",
    "authorization_denied",
    "authorization_declined",
    "authorization_cancelled",
    "login_cancelled",
    "cancelled",
    "denied",
    "declined",
];

/// Whether an `error` of a callback is the person's own decision.
fn is_a_no(error: &str) -> bool {
    let word = error.to_ascii_lowercase().replace(['-', ' '], "_").replace("canceled", "cancelled");
    NO.contains(&word.as_str())
}

impl Consent {
    /// Takes an answer at the callback of `service` from `browser`.
    ///
    /// # Errors
    /// Each says by its kind what has been spent.
    pub async fn callback(
        &self,
        service: &Service,
        answer: Answer,
        browser: Option<&Browser>,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, CallbackError> {
        let root = self.roots.get().await?;
        let handle = Handle::of(&answer.state);
        let state = self.states.look(&root, &handle, now).await?.ok_or(CallbackError::Unknown)?;
        if state.service != service.name {
            return Err(CallbackError::OtherService);
        }
        let browser = browser.filter(|_| state.belongs_to(browser)).ok_or(CallbackError::OtherBrowser)?;
        let client = service.oauth.as_deref().ok_or(CallbackError::OtherService)?;
        if !oauth::issuer_matches(client, answer.issuer.as_deref()) {
            return Err(CallbackError::OtherIssuer);
        }
        let ticket = Ticket::open_ever(&root, &state.ticket, &service.name).map_err(|_| CallbackError::Unknown)?;
        if !self.states.spend_state(&handle).await? {
            return Err(CallbackError::Unknown);
        }
        // From here on the attempt is over, whatever comes.
        self.states.attempt_over(&ticket).await;
        let arrived = Arrived { service, client, browser, ticket: &ticket, state: &state };
        let outcome = self.go_on(&arrived, answer, cause, now).await;
        self.count(&ticket, &state, &outcome, cause, now).await;
        outcome
    }

    /// Counts what came of it.
    async fn count(
        &self,
        ticket: &Ticket,
        state: &State,
        outcome: &Result<Outcome, CallbackError>,
        cause: &Cause,
        now: Timestamp,
    ) {
        let (ended, authorized) = match outcome {
            Ok(_) => (None, true),
            Err(CallbackError::Ended { why, word, .. }) => {
                (Some((*why, *word)), !matches!(why, Ended::Denied | Ended::ProviderError))
            }
            // Not the owner's callback.
            Err(_) => return,
        };
        if authorized {
            self.funnel.authorized(ticket, now).await;
        }
        if let Some((why, word)) = ended {
            let request = cause.request.as_ref();
            self.funnel.failed(ticket, &state.beginning, (why, word), request, now).await;
        } else if let Ok(Outcome::Stored(_)) = outcome {
            self.funnel.completed(ticket, &state.beginning, now).await;
        }
    }

    /// From a state that is spent to whatever comes of it.
    async fn go_on(
        &self,
        arrived: &Arrived<'_>,
        answer: Answer,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Outcome, CallbackError> {
        let Arrived { service, client, browser, ticket, state } = *arrived;
        let end_saying = |why: Ended, word| self.ended((why, word), service, ticket, state, now);
        let end = |why: Ended| end_saying(why, None);
        if let Some(error) = &answer.error {
            // Words of the provider's, through the browser: cut short, and with control characters escaped.
            let said: String = error.chars().take(100).collect();
            tracing::info!(service = %service.name, error = ?said, "connect: the provider answered with an error");
            let why = if is_a_no(error) { Ended::Denied } else { Ended::ProviderError };
            return Err(end_saying(why, oauth::listed(error)));
        }
        let code = answer.code.ok_or_else(|| end(Ended::ProviderError))?;
        match self.uses.usable(ticket, Some(browser)).await {
            Ok(()) => {}
            Err(BeginError::Unavailable(_)) => return Err(end(Ended::NotStored)),
            Err(_) => return Err(end(Ended::Used)),
        }
        // What is revoked of this person's meanwhile could take the new grant along.
        let arrival = self.connections.revoker.arrival(&ticket.caller, service).await;
        let redirect_uri = self.links.redirect_uri(&service.name);
        let grant = match self.oauth.exchange(client, &code, state.verifier().as_ref(), &redirect_uri).await {
            Ok(grant) => grant,
            Err(error) => {
                arrival.end();
                tracing::warn!(service = %service.name, %error, "connect: the code exchange failed");
                let why = if error.is_transient() { Ended::ExchangeFailed } else { Ended::ExchangeRefused };
                return Err(end_saying(why, error.word()));
            }
        };
        let identity = self.oauth.granted_by(client, &grant).await;
        let around = Around {
            id: connection_id(ticket),
            identity,
            requested: state.scopes.clone(),
            name: ticket.name.clone(),
            application: ticket.application.clone(),
            ticket: state.ticket.clone(),
            return_to: state.return_to.clone(),
            beginning: state.beginning,
        };
        let (id, identity) = (around.id.clone(), around.identity.clone());
        let held = Held::new(around, &grant, browser, now);
        let settled = self.settle(held, browser, cause, now).await.map_err(|error| {
            tracing::error!(service = %service.name, %error, "connect: a new grant could not be stored; it is revoked");
            self.connections.revoker.give_up_unstored(&id, grant, identity);
            end(Ended::NotStored)
        })?;
        arrival.end();
        // Who was erased meanwhile is erased with what came after it.
        if self.erasures.since(&ticket.caller, state.begun()).await.unwrap_or(false) {
            let erased = self.connections.manager.erase(&ticket.caller, &Cause::of(Actor::Operator)).await;
            tracing::info!(service = %service.name, ok = erased.is_ok(), "connect: the caller was erased meanwhile");
            return Err(end(Ended::Used));
        }
        Ok(settled)
    }

    fn ended(
        &self,
        (why, word): (Ended, Option<&'static str>),
        service: &Service,
        ticket: &Ticket,
        state: &State,
        now: Timestamp,
    ) -> CallbackError {
        tracing::info!(service = %service.name, why = ?why, "connect: ended without a grant");
        let again = (why != Ended::Used && !ticket.has_expired(now))
            .then(|| self.links.connect_url(&service.name, &state.ticket));
        let back = self.back(state.return_to.as_deref()).map(|url| url.with(&[("error", why.code())]));
        let retry = Box::new(Retry { again, back, application: ticket.application.clone() });
        CallbackError::Ended { why, word, retry }
    }
}
