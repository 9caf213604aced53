//! `GET /admin/connections`: all connections, a page at a time; `POST /admin/connections/disconnect`: gives up those that are meant,
//! after a dry run that counts them.

use std::{str::FromStr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{RawQuery, Request},
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Requested, Rights, admit, answered, number};
use crate::{
    clock::Timestamp,
    config::units::Span,
    connection::{Filter, PartError, Status, SurveyError},
    id::{Issuer, RequestId, ServiceName, Subject},
    refusal::{Refusal, TooLarge},
    secret::SecretString,
    web::{BODY_LIMIT, State, accept, answer},
};

/// How many connections a page has without `limit`, and at most.
const LIMIT: (u32, u32) = (50, 1000);

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/connections", get(list)).route("/admin/connections/disconnect", post(disconnect))
}

/// Which connections are meant, as it is written in a query or a body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Meant {
    service: Option<String>,
    status: Option<String>,
    user: Option<String>,
    issuer: Option<String>,
    expected_end_before: Option<String>,
    unused_since: Option<String>,
}

impl Meant {
    /// Whether it means all connections of everybody.
    const fn is_everything(&self) -> bool {
        self.service.is_none()
            && self.status.is_none()
            && self.user.is_none()
            && self.issuer.is_none()
            && self.expected_end_before.is_none()
            && self.unused_since.is_none()
    }

    /// Reads it; a span counts from now, forwards for what will end and backwards for what was not used.
    fn filter(self, state: &State) -> Result<Filter, Refusal> {
        let services = &state.parts.services;
        let service = self.service.map(|name| match services.get(&name).and_then(|service| services.owner(service)) {
            Some(owner) => Ok(owner.name.clone()),
            // One that is no longer configured has connections, too.
            None => ServiceName::parse(&name).map_err(|_| Refusal::unknown_service()),
        });
        let status = self.status.map(|status| match status.as_str() {
            "active" => Ok(Status::Active),
            "pending" => Ok(Status::Pending),
            "invalid" => Ok(Status::Invalid),
            _ => Err(Refusal::bad_request("`status` should be active, pending or invalid")),
        });
        let user = parsed(self.user, "user", Subject::parse)?;
        let issuer = match (parsed(self.issuer, "issuer", Issuer::parse)?, &user) {
            (None, Some(_)) => match state.parts.settings.issuers.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
            (issuer, _) => issuer,
        };
        let now = state.now();
        Ok(Filter {
            service: service.transpose()?,
            status: status.transpose()?,
            user,
            issuer,
            ends_before: moment(self.expected_end_before, "expected_end_before", |span| now.plus(span.0))?,
            unused_since: moment(self.unused_since, "unused_since", |span| now.before(span.0))?,
        })
    }
}

fn parsed<T, E>(text: Option<String>, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, Refusal> {
    let wrong = |_| Refusal::bad_request(format!("`{name}` can't be one"));
    text.map(|text| parse(&text).map_err(wrong)).transpose()
}

/// A moment as RFC 3339, a day, or a span from now.
fn moment(text: Option<String>, name: &str, of: impl Fn(Span) -> Timestamp) -> Result<Option<Timestamp>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let found = Timestamp::parse_rfc3339(&text)
        .or_else(|| Timestamp::parse_date(&text))
        .or_else(|| Span::from_str(&text).ok().map(of));
    let wrong = || format!("`{name}` should be a moment such as 2026-11-23T15:04:05Z, a day, or a span such as 90d");
    found.map(Some).ok_or_else(|| Refusal::bad_request(wrong()))
}

/// What a query asks for; a name that it doesn't know is a mistake that would list too much.
fn asked(query: Option<&str>) -> Result<(Meant, Option<String>), Refusal> {
    let (mut meant, mut cursor) = (Meant::default(), None);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let place = match &*name {
            "service" => &mut meant.service,
            "status" => &mut meant.status,
            "user" => &mut meant.user,
            "issuer" => &mut meant.issuer,
            "expected_end_before" => &mut meant.expected_end_before,
            "unused_since" => &mut meant.unused_since,
            "cursor" => &mut cursor,
            "limit" => continue,
            _ => {
                return Err(Refusal::bad_request(
                    "A parameter should be one of service, status, user, issuer, expected_end_before, unused_since, limit, cursor",
                ));
            }
        };
        if value.is_empty() {
            continue;
        }
        if place.replace(value.into_owned()).is_some() {
            return Err(Refusal::bad_request(format!("`{name}` may be given once")));
        }
    }
    Ok((meant, cursor))
}

