//! Coming back from the provider, and the pages that end a flow.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    body::Body,
    extract::{Path, RawQuery},
    response::Response,
};
use http::{Method, Request, StatusCode};

use super::Step;
use crate::{
    connection::Unavailable,
    consent::{
        Answer, Browser, CallbackError, Choice, Completed, Ended, HeldError, Outcome, Pending, Question, Reach,
        SESSION_TTL, Session,
    },
    id::Account,
    provider::Service,
    web::{
        cookies::Cookie,
        forms::{self, FormError, TOKEN},
        page::{self, Action, Forms, Frame},
    },
    words::Change,
};

/// Asks whether another account may take the place of the one that is connected.
#[derive(Template)]
#[template(path = "replace.html")]
struct ReplacePage<'a> {
    f: Frame<'a>,
    change: Change<'a>,
    service: &'a str,
    code: &'a str,
    token_field: &'a str,
    token: &'a str,
}

/// Shows the code that the application asks for.
#[derive(Template)]
#[template(path = "pending.html")]
struct PendingPage<'a> {
    f: Frame<'a>,
    title: &'a str,
    code: &'a str,
}

/// Parameters of a callback that are taken along however long they are (RFC 6749 §4.1.2, RFC 9207): the answer itself.
const ANSWER: [&str; 4] = ["state", "code", "error", "iss"];
/// Parameters that have no business in an address: tokens, and who somebody is (Apple's `user`).
const PRIVATE: [&str; 4] = ["user", "id_token", "access_token", "refresh_token"];
/// Longest other parameter that is taken along, with its name, and how long all of them may be together.
const OTHERS: (usize, usize) = (256, 1024);

/// `POST /oauth/callback/{service}` (OAuth 2.0 Form Post Response Mode). It comes from the provider's page, so without our
/// cookies; the `GET` that it leads to has them, and judges.
pub(super) async fn posted(step: Step, Path(name): Path<String>, request: Request<Body>) -> Response {
    if step.visit.state.parts.services.get(&name).is_none() {
        return step.unknown_service();
    }
    let fields = match forms::fields(&step.visit.headers, request.into_body()).await {
        Ok(fields) => fields,
        Err(error) => return step.form_error(error),
    };
    let mut room = OTHERS.1;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        let length = name.len() + value.len();
        if !ANSWER.contains(&name.as_str()) {
            if PRIVATE.contains(&name.as_str()) || length > OTHERS.0.min(room) {
                continue;
            }
            room -= length;
        }
        query.append_pair(&name, &value);
    }
    let query = query.finish();
    if query.is_empty() {
        return step.wrong(StatusCode::BAD_REQUEST, &step.visit.t.callback_malformed());
    }
    // What else may be wrong with it, the page of the `GET` says.
    page::see_other(&format!("{}/oauth/callback/{name}?{query}", step.visit.state.base()))
}

