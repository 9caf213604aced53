//! What operators ask and order, under `/admin`. Guarded by `admin.token`; without one no route of it is there.
//!
//! - `operators`, `sign_in`, `links`: whose browser may look; `overview`: what it sees
//! - `audit`: what happened; `erase`: all of a user goes
//! - `connections`: all of them, listed and given up; `unused`: the same from the overview, of what nobody uses
//! - `failures`: what failed lately
//! - `funnel`: how far attempts to connect come

use std::{convert::Infallible, ops::RangeInclusive, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;

use super::{State, assets, cause, client_address, consent_pages::parameter, page, request_id};
use crate::{
    events::{Actor, Cause},
    refusal::Refusal,
};

mod audit;
mod connections;
mod erase;
mod failures;
mod funnel;
mod links;
mod operators;
mod overview;
mod sign_in;
mod unused;

pub use operators::{Operators, Rights};

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/admin", get(overview::show))
        .route("/admin/", get(async || page::see_other("/admin")))
        .route("/admin/-/{asset}", get(assets::asset))
        .route("/admin/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/admin/sign-out", post(sign_in::sign_out))
        .merge(audit::routes())
        .merge(connections::routes())
        .merge(erase::routes())
        .merge(failures::routes())
        .merge(funnel::routes())
        .merge(links::routes())
        .merge(unused::routes())
        .layer(middleware::from_fn(refused_tokens_are_told))
}

/// Somebody who tries tokens is seen in the log.
async fn refused_tokens_are_told(request: Request, next: Next) -> Response {
    let presented = request.headers().contains_key(header::AUTHORIZATION);
    let (parts, body) = request.into_parts();
    let (id, client) = (request_id(&parts), client_address(&parts));
    let response = next.run(Request::from_parts(parts, body)).await;
    if presented && response.status() == StatusCode::UNAUTHORIZED {
        tracing::warn!(request_id = %id, ?client, "a wrong token for /admin");
    }
    response
}

/// What whoever asks by a token may do.
fn presented(state: &State, headers: &HeaderMap) -> Result<Rights, Refusal> {
    let Some(admin) = &state.parts.settings.admin else { return Err(Refusal::not_found()) };
    let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
    let Some((scheme, presented)) = presented else {
        return Err(Refusal::nothing_presented("This needs the admin token"));
    };
    let rights = if scheme.eq_ignore_ascii_case(b"bearer ") { Rights::of(admin, presented) } else { None };
    rights.ok_or_else(|| Refusal::unauthenticated("invalid", "This is not the admin token"))
}

/// Whether they may do so much.
fn admit(state: &State, headers: &HeaderMap, needed: Rights) -> Result<(), Refusal> {
    if presented(state, headers)? >= needed { Ok(()) } else { Err(Refusal::read_only()) }
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

/// An answer in JSON.
fn answered(status: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("what is answered is JSON");
    let mut response = (status, body).into_response();
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
