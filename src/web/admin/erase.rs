//! `DELETE /admin/users/{user}`: an operator erases all of a user (GDPR article 17). Guarded by `admin.token`; without one
//! the route isn't there.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, RawQuery},
    response::{IntoResponse, Response},
    routing::delete,
};
use http::{HeaderMap, StatusCode};

use super::{Requested, Rights, admit};
use crate::{
    connection::Unavailable,
    id::{CallerId, Issuer, RequestId, Subject},
    refusal::Refusal,
    web::{State, accept, answer, consent_pages::parameter, page},
};

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new().route("/admin/users/{user}", delete(erase))
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
        admit(&state, &headers, Rights::Write)?;
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
