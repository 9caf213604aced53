//! What a caller has, and giving it up; API keys.

use axum::{
    body::Body,
    extract::{Path, RawQuery},
    response::Response,
};
use http::Request;
use serde::{Deserialize, Serialize};

use super::{Asked, Served, Shared, account_in, body, json, label, no_content, refuse_lookup, service};
use crate::{
    caller::Caller,
    connection::Connection,
    id::{Account, ConnectionId},
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

#[derive(Serialize)]
struct Listed {
    connections: Vec<Connection>,
}

/// `GET /connections`.
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

/// `GET /connections/{service}?account=`.
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

/// `DELETE /connections/{service}?account=`.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyBody {
    api_key: SecretString,
}

/// `PUT /connections/{service}/api-key?account=`.
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
        let KeyBody { api_key } = body(request.into_body(), r#"{"api_key": "…"}"#).await?;
        if !service.takes_key(&api_key) {
            return Err(Refusal::bad_request("api_key has 1 to 4096 visible ASCII characters"));
        }
        let account = label(&state, &caller, service, account).await?;
        state.connections.store_api_key(&id_of(&caller, service, account), &api_key).await?;
        Ok(no_content())
    };
    asked.reply(served.await)
}

/// `DELETE /connections/{service}/api-key?account=`.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {
    code: SecretString,
}

/// `POST /connections/confirm`, under `binding: confirm`.
pub(super) async fn confirm(axum::extract::State(state): Shared, asked: Asked, request: Request<Body>) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let ConfirmBody { code } = body(request.into_body(), r#"{"code": "…"}"#).await?;
        let connection = state.consent.confirm(&caller.id, code.expose(), state.now()).await?;
        state.metrics.service(&connection.service).connect(ConnectOutcome::Completed);
        json(&connection)
    };
    asked.reply(served.await)
}
