//! `GET /admin/audit`: what happened, the newest first, as a page of JSON with a cursor; as CSV or lines of JSON for `Accept`,
//! all of it in one answer.

use std::{fmt::Write, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::RawQuery,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use super::{Rights, admit};
use crate::{
    connection::Unavailable,
    events::audit::{Asked, Cursor, Filter, Scan, ShownEvent},
    id::RequestId,
    refusal::Refusal,
    store,
    web::{State, accept, answer, consent_pages::parameter, page},
};

/// How many events a page has, …
const LIMIT: usize = 50;
/// … and at most.
const LIMIT_MAX: usize = 1000;
/// How many lines of an export are sent at once.
const LINES: usize = 200;
/// What this route takes.
const PARAMETERS: [&str; 9] = ["user", "issuer", "service", "account", "type", "since", "until", "limit", "cursor"];

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/audit", get(list))
}

/// A page of events.
#[derive(Serialize)]
struct Listed {
    events: Vec<ShownEvent>,
    next_cursor: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Csv,
}

async fn list(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    RawQuery(query): RawQuery,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let listed = async {
        admit(&state, &headers, Rights::Read)?;
        let (filter, after, limit) = question(&state, query.as_deref()).await?;
        match form(accept(&headers)) {
            Form::Json => page_of(&state, &filter, after, limit.unwrap_or(LIMIT)).await,
            form => export(&state, &filter, after, limit, form).await,
        }
    };
    match listed.await {
        Ok(mut response) => {
            page::seal(response.headers_mut());
            response
        }
        Err(refusal) => answer(&refusal, &id, accept(&headers)),
    }
}

/// The first form that is named.
fn form(accept: Option<&str>) -> Form {
    let mut named = accept.unwrap_or_default().split(',').filter_map(|range| range.split(';').next());
    named
        .find_map(|range| match range.trim() {
            "application/json" => Some(Form::Json),
            "application/x-ndjson" => Some(Form::Lines),
            "text/csv" => Some(Form::Csv),
            _ => None,
        })
        .unwrap_or(Form::Json)
}

async fn question(state: &State, query: Option<&str>) -> Result<(Filter, Option<Cursor>, Option<usize>), Refusal> {
    let named = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in named {
        if !PARAMETERS.contains(&name.as_ref()) {
            return Err(Refusal::bad_request(format!("Take one of these parameters: {}", PARAMETERS.join(", "))));
        }
        if seen.contains(&name.clone().into_owned()) {
            return Err(Refusal::bad_request("Give each parameter once"));
        }
        seen.push(name.into_owned());
    }
    let given = |name| parameter(query, name).filter(|value| !value.is_empty());
    let [user, issuer, service, account, kind, since, until] =
        ["user", "issuer", "service", "account", "type", "since", "until"].map(given);
    let asked = Asked {
        user: user.as_deref(),
        issuer: issuer.as_deref(),
        service: service.as_deref(),
        account: account.as_deref(),
        kind: kind.as_deref(),
        since: since.as_deref(),
        until: until.as_deref(),
    };
    let filter = filter(state, &asked).await?;
    let after = match given("cursor") {
        Some(text) => {
            let wrong = || Refusal::bad_request("Take the cursor from `next_cursor` of the page before, as it is");
            Some(Cursor::parse(&text).ok_or_else(wrong)?)
        }
        None => None,
    };
    let limit = match given("limit") {
        Some(text) => {
            let wrong = || Refusal::bad_request("Give a limit from 1 to 1000");
            Some(text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(wrong)?)
        }
        None => None,
    };
    Ok((filter, after, limit))
}

/// Why nothing was looked for.
pub(super) enum NotAsked {
    /// What was asked for can't be; says what to do.
    Wrong(String),
    /// Store or keys are away.
    Away(Unavailable),
}

impl From<Unavailable> for NotAsked {
    fn from(unavailable: Unavailable) -> Self {
        Self::Away(unavailable)
    }
}

impl From<NotAsked> for Refusal {
    fn from(not_asked: NotAsked) -> Self {
        match not_asked {
            NotAsked::Wrong(why) => Self::bad_request(why),
            NotAsked::Away(unavailable) => unavailable.into(),
        }
    }
}

/// What is asked for, with the names of the people in the store.
pub(super) async fn filter(state: &State, asked: &Asked<'_>) -> Result<Filter, NotAsked> {
    let (mut filter, callers) = asked.filter(&state.parts.settings.issuers, state.now()).map_err(NotAsked::Wrong)?;
    if filter.user.is_some() {
        let mut owners = Vec::new();
        for caller in &callers {
            owners.push(state.parts.roots.owner(caller).await?);
        }
        filter.owners = Some(owners);
    }
    Ok(filter)
}

async fn page_of(state: &State, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Response, Refusal> {
    let page = state.parts.audit.page(filter, after, limit).await.map_err(Unavailable::from)?;
    let events = page.events.into_iter().map(ShownEvent::from).collect();
    Ok(Json(Listed { events, next_cursor: page.next.map(|next| next.text()) }).into_response())
}

/// All that there is, as it is read. A store that goes away meanwhile breaks the answer off, so that nobody takes a part for the
/// whole.
async fn export(
    state: &State,
    filter: &Filter,
    after: Option<Cursor>,
    limit: Option<usize>,
    form: Form,
) -> Result<Response, Refusal> {
    let scan = state.parts.audit.scan(filter, after).await.map_err(Unavailable::from)?;
    let (head, kind) = match form {
        Form::Csv => (format!("{}\r\n", ShownEvent::CSV_HEAD), "text/csv; charset=utf-8; header=present"),
        Form::Json | Form::Lines => (String::new(), "application/x-ndjson"),
    };
    let lines = stream::unfold(Some((scan, limit.unwrap_or(usize::MAX))), move |rest| async move {
        let (mut scan, mut left) = rest?;
        match some_lines(&mut scan, &mut left, form).await {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some((Ok(Bytes::from(text)), Some((scan, left)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let head = stream::iter((!head.is_empty()).then(|| Ok::<_, store::Error>(Bytes::from(head))));
    let mut response = Body::from_stream(head.chain(lines)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if form == Form::Csv {
        let name = HeaderValue::from_static("attachment; filename=\"valetkey-audit.csv\"");
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

async fn some_lines(scan: &mut Scan, left: &mut usize, form: Form) -> Result<String, store::Error> {
    let mut text = String::new();
    for _ in 0..LINES.min(*left) {
        let Some(event) = scan.next().await? else {
            *left = 0;
            break;
        };
        *left -= 1;
        let event = ShownEvent::from(event);
        let (line, end) = match form {
            Form::Csv => (event.csv(), "\r\n"),
            Form::Json | Form::Lines => (event.json(), "\n"),
        };
        let _ = write!(text, "{line}{end}");
    }
    Ok(text)
}