/// `GET /oauth/callback/{service}`.
pub(super) async fn callback(
    step: Step,
    method: Method,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(service) = step.visit.state.parts.services.get(&name).cloned() else { return step.unknown_service() };
    let browser = step.visit.browser();
    let answer = Answer::parse(query.as_deref().unwrap_or_default());
    if method == Method::HEAD && answer.is_ok() {
        // Whoever only looks spends nothing.
        return page::unseen();
    }
    let outcome = match answer {
        Ok(answer) => {
            // In a task of its own: a code that was sent to the provider is followed to its grant and into the store,
            // also when the browser goes away meanwhile.
            let (state, service, browser) = (Arc::clone(&step.visit.state), Arc::clone(&service), browser.clone());
            let (cause, now) = (step.visit.cause.clone(), step.now);
            let taken =
                async move { state.parts.consent.callback(&service, answer, browser.as_ref(), &cause, now).await };
            match step.visit.state.to_its_end(taken).await {
                Some(outcome) => outcome,
                None => return step.unavailable(),
            }
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(outcome) => go_on_with(step, &service, outcome, browser.as_ref()).await,
        Err(error) => callback_error(step, error, &service),
    }
}

async fn go_on_with(mut step: Step, service: &Service, outcome: Outcome, browser: Option<&Browser>) -> Response {
    match outcome {
        Outcome::Stored(completed) => connected(&step, service, *completed).await,
        Outcome::Question(question) => {
            step.application.clone_from(&question.application);
            ask(&step, service, &question, browser).await
        }
        Outcome::Pending(pending) => {
            step.application.clone_from(&pending.application);
            wait(&step, service, &pending)
        }
    }
}

/// A grant is stored: on to the application or the dashboard, with a session for what was just made.
async fn connected(step: &Step, service: &Service, completed: Completed) -> Response {
    let state = &step.visit.state;
    let mut response = match &completed.return_to {
        Some(url) => page::see_other(url.as_str()),
        None => {
            let connected = format!("{}/dashboard?connected={}", state.base(), service.name);
            let account = &completed.connection.account;
            // An account that was connected under another label before was renewed there.
            page::see_other(&if completed.asked == *account {
                connected
            } else {
                format!("{connected}&renewed={account}")
            })
        }
    };
    let life = completed.session_ends.map_or(SESSION_TTL, |ends| ends.until(step.now).min(SESSION_TTL));
    if let Ok(Some(cookie)) = session_after(step, completed, life).await {
        state.cookies.set(response.headers_mut(), Cookie::Session, &cookie, Some(life.as_secs()));
    }
    response
}

/// The session that a completed flow gives; none where the browser has one of the same person that reaches further, or where
/// the one that led here has ended.
async fn session_after(step: &Step, completed: Completed, life: Duration) -> Result<Option<String>, Unavailable> {
    let (state, now) = (&step.visit.state, step.now);
    if let Some(old) = state.cookies.read(&step.visit.headers, Cookie::Session) {
        let known = state.parts.consent.sessions.get(old, now).await?;
        if known.is_some_and(|session| session.caller == completed.caller && session.reach == Reach::All) {
            return Ok(None);
        }
        state.parts.consent.sessions.sign_out(old).await?;
    }
    if life.is_zero() {
        return Ok(None);
    }
    let session = Session {
        reach: Reach::only(&completed.connection),
        caller: completed.caller,
        name: completed.name,
        application: completed.application,
        expires: now.plus(life),
    };
    state.parts.consent.sessions.begin(session, now).await.map(Some)
}

async fn ask(step: &Step, service: &Service, question: &Question, browser: Option<&Browser>) -> Response {
    let (Some(browser), Ok(root)) = (browser, step.visit.state.parts.roots.get().await) else {
        return step.unavailable();
    };
    let page = ReplacePage {
        f: step.frame(),
        change: Change {
            service: &service.title,
            account: question.account.as_str(),
            before: &question.before,
            after: question.after.as_deref(),
        },
        service: service.name.as_str(),
        code: &question.code,
        token_field: TOKEN,
        token: &browser.form_token(&root),
    };
    let plain = super::plain_origins(&step.visit.state, service);
    page::render(&page, StatusCode::OK, &Forms::Provider { plain: &plain })
}

/// Back to the application, which confirms; or a page with the code for it.
fn wait(step: &Step, service: &Service, pending: &Pending) -> Response {
    match &pending.return_to {
        Some(url) => page::see_other(url.as_str()),
        None => {
            let page = PendingPage { f: step.frame(), title: &service.title, code: &pending.code };
            page::render(&page, StatusCode::OK, &Forms::Own)
        }
    }
}

/// `POST /connect/{service}/answer`: what the person says to the question.
pub(super) async fn answer(step: Step, Path(name): Path<String>, request: Request<Body>) -> Response {
    let (service, form, browser) = match step.form(&name, request).await {
        Ok(sent) => sent,
        Err(response) => return response,
    };
    let choice = match (form.get("choice"), form.get("account")) {
        (Some("replace"), _) => Choice::Replace,
        (Some("beside"), Some(label)) => match Account::parse(label) {
            Ok(account) => Choice::Beside(account),
            Err(_) => return step.wrong(StatusCode::BAD_REQUEST, &step.visit.t.bad_account()),
        },
        _ => return step.form_error(FormError::Unreadable),
    };
    let Some(code) = form.get("code").map(str::to_owned) else { return step.form_error(FormError::Unreadable) };
    let answered = {
        let (state, service, browser) = (Arc::clone(&step.visit.state), Arc::clone(&service), browser.clone());
        let (cause, now) = (step.visit.cause.clone(), step.now);
        async move { state.parts.consent.answer(&service, &code, choice, &browser, &cause, now).await }
    };
    match step.visit.state.to_its_end(answered).await {
        Some(Ok(outcome)) => go_on_with(step, &service, outcome, Some(&browser)).await,
        Some(Err(HeldError::Unknown)) => step.wrong(StatusCode::BAD_REQUEST, &step.visit.t.callback_unknown()),
        Some(Err(HeldError::Unavailable(_))) | None => step.unavailable(),
    }
}

/// Which page tells this.
fn callback_error(mut step: Step, error: CallbackError, service: &Service) -> Response {
    let t = step.visit.t;
    let bad = StatusCode::BAD_REQUEST;
    let (why, retry) = match error {
        CallbackError::Malformed => return step.wrong(bad, &t.callback_malformed()),
        CallbackError::Unknown => return step.wrong(bad, &t.callback_unknown()),
        CallbackError::OtherService | CallbackError::OtherIssuer => return step.wrong(bad, &t.callback_mixed_up()),
        CallbackError::OtherBrowser => return step.wrong(bad, &t.callback_elsewhere()),
        CallbackError::Unavailable(_) => return step.unavailable(),
        CallbackError::Ended { why, retry, .. } => (why, retry),
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
    step.application = retry.application;
    step.back = retry.back.map(String::from);
    let again = retry.again.map(|url| Action::new(url, t.words().try_again));
    step.wrong_but(status, &notice, again)
}
