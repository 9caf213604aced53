//! How an operator's browser comes in and goes: by a link (`valetkey admin-link`) or with a token. Looking at a link changes
//! nothing, so that previews spend none.

use askama::Template;
use axum::{body::Body, extract::RawQuery, response::Response};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::operators::{Rights, SESSION};
use crate::{
    config::{Admin, Language, loopback::is_loopback_host},
    refusal::Refusal,
    web::{
        accept, answer,
        consent_pages::parameter,
        cookies,
        forms::{self, FormError},
        page::{self, Action, Forms, Frame},
        visit::Visit,
    },
    words::{Notice, texts},
};

const COOKIE: &str = "valetkey-operator";

#[derive(Template)]
#[template(path = "operator-sign-in.html")]
struct SignInPage<'a> {
    f: Frame<'a>,
    /// A link that was followed here, and what it lets its holder do.
    link: Option<(&'a str, Rights)>,
    wrong: bool,
}

/// The tokens of operators; where there are none, nothing is here.
pub(super) fn admin(visit: &Visit) -> Option<&Admin> {
    visit.state.parts.settings.admin.as_ref()
}

/// What is said where there are no tokens of operators.
pub(super) fn nothing_here(visit: &Visit) -> Response {
    answer(&Refusal::not_found(), &visit.id, accept(&visit.headers))
}

/// What this browser may do; `None`: it must sign in first.
pub(super) async fn rights(visit: &Visit, admin: &Admin) -> Result<Option<Rights>, Response> {
    let Some(cookie) = cookies::read(&visit.headers, COOKIE) else { return Ok(None) };
    let rights = visit.state.parts.operators.rights(admin, cookie, visit.state.now()).await;
    rights.map_err(|_| unavailable(visit))
}

/// The page with the form.
pub(super) fn ask(visit: &Visit, status: StatusCode, wrong: bool) -> Response {
    if is_in_the_clear(&visit.headers) {
        return in_the_clear(visit, status);
    }
    let page = SignInPage { f: frame(visit), link: None, wrong };
    page::render(&page, status, &Forms::Own)
}

/// `GET /admin/sign-in?link=`.
pub(super) async fn show(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let Some(admin) = admin(&visit) else { return nothing_here(&visit) };
    if is_in_the_clear(&visit.headers) {
        return in_the_clear(&visit, StatusCode::BAD_REQUEST);
    }
    let Some(link) = parameter(query.as_deref(), "link") else {
        return ask(&visit, StatusCode::OK, false);
    };
    match visit.state.parts.operators.behind_link(admin, &link, visit.state.now()).await {
        Ok(Some(rights)) => {
            let page = SignInPage { f: frame(&visit), link: Some((&link, rights)), wrong: false };
            page::render(&page, StatusCode::OK, &Forms::Own)
        }
        Ok(None) => over(&visit),
        Err(_) => unavailable(&visit),
    }
}

/// `POST /admin/sign-in`, with `link` or `token`.
pub(super) async fn sign_in(visit: Visit, request: Request<Body>) -> Response {
    let Some(admin) = admin(&visit).cloned() else { return nothing_here(&visit) };
    if is_in_the_clear(&visit.headers) {
        return in_the_clear(&visit, StatusCode::BAD_REQUEST);
    }
    let form = match forms::read_from_this_host(request).await {
        Ok(form) => form,
        Err(error) => return form_error(&visit, error),
    };
    let (operators, now) = (&visit.state.parts.operators, visit.state.now());
    let cookie = if let Some(link) = form.get("link") {
        match operators.follow_link(&admin, link, now).await {
            Ok(Some(cookie)) => Ok(cookie),
            Ok(None) => return over(&visit),
            Err(unavailable) => Err(unavailable),
        }
    } else {
        match form.get("token").and_then(|token| Rights::of(&admin, token.trim().as_bytes())) {
            Some(rights) => operators.sign_in(&admin, rights, now).await,
            None => {
                tracing::warn!(request_id = %visit.id, client = ?visit.cause.address, "a wrong token for /admin");
                return ask(&visit, StatusCode::UNAUTHORIZED, true);
            }
        }
    };
    let Ok(cookie) = cookie else { return unavailable(&visit) };
    // Whoever this browser was before, it is no longer.
    if let Some(before) = cookies::read(&visit.headers, COOKIE) {
        let _ = operators.sign_out(before).await;
    }
    let way = if form.get("link").is_some() { "link" } else { "token" };
    tracing::info!(request_id = %visit.id, client = ?visit.cause.address, way, "an operator signed in");
    let mut response = page::see_other("/admin");
    set(response.headers_mut(), &visit.headers, &cookie, SESSION.as_secs());
    response
}

