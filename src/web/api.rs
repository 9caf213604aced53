//! The JSON API for applications, with the caller's JWT in the proxy's headers. Every answer that is not the asked-for one
//! is a refusal.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Path, RawQuery},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Parts};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{BODY_LIMIT, State, accept, answer, consent_pages::parameter, page};
use crate::{
    caller::{self, Caller},
    connection::{Connection, Reason, Status, Unusable},
    consent::{Wish, shown_name},
    id::{Account, ConnectionId, RequestId, ServiceName},
    provider::{ScopeSet, Service},
    refusal::{Refusal, Remedies, TooLarge},
    secret::SecretString,
};

type Shared = axum::extract::State<Arc<State>>;
type Served<T> = Result<T, Refusal>;

/// The longest API key that is stored, in bytes.
const API_KEY_MAX: usize = 4096;
/// Most services in one preflight.
const PREFLIGHT_MAX: usize = 100;
/// Most scopes in one request, and their length together.
const SCOPES_MAX: (usize, usize) = (100, 2048);

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/connections", get(list))
        .route("/connections/{service}", get(one).delete(disconnect))
        .route("/connections/{service}/api-key", put(store_key).delete(remove_key))
        .route("/connect-links", post(connect_link))
        .route("/preflight", post(preflight))
}

/// Everything about a request but its body.
struct Asked {
    id: RequestId,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // The door puts it there; without a door there is nothing to name.
        let id = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::from_number(0));
        Ok(Self { id, headers: parts.headers.clone() })
    }
}

impl Asked {
    /// What was asked for, or the refusal.
    fn reply(&self, served: Served<Response>) -> Response {
        served.unwrap_or_else(|refusal| answer(&refusal, &self.id, accept(&self.headers)))
    }

