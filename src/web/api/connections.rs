//! What a caller has, and giving it up; API keys.

use axum::{
    body::Body,
    extract::{Path, RawQuery},
    response::Response,
};
use http::Request;
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
    telemetry::metrics::ConnectOutcome,
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
        json(&Listed { connections: state.connections.list(&caller.id).await? })
    };
    asked.reply(served.await)
}

/// The connection that name and account mean.
async fn found(state: &State, caller: &Caller, service: &Service, account: Option<&Account>) -> Served<Connection> {
    let title = &service.title;
    match state.connections.find(&caller.id, service, account).await {
        Ok(Some(connection)) => Ok(connection),
        Ok(None) => Err(Refusal::no_connection(title)),
        Err(unusable) => Err(refuse_lookup(&unusable, title)),
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
pub(super) async fn one(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let service = service(&state, &name)?;
        let account = account_in(query.as_deref())?;
        json(&named(found(&state, &caller, service, account.as_ref()).await?, service))
    };
    asked.reply(served.await)
}

fn id_of(caller: &Caller, service: &Service, account: Account) -> ConnectionId {
    ConnectionId { caller: caller.id.clone(), service: service.owner.clone(), account }
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
pub(super) async fn disconnect(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let service = service(&state, &name)?;
        let account = account_in(query.as_deref())?;
        let connection = found(&state, &caller, service, account.as_ref()).await?;
        if state.connections.disconnect(&id_of(&caller, service, connection.account)).await? {
            Ok(no_content())
        } else {
            Err(Refusal::no_connection(&service.title))
        }
    };
    asked.reply(served.await)
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
pub(super) async fn store_key(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
    request: Request<Body>,
) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let service = service(&state, &name)?;
        let account = account_in(query.as_deref())?;
        if service.api_keys.is_retired(state.now()) {
            return Err(Refusal::api_keys_retired(&service.name, &service.title));
        }
        let KeyBody { api_key } = asked.body(request.into_body(), r#"{"api_key": "…"}"#).await?;
        if !service.takes_key(&api_key) {
            return Err(Refusal::bad_request("api_key has 1 to 4096 visible ASCII characters"));
        }
        let account = label(&state, &caller, service, account).await?;
        state.connections.store_api_key(&id_of(&caller, service, account), &api_key).await?;
        Ok(no_content())
    };
    asked.reply(served.await)
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
pub(super) async fn remove_key(
    axum::extract::State(state): Shared,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let service = service(&state, &name)?;
        let account = account_in(query.as_deref())?;
        let connection = found(&state, &caller, service, account.as_ref()).await?;
        if state.connections.remove_api_key(&id_of(&caller, service, connection.account)).await? {
            Ok(no_content())
        } else {
            Err(Refusal::no_connection(&service.title))
        }
    };
    asked.reply(served.await)
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
        let connection = state.consent.confirm(&caller.id, code.expose(), state.now()).await?;
        state.metrics.service(&connection.service).connect(ConnectOutcome::Completed);
        json(&connection)
    };
    asked.reply(served.await)
}
