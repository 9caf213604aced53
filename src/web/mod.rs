//! Valetkey's own routes, by audience: `consent_pages` and `dashboard` for people, `api` for applications, `admin` and
//! `probes` for operators. Handlers read a request, ask `consent` or `connection`, and show the outcome; they decide nothing and never
//! touch a credential. A listener serves only the routes of its roles.
//!
//! Every answer passes the door below: it has a request id, a panic in a handler becomes a 500, and what no route takes
//! becomes a refusal.

use std::{
    fmt,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    caller::Callers,
    clock::{Clock, Timestamp},
    config::{self, Roles, SessionProof},
    connection::{Connections, Roots},
    consent::Consent,
    events::{self, Actor, Cause, Contacts, audit::AuditReader, failures::FailureLog},
    id::{Issuer, RequestId},
    outbound::Outbound,
    provider::Services,
    refusal::{self, Refusal, TooLarge},
    telemetry::{Metrics, RequestIds, metrics::ServiceMetrics},
    trends::Trends,
};

mod admin;
mod api;
mod assets;
mod brand;
mod charts;
mod consent_pages;
mod cookies;
mod dashboard;
mod forms;
mod leave;
mod marks;
mod page;
mod probes;
#[cfg(test)]
pub(crate) mod tests;
mod transport;
mod visit;
mod visitor;
mod vouch;
mod wording;

pub use admin::{Operators, Rights};
pub use api::{openapi, openapi_text};
use cookies::Cookies;
pub use probes::{Health, Readily, Readiness};
pub use transport::Routes;

/// The longest body that any route takes.
pub const BODY_LIMIT: usize = 64 * 1024;

