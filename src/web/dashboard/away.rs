//! "Also while I am away": a person lets the operator's jobs act for them, or no longer does. One word for all of these jobs,
//! and only for a browser that may manage all of the person's connections.

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};

use super::{come_in, form_error, unavailable, wrong};
use crate::{
    connection::Unavailable,
    consent::Reach,
    web::{
        State,
        forms::{self, FormError},
        page,
        visit::Visit,
        visitor::Visitor,
    },
};

/// The form's field, and the parameter of the page that comes after it.
pub(super) const FIELD: &str = "away";
pub(super) const ON: &str = "on";
const OFF: &str = "off";

/// What this visitor says now; `None`: there is nothing that they could say.
pub(super) async fn word(state: &State, visitor: &Visitor) -> Result<Option<bool>, Unavailable> {
    if visitor.reach != Reach::All || !state.parts.callers.anybody_may_act() {
        return Ok(None);
    }
    state.parts.consent.allowances.ask(&visitor.caller, state.now()).await.map(Some)
}

/// `POST /dashboard/away`.
pub(super) async fn say(visit: Visit, request: Request<Body>) -> Response {
    let state = &visit.state;
    let visitor = match come_in(&visit).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let form = match forms::read(state, request).await {
        Ok((form, _)) => form,
        Err(error) => return form_error(&visit, error),
    };
    if visitor.reach != Reach::All {
        return wrong(&visit, StatusCode::FORBIDDEN, &visit.t.not_covered());
    }
    let allowances = &state.parts.consent.allowances;
    let (said, word) = match form.get(FIELD) {
        Some(ON) if state.parts.callers.anybody_may_act() => (allowances.allow(&visitor.caller, state.now()).await, ON),
        Some(OFF) => (allowances.withdraw(&visitor.caller).await, OFF),
        Some(_) | None => return form_error(&visit, FormError::Unreadable),
    };
    if said.is_err() {
        return unavailable(&visit);
    }
    tracing::info!(
        target: "valetkey::audit",
        event = if word == ON { "away_allowed" } else { "away_withdrawn" },
        issuer = %visitor.caller.issuer,
        user = %visitor.caller.subject,
        actor = visit.cause.who(),
        request_id = %visit.id,
        client = visit.cause.address.map(tracing::field::display),
        "a person's word on jobs that act for them"
    );
    page::see_other(&format!("{}/dashboard?{FIELD}={word}", state.base()))
}
