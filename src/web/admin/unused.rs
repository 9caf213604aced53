//! `POST /admin/unused`, from the overview: gives up connections that nobody has used for long, after a page that counts them. What
//! `POST /admin/connections/disconnect` does for programs, and by the same count.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{Router, body::Body, response::Response, routing::post};
use http::{Request, StatusCode};

use super::{
    Requested,
    operators::Rights,
    sign_in::{self, frame},
};
use crate::{
    config::Language,
    connection::{Counted, Filter, PartError, Parted},
    events::Cause,
    id::ServiceName,
    secret::SecretString,
    web::{
        State,
        forms::{self, Form},
        page::{self, Action, Forms, Frame},
        visit::Visit,
    },
    words::{Notice, texts},
};

const DAY: Duration = Duration::from_secs(86_400);
/// How many days may be asked for at most: ten years.
const DAYS_MAX: u32 = 3650;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/unused", post(unused))
}

#[derive(Template)]
#[template(path = "unused.html")]
struct UnusedPage<'a> {
    f: Frame<'a>,
    connections: usize,
    days: u32,
    services: Vec<(String, usize)>,
    more: bool,
    unreadable: usize,
    confirm: &'a str,
    minutes: u64,
}

async fn unused(visit: Visit, Requested(cause): Requested, request: Request<Body>) -> Response {
    let Some(admin) = sign_in::admin(&visit) else { return sign_in::nothing_here(&visit) };
    match sign_in::rights(&visit, admin).await {
        Ok(Some(Rights::Write)) => {}
        Ok(Some(Rights::Read)) => {
            let why = "You are signed in to look and change nothing.";
            let advice = "Make a link with `valetkey admin-link --write`, or sign in with the other token.";
            return said(&visit, StatusCode::FORBIDDEN, ("Nothing was done", why, advice));
        }
        Ok(None) => return sign_in::ask(&visit, StatusCode::UNAUTHORIZED, false),
        Err(response) => return response,
    }
    let form = match forms::read_from_this_host(request).await {
        Ok(form) => form,
        Err(error) => return notice(&visit, error.status(), &error.notice(texts(Language::En))),
    };
    match form.get("confirm") {
        Some(word) => give_up(&visit, SecretString::from(word), cause).await,
        None => count(&visit, &form).await,
    }
}

async fn count(visit: &Visit, form: &Form) -> Response {
    let days = form.get("days").and_then(|days| days.trim().parse().ok()).filter(|days| (1..=DAYS_MAX).contains(days));
    let Some(days) = days else {
        let advice = format!("Give a number of days from 1 to {DAYS_MAX}.");
        return said(visit, StatusCode::BAD_REQUEST, ("Nothing was counted", "This is no number of days.", &advice));
    };
    let services = &visit.state.parts.services;
    let service = match form.get("service").filter(|name| !name.is_empty()) {
        None => None,
        // One that is no longer configured has connections, too.
        Some(name) => match ServiceName::parse(name) {
            Ok(name) => Some(name),
            Err(_) => {
                let what = ("Nothing was counted", "This is no service's name.", "Choose one from the list.");
                return said(visit, StatusCode::BAD_REQUEST, what);
            }
        },
    };
    let filter = Filter { service, unused_since: Some(visit.state.now().before(DAY * days)), ..Filter::default() };
    match visit.state.parts.connections.survey.count_to_part(&filter).await {
        Err(_) => sign_in::unavailable(visit),
        Ok(Counted { connections, by_service, unreadable, more, confirm: Some(word), expires_in }) => {
            let title = |name: &str| services.get(name).map_or_else(|| name.to_owned(), |known| known.title.clone());
            let page = UnusedPage {
                f: frame(visit),
                connections,
                days,
                services: by_service.iter().map(|(name, count)| (title(name.as_str()), *count)).collect(),
                more,
                unreadable,
                confirm: word.expose(),
                minutes: expires_in.as_secs() / 60,
            };
            page::render(&page, StatusCode::OK, &Forms::Own)
        }
        Ok(Counted { unreadable, .. }) => {
            let mut why = format!("Nothing that can be disconnected has gone unused for {days} days.");
            if unreadable > 0 {
                why += &format!(" {unreadable} can’t be opened by any key of the vault; they stay.");
            }
            said(visit, StatusCode::OK, ("There is nothing to disconnect", &why, ""))
        }
    }
}

async fn give_up(visit: &Visit, word: SecretString, cause: Cause) -> Response {
    let survey = Arc::clone(&visit.state.parts.connections.survey);
    let work = async move { survey.part(&word, &cause).await };
    let again = "Count them again.";
    match visit.state.to_its_end(work).await {
        Some(Ok(Parted { disconnected, left, failed })) => {
            tracing::info!(disconnected, request_id = %visit.id, "an operator gave connections up");
            let heading = format!("{disconnected} disconnected");
            let mut why = "Their tokens are revoked and deleted.".to_owned();
            if left > 0 {
                why += &format!(" {left} changed meanwhile and stay.");
            }
            if failed > 0 {
                why += &format!(" {failed} could not be disconnected now.");
            }
            let advice = if failed > 0 { again } else { "" };
            said(visit, StatusCode::OK, (&heading, &why, advice))
        }
        Some(Err(PartError::Unknown)) => {
            let why = "This was confirmed before, or too late.";
            said(visit, StatusCode::BAD_REQUEST, ("Nothing was done", why, again))
        }
        Some(Err(PartError::Changed { counted, left })) => {
            let why = format!("{counted} were counted, and only {left} of them are still unused.");
            said(visit, StatusCode::CONFLICT, ("Nothing was done", &why, again))
        }
        Some(Err(PartError::Unavailable(_))) | None => sign_in::unavailable(visit),
    }
}

fn said(visit: &Visit, status: StatusCode, (heading, body, advice): (&str, &str, &str)) -> Response {
    notice(visit, status, &Notice { heading: heading.to_owned(), body: body.to_owned(), advice: advice.to_owned() })
}

fn notice(visit: &Visit, status: StatusCode, notice: &Notice) -> Response {
    let back = Action::new("/admin#connections", "To the overview");
    page::notice(frame(visit), status, notice, std::slice::from_ref(&back), &visit.id)
}
