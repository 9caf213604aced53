//! API keys on the dashboard: storing one, replacing it, taking it away, and the prompt to connect instead. A key goes in
//! and is never shown again, not even in part.

use askama::Template;
use axum::{Extension, body::Body, extract::RawQuery, response::Response};
use http::{HeaderMap, Request, StatusCode};

use super::{Shared, browser, come_in, form_error, target, unavailable, wrong};
use crate::{
    clock::Timestamp,
    config::ApiKeyPhase,
    connection::KeyFacts,
    id::RequestId,
    provider::Service,
    secret::SecretString,
    web::{
        consent_pages::{language, parameter},
        cookies::Cookie,
        forms::{self, TOKEN},
        page::{self, Forms, Frame},
        texts::{Language, Shown, Subject},
    },
};

/// What an entry says of keys.
pub(super) struct KeyPlace {
    /// Whether there is a form to store one.
    pub offered: bool,
    /// Whether one is stored.
    pub stored: bool,
    /// Whether it lies unused beside a grant that works.
    pub beside: bool,
    /// The way away from it.
    pub prompt: Option<Prompt>,
}

/// Why to connect instead, and until when.
pub(super) struct Prompt {
    pub until: Option<String>,
    pub benefits: Vec<String>,
}

impl KeyPlace {
    pub fn of(service: &Service, key: Option<KeyFacts>, shown: Shown, t: Language, now: Timestamp) -> Self {
        let phase = service.api_keys.phase_at(now);
        let granted = matches!(shown, Shown::Connected | Shown::NeedsMore | Shown::Pending);
        let leads_away = matches!(phase, ApiKeyPhase::Encouraged | ApiKeyPhase::Deprecated);
        let prompt = leads_away && shown == Shown::ApiKey && service.oauth.is_some();
        Self {
            offered: service.offers_keys && phase != ApiKeyPhase::Retired && !granted,
            stored: key.is_some(),
            beside: key.is_some() && matches!(shown, Shown::Connected | Shown::NeedsMore),
            prompt: prompt.then(|| Prompt::of(service, t)),
        }
    }
}

impl Prompt {
    fn of(service: &Service, t: Language) -> Self {
        let own = &service.api_keys.benefits;
        let benefits = if own.is_empty() {
            t.words().key_benefits.iter().map(|text| (*text).to_owned()).collect()
        } else {
            own.clone()
        };
        let until = service.api_keys.retire_on.map(|day| t.migrate_until(&service.title, &t.day(day)));
        Self { until, benefits }
    }
}

/// `POST /dashboard/api-key`.
pub(super) async fn store(
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
    let service = target.service;
    if service.api_keys.is_retired(state.now()) {
        return wrong(&state, t, StatusCode::FORBIDDEN, &t.keys_retired(&service.title), &id);
    }
    // Blanks around it come from copying.
    let key = SecretString::from(form.get("api_key").unwrap_or_default().trim().to_owned());
    if !service.takes_key(&key) {
        return wrong(&state, t, StatusCode::BAD_REQUEST, &t.key_bad(), &id);
    }
    match state.connections.store_api_key(&target.id, &key).await {
        Ok(()) => page::see_other(&format!("{}/dashboard?key_stored={}", state.base(), service.name)),
        Err(_) => unavailable(&state, t, &id),
    }
}

#[derive(Template)]
#[template(path = "api-key-remove.html")]
struct RemovePage<'a> {
    f: Frame<'a>,
    about: Subject<'a>,
    service: &'a str,
    account: &'a str,
    token_field: &'a str,
    token: &'a str,
}

/// `GET /dashboard/api-key/remove?service=&account=`: asks first.
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
    match state.connections.get(&target.id).await {
        Ok(Some(connection)) if connection.api_key.is_some() => {}
        Ok(_) => return wrong(&state, t, StatusCode::NOT_FOUND, &t.key_missing(), &id),
        Err(_) => return unavailable(&state, t, &id),
    }
    let Ok((browser, new)) = browser(&state, &headers) else { return unavailable(&state, t, &id) };
    let Ok(root) = state.roots.get().await else { return unavailable(&state, t, &id) };
    let f = Frame::new(&state, t, visitor.application.as_deref());
    let page = RemovePage {
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

/// `POST /dashboard/api-key/remove`.
pub(super) async fn remove(
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
    match state.connections.remove_api_key(&target.id).await {
        Ok(true) => page::see_other(&format!("{}/dashboard?key_removed={}", state.base(), target.service.name)),
        Ok(false) => wrong(&state, t, StatusCode::NOT_FOUND, &t.key_missing(), &id),
        Err(_) => unavailable(&state, t, &id),
    }
}
