//! The dashboard: what a person has connected, and what they can do about it. It shows facts of connections, never a
//! credential. Everything that changes something is a form of our own page.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Router,
    body::Body,
    extract::RawQuery,
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, Request, StatusCode};

use super::{
    State,
    consent_pages::{language, parameter, plain_origins},
    cookies::Cookie,
    forms::{self, FormError, TOKEN},
    no_head,
    page::{self, Action, Forms, Frame},
    texts::{Language, Notice, Subject},
    visitor::{self, Visitor},
};
use crate::{
    connection::Unavailable,
    consent::{Browser, Reach, SESSION_TTL},
    id::{Account, ConnectionId, RequestId},
    provider::Service,
};

mod cards;
mod keys;

use cards::{Card, cards};

type Shared = axum::extract::State<Arc<State>>;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(home))
        .route("/dashboard", get(dashboard).head(no_head))
        .route("/dashboard/disconnect", get(ask).post(disconnect))
        .route("/dashboard/api-key", post(keys::store))
        .route("/dashboard/api-key/remove", get(keys::ask).post(keys::remove))
        .route("/dashboard/sign-out", post(sign_out))
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage<'a> {
    f: Frame<'a>,
    who: &'a str,
    session: bool,
    restricted: bool,
    done: Option<String>,
    cards: &'a [Card],
    token_field: &'a str,
    token: &'a str,
}

#[derive(Template)]
#[template(path = "disconnect.html")]
struct DisconnectPage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    service: &'a str,
    account: &'a str,
    token_field: &'a str,
    token: &'a str,
}

async fn home(axum::extract::State(state): Shared) -> Response {
    page::see_other(&format!("{}/dashboard", state.base()))
}

/// `GET /dashboard`.
async fn dashboard(
    axum::extract::State(state): Shared,
    RawQuery(query): RawQuery,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let t = language(&headers);
    if let Some(link) = parameter(query.as_deref(), "link") {
        return follow_link(&state, t, &link, &headers, &id).await;
    }
    let visitor = match come_in(&state, t, &headers, &id).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let Ok(connections) = state.connections.list(&visitor.caller).await else { return unavailable(&state, t, &id) };
    let Ok((browser, new)) = browser(&state, &headers) else { return unavailable(&state, t, &id) };
    let Ok(root) = state.roots.get().await else { return unavailable(&state, t, &id) };
    let titled = |name: &str| {
        let name = parameter(query.as_deref(), name)?;
        state.services.get(&name).map(|service| service.title.clone())
    };
    let done = titled("connected")
        .map(|title| t.just_connected(&title))
        .or_else(|| titled("disconnected").map(|title| t.just_disconnected(&title)))
        .or_else(|| titled("key_stored").map(|title| t.key_stored(&title)))
        .or_else(|| titled("key_removed").map(|title| t.key_removed(&title)));
    let cards = cards(&state, &visitor, connections, t);
    let page = DashboardPage {
        f: Frame::new(&state, t, visitor.application.as_deref()),
        who: visitor.who(),
        session: visitor.session,
        restricted: visitor.reach != Reach::All,
        done,
        cards: &cards,
        token_field: TOKEN,
        token: &browser.form_token(&root),
    };
    let plain: Vec<String> = state.services.iter().flat_map(|service| plain_origins(&state, service)).collect();
    let mut response = page::render(&page, StatusCode::OK, &Forms::Provider { plain: &plain });
    if new {
        state.cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), None);
    }
    response
}

/// A dashboard link lets the browser in, once, under a session of its own.
async fn follow_link(state: &State, t: Language, link: &str, headers: &HeaderMap, id: &RequestId) -> Response {
    let cookie = match state.consent.follow_dashboard_link(link, state.now()).await {
        Ok(Some(cookie)) => cookie,
        Ok(None) => return wrong(state, t, StatusCode::BAD_REQUEST, &t.dashboard_link_over(), id),
        Err(_) => return unavailable(state, t, id),
    };
    if let Some(old) = state.cookies.read(headers, Cookie::Session) {
        // The old session may be somebody else's; that it can't be ended now is no reason to stay out.
        let _ = state.consent.sign_out(old).await;
    }
    let mut response = page::see_other(&format!("{}/dashboard", state.base()));
    state.cookies.set(response.headers_mut(), Cookie::Session, &cookie, Some(SESSION_TTL.as_secs()));
    response
}

/// Who may see the dashboard; others get a page that says how to come in.
async fn come_in(state: &State, t: Language, headers: &HeaderMap, id: &RequestId) -> Result<Visitor, Response> {
    match visitor::visitor(state, headers).await {
        Ok(Some(visitor)) => Ok(visitor),
        Ok(None) => {
            let frame = Frame::new(state, t, None);
            Err(wrong(state, t, StatusCode::UNAUTHORIZED, &t.come_in(frame.application), id))
        }
        Err(_) => Err(unavailable(state, t, id)),
    }
}

fn wrong(state: &State, t: Language, status: StatusCode, notice: &Notice, id: &RequestId) -> Response {
    let frame = Frame::new(state, t, None);
    let home = state.settings.return_to.first();
    let action = match (status, home) {
        (StatusCode::UNAUTHORIZED, Some(url)) => Some(Action::new(url.as_str(), t.back_to(frame.application))),
        (StatusCode::UNAUTHORIZED, None) => None,
        _ => Some(Action::new(format!("{}/dashboard", frame.base), t.words().to_dashboard)),
    };
    page::notice(frame, status, notice, action.as_slice(), id)
}