/// What handlers need; `serve` hands it in.
pub struct Parts {
    /// The connect flow.
    pub consent: Arc<Consent>,
    /// What callers have.
    pub connections: Connections,
    /// What failed lately.
    pub failures: FailureLog,
    /// What there is to connect to.
    pub services: Arc<Services>,
    /// Who is believed.
    pub callers: Arc<Callers>,
    /// Where callers can be reached; forgotten with them.
    pub contacts: Contacts,
    /// What happened.
    pub audit: AuditReader,
    /// The shared secret, for form tokens.
    pub roots: Roots,
    /// How things went, by the day.
    pub trends: Arc<Trends>,
    /// Operators' browsers.
    pub operators: Operators,
    /// Asks `connect.session.check_url`.
    pub outbound: Outbound,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` says.
    pub health: Arc<dyn Health>,
    /// The time.
    pub clock: Clock,
    /// Names requests that come without a name.
    pub request_ids: Arc<RequestIds>,
    /// Cancelled: the process drains and ends.
    pub stop: CancellationToken,
    /// What the pages take of the configuration.
    pub settings: Settings,
}

/// What the pages take of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where browsers reach these routes.
    pub public_url: Url,
    /// The application's name, unless the caller's issuer has another.
    pub application: String,
    /// How the pages look.
    pub brand: config::Brand,
    /// Whether `GET /connect/{service}` shows a page first.
    pub confirm: bool,
    /// The application's addresses; the first stands for its home.
    pub return_to: Vec<Url>,
    /// How a browser proves whose it is, beside the headers of the proxy.
    pub session: Option<SessionProof>,
    /// Guards the routes under `/admin`.
    pub admin: Option<config::Admin>,
    /// Whose callers are believed.
    pub issuers: Vec<Issuer>,
}

/// The parts, and what follows from them.
pub struct State {
    parts: Parts,
    cookies: Cookies,
    base: String,
    /// Where pages for people have their style sheet from.
    assets: String,
    brand: brand::BrandAssets,
    words: vouch::Words,
    /// Counts refusals.
    nowhere: Arc<ServiceMetrics>,
}

impl State {
    /// Takes the parts in.
    pub fn new(parts: Parts) -> Self {
        let cookies = Cookies::new(&parts.settings.public_url);
        let base = parts.settings.public_url.path().trim_end_matches('/').to_owned();
        let brand = brand::BrandAssets::new(&parts.settings.brand);
        let nowhere = parts.metrics.no_service();
        let assets = format!("{base}/connect/-");
        Self { parts, cookies, base, assets, brand, words: vouch::Words::default(), nowhere }
    }

    /// `public_url`'s path, as pages put it in front of their links.
    fn base(&self) -> &str {
        &self.base
    }

    /// Answers what no parser took: counted, logged, and in the words of all other refusals.
    fn refused_unread(&self, refusal: &Refusal) -> Vec<u8> {
        let request_id = self.parts.request_ids.next();
        let http = refusal.status.as_u16();
        tracing::info!(%request_id, status = refusal.code.as_str(), http, "refused unread");
        self.nowhere.request(refusal.code.into(), Duration::ZERO);
        refusal.on_the_wire(&request_id)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Does something in a task of its own: it goes on when whoever asked goes away, and a process that drains waits for
    /// it. `None`: it broke off.
    async fn to_its_end<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let in_flight = self.parts.metrics.begin();
        let task = tokio::spawn(async move {
            let _in_flight = in_flight;
            work.await
        });
        task.await.ok()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("settings", &self.parts.settings).finish_non_exhaustive()
    }
}

/// The routes of these roles, and, where it `may_end` the process, the one that does.
pub fn router(state: Arc<State>, roles: Roles, may_end: bool) -> Router {
    let mut router = Router::new();
    if roles.proxy {
        router = router.merge(api::routes());
    }
    if roles.connect {
        router = router.merge(consent_pages::routes()).merge(dashboard::routes());
    }
    if roles.admin {
        router = router.merge(probes::routes()).merge(admin::routes());
    }
    if may_end {
        router = router.merge(leave::routes());
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), door))
        .with_state(state)
}

/// What every request passes on its way in and out.
async fn door(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request
        .headers()
        .get(refusal::REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| RequestId::parse(text).ok())
        .unwrap_or_else(|| state.parts.request_ids.next());
    let accept = accept(request.headers()).map(str::to_owned);
    let accept = accept.as_deref();
    let method = request.method().clone();
    let began = Instant::now();
    // The path has no secrets in it; the query may.
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(id.clone());
    let mut response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!(request_id = %id, %method, path, "a handler panicked");
            answer(&Refusal::error(), &id, accept)
        }
    };
    response = in_our_words(response, &id, accept);
    let code = response.headers().get(refusal::STATUS).and_then(|value| value.to_str().ok());
    if let Some(code) = code.and_then(|text| refusal::Code::ALL.into_iter().find(|code| code.as_str() == text)) {
        state.nowhere.request(code.into(), began.elapsed());
    }
    if let Ok(value) = HeaderValue::try_from(id.as_str()) {
        response.headers_mut().insert(refusal::REQUEST_ID, value);
    }
    tracing::debug!(request_id = %id, %method, path, status = response.status().as_u16(), "served");
    response
}

/// What the router or an extractor refuses, it refuses in words of its own. Every answer of a handler's says that it is not to
/// be kept, readiness included.
fn in_our_words(response: Response, id: &RequestId, accept: Option<&str>) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || response.headers().contains_key(header::CACHE_CONTROL)
    {
        return response;
    }
    let refusal = match status {
        StatusCode::NOT_FOUND => Refusal::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Refusal::method_not_allowed(None),
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_large(TooLarge::Body),
        StatusCode::URI_TOO_LONG => Refusal::too_large(TooLarge::Target),
        StatusCode::SERVICE_UNAVAILABLE => Refusal::unavailable(5),
        other if other.is_client_error() => Refusal::bad_request("This request is malformed"),
        _ => Refusal::error(),
    };
    answer(&refusal, id, accept)
}

async fn not_found(method: Method, axum::Extension(id): axum::Extension<RequestId>, headers: HeaderMap) -> Response {
    let refusal = match method {
        Method::TRACE | Method::CONNECT => Refusal::method_not_allowed(Some(refusal::ANYWHERE)),
        _ => Refusal::not_found(),
    };
    answer(&refusal, &id, accept(&headers))
}

/// The router adds `Allow` itself.
async fn wrong_method(axum::Extension(id): axum::Extension<RequestId>, headers: HeaderMap) -> Response {
    answer(&Refusal::method_not_allowed(None), &id, accept(&headers))
}

/// How a request reached these routes.
#[derive(Debug, Clone, Copy)]
enum Via {
    /// Through the proxy, which knows where it came from.
    Proxy,
    /// On a listener of its own, from this address; a Unix socket has none.
    Listener(Option<IpAddr>),
}

/// The address that a request came from, where that is known.
fn client_address(parts: &http::request::Parts) -> Option<IpAddr> {
    match parts.extensions.get::<Via>()? {
        Via::Proxy => parts.headers.get(events::CLIENT_ADDRESS)?.to_str().ok()?.parse().ok(),
        Via::Listener(address) => *address,
    }
}

/// The request as the cause of what this actor does by it.
fn cause(parts: &http::request::Parts, actor: Actor) -> Cause {
    Cause::in_request(actor, request_id(parts), client_address(parts))
}

/// The request's name. The door gives it; without a door there is nothing to name.
fn request_id(parts: &http::request::Parts) -> RequestId {
    parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::from_number(0))
}

fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|value| value.to_str().ok())
}

/// A refusal as this server sends it.
fn answer(refusal: &Refusal, id: &RequestId, accept: Option<&str>) -> Response {
    let (parts, body): (_, Bytes) = refusal.render(id, accept).into_parts();
    Response::from_parts(parts, Body::from(body)).into_response()
}
