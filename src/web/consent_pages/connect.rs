//! The connect page, and going on from it.

use askama::Template;
use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery},
    response::Response,
};
use http::{HeaderMap, Request, StatusCode};

use super::{Scope, Shared, Visit, back, in_words, owner, parameter, plain_origins};
use crate::{
    clock::Timestamp,
    consent::{Browser, Plan, STATE_TTL, Wish},
    id::{Account, CallerId, RequestId},
    provider::Service,
    telemetry::metrics::ConnectOutcome,
    web::{
        cookies::Cookie,
        forms::{self, FormError, TOKEN},
        marks::{self, Mark},
        page::{self, Forms, Frame},
        texts::Subject,
        visitor,
    },
};

/// The connect page.
#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    mark: Mark,
    own_initial: String,
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

/// `GET /connect/{service}`: changes nothing, but where the operator does without the page.
pub(super) async fn show(
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
        Ok(caller) => caller.map(|proven| proven.id),
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
        mark: Mark::of(service),
        own_initial: marks::initial(f.application),
        subject: plan.ticket.caller.subject.as_str(),
        service: service.name.as_str(),
        account: (account != Account::DEFAULT).then_some(account),
        scopes: &in_words(service, &plan.scopes),
        existing: identity.map(|identity| visit.t.connect_existing(about, identity)),
        ticket: &plan.text,
        return_to: plan.return_to.as_ref().map(ToString::to_string),
        cancel: plan.return_to.as_ref().map(|url| url.with(&[("error", "access_denied")]).to_string()),
        token_field: TOKEN,
        token,
    };
    page::render(&page, StatusCode::OK, &Forms::Provider { plain: &plain_origins(visit.state, service) })
}

/// `POST /connect/{service}`.
pub(super) async fn go_on(
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
        Ok(caller) => caller.map(|proven| proven.id),
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
            visit.state.metrics.service(&service.name).connect(ConnectOutcome::Initiated);
            let mut response = page::see_other(url.as_str());
            let cookies = visit.state.cookies;
            cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), Some(life.as_secs()));
            response
        }
        Err(error) => visit.begin_error(error, service),
    }
}
