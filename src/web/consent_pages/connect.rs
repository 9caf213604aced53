//! The connect page, and going on from it.

use askama::Template;
use axum::{
    body::Body,
    extract::{Path, RawQuery},
    response::Response,
};
use http::{Method, Request, StatusCode, header};
use serde_json::{Map, Value};

use super::{Scope, Step, back, in_words, parameter, plain_origins};
use crate::{
    consent::{Browser, Family, Guest, Plan, STATE_TTL, Wish},
    id::{Account, ConnectionId},
    provider::Service,
    web::{
        cookies::Cookie,
        forms::{FormError, TOKEN},
        marks::{self, Mark},
        page::{self, Forms, Frame},
        visitor,
        vouch::Proven,
    },
    words::Subject,
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

/// `GET /connect/{service}`: changes nothing, but where the operator does without the page; `HEAD` never does.
pub(super) async fn show(
    mut step: Step,
    method: Method,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let return_to = parameter(query.as_deref(), "return_to");
    step.back = back(&step.visit.state, return_to.as_deref());
    let Some(service) = step.owner(&name) else { return step.unknown_service() };
    let Ok(proven) = step.proven().await else { return step.unavailable() };
    if let Some(response) = step.forbidden(&service, claims(proven.as_ref())) {
        return response;
    }
    let proven = proven.map(|proven| proven.id);
    let ticket = match parameter(query.as_deref(), "ticket") {
        Some(ticket) => ticket,
        None => match own_ticket(&step, &service, query.as_deref()).await {
            Ok(ticket) => ticket,
            Err(response) => return response,
        },
    };
    let known = step.visit.browser();
    let consent = &step.visit.state.parts.consent;
    let guest = Guest { browser: known.as_ref(), family: family(&step), proven: proven.as_ref() };
    let plan = consent.plan(&service, &ticket, return_to.as_deref(), guest, step.now);
    let plan = match plan.await {
        Ok(plan) => plan,
        Err(error) => return step.begin_error(error, &service),
    };
    step.application = plan.ticket.application.clone();
    let new = known.is_none();
    let Ok(browser) = known.map_or_else(Browser::new, Ok) else { return step.unavailable() };
    if !step.visit.state.parts.settings.confirm && method != Method::HEAD {
        return leave(&step, &service, plan, &browser).await;
    }
    let Ok(root) = step.visit.state.parts.roots.get().await else { return step.unavailable() };
    let mut response = connect_page(&step, &service, &plan, &browser.form_token(&root));
    if new {
        step.visit.state.cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), None);
    }
    response
}

/// The claims of the JWT that says whose browser this is.
fn claims(proven: Option<&Proven>) -> Option<&Map<String, Value>> {
    proven?.caller.as_ref().map(|caller| caller.claims())
}

/// What the browser says it is.
fn family(step: &Step) -> Family {
    Family::of(step.visit.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()))
}

/// A ticket for a browser that comes without one but shows whose it is.
async fn own_ticket(step: &Step, service: &Service, query: Option<&str>) -> Result<String, Response> {
    let state = &step.visit.state;
    let account = parameter(query, "account").map_or(Ok(Account::default()), |text| Account::parse(&text));
    let Ok(account) = account else {
        return Err(step.wrong(StatusCode::BAD_REQUEST, &step.visit.t.bad_account()));
    };
    let visitor = match visitor::visitor(state, &step.visit.headers).await {
        Ok(Some(visitor)) => visitor,
        Ok(None) => return Err(step.wrong(StatusCode::BAD_REQUEST, &step.visit.t.ticket_missing())),
        Err(_) => return Err(step.unavailable()),
    };
    if let Some(response) = step.forbidden(service, visitor.claims()) {
        return Err(response);
    }
    let id = ConnectionId { caller: visitor.caller.clone(), service: service.owner.clone(), account };
    match visitor.may_manage(state, &id).await {
        Ok(true) => {}
        Ok(false) => return Err(step.wrong(StatusCode::FORBIDDEN, &step.visit.t.not_covered())),
        Err(_) => return Err(step.unavailable()),
    }
    let wish = Wish {
        caller: &visitor.caller,
        name: visitor.name.as_deref(),
        application: visitor.application.as_deref(),
        service,
        account: &id.account,
        scopes: &[],
        return_to: None,
    };
    let ticket = match visitor.ends {
        Some(ends) => state.parts.consent.links.ticket_within(&wish, ends, step.now).await,
        None => state.parts.consent.links.ticket(&wish, step.now).await,
    };
    ticket.map_err(|_| step.unavailable())
}

fn connect_page(step: &Step, service: &Service, plan: &Plan, token: &str) -> Response {
    let f = step.frame();
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
        existing: identity.map(|identity| step.visit.t.connect_existing(about, identity)),
        ticket: &plan.text,
        return_to: plan.return_to.as_ref().map(ToString::to_string),
        cancel: plan.return_to.as_ref().map(|url| url.with(&[("error", "access_denied")]).to_string()),
        token_field: TOKEN,
        token,
    };
    page::render(&page, StatusCode::OK, &Forms::Provider { plain: &plain_origins(&step.visit.state, service) })
}

/// `POST /connect/{service}`.
pub(super) async fn go_on(mut step: Step, Path(name): Path<String>, request: Request<Body>) -> Response {
    let (service, form, browser) = match step.form(&name, request).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let Some(ticket) = form.get("ticket") else { return step.form_error(FormError::Unreadable) };
    let return_to = form.get("return_to").filter(|text| !text.is_empty());
    step.back = back(&step.visit.state, return_to);
    let Ok(proven) = step.proven().await else { return step.unavailable() };
    if let Some(response) = step.forbidden(&service, claims(proven.as_ref())) {
        return response;
    }
    let proven = proven.map(|proven| proven.id);
    let consent = &step.visit.state.parts.consent;
    let guest = Guest { browser: Some(&browser), family: family(&step), proven: proven.as_ref() };
    match consent.plan(&service, ticket, return_to, guest, step.now).await {
        Ok(plan) => leave(&step, &service, plan, &browser).await,
        Err(error) => step.begin_error(error, &service),
    }
}

/// Off to the provider. The browser's cookie outlives the ticket and the stay there.
async fn leave(step: &Step, service: &Service, plan: Plan, browser: &Browser) -> Response {
    let life = plan.ticket.expires.until(step.now) + STATE_TTL;
    match step.visit.state.parts.consent.begin(service, plan, browser, step.now).await {
        Ok(url) => {
            let mut response = page::see_other(url.as_str());
            let cookies = step.visit.state.cookies;
            cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), Some(life.as_secs()));
            response
        }
        Err(error) => step.begin_error(error, service),
    }
}
