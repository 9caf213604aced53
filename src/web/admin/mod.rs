//! What operators ask and order, under `/admin`. Guarded by `admin.token`; without one no route of it is there.
//!
//! - `audit`: what happened; `erase`: all of a user goes

use std::{convert::Infallible, sync::Arc};

use axum::{Router, extract::FromRequestParts};
use http::{HeaderMap, header, request::Parts};

use super::{State, cause};
use crate::{
    events::{Actor, Cause},
    refusal::Refusal,
};

mod audit;
mod erase;

pub(super) fn routes() -> Router<Arc<State>> {
    erase::routes().merge(audit::routes())
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

/// The request as the cause of what the operator does by it.
struct Requested(Cause);

impl<S: Send + Sync> FromRequestParts<S> for Requested {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(cause(parts, Actor::Operator)))
    }
}
