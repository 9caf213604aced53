//! `DELETE /admin/users/{user}`: an operator erases all of a user (GDPR article 17). Guarded by `admin.token`; without one
//! the route isn't there.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, Path, RawQuery},
    response::{IntoResponse, Response},
    routing::delete,
};
use http::{HeaderMap, StatusCode, header, request::Parts};

use super::{State, accept, answer, cause, consent_pages::parameter, page};
use crate::{
    connection::Unavailable,
    events::{Actor, Cause},
    id::{CallerId, Issuer, RequestId, Subject},
    refusal::Refusal,
};

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/users/{user}", delete(erase))
}

/// Whether whoever asks is the operator.
pub(super) fn admit(state: &State, headers: &HeaderMap) -> Result<(), Refusal> {
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

async fn erase(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
    Requested(cause): Requested,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    let erased = async {
        admit(&state, &headers)?;
        let subject = Subject::parse(&user).map_err(|_| Refusal::bad_request("This is no user's name"))?;
        let caller = CallerId { issuer: issuer(&state, query.as_deref())?, subject };
        let whole = Arc::clone(&state);
        let work = async move {
            // First of all: what a browser of theirs has begun comes too late from now on.
            whole.parts.consent.erasures.note(&caller, whole.now()).await?;
            let erased = whole.parts.connections.manager.erase(&caller, &cause).await?;
            whole.parts.consent.allowances.withdraw(&caller).await?;
            let root = whole.parts.roots.get().await?;
            whole.parts.contacts.forget(&root, &caller).await.map_err(Unavailable::from)?;
            Ok::<_, Unavailable>(erased)
        };
        let erased = state.to_its_end(work).await.ok_or_else(Refusal::error)??;
        let (connections, pending) = (erased.connections, erased.revocation_pending);
        tracing::info!(connections, pending, request_id = %id, "an operator erased a user");
        Ok(())
    };
    match erased.await {
        Ok(()) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            page::seal(response.headers_mut());
            response
        }
        Err(refusal) => answer(&refusal, &id, accept(&headers)),
    }
}

/// The issuer that is named, or the only one there is.
fn issuer(state: &State, query: Option<&str>) -> Result<Issuer, Refusal> {
    match (parameter(query, "issuer"), state.parts.settings.issuers.as_slice()) {
        (Some(named), _) => Issuer::parse(&named).map_err(|_| Refusal::bad_request("This is no issuer")),
        (None, [only]) => Ok(only.clone()),
        (None, several) => Err(Refusal::issuer_required(several)),
    }
}
