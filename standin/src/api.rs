//! STAND-IN. The API behind the authorization server: `/user`, issues with `Link` pagination (RFC 8288), and a short
//! stream of server-sent events. It takes live tokens of this server and nothing else, and writes down which token each
//! call carried.

use std::{
    convert::Infallible,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{LABEL, LOGIN, PERSON, Shared, grants::Live, journal::Happening};

/// How many events a stream has, and the time between two.
const EVENTS: u32 = 4;
const BETWEEN_EVENTS: Duration = Duration::from_millis(120);

pub(super) fn routes(shared: Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/user", get(user))
        .route("/repos/valetkey/demo/issues", get(list_issues).post(open_issue))
        .route("/events", get(events))
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found", "stand_in": LABEL }))) })
        .layer(middleware::from_fn_with_state(shared, guard))
}

/// What the repository holds at first.
pub(super) fn first_issues() -> Vec<String> {
    [
        "Write the quick start",
        "Explain rotating refresh tokens",
        "Draw the consent flow",
        "Name the second account",
        "Measure a call through the proxy",
    ]
    .map(String::from)
    .to_vec()
}

/// Lets live tokens through, and notes each call.
async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let what = format!("{} /api{}", request.method(), request.uri().path());
    let live = {
        let mut grants = shared.grants.lock();
        let token = bearer(request.headers()).unwrap_or_default();
        let live = grants.live(token, Instant::now());
        let happening = match &live {
            Some(live) => Happening::Called { number: live.number, what },
            None => Happening::Rejected { number: grants.number_of(token), what },
        };
        grants.journal.add(happening);
        live
    };
    match live {
        Some(live) => {
            request.extensions_mut().insert(live);
            next.run(request).await
        }
        None => refusal(),
    }
}

/// The token of `Authorization: Bearer` (RFC 6750 §2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// RFC 6750 §3.1.
pub(super) fn refusal() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"stand-in\", error=\"invalid_token\"")];
    (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "message": "Bad credentials", "stand_in": LABEL })))
        .into_response()
}

async fn user(Extension(live): Extension<Live>) -> Json<Value> {
    Json(json!({
        "login": LOGIN,
        "name": PERSON,
        "scope": live.scope,
        "seen_token": format!("no. {}", live.number),
        "stand_in": LABEL,
    }))
}

#[derive(Deserialize)]
struct Paging {
    page: Option<usize>,
    per_page: Option<usize>,
}

async fn list_issues(State(shared): State<Arc<Shared>>, Query(paging): Query<Paging>) -> Response {
    let per_page = paging.per_page.unwrap_or(2).clamp(1, 100);
    let issues = shared.issues.lock().clone();
    let last = issues.len().div_ceil(per_page).max(1);
    let page = paging.page.unwrap_or(1).clamp(1, last);
    let shown: Vec<Value> = issues
        .iter()
        .enumerate()
        .skip((page - 1) * per_page)
        .take(per_page)
        .map(|(at, title)| issue(at, title))
        .collect();
    let mut links = String::new();
    let mut link = |page: usize, rel: &str| {
        let comma = if links.is_empty() { "" } else { ", " };
        let url = format!("{}/api/repos/valetkey/demo/issues?page={page}&per_page={per_page}", shared.origin);
        // Writing to a String can't fail.
        let _ = write!(links, "{comma}<{url}>; rel=\"{rel}\"");
    };
    if page > 1 {
        link(page - 1, "prev");
    }
    if page < last {
        link(page + 1, "next");
    }
    link(last, "last");
    ([(header::LINK, links)], Json(shown)).into_response()
}

async fn open_issue(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let title = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|value| value.get("title").and_then(Value::as_str).map(str::to_owned))
        .filter(|title| !title.is_empty());
    let Some(title) = title else {
        let problem = json!({ "message": "A title is needed", "stand_in": LABEL });
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response();
    };
    let mut issues = shared.issues.lock();
    issues.push(title.clone());
    (StatusCode::CREATED, Json(issue(issues.len() - 1, &title))).into_response()
}

fn issue(at: usize, title: &str) -> Value {
    json!({ "number": at + 1, "title": title, "user": { "login": LOGIN }, "stand_in": LABEL })
}

/// One event at once, then one after each pause: whoever buffers the stream is found out.
async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(1, |number| async move {
        if number > EVENTS {
            return None;
        }
        if number > 1 {
            tokio::time::sleep(BETWEEN_EVENTS).await;
        }
        let data = json!({ "number": number, "of": EVENTS, "stand_in": LABEL });
        Some((Ok(Event::default().event("tick").data(data.to_string())), number + 1))
    }))
}
