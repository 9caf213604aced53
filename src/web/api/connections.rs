//! What a caller has, and giving it up; API keys.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, rejection::PathRejection},
    response::Response,
};
use http::{Request, request::Parts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Asked, Served, Shared, account_in,
    answers::{Always, ByPolicy, ForCallers, OfConnection, OfService, OfThing, OneOfSeveral, WithBody},
    json, label, no_content, refuse_lookup,
    schemas::AccountInQuery,
    service,
};
use crate::{
    caller::Caller,
    connection::Connection,
    id::{Account, ConnectionId, ServiceName},
    provider::Service,
    refusal::Refusal,
    secret::SecretString,
    web::State,
};

/// A connection under the name that was called, which may be that of a service that shares it.
fn named(connection: Connection, service: &Service) -> Connection {
    Connection { service: service.name.clone(), ..connection }
}

/// All connections of a caller.
#[derive(Serialize, ToSchema)]
#[schema(as = Connections)]
struct Listed {
    /// Ordered by service and account.
    connections: Vec<Connection>,
    /// Whether the caller lets jobs that the operator has listed act for them while they are away, as they say on the dashboard;
    /// exact to five seconds.
    away: bool,
}

/// What the caller has.
#[utoipa::path(
    get,
    path = "/connections",
    operation_id = "listConnections",
    tag = "connections",
    responses((status = 200, description = "All of the caller's connections.", body = Listed), Always, ForCallers),
)]
pub(super) async fn list(axum::extract::State(state): Shared, asked: Asked) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let connections = state.parts.connections.manager.list(&caller.id).await?;
        let away = state.parts.callers.anybody_may_act()
            && state.parts.consent.allowances.allowed(&caller.id, state.now()).await?;
        json(&Listed { connections, away })
    };
    asked.reply(served.await)
}

/// A request about a connection: the path names its service, the query its account where there are several.
pub(super) struct About {
    asked: Asked,
    service: String,
    query: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for About {
    type Rejection = PathRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PathRejection> {
        let Path(service) = Path::from_request_parts(parts, state).await?;
        let query = parts.uri.query().map(str::to_owned);
        let Ok(asked) = Asked::from_request_parts(parts, state).await;
        Ok(Self { asked, service, query })
    }
}

/// What such a request means, of what there is.
struct Meant<'s> {
    state: &'s State,
    caller: Arc<Caller>,
    service: &'s Service,
    account: Option<Account>,
}

impl About {
    async fn meant<'s>(&self, state: &'s State) -> Served<Meant<'s>> {
        let caller = self.asked.caller(state).await?;
        let service = service(state, &self.service)?;
        let account = account_in(self.query.as_deref())?;
        Ok(Meant { state, caller, service, account })
    }
}

impl Meant<'_> {
    /// The connection, which must be there.
    async fn connection(&self) -> Served<Connection> {
        let title = &self.service.title;
        match self.state.parts.connections.manager.find(&self.caller.id, self.service, self.account.as_ref()).await {
            Ok(Some(connection)) => Ok(connection),
            Ok(None) => Err(Refusal::no_connection(title)),
            Err(unusable) => Err(refuse_lookup(&unusable, title)),
        }
    }

    fn id(&self, account: Account) -> ConnectionId {
        ConnectionId { caller: self.caller.id.clone(), service: self.service.owner.clone(), account }
    }

    /// The answer to giving up what may or may not have been there.
    fn gone(&self, was_there: bool) -> Served<Response> {
        if was_there { Ok(no_content()) } else { Err(Refusal::no_connection(&self.service.title)) }
    }
}

/// One connection.
#[utoipa::path(
    get,
    path = "/connections/{service}",
    operation_id = "getConnection",
    tag = "connections",
    params(("service" = ServiceName, Path, description = "The service."), AccountInQuery),
    responses(
        (status = 200, description = "The connection.", body = Connection),
        Always, ForCallers, OfConnection, OneOfSeveral,
    ),
)]
pub(super) async fn one(axum::extract::State(state): Shared, about: About) -> Response {
    let served = async {
        let meant = about.meant(&state).await?;
        json(&named(meant.connection().await?, meant.service))
    };
    about.asked.reply(served.await)
}

