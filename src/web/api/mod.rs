//! The JSON API for applications, with the caller's JWT in the proxy's headers. Every answer that is not the asked-for one
//! is a refusal.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::{State, accept, answer, cause, consent_pages::parameter, page, request_id};
use crate::{
    caller::Caller,
    connection::{LABELS_MAX, Unavailable, Unusable},
    events::{Actor, Cause},
    id::{Account, ConnectionId, RequestId},
    provider::Service,
    refusal::Refusal,
};

mod answers;
mod body;
mod connections;
mod links;
mod openapi;
mod schemas;
#[cfg(test)]
mod tests;

pub use openapi::{openapi, openapi_text};

type Shared = axum::extract::State<Arc<State>>;
type Served<T> = Result<T, Refusal>;

/// The paths and what serves them.
fn table() -> [(&'static str, MethodRouter<Arc<State>>); 8] {
    [
        ("/connections", get(connections::list)),
        ("/connections/{service}", get(connections::one).delete(connections::disconnect)),
        ("/connections/{service}/api-key", put(connections::store_key).delete(connections::remove_key)),
        ("/connections/confirm", post(connections::confirm)),
        ("/connect-links", post(links::connect_link)),
        ("/dashboard-links", post(links::dashboard_link)),
        ("/preflight", post(links::preflight)),
        ("/openapi.json", get(openapi::document)),
    ]
}

pub(super) fn routes() -> Router<Arc<State>> {
    table().into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

/// Everything about a request but its body.
struct Asked {
    id: RequestId,
    headers: HeaderMap,
    /// The request as the cause of what the application does by it.
    cause: Cause,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let cause = cause(parts, Actor::Caller);
        Ok(Self { id: request_id(parts), headers: parts.headers.clone(), cause })
    }
}

impl Asked {
    /// What was asked for, or the refusal.
    fn reply(&self, served: Served<Response>) -> Response {
        served.unwrap_or_else(|refusal| answer(&refusal, &self.id, accept(&self.headers)))
    }

    async fn caller(&self, state: &State) -> Served<Arc<Caller>> {
        // Whoever acts for somebody calls for them, and does nothing else: no link of theirs is made for another.
        if self.headers.contains_key("valetkey-user") {
            return Err(Refusal::bad_request("The Valetkey-User header is for calls under /proxy/ alone"));
        }
        Ok(state.parts.callers.presented_by(&self.headers, None, state.now()).await?)
    }

    /// The body, as JSON; `shape` shows what it should look like.
    async fn body<T: DeserializeOwned>(&self, body: Body, shape: &'static str) -> Served<T> {
        body::read(&self.headers, body, shape).await
    }
}

fn json(value: &impl Serialize) -> Served<Response> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Refusal::error()
    })?;
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page::seal(response.headers_mut());
    Ok(response)
}

fn no_content() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    page::seal(response.headers_mut());
    response
}

fn service<'s>(state: &'s State, name: &str) -> Served<&'s Arc<Service>> {
    state.parts.services.get(name).ok_or_else(Refusal::unknown_service)
}

fn account(text: Option<&str>) -> Served<Option<Account>> {
    text.map(Account::parse).transpose().map_err(|error| Refusal::bad_request(error.to_string()))
}

fn account_in(query: Option<&str>) -> Served<Option<Account>> {
    let given = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).any(|(key, _)| key == "account");
    match (given, parameter(query, "account")) {
        (true, None) => Err(Refusal::bad_request("account may be given once")),
        (_, text) => account(text.as_deref()),
    }
}

/// A look-up that failed. It asks for no credential, so there is none to be had by connecting.
fn refuse_lookup(unusable: &Unusable, title: &str) -> Refusal {
    match unusable {
        Unusable::AccountRequired { accounts } => Refusal::account_required(title, accounts),
        Unusable::Unavailable(unavailable) => (*unavailable).into(),
        Unusable::RefreshFailed => Refusal::refresh_failed(title),
        Unusable::AuthRequired { .. } | Unusable::MissingScopes { .. } => Refusal::no_connection(title),
    }
}

/// The label that is meant where something is about to be connected: the named one, else as for a call, else `default`.
/// One that would be too many is refused here, before anything is begun.
async fn label(state: &State, caller: &Caller, service: &Service, account: Option<Account>) -> Served<Account> {
    let account = match account {
        Some(account) => account,
        None => match state.parts.connections.manager.find(&caller.id, service, None).await {
            Ok(found) => found.map(|connection| connection.account).unwrap_or_default(),
            // It can't be read, and whoever connects anew replaces it.
            Err(Unusable::Unavailable(Unavailable::Keys)) => Account::default(),
            Err(unusable) => return Err(refuse_lookup(&unusable, &service.title)),
        },
    };
    let id = ConnectionId { caller: caller.id.clone(), service: service.owner.clone(), account };
    if !state.parts.connections.manager.has_room(&id).await? {
        return Err(Refusal::bad_request(format!(
            "There are {LABELS_MAX} accounts for {} already, which is the most: remove one first",
            service.title
        )));
    }
    Ok(id.account)
}