fn unavailable(state: &State, t: Language, id: &RequestId) -> Response {
    wrong(state, t, StatusCode::SERVICE_UNAVAILABLE, &t.unavailable(), id)
}

fn browser(state: &State, headers: &HeaderMap) -> Result<(Browser, bool), Unavailable> {
    match state.cookies.read(headers, Cookie::Browser).and_then(Browser::from_cookie) {
        Some(browser) => Ok((browser, false)),
        None => Ok((Browser::new()?, true)),
    }
}

/// The connection that a form or a link names, where the visitor may manage it.
struct Target<'s> {
    service: &'s Arc<Service>,
    id: ConnectionId,
}

fn target<'s>(
    state: &'s State,
    visitor: &Visitor,
    service: Option<&str>,
    account: Option<&str>,
    t: Language,
) -> Result<Target<'s>, (StatusCode, Notice)> {
    let service = service.and_then(|name| state.services.get(name)).and_then(|service| state.services.owner(service));
    let service = service.ok_or_else(|| (StatusCode::BAD_REQUEST, t.unknown_service()))?;
    let account = account.map_or(Ok(Account::default()), Account::parse);
    let account = account.map_err(|_| (StatusCode::BAD_REQUEST, t.bad_account()))?;
    if !visitor.reach.covers(&service.name, &account) {
        return Err((StatusCode::FORBIDDEN, t.not_covered()));
    }
    let id = ConnectionId { caller: visitor.caller.clone(), service: service.name.clone(), account };
    Ok(Target { service, id })
}

/// `GET /dashboard/disconnect?service=&account=`: asks first.
async fn ask(
    axum::extract::State(state): Shared,
    RawQuery(query): RawQuery,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let t = language(&headers);
    let visitor = match come_in(&state, t, &headers, &id).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let (service, account) = (parameter(query.as_deref(), "service"), parameter(query.as_deref(), "account"));
    let target = match target(&state, &visitor, service.as_deref(), account.as_deref(), t) {
        Ok(target) => target,
        Err((status, notice)) => return wrong(&state, t, status, &notice, &id),
    };
    match state.connections.get(&target.id).await {
        Ok(Some(_)) => {}
        Ok(None) => return wrong(&state, t, StatusCode::NOT_FOUND, &t.no_connection(), &id),
        Err(_) => return unavailable(&state, t, &id),
    }
    let Ok((browser, new)) = browser(&state, &headers) else { return unavailable(&state, t, &id) };
    let Ok(root) = state.roots.get().await else { return unavailable(&state, t, &id) };
    let f = Frame::new(&state, t, visitor.application.as_deref());
    let page = DisconnectPage {
        f,
        about: Subject { service: &target.service.title, application: f.application, who: visitor.who() },
        service: target.service.name.as_str(),
        account: target.id.account.as_str(),
        token_field: TOKEN,
        token: &browser.form_token(&root),
    };
    let mut response = page::render(&page, StatusCode::OK, &Forms::Own);
    if new {
        state.cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), None);
    }
    response
}

/// `POST /dashboard/disconnect`.
async fn disconnect(
    axum::extract::State(state): Shared,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    let headers = request.headers().clone();
    let t = language(&headers);
    let visitor = match come_in(&state, t, &headers, &id).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let form = match forms::read(&state, request).await {
        Ok((form, _)) => form,
        Err(error) => return form_error(&state, t, error, &id),
    };
    let target = match target(&state, &visitor, form.get("service"), form.get("account"), t) {
        Ok(target) => target,
        Err((status, notice)) => return wrong(&state, t, status, &notice, &id),
    };
    match state.connections.disconnect(&target.id).await {
        Ok(true) => page::see_other(&format!("{}/dashboard?disconnected={}", state.base(), target.service.name)),
        Ok(false) => wrong(&state, t, StatusCode::NOT_FOUND, &t.no_connection(), &id),
        Err(_) => unavailable(&state, t, &id),
    }
}

/// `POST /dashboard/sign-out`.
async fn sign_out(
    axum::extract::State(state): Shared,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    let headers = request.headers().clone();
    let t = language(&headers);
    if let Err(error) = forms::read(&state, request).await {
        return form_error(&state, t, error, &id);
    }
    if let Some(cookie) = state.cookies.read(&headers, Cookie::Session)
        && state.consent.sign_out(cookie).await.is_err()
    {
        return unavailable(&state, t, &id);
    }
    let frame = Frame::new(&state, t, None);
    let home = state.settings.return_to.first();
    let action = home.map(|url| Action::new(url.as_str(), t.back_to(frame.application)));
    let mut response = page::notice(frame, StatusCode::OK, &t.signed_out(), action.as_slice(), &id);
    state.cookies.clear(response.headers_mut(), Cookie::Session);
    response
}

fn form_error(state: &State, t: Language, error: FormError, id: &RequestId) -> Response {
    wrong(state, t, error.status(), &error.notice(t), id)
}
