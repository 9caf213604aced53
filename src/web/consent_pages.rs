//! The connect page, going on from it, and coming back from the provider.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, RawQuery},
    response::Response,
    routing::get,
};
use http::{HeaderMap, Request, StatusCode};

use super::{
    State, assets,
    cookies::Cookie,
    forms::{self, FormError, TOKEN},
    no_head,
    page::{self, Action, Forms, Frame},
    texts::{self, Language, Notice, Subject},
    visitor,
};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    consent::{
        Answer, BeginError, Browser, CallbackError, Completed, Ended, Plan, Reach, STATE_TTL, TicketError, Wish,
    },
    id::{Account, CallerId, RequestId},
    provider::Service,
};

type Shared = axum::extract::State<Arc<State>>;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/connect/{service}", get(show).head(no_head).post(go_on))
        .route("/connect/-/{asset}", get(assets::asset))
        .route("/oauth/callback/{service}", get(callback).head(no_head))
}

/// The connect page.
#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    subject: &'a str,
    service: &'a str,
    account: Option<&'a str>,
    scopes: &'a [Scope],
    existing: Option<String>,
    ticket: &'a str,
    return_to: Option<String>,
    cancel: Option<String>,
    token_field: &'a str,
    token: &'a str,
}

/// A scope as people read it, and as the provider writes it.
pub(super) struct Scope {
    pub words: Option<String>,
    pub code: String,
}

/// The scopes of a service, in words where the provider's file has them.
pub(super) fn in_words<S: AsRef<str>>(service: &Service, scopes: &[S]) -> Vec<Scope> {
    scopes
        .iter()
        .map(|scope| Scope {
            words: service.scopes.title(scope.as_ref()).map(str::to_owned),
            code: scope.as_ref().to_owned(),
        })
        .collect()
}

/// A request for one of these pages, as far as all of them need it.
struct Visit<'a> {
    state: &'a State,
    t: Language,
    id: &'a RequestId,
    now: Timestamp,
    application: Option<String>,
    back: Option<String>,
}

impl<'a> Visit<'a> {
    fn new(state: &'a State, headers: &HeaderMap, id: &'a RequestId) -> Self {
        let t = language(headers);
        Self { state, t, id, now: state.now(), application: None, back: None }
    }

    fn frame(&self) -> Frame<'_> {
        Frame::new(self.state, self.t, self.application.as_deref())
    }

    /// A page that says what is wrong, with the way back to the application, or to the dashboard.
    fn wrong(&self, status: StatusCode, notice: &Notice) -> Response {
        self.wrong_but(status, notice, None)
    }

    fn wrong_but(&self, status: StatusCode, notice: &Notice, first: Option<Action>) -> Response {
        let frame = self.frame();
        let home = self.state.settings.return_to.first().map(ToString::to_string);
        let back = match self.back.clone().or(home) {
            Some(url) => Action::new(url, self.t.back_to(frame.application)),
            None => Action::new(format!("{}/dashboard", frame.base), self.t.to_dashboard()),
        };
        let actions: Vec<Action> = first.into_iter().chain([back]).collect();
        page::notice(frame, status, notice, &actions, self.id)
    }

    fn unavailable(&self) -> Response {
        self.wrong(StatusCode::SERVICE_UNAVAILABLE, &self.t.unavailable())
    }

    /// Which page tells this.
    fn begin_error(&self, error: BeginError, service: &Service) -> Response {
        let notice = match error {
            BeginError::Ticket(TicketError::Invalid) => self.t.ticket_invalid(),
            BeginError::Ticket(TicketError::Expired) => self.t.ticket_expired(),
            BeginError::Used => self.t.ticket_used(),
            BeginError::OtherBrowser => self.t.ticket_elsewhere(),
            BeginError::NotYours => self.t.not_yours(),
            BeginError::NoOAuth => self.t.no_oauth(&service.title),
            BeginError::Unavailable(_) => return self.unavailable(),
        };
        self.wrong(StatusCode::BAD_REQUEST, &notice)
    }

    fn form_error(&self, error: FormError) -> Response {
        self.wrong(error.status(), &error.notice(self.t))
    }
}

/// The language that a browser asks for.
pub(super) fn language(headers: &HeaderMap) -> Language {
    texts::choose(headers.get(http::header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()))
}

/// The service that owns the connection which this name stands for.
fn owner<'s>(state: &'s State, name: &str) -> Option<&'s Arc<Service>> {
    state.services.get(name).and_then(|service| state.services.owner(service))
}

/// Parameters of a query, each of which may be there once.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

