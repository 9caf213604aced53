//! What operators ask and order, under `/admin`. Guarded by `admin.token`; without one no route of it is there.
//!
//! - `audit`: what happened; `erase`: all of a user goes
//! - `connections`: all of them, listed and given up
//! - `failures`: what failed lately
//! - `funnel`: how far attempts to connect come

use std::{convert::Infallible, ops::RangeInclusive, sync::Arc};

use axum::{
    Router,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use serde_json::Value;

use super::{State, cause, consent_pages::parameter, page};
use crate::{
    events::{Actor, Cause},
    refusal::Refusal,
};

mod audit;
mod connections;
mod erase;
mod failures;
mod funnel;

pub(super) fn routes() -> Router<Arc<State>> {
    audit::routes()
        .merge(connections::routes())
        .merge(erase::routes())
        .merge(failures::routes())
        .merge(funnel::routes())
}

/// Whether whoever asks is the operator.
fn admit(state: &State, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &state.parts.settings.admin_token else { return Err(Refusal::not_found()) };
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
    match presented {
        None => Err(Refusal::nothing_presented("This needs the admin token")),
        Some((scheme, presented)) if scheme.eq_ignore_ascii_case(b"bearer ") && token.matches(presented) => Ok(()),
        Some(_) => Err(Refusal::unauthenticated("invalid", "This is not the admin token")),
    }
}

/// A whole number of the query; none where it isn't given.
///
/// # Errors
/// Where it is none, or lies outside.
fn number(query: Option<&str>, name: &str, within: RangeInclusive<u32>) -> Result<Option<u32>, Refusal> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    let found = text.parse().ok().filter(|number| within.contains(number));
    let wrong = || format!("`{name}` should be a whole number from {} to {}", within.start(), within.end());
    found.map(Some).ok_or_else(|| Refusal::bad_request(wrong()))
}

/// What was asked for.
fn answered(body: &Value) -> Response {
    let mut response = body.to_string().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page::seal(response.headers_mut());
    response
}

/// The request as the cause of what the operator does by it.
struct Requested(Cause);

impl<S: Send + Sync> FromRequestParts<S> for Requested {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(cause(parts, Actor::Operator)))
    }
}