    async fn caller(&self, state: &State) -> Served<Arc<Caller>> {
        let token = caller::presented(&self.headers, None)?;
        Ok(state.callers.authenticate(&token, state.now().seconds()).await?)
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

async fn body<T: DeserializeOwned>(body: Body, shape: &'static str) -> Served<T> {
    let bytes = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(|_| Refusal::too_large(TooLarge::Body))?;
    // The parser's own words may repeat what was sent, which may be a key.
    serde_json::from_slice(&bytes).map_err(|_| Refusal::bad_request(format!("The body must be JSON like {shape}")))
}

fn service<'s>(state: &'s State, name: &str) -> Served<&'s Arc<Service>> {
    state.services.get(name).ok_or_else(Refusal::unknown_service)
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

/// A connection under the name that was called, which may be that of a service that shares it.
fn named(connection: Connection, service: &Service) -> Connection {
    Connection { service: service.name.clone(), ..connection }
}

#[derive(Serialize)]
struct Listed {
    connections: Vec<Connection>,
}

/// `GET /connections`.
async fn list(axum::extract::State(state): Shared, asked: Asked) -> Response {
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

/// A look-up that failed. It asks for no credential, so there is none to be had by connecting.
fn refuse_lookup(unusable: &Unusable, title: &str) -> Refusal {
    match unusable {
        Unusable::AccountRequired { accounts } => Refusal::account_required(title, accounts),
        Unusable::Unavailable(unavailable) => (*unavailable).into(),
        Unusable::RefreshFailed => Refusal::refresh_failed(title),
        Unusable::AuthRequired { .. } | Unusable::MissingScopes { .. } => Refusal::no_connection(title),
    }
}

/// `GET /connections/{service}?account=`.
async fn one(
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
async fn disconnect(
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
async fn store_key(
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
        let KeyBody { api_key } = body(request.into_body(), r#"{"api_key": "…"}"#).await?;
        if api_key.expose().len() > API_KEY_MAX || service.api_key.header_value(&api_key).is_err() {
            return Err(Refusal::bad_request("api_key has 1 to 4096 visible ASCII characters"));
        }
        let account = label(&state, &caller, service, account).await?;
        state.connections.store_api_key(&id_of(&caller, service, account), &api_key).await?;
        Ok(no_content())
    };
    asked.reply(served.await)
}

/// `DELETE /connections/{service}/api-key?account=`.
async fn remove_key(
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

/// The label that is meant where something is about to be connected: the named one, else as for a call, else `default`.
async fn label(state: &State, caller: &Caller, service: &Service, account: Option<Account>) -> Served<Account> {
    match account {
        Some(account) => Ok(account),
        None => match state.connections.find(&caller.id, service, None).await {
            Ok(found) => Ok(found.map(|connection| connection.account).unwrap_or_default()),
            Err(unusable) => Err(refuse_lookup(&unusable, &service.title)),
        },
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkBody {
    service: String,
    account: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    return_to: Option<String>,
}

#[derive(Serialize)]
struct LinkAnswer {
    auth_url: String,
    expires_in: u64,
}

/// Scopes as an application names them: each a scope of RFC 6749 §3.3, all of a bearable length, each once.
fn scopes(names: &[String]) -> Served<Vec<String>> {
    let wrong = || Refusal::bad_request("scopes must be a list of at most 100 scopes, 2048 characters together");
    let scope_character = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let well_formed = |scope: &String| !scope.is_empty() && scope.bytes().all(scope_character);
    let length: usize = names.iter().map(String::len).sum();
    if names.len() > SCOPES_MAX.0 || length > SCOPES_MAX.1 || !names.iter().all(well_formed) {
        return Err(wrong());
    }
    let mut scopes: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !scopes.contains(name) {
            scopes.push(name.clone());
        }
    }
    Ok(scopes)
}

/// `POST /connect-links`.
async fn connect_link(axum::extract::State(state): Shared, asked: Asked, request: Request<Body>) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let shape = r#"{"service": "github", "account": "work", "scopes": ["repo"], "return_to": "https://…"}"#;
        let asked_for: LinkBody = body(request.into_body(), shape).await?;
        let service = service(&state, &asked_for.service)?;
        let account = account(asked_for.account.as_deref())?;
        let scopes = scopes(&asked_for.scopes)?;
        let return_to = asked_for.return_to.map(|text| state.consent.return_to(&text)).transpose()?;
        let name = shown_name(&caller.claims);
        let wish = Wish {
            caller: &caller.id,
            name: name.as_deref(),
            application: caller.application.as_deref(),
            service,
            account: &label(&state, &caller, service, account).await?,
            scopes: &scopes,
            return_to: return_to.as_ref(),
        };
        let link = state.consent.link(&wish, state.now()).await?;
        json(&LinkAnswer { auth_url: link.url, expires_in: link.expires_in })
    };
    asked.reply(served.await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreflightBody {
    services: Vec<PreflightItem>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreflightItem {
    service: String,
    account: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
}

#[derive(Serialize)]
struct PreflightAnswer {
    services: Vec<Map<String, Value>>,
}

/// `POST /preflight`: what a long job would run into, before it starts.
async fn preflight(axum::extract::State(state): Shared, asked: Asked, request: Request<Body>) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let shape = r#"{"services": [{"service": "github", "account": "work", "scopes": ["repo"]}]}"#;
        let PreflightBody { services } = body(request.into_body(), shape).await?;
        if services.len() > PREFLIGHT_MAX {
            return Err(Refusal::bad_request("services has at most 100 items"));
        }
        let mut answers = Vec::with_capacity(services.len());
        for item in services {
            answers.push(look_ahead(&state, &caller, item).await?);
        }
        json(&PreflightAnswer { services: answers })
    };
    asked.reply(served.await)
}

/// One item. Only what is wrong with the request as a whole, or with us, refuses it all.
async fn look_ahead(state: &State, caller: &Caller, item: PreflightItem) -> Served<Map<String, Value>> {
    let mut answer = Map::new();
    let wanted = account(item.account.as_deref())?;
    let scopes = scopes(&item.scopes)?;
    let Some(service) = state.services.get(&item.service) else {
        // Only what could name a service is repeated.
        let name = ServiceName::parse(&item.service).map_err(|error| Refusal::bad_request(error.to_string()))?;
        answer.insert("service".into(), name.as_str().into());
        answer.insert("status".into(), "unknown_service".into());
        return Ok(answer);
    };
    answer.insert("service".into(), service.name.as_str().into());
    let found = state.connections.find(&caller.id, service, wanted.as_ref()).await;
    let label = match &found {
        Ok(Some(connection)) => Some(connection.account.clone()),
        Ok(None) => Some(wanted.clone().unwrap_or_default()),
        Err(_) => wanted.clone(),
    };
    if let Some(label) = &label {
        answer.insert("account".into(), label.as_str().into());
    }
    let label = label.unwrap_or_default();
    match found.and_then(|connection| usable(service, connection, label, &scopes)) {
        Ok(()) => {
            answer.insert("status".into(), "ready".into());
        }
        Err(unusable) => {
            let remedies = Remedies { consent: &state.consent, caller, service };
            let refusal = remedies.refuse(&unusable, state.now()).await;
            answer.extend(refusal.members());
        }
    }
    Ok(answer)
}

/// Whether a call would find this connection usable, as far as can be told without making one.
fn usable(
    service: &Service,
    connection: Option<Connection>,
    account: Account,
    scopes: &[String],
) -> Result<(), Unusable> {
    let Some(connection) = connection else {
        return Err(Unusable::AuthRequired { reason: Reason::NotConnected, account });
    };
    match connection.status {
        Status::Pending => return Err(Unusable::AuthRequired { reason: Reason::Pending, account }),
        Status::Invalid => {
            let reason = connection.invalid_reason.unwrap_or(Reason::RejectedByUpstream);
            return Err(Unusable::AuthRequired { reason, account });
        }
        Status::Active => {}
    }
    let granted: ScopeSet = connection.scopes.iter().collect();
    let missing = if granted.is_empty() { vec![] } else { service.scopes.missing(scopes, &granted) };
    if missing.is_empty() { Ok(()) } else { Err(Unusable::MissingScopes { scopes: missing, account }) }
}
