//! `POST /admin/links?rights=read|write`: a link that lets one browser in, once, within ten minutes. The rights are at most those
//! of whoever asks.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::RawQuery, response::Response, routing::post};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::{Rights, answered, presented};
use crate::{
    id::RequestId,
    refusal::Refusal,
    web::{State, accept, answer, consent_pages::parameter},
};

/// How long a link may be opened.
const LIFE: Duration = Duration::from_secs(600);

/// A link.
#[derive(Serialize)]
struct OperatorLink {
    /// Its path and query; the host is whichever the browser reaches the listener by.
    path: String,
    rights: Rights,
    expires_in: u64,
}

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/links", post(make))
}

async fn make(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    RawQuery(query): RawQuery,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let made = async {
        let of = presented(&state, &headers)?;
        let asked = match parameter(query.as_deref(), "rights").as_deref() {
            None | Some("read") => Rights::Read,
            Some("write") => Rights::Write,
            Some(_) => return Err(Refusal::bad_request("`rights` is `read` or `write`")),
        };
        if asked > of {
            return Err(Refusal::read_only());
        }
        let admin = state.parts.settings.admin.as_ref().ok_or_else(Refusal::not_found)?;
        let link = state.parts.operators.link(admin, (asked, of), LIFE, state.now()).await?;
        tracing::info!(request_id = %id, rights = ?asked, "a link to /admin was made");
        Ok(OperatorLink { path: format!("/admin/sign-in?link={link}"), rights: asked, expires_in: LIFE.as_secs() })
    };
    match made.await {
        Ok(link) => answered(StatusCode::CREATED, &link),
        Err(refusal) => answer(&refusal, &id, accept(&headers)),
    }
}