async fn list(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    RawQuery(query): RawQuery,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        admit(&state, &headers, Rights::Read)?;
        let limit = number(query.as_deref(), "limit", 1..=LIMIT.1)?.unwrap_or(LIMIT.0);
        let (meant, cursor) = asked(query.as_deref())?;
        let filter = meant.filter(&state)?;
        let survey = &state.parts.connections.survey;
        let page = survey.page(&filter, cursor.as_deref(), limit as usize).await.map_err(|error| match error {
            SurveyError::Cursor => Refusal::bad_request("`cursor` should be a next_cursor that this list gave"),
            SurveyError::Unavailable(unavailable) => unavailable.into(),
        })?;
        Ok(json!({ "connections": page.connections, "next_cursor": page.next }))
    };
    reply(listed.await, &id, &headers)
}

/// What is to be given up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: Option<String>,
    status: Option<String>,
    user: Option<String>,
    issuer: Option<String>,
    expected_end_before: Option<String>,
    unused_since: Option<String>,
    dry_run: Option<bool>,
    confirm: Option<SecretString>,
}

const SHAPE: &str =
    "The body must be JSON like {\"unused_since\": \"90d\"}, or {\"confirm\": \"…\"} with what a dry run gave";

async fn disconnect(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    Requested(cause): Requested,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
    request: Request<Body>,
) -> Response {
    let done = async {
        admit(&state, &headers, Rights::Write)?;
        let body = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await;
        let body = body.map_err(|_| Refusal::too_large(TooLarge::Body))?;
        let wanted: Wanted = serde_json::from_slice(&body).map_err(|_| Refusal::bad_request(SHAPE))?;
        let Wanted { service, status, user, issuer, expected_end_before, unused_since, dry_run, confirm } = wanted;
        let meant = Meant { service, status, user, issuer, expected_end_before, unused_since };
        let survey = Arc::clone(&state.parts.connections.survey);
        match (confirm, dry_run.unwrap_or(true)) {
            (Some(word), false) => {
                if !meant.is_everything() {
                    let which = "`confirm` says what is meant: send it with `\"dry_run\": false`, and nothing else";
                    return Err(Refusal::bad_request(which));
                }
                let work = async move { survey.part(&word, &cause).await };
                let parted = state.to_its_end(work).await.ok_or_else(Refusal::error)?.map_err(refused)?;
                tracing::info!(disconnected = parted.disconnected, request_id = %id, "an operator gave connections up");
                let (disconnected, left, failed) = (parted.disconnected, parted.left, parted.failed);
                Ok(json!({ "dry_run": false, "disconnected": disconnected, "left": left, "failed": failed }))
            }
            (Some(_), true) | (None, false) => {
                let both = "Nothing is given up without both `\"dry_run\": false` and the `confirm` of a dry run";
                Err(Refusal::bad_request(both))
            }
            (None, true) if meant.is_everything() => {
                let which =
                    "Say which connections are meant: service, status, user, issuer, expected_end_before, unused_since";
                Err(Refusal::bad_request(which))
            }
            (None, true) => {
                let counted = survey.count_to_part(&meant.filter(&state)?).await?;
                Ok(json!({
                    "dry_run": true,
                    "connections": counted.connections,
                    "by_service": counted.by_service,
                    "more": counted.more,
                    "unreadable": counted.unreadable,
                    "confirm": counted.confirm.as_ref().map(SecretString::expose),
                    "expires_in": counted.expires_in.as_secs(),
                }))
            }
        }
    };
    reply(done.await, &id, &headers)
}

fn refused(error: PartError) -> Refusal {
    match error {
        PartError::Unknown => Refusal::bad_request("This `confirm` doesn't stand, or no longer: do the dry run again"),
        PartError::Changed { counted, left } => Refusal::set_changed(counted, left),
        PartError::Unavailable(unavailable) => unavailable.into(),
    }
}

fn reply(done: Result<Value, Refusal>, id: &RequestId, headers: &HeaderMap) -> Response {
    match done {
        Ok(body) => answered(StatusCode::OK, &body),
        Err(refusal) => answer(&refusal, id, accept(headers)),
    }
}
