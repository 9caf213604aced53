//! Another label for a connection: a page that asks, and its form.

use askama::Template;
use axum::{Extension, body::Body, extract::RawQuery, response::Response};
use http::{HeaderMap, Request, StatusCode};

use super::{Shared, Target, browser, come_in, exists, form_error, target, unavailable, wrong};
use crate::{
    connection::Renamed,
    consent::{Browser, Reach, SESSION_TTL},
    id::{Account, RequestId},
    web::{
        State,
        consent_pages::{language, parameter},
        cookies::Cookie,
        forms::{self, TOKEN},
        page::{self, Forms, Frame},
        texts::{Language, Subject},
        visitor::Visitor,
    },
};

#[derive(Template)]
#[template(path = "rename.html")]
struct RenamePage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    service: &'a str,
    account: &'a str,
    /// What stands in the field.
    label: &'a str,
    error: Option<String>,
    token_field: &'a str,
    token: &'a str,
}

/// `GET /dashboard/rename?service=&account=`.
pub(super) async fn ask(
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
    match exists(&state, &target.id).await {
        Ok(true) => {}
        Ok(false) => return wrong(&state, t, StatusCode::NOT_FOUND, &t.no_connection(), &id),
        Err(_) => return unavailable(&state, t, &id),
    }
    let Ok((browser, new)) = browser(&state, &headers) else { return unavailable(&state, t, &id) };
    let label = target.id.account.as_str();
    let mut response = page(&state, t, &visitor, &target, &browser, StatusCode::OK, label, None, &id).await;
    if new {
        state.cookies.set(response.headers_mut(), Cookie::Browser, browser.cookie(), None);
    }
    response
}

#[expect(clippy::too_many_arguments, reason = "all that the page shows, from two handlers")]
async fn page(
    state: &State,
    t: Language,
    visitor: &Visitor,
    target: &Target<'_>,
    browser: &Browser,
    status: StatusCode,
    label: &str,
    error: Option<String>,
    id: &RequestId,
) -> Response {
    let Ok(root) = state.roots.get().await else { return unavailable(state, t, id) };
    let f = Frame::new(state, t, visitor.application.as_deref());
    let page = RenamePage {
        f,
        about: Subject { service: &target.service.title, application: f.application, who: visitor.who() },
        service: target.service.name.as_str(),
        account: target.id.account.as_str(),
        label,
        error,
        token_field: TOKEN,
        token: &browser.form_token(&root),
    };
    page::render(&page, status, &Forms::Own)
}

/// `POST /dashboard/rename`.
pub(super) async fn rename(
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
    let (form, browser) = match forms::read(&state, request).await {
        Ok(read) => read,
        Err(error) => return form_error(&state, t, error, &id),
    };
    let target = match target(&state, &visitor, form.get("service"), form.get("account"), t) {
        Ok(target) => target,
        Err((status, notice)) => return wrong(&state, t, status, &notice, &id),
    };
    let text = form.get("label").unwrap_or_default();
    let refused = |status, error| page(&state, t, &visitor, &target, &browser, status, text, Some(error), &id);
    let Ok(label) = Account::parse(text) else {
        return refused(StatusCode::BAD_REQUEST, t.label_malformed().to_owned()).await;
    };
    match state.connections.rename(&target.id, &label).await {
        Ok(Renamed::Done) => {}
        Ok(Renamed::Taken) => {
            return refused(StatusCode::CONFLICT, t.label_taken(&target.service.title, label.as_str())).await;
        }
        Ok(Renamed::Absent) => return wrong(&state, t, StatusCode::NOT_FOUND, &t.no_connection(), &id),
        Err(_) => return unavailable(&state, t, &id),
    }
    let mut response = page::see_other(&format!("{}/dashboard?renamed={}", state.base(), target.service.name));
    if let Err(error) = follow(&state, &visitor, &target, label, &headers, &mut response).await {
        tracing::warn!(%error, "a session could not follow its connection to its new label");
    }
    response
}

/// A session that reaches one connection only goes along with it.
async fn follow(
    state: &State,
    visitor: &Visitor,
    target: &Target<'_>,
    account: Account,
    headers: &HeaderMap,
    response: &mut Response,
) -> Result<(), crate::connection::Unavailable> {
    if visitor.reach == Reach::All {
        return Ok(());
    }
    let reach = Reach::Only { service: target.service.name.clone(), account };
    let (caller, name) = (visitor.caller.clone(), visitor.name.clone());
    let cookie = state.consent.sign_in(caller, name, visitor.application.clone(), reach, state.now()).await?;
    if let Some(old) = state.cookies.read(headers, Cookie::Session) {
        state.consent.sign_out(old).await?;
    }
    state.cookies.set(response.headers_mut(), Cookie::Session, &cookie, Some(SESSION_TTL.as_secs()));
    Ok(())
}
