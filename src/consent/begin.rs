//! From a connect link to the provider. Looking at a link changes nothing; going on binds its ticket to the browser, keeps
//! the state and gives the provider's address.

use url::Url;

use super::{Browser, Consent, Family, Fingerprint, ReturnTo, Ticket, TicketError, state::State};
use crate::{
    clock::Timestamp,
    config::Binding,
    connection::{Connection, Status, Unavailable},
    id::{CallerId, ConnectionId},
    oauth,
    provider::Service,
};

/// What a connect link leads to: what its page shows, and what going on does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The opened ticket …
    pub ticket: Ticket,
    /// … as the link has it.
    pub text: String,
    /// All scopes that will be asked for.
    pub scopes: Vec<String>,
    /// Where the browser goes afterwards.
    pub return_to: Option<ReturnTo>,
    /// What is connected under this label now.
    pub existing: Option<Connection>,
    /// In which browser it was opened.
    pub family: Family,
}

/// Who is at a link, as far as that is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guest<'a> {
    /// The browser, where it was here before.
    pub browser: Option<&'a Browser>,
    /// What it says it is: for counting alone.
    pub family: Family,
    /// Whom it has proved to be.
    pub proven: Option<&'a CallerId>,
}

/// Why a browser can't go on with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The ticket is no good.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// Its grant is stored.
    #[error("the link has been used")]
    Used,
    /// Another browser went on with it first.
    #[error("another browser uses the link")]
    OtherBrowser,
    /// Under `binding: session`: this browser has not proved to be the caller's.
    #[error("this browser is not known to be the caller's")]
    NotYours,
    /// The service takes API keys only.
    #[error("the service has no OAuth client")]
    NoOAuth,
    /// There is no room for another label.
    #[error("the caller has as many labels as may be")]
    Full,
    /// For now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Consent {
    /// Opens a link. `service` is the one in the link's path, `return_to` the link's own (one that is not allowed is
    /// passed over).
    ///
    /// # Errors
    /// Where this browser could not go on with it either.
    pub async fn plan(
        &self,
        service: &Service,
        text: &str,
        return_to: Option<&str>,
        guest: Guest<'_>,
        now: Timestamp,
    ) -> Result<Plan, BeginError> {
        let root = self.roots.get().await?;
        let ticket = Ticket::open(&root, text, &service.name, now)?;
        let oauth = service.oauth.as_deref().ok_or(BeginError::NoOAuth)?;
        if self.settings.connect.binding == Binding::Session && guest.proven != Some(&ticket.caller) {
            return Err(BeginError::NotYours);
        }
        self.uses.usable(&ticket, guest.browser).await?;
        let id = connection_id(&ticket);
        let all = self.connections.manager.list(&id.caller).await?;
        let of_service = |connection: &&Connection| connection.service == id.service;
        let existing = all.iter().filter(of_service).find(|connection| connection.account == id.account).cloned();
        let existing = existing.filter(|connection| connection.status != Status::Pending);
        if existing.is_none() && !self.connections.manager.has_room(&id).await? {
            return Err(BeginError::Full);
        }
        // Providers replace a grant by the next one: what was granted is asked for again, or it would be lost. Under a new
        // label, the account that comes may be one that is connected under another already, and is renewed there.
        let named = |connection: &&Connection| existing.as_ref().is_none_or(|one| one.account == connection.account);
        let granted = all.iter().filter(of_service).filter(named).flat_map(|connection| connection.scopes.iter());
        let mut scopes: Vec<String> = Vec::new();
        for scope in oauth.scopes.iter().chain(granted).chain(&ticket.scopes) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        let wanted = return_to.or(ticket.return_to.as_deref());
        let return_to = wanted.and_then(|text| self.links.return_to(text).ok());
        self.funnel.opened(&ticket, guest.family, now).await;
        Ok(Plan { ticket, text: text.to_owned(), scopes, return_to, existing, family: guest.family })
    }

    /// Goes on: binds the ticket to this browser, keeps the state, and tells where to send the browser: to the provider.
    ///
    /// # Errors
    /// Where another browser came first, or store or keys are away.
    pub async fn begin(
        &self,
        service: &Service,
        plan: Plan,
        browser: &Browser,
        now: Timestamp,
    ) -> Result<Url, BeginError> {
        let oauth = service.oauth.as_deref().ok_or(BeginError::NoOAuth)?;
        let root = self.roots.get().await?;
        self.uses.bind(&plan.ticket, browser, now).await?;
        let ticket = plan.ticket.clone();
        let verifier = oauth::Verifier::generate().map_err(|_| Unavailable::Keys)?;
        let challenge = verifier.challenge();
        let asked = Fingerprint::of(&oauth.scopes);
        let mut state = State::new(browser, service.name.clone(), &verifier, plan, asked, now);
        let (handle, begins) = self.states.keep(&root, &ticket, &mut state, now).await?;
        let redirect_uri = self.links.redirect_uri(&service.name);
        let url = oauth::authorize_url(oauth, &redirect_uri, &handle, Some(&challenge), &state.scopes, &[]);
        tracing::info!(service = %service.name, "connect: sent to the provider");
        self.funnel.initiated(&ticket, &state.beginning, &oauth.scopes, begins, now).await;
        Ok(url)
    }
}

pub(super) fn connection_id(ticket: &Ticket) -> ConnectionId {
    ConnectionId { caller: ticket.caller.clone(), service: ticket.service.clone(), account: ticket.account.clone() }
}
