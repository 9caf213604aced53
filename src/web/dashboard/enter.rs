//! A dashboard link: a page that says whose dashboard it opens, and its form, which spends the link and signs this browser
//! in. Looking changes nothing, so that previews and mail scanners spend no link, and nobody is signed in as somebody else
//! by following one.

use askama::Template;
use axum::{body::Body, response::Response};
use http::{Request, StatusCode};

use super::{form_error, unavailable, wrong};
use crate::{
    consent::SESSION_TTL,
    web::{
        cookies::Cookie,
        forms::{self, FormError, Proof, TOKEN},
        page::{self, Forms, Frame},
        visit::Visit,
    },
    words::Subject,
};

/// The form's field that holds the link.
const LINK: &str = "link";

#[derive(Template)]
#[template(path = "come-in.html")]
struct ComeInPage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    subject: &'a str,
    link: &'a str,
    cancel: Option<&'a str>,
    token_field: &'a str,
    token: &'a str,
}

/// `GET /dashboard?link=`.
pub(super) async fn show(visit: &Visit, link: &str) -> Response {
    let state = &*visit.state;
    let session = match state.parts.consent.sessions.behind_link(link, state.now()).await {
        Ok(Some(session)) => session,
        Ok(None) => return wrong(visit, StatusCode::BAD_REQUEST, &visit.t.dashboard_link_over()),
        Err(_) => return unavailable(visit),
    };
    let Ok(proof) = Proof::new(visit).await else { return unavailable(visit) };
    let f = Frame::new(state, visit.t, session.application.as_deref());
    let subject = session.caller.subject.as_str();
    let who = session.name.as_deref().unwrap_or(subject);
    let page = ComeInPage {
        f,
        about: Subject { service: "", application: f.application, who },
        subject,
        link,
        cancel: state.parts.settings.return_to.first().map(url::Url::as_str),
        token_field: TOKEN,
        token: &proof.token,
    };
    proof.given_with(page::render(&page, StatusCode::OK, &Forms::Own), state)
}

/// `POST /dashboard`: lets the browser in, once, under a session of its own.
pub(super) async fn enter(visit: Visit, request: Request<Body>) -> Response {
    let state = &visit.state;
    let form = match forms::read(state, request).await {
        Ok((form, _)) => form,
        Err(error) => return form_error(&visit, error),
    };
    let Some(link) = form.get(LINK) else { return form_error(&visit, FormError::Unreadable) };
    let cookie = match state.parts.consent.sessions.follow_link(link, state.now()).await {
        Ok(Some(cookie)) => cookie,
        Ok(None) => return wrong(&visit, StatusCode::BAD_REQUEST, &visit.t.dashboard_link_over()),
        Err(_) => return unavailable(&visit),
    };
    if let Some(old) = state.cookies.read(&visit.headers, Cookie::Session) {
        // The old session may be somebody else's; that it can't be ended now is no reason to stay out.
        let _ = state.parts.consent.sessions.sign_out(old).await;
    }
    let mut response = page::see_other(&format!("{}/dashboard", state.base()));
    state.cookies.set(response.headers_mut(), Cookie::Session, &cookie, Some(SESSION_TTL.as_secs()));
    response
}
