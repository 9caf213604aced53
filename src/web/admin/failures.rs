//! `GET /admin/failures?hours=24`: what failed lately, over all replicas, the most frequent first.

use std::sync::Arc;

use axum::{Router, extract::RawQuery, response::Response, routing::get};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{Rights, admit, answered, number};
use crate::{
    connection::Unavailable,
    events::failures::HOURS_MAX,
    id::RequestId,
    web::{State, accept, answer},
};

/// How many hours without `hours`.
const HOURS: u32 = 24;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/failures", get(failures))
}

async fn failures(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    RawQuery(query): RawQuery,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let read = async {
        admit(&state, &headers, Rights::Read)?;
        let hours = number(query.as_deref(), "hours", 1..=HOURS_MAX)?.unwrap_or(HOURS);
        let services = state.parts.services.iter().map(|service| &service.name);
        let failures = state.parts.failures.failures(services, hours, state.now()).await.map_err(Unavailable::from)?;
        Ok(json!({ "failures": failures }))
    };
    match read.await {
        Ok(failures) => answered(StatusCode::OK, &failures),
        Err(refusal) => answer(&refusal, &id, accept(&headers)),
    }
}