/// `GET /connect/{service}`: changes nothing, but where the operator does without the page.
async fn show(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let mut visit = Visit::new(&state, &headers, &id);
    let return_to = parameter(query.as_deref(), "return_to");
    visit.back = back(&state, return_to.as_deref());
    let Some(service) = owner(&state, &name) else {
        return visit.wrong(StatusCode::BAD_REQUEST, &visit.t.unknown_service());
    };
    let proven = match visitor::proven(&state, &headers).await {
        Ok(caller) => caller.map(|caller| caller.id.clone()),
        Err(_) => return visit.unavailable(),
    };
    let ticket = match parameter(query.as_deref(), "ticket") {
        Some(ticket) => ticket,
        None => match own_ticket(&visit, service, query.as_deref(), &headers).await {
            Ok(ticket) => ticket,
            Err(response) => return response,
        },
    };
    let known = state.cookies.read(&headers, Cookie::Browser).and_then(Browser::from_cookie);
    let plan = state.consent.plan(service, &ticket, return_to.as_deref(), known.as_ref(), proven.as_ref(), visit.now);
    let plan = match plan.await {
        Ok(plan) => plan,
        Err(error) => return visit.begin_error(error, service),
    };
    visit.application = plan.ticket.application.clone();
    let new = known.is_none();
    let Ok(browser) = known.map_or_else(Browser::new, Ok) else { return visit.unavailable() };
    if !state.settings.confirm {
        return leave(&visit, service, plan, &browser).await;
    }
    let Ok(root) = state.roots.get().await else { return visit.unavailable() };
    let mut response = connect_page(&visit, service, &plan, &browser.form_token(&root));
    if new {
        state.cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), None);
    }
    response
}

/// A ticket for a browser that comes without one but shows whose it is.
async fn own_ticket(
    visit: &Visit<'_>,
    service: &Service,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<String, Response> {
    let state = visit.state;
    let account = parameter(query, "account").map_or(Ok(Account::default()), |text| Account::parse(&text));
    let Ok(account) = account else {
        return Err(visit.wrong(StatusCode::BAD_REQUEST, &visit.t.bad_account()));
    };
    let visitor = match visitor::visitor(state, headers).await {
        Ok(Some(visitor)) => visitor,
        Ok(None) => return Err(visit.wrong(StatusCode::BAD_REQUEST, &visit.t.ticket_missing())),
        Err(_) => return Err(visit.unavailable()),
    };
    if !visitor.reach.covers(&service.owner, &account) {
        return Err(visit.wrong(StatusCode::FORBIDDEN, &visit.t.not_covered()));
    }
    let wish = Wish {
        caller: &visitor.caller,
        name: visitor.name.as_deref(),
        application: visitor.application.as_deref(),
        service,
        account: &account,
        scopes: &[],
        return_to: None,
    };
    state.consent.ticket(&wish, visit.now).await.map_err(|_| visit.unavailable())
}

fn connect_page(visit: &Visit<'_>, service: &Service, plan: &Plan, token: &str) -> Response {
    let f = visit.frame();
    let about = Subject { service: &service.title, application: f.application, who: plan.ticket.who() };
    let account = plan.ticket.account.as_str();
    let identity = plan.existing.as_ref().map(|connection| connection.identity.as_deref());
    let page = ConnectPage {
        f,
        about,
        subject: plan.ticket.caller.subject.as_str(),
        service: service.name.as_str(),
        account: (account != Account::DEFAULT).then_some(account),
        scopes: &in_words(service, &plan.scopes),
        existing: identity.map(|identity| visit.t.connect_existing(about, identity)),
        ticket: &plan.text,
        return_to: plan.return_to.as_ref().map(ToString::to_string),
        cancel: plan.return_to.as_ref().map(|url| url.with("error", "access_denied").to_string()),
        token_field: TOKEN,
        token,
    };
    page::render(&page, StatusCode::OK, &Forms::Provider { plain: &plain_origins(visit.state, service) })
}

/// Origins over plain HTTP that the form's way may lead to.
pub(super) fn plain_origins(state: &State, service: &Service) -> Vec<String> {
    let provider = service.oauth.iter().map(|oauth| &oauth.authorize_url);
    provider
        .chain(&state.settings.return_to)
        .filter(|url| url.scheme() == "http")
        .map(|url| url.origin().ascii_serialization())
        .collect()
}

/// `POST /connect/{service}`.
async fn go_on(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    let headers = request.headers().clone();
    let mut visit = Visit::new(&state, &headers, &id);
    let Some(service) = owner(&state, &name) else {
        return visit.wrong(StatusCode::BAD_REQUEST, &visit.t.unknown_service());
    };
    let (form, browser) = match forms::read(&state, request).await {
        Ok(read) => read,
        Err(error) => return visit.form_error(error),
    };
    let Some(ticket) = form.get("ticket") else { return visit.form_error(FormError::Unreadable) };
    let return_to = form.get("return_to").filter(|text| !text.is_empty());
    visit.back = back(&state, return_to);
    let proven: Option<CallerId> = match visitor::proven(&state, &headers).await {
        Ok(caller) => caller.map(|caller| caller.id.clone()),
        Err(_) => return visit.unavailable(),
    };
    let plan = state.consent.plan(service, ticket, return_to, Some(&browser), proven.as_ref(), visit.now).await;
    match plan {
        Ok(plan) => leave(&visit, service, plan, &browser).await,
        Err(error) => visit.begin_error(error, service),
    }
}

/// Off to the provider. The browser's cookie outlives the ticket and the stay there.
async fn leave(visit: &Visit<'_>, service: &Service, plan: Plan, browser: &Browser) -> Response {
    let life = Timestamp::from_seconds(plan.ticket.expires).until(visit.now) + STATE_TTL;
    match visit.state.consent.begin(service, plan, browser, visit.now).await {
        Ok(url) => {
            let mut response = page::see_other(url.as_str());
            let cookies = visit.state.cookies;
            cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), Some(life.as_secs()));
            response
        }
        Err(error) => visit.begin_error(error, service),
    }
}

