//! For operators and probes: whether the process lives, whether it should get calls, and its metrics. Needs no token, so it
//! tells nothing of any caller.

use std::sync::Arc;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{State, page};
use crate::telemetry::metrics::Scrape;

type Shared = axum::extract::State<Arc<State>>;

/// Who knows how the process is.
pub trait Health: Send + Sync {
    /// How it is now; asks nobody and waits for nothing.
    fn readiness(&self) -> Readiness;
}

/// How the process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// In a word.
    pub status: Readily,
    /// Each part that there is something to say of, with what.
    pub detail: std::collections::BTreeMap<&'static str, String>,
}

/// Whether calls should come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readily {
    /// All is well.
    Ready,
    /// Something is away that was there before; what is cached serves on.
    Degraded,
    /// Store, keys or issuers' keys have not answered yet.
    Starting,
    /// The process is about to end.
    Draining,
}

impl Readily {
    fn status(self) -> StatusCode {
        match self {
            Self::Ready | Self::Degraded => StatusCode::OK,
            Self::Starting | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics_page))
}

async fn alive() -> Response {
    json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}

async fn ready(axum::extract::State(state): Shared) -> Response {
    let readiness = state.parts.health.readiness();
    let body = serde_json::to_vec(&readiness).expect("a word and a map of texts are JSON");
    json(readiness.status.status(), body)
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page::seal(response.headers_mut());
    response
}

async fn metrics_page(axum::extract::State(state): Shared, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    state.parts.metrics.ready(state.parts.health.readiness().status.status().is_success());
    let Scrape { content_type, body } = state.parts.metrics.scrape(accept);
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    page::seal(response.headers_mut());
    response
}
