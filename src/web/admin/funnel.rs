//! `GET /admin/funnel?service=&days=7`: how far attempts to connect come. One service's, or those of all that own connections.

use std::sync::Arc;

use axum::{Router, extract::RawQuery, response::Response, routing::get};
use futures_util::future::try_join_all;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{Rights, admit, answered, number};
use crate::{
    consent::DAYS_MAX,
    id::RequestId,
    refusal::Refusal,
    web::{State, accept, answer, consent_pages::parameter},
};

/// How many days without `days`.
const DAYS: u32 = 7;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/funnel", get(funnel))
}

async fn funnel(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    RawQuery(query): RawQuery,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let report = async {
        admit(&state, &headers, Rights::Read)?;
        let days = number(query.as_deref(), "days", 1..=DAYS_MAX)?.unwrap_or(DAYS);
        let (services, funnel, now) = (&state.parts.services, &state.parts.consent.funnel, state.now());
        match parameter(query.as_deref(), "service").filter(|name| !name.is_empty()) {
            Some(name) => {
                let service = services.get(&name).and_then(|service| services.owner(service));
                let service = service.ok_or_else(Refusal::unknown_service)?;
                Ok(json!(funnel.report(service, days, now).await?))
            }
            None => {
                let owners = services.iter().filter(|service| service.owner == service.name && service.oauth.is_some());
                let all = try_join_all(owners.map(|service| funnel.report(service, days, now))).await?;
                Ok(json!({ "services": all }))
            }
        }
    };
    match report.await {
        Ok(report) => answered(StatusCode::OK, &report),
        Err(refusal) => answer(&refusal, &id, accept(&headers)),
    }
}