/// Where "back to the application" leads, told that nothing came of it.
fn back(state: &State, return_to: Option<&str>) -> Option<String> {
    let url = state.consent.return_to(return_to?).ok()?;
    Some(url.with("error", "access_denied").to_string())
}

/// `GET /oauth/callback/{service}`.
async fn callback(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let visit = Visit::new(&state, &headers, &id);
    let Some(service) = state.services.get(&name) else {
        return visit.wrong(StatusCode::BAD_REQUEST, &visit.t.unknown_service());
    };
    let browser = state.cookies.read(&headers, Cookie::Browser).and_then(Browser::from_cookie);
    let outcome = match Answer::parse(query.as_deref().unwrap_or_default()) {
        Ok(answer) => state.consent.callback(service, answer, browser.as_ref(), visit.now).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(completed) => connected(&visit, service, completed, &headers).await,
        Err(error) => callback_error(visit, error, service),
    }
}

/// A grant is stored: on to the application or the dashboard, with a session for what was just made.
async fn connected(visit: &Visit<'_>, service: &Service, completed: Completed, headers: &HeaderMap) -> Response {
    let state = visit.state;
    let mut response = match &completed.return_to {
        Some(url) => page::see_other(url.as_str()),
        None => page::see_other(&format!("{}/dashboard?connected={}", state.base(), service.name)),
    };
    if let Ok(cookie) = session_after(state, completed, headers, visit.now).await
        && let Some(cookie) = cookie
    {
        let life = crate::consent::SESSION_TTL.as_secs();
        state.cookies.set(response.headers_mut(), Cookie::Session, &cookie, Some(life));
    }
    response
}

/// The session that a completed flow gives; none where the browser has one of the same person that reaches further.
async fn session_after(
    state: &State,
    completed: Completed,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<String>, Unavailable> {
    let old = state.cookies.read(headers, Cookie::Session);
    if let Some(old) = old {
        let known = state.consent.session(old, now).await?;
        if known.is_some_and(|session| session.caller == completed.caller && session.reach == Reach::All) {
            return Ok(None);
        }
        state.consent.sign_out(old).await?;
    }
    let reach =
        Reach::Only { service: completed.connection.service.clone(), account: completed.connection.account.clone() };
    state.consent.sign_in(completed.caller, completed.name, completed.application, reach, now).await.map(Some)
}

/// Which page tells this.
fn callback_error(mut visit: Visit<'_>, error: CallbackError, service: &Service) -> Response {
    let t = visit.t;
    let bad = StatusCode::BAD_REQUEST;
    let (why, retry) = match error {
        CallbackError::Malformed => return visit.wrong(bad, &t.callback_malformed()),
        CallbackError::Unknown => return visit.wrong(bad, &t.callback_unknown()),
        CallbackError::OtherService | CallbackError::OtherIssuer => return visit.wrong(bad, &t.callback_mixed_up()),
        CallbackError::OtherBrowser => return visit.wrong(bad, &t.callback_elsewhere()),
        CallbackError::Unavailable(_) => return visit.unavailable(),
        CallbackError::Ended { why, retry } => (why, retry),
    };
    let title = service.title.as_str();
    let (status, notice) = match why {
        Ended::Denied => (StatusCode::OK, t.denied(title)),
        Ended::ProviderError => (StatusCode::BAD_GATEWAY, t.provider_error(title)),
        Ended::Used => (bad, t.ticket_used()),
        Ended::ExchangeRefused => (StatusCode::BAD_GATEWAY, t.exchange_refused(title)),
        Ended::ExchangeFailed => (StatusCode::BAD_GATEWAY, t.exchange_failed(title)),
        Ended::NotStored => (StatusCode::SERVICE_UNAVAILABLE, t.unavailable()),
    };
    visit.application = retry.application;
    visit.back = retry.back.map(String::from);
    let again = retry.again.map(|url| Action::new(url, t.try_again()));
    visit.wrong_but(status, &notice, again)
}
