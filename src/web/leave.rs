//! `POST /quitquitquit`: whoever shares this machine, or this pod, asks the process to end, as SIGTERM does. Needs no token,
//! so it is there only on a listener for operators alone that nobody else can reach. The answer is sent first.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Extension, Router,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{State, accept, answer, page};
use crate::{id::RequestId, refusal::Refusal};

/// Whether the process is to end once this connection has.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// Whether it is.
    pub(super) fn is_wished(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/quitquitquit", post(leave))
}

async fn leave(
    Extension(leaving): Extension<Leaving>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    // Whatever page a browser on this machine shows, it may not end anything here.
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return answer(&Refusal::not_found(), &id, accept(&headers));
    }
    tracing::info!(request_id = %id, "asked to end by POST /quitquitquit");
    leaving.0.store(true, Ordering::Relaxed);
    let mut response = (StatusCode::OK, r#"{"status":"draining"}"#).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The end of the connection says that the answer is on its way.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    page::seal(headers);
    response
}