/// `POST /admin/sign-out`.
pub(super) async fn sign_out(visit: Visit, request: Request<Body>) -> Response {
    if admin(&visit).is_none() {
        return nothing_here(&visit);
    }
    if let Err(error) = forms::read_from_this_host(request).await {
        return form_error(&visit, error);
    }
    if let Some(cookie) = cookies::read(&visit.headers, COOKIE)
        && visit.state.parts.operators.sign_out(cookie).await.is_err()
    {
        return unavailable(&visit);
    }
    let mut response = page::see_other("/admin");
    set(response.headers_mut(), &visit.headers, "", 0);
    response
}

/// Whether a browser comes in by plain HTTP from another machine: it would not keep the cookie. Browsers send Fetch Metadata to
/// loopback and by TLS, and nowhere else.
fn is_in_the_clear(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_by_tls = text("sec-fetch-site").is_some() || text("origin").is_some_and(|from| from.starts_with("https://"));
    !is_by_tls && !text("host").is_some_and(is_loopback_host)
}

fn in_the_clear(visit: &Visit, status: StatusCode) -> Response {
    notice(
        visit,
        status,
        &Notice {
            heading: "Not over plain HTTP".to_owned(),
            body: "This page came over plain HTTP: what is typed here could be read on the way, and no browser would stay signed in.".to_owned(),
            advice:
                "Open it over TLS, or on localhost through a port-forward. A link that you have is still good."
                    .to_owned(),
        },
    )
}

/// Sets the cookie. Browsers take `Secure` on plain HTTP nowhere but on loopback, and there not all of them do.
fn set(headers: &mut HeaderMap, asked: &HeaderMap, value: &str, seconds: u64) {
    let host = asked.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let secure = if is_loopback_host(host) { "" } else { "; Secure" };
    let text = format!("{COOKIE}={value}; Path=/admin; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    if let Ok(mut value) = HeaderValue::try_from(text) {
        value.set_sensitive(true);
        headers.append(header::SET_COOKIE, value);
    }
}

/// Operators read English: it is what logs, errors and documentation are written in.
pub(super) fn frame(visit: &Visit) -> Frame<'_> {
    Frame::for_operators(&visit.state)
}

fn over(visit: &Visit) -> Response {
    notice(
        visit,
        StatusCode::BAD_REQUEST,
        &Notice {
            heading: "This link no longer works".to_owned(),
            body: "It opens once, and for ten minutes.".to_owned(),
            advice: "Make another with `valetkey admin-link`.".to_owned(),
        },
    )
}

pub(super) fn unavailable(visit: &Visit) -> Response {
    notice(visit, StatusCode::SERVICE_UNAVAILABLE, &texts(Language::En).unavailable())
}

fn form_error(visit: &Visit, error: FormError) -> Response {
    notice(visit, error.status(), &error.notice(texts(Language::En)))
}

fn notice(visit: &Visit, status: StatusCode, notice: &Notice) -> Response {
    let to = Action::new("/admin", "To the overview");
    page::notice(frame(visit), status, notice, std::slice::from_ref(&to), &visit.id)
}