/// Give a connection up: unusable at once, revoked at the provider where it can be, then deleted.
#[utoipa::path(
    delete,
    path = "/connections/{service}",
    operation_id = "disconnect",
    tag = "connections",
    params(("service" = ServiceName, Path, description = "The service."), AccountInQuery),
    responses(
        (status = 204, description = "It is gone."),
        Always, ForCallers, OfConnection, OneOfSeveral,
    ),
)]
pub(super) async fn disconnect(axum::extract::State(state): Shared, about: About) -> Response {
    let served = async {
        let meant = about.meant(&state).await?;
        // What can't be read is found by no look-up, and may be given up all the same.
        let account = match &meant.account {
            Some(account) => account.clone(),
            None => meant.connection().await?.account,
        };
        meant.gone(state.parts.connections.manager.disconnect(&meant.id(account), &about.asked.cause).await?)
    };
    about.asked.reply(served.await)
}

/// An API key to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApiKey)]
struct KeyBody {
    /// Visible ASCII characters, and spaces inside.
    #[schema(value_type = String, min_length = 1, max_length = 4096, pattern = "^[!-~]([ -~]*[!-~])?$", write_only)]
    api_key: SecretString,
}

/// Store an API key, sealed as a token is. OAuth goes first where both are there.
#[utoipa::path(
    put,
    path = "/connections/{service}/api-key",
    operation_id = "storeApiKey",
    tag = "connections",
    params(("service" = ServiceName, Path, description = "The service."), AccountInQuery),
    request_body = KeyBody,
    responses(
        (status = 204, description = "It is stored."),
        Always, ForCallers, WithBody, ByPolicy, OfService, OneOfSeveral,
    ),
)]
pub(super) async fn store_key(axum::extract::State(state): Shared, about: About, request: Request<Body>) -> Response {
    let served = async {
        let meant = about.meant(&state).await?;
        let service = meant.service;
        if service.api_keys.is_retired(state.now()) {
            return Err(Refusal::api_keys_retired(&service.name, &service.title));
        }
        let KeyBody { api_key } = about.asked.body(request.into_body(), r#"{"api_key": "…"}"#).await?;
        if !service.takes_key(&api_key) {
            return Err(Refusal::bad_request("api_key has 1 to 4096 visible ASCII characters"));
        }
        let account = label(&state, &meant.caller, service, meant.account.clone()).await?;
        state.parts.connections.api_keys.store(&meant.id(account), &api_key, &about.asked.cause).await?;
        Ok(no_content())
    };
    about.asked.reply(served.await)
}

/// Delete a stored API key.
#[utoipa::path(
    delete,
    path = "/connections/{service}/api-key",
    operation_id = "removeApiKey",
    tag = "connections",
    params(("service" = ServiceName, Path, description = "The service."), AccountInQuery),
    responses(
        (status = 204, description = "It is gone."),
        Always, ForCallers, OfConnection, OneOfSeveral,
    ),
)]
pub(super) async fn remove_key(axum::extract::State(state): Shared, about: About) -> Response {
    let served = async {
        let meant = about.meant(&state).await?;
        let id = meant.id(meant.connection().await?.account);
        meant.gone(state.parts.connections.api_keys.remove(&id, &about.asked.cause).await?)
    };
    about.asked.reply(served.await)
}

/// What `return_to` was given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Confirmation)]
struct ConfirmBody {
    /// The one-time code; it lives ten minutes.
    #[schema(value_type = String, write_only)]
    code: SecretString,
}

/// Say that a connection that was just made is the caller's, under `connect.binding: confirm`.
#[utoipa::path(
    post,
    path = "/connections/confirm",
    operation_id = "confirmConnection",
    tag = "connecting",
    request_body = ConfirmBody,
    responses(
        (status = 200, description = "The connection, usable from now on.", body = Connection),
        Always, ForCallers, WithBody, OfThing,
    ),
)]
pub(super) async fn confirm(axum::extract::State(state): Shared, asked: Asked, request: Request<Body>) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let ConfirmBody { code } = asked.body(request.into_body(), r#"{"code": "…"}"#).await?;
        let confirmed = {
            let (state, cause, now) = (Arc::clone(&state), asked.cause.clone(), state.now());
            async move { state.parts.consent.confirm(&caller.id, code.expose(), &cause, now).await }
        };
        let connection = state.to_its_end(confirmed).await.ok_or_else(Refusal::error)??;
        json(&connection)
    };
    asked.reply(served.await)
}
