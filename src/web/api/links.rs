//! Ways to connect, made before they are needed: a link, and a look at many services at once.

use axum::{body::Body, response::Response};
use http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Asked, Served, Shared, account,
    answers::{Always, ByPolicy, ForCallers, OfService, OneOfSeveral, WithBody},
    body::Object,
    json, label,
    schemas::Outcome,
    service,
};
use crate::{
    caller::Caller,
    connection::Want,
    consent::{RefusedCall, Wish, shown_name},
    id::{Account, ServiceName},
    policy::{self, Forbidden, Question},
    provider::{Service, scopes::is_token},
    refusal::Refusal,
    web::State,
};

/// Most services in one preflight.
const PREFLIGHT_MAX: usize = 100;
/// Most scopes in one request, and their length together.
const SCOPES_MAX: (usize, usize) = (100, 2048);

/// A connection that somebody is to be asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConnectLinkRequest)]
struct LinkBody {
    /// The service.
    #[schema(value_type = ServiceName)]
    service: String,
    /// The label to connect under; none: as for a call, else `default`.
    #[schema(value_type = Option<Account>)]
    account: Option<String>,
    /// Scopes on top of the service's own, 2048 characters together.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 100)]
    scopes: Vec<String>,
    /// Where the browser goes afterwards: an address on the operator's list.
    #[schema(format = "uri", max_length = 2048)]
    return_to: Option<String>,
}

/// A scope (RFC 6749 §3.3).
#[derive(ToSchema)]
#[schema(value_type = String, pattern = r"^[!#-\[\]-~]+$", max_length = 2048, examples("repo"))]
#[expect(dead_code, reason = "its form is documented; what comes in is read as text and checked here")]
struct Scope(String);

/// A way to connect.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectLink)]
struct LinkAnswer {
    /// A connect link: short-lived, for one person. Show it to the caller; keep it nowhere.
    #[schema(format = "uri")]
    auth_url: String,
    /// How long the link lives, in seconds.
    expires_in: u64,
}

/// Scopes as an application names them: each a scope of RFC 6749 §3.3, all of a bearable length, each once.
fn scopes(names: &[String]) -> Served<Vec<String>> {
    let wrong = || Refusal::bad_request("scopes must be a list of at most 100 scopes, 2048 characters together");
    let length: usize = names.iter().map(String::len).sum();
    if names.len() > SCOPES_MAX.0 || length > SCOPES_MAX.1 || !names.iter().all(|scope| is_token(scope)) {
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

/// Whether a connection to the service would be of use: its policy lets some call of this caller through. Nobody is sent to
/// connect what they may never call.
fn of_use<'a>(caller: &'a Caller, service: &'a Service) -> Result<(), Forbidden<'a>> {
    policy::judge(&Question { service, claims: Some(caller.claims()), operation: None, behalf_of: None })
}

/// Make a connect link before it is needed.
#[utoipa::path(
    post,
    path = "/connect-links",
    operation_id = "makeConnectLink",
    tag = "connecting",
    request_body = LinkBody,
    responses(
        (status = 200, description = "The link.", body = LinkAnswer),
        Always, ForCallers, WithBody, OfService, OneOfSeveral, ByPolicy,
    ),
)]
pub(super) async fn connect_link(
    axum::extract::State(state): Shared,
    asked: Asked,
    request: Request<Body>,
) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let shape = r#"{"service": "github", "account": "work", "scopes": ["repo"], "return_to": "https://…"}"#;
        let asked_for: LinkBody = asked.body(request.into_body(), shape).await?;
        let service = service(&state, &asked_for.service)?;
        of_use(&caller, service)?;
        let account = account(asked_for.account.as_deref())?;
        let scopes = scopes(&asked_for.scopes)?;
        let return_to = asked_for.return_to.map(|text| state.parts.consent.links.return_to(&text)).transpose()?;
        let name = shown_name(caller.claims());
        let wish = Wish {
            caller: &caller.id,
            name: name.as_deref(),
            application: state.parts.callers.application(&caller.id.issuer),
            service,
            account: &label(&state, &caller, service, account).await?,
            scopes: &scopes,
            return_to: return_to.as_ref(),
        };
        let link = state.parts.consent.links.link(&wish, state.now()).await?;
        json(&LinkAnswer { auth_url: link.url, expires_in: link.expires_in })
    };
    asked.reply(served.await)
}

/// A way into the dashboard.
#[derive(Serialize, ToSchema)]
#[schema(as = DashboardLink)]
struct DashboardLinkAnswer {
    /// A link that opens the caller's dashboard, once.
    #[schema(format = "uri")]
    dashboard_url: String,
    /// How long the link lives, in seconds.
    expires_in: u64,
}

/// Make a link to the caller's dashboard. No body is needed, and none is read.
#[utoipa::path(
    post,
    path = "/dashboard-links",
    operation_id = "makeDashboardLink",
    tag = "connecting",
    responses((status = 200, description = "The link.", body = DashboardLinkAnswer), Always, ForCallers),
)]
pub(super) async fn dashboard_link(axum::extract::State(state): Shared, asked: Asked) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let application = state.parts.callers.application(&caller.id.issuer).map(str::to_owned);
        let name = shown_name(caller.claims());
        let link = state.parts.consent.sessions.link(caller.id.clone(), name, application, state.now()).await?;
        json(&DashboardLinkAnswer { dashboard_url: link.url, expires_in: link.expires_in })
    };
    asked.reply(served.await)
}

/// What a long job is going to call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreflightRequest)]
struct PreflightBody {
    /// The services, in any order; each may be named several times.
    #[schema(value_type = Vec<PreflightItem>, max_items = 100)]
    services: Vec<Object<PreflightItem>>,
}

/// One service that is going to be called.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PreflightItem {
    /// The service; one that doesn't exist is told as such.
    #[schema(value_type = ServiceName)]
    service: String,
    /// The account; none: as for a call.
    #[schema(value_type = Option<Account>)]
    account: Option<String>,
    /// Scopes that the calls need on top of the service's own, 2048 characters together.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 100)]
    scopes: Vec<String>,
}

/// What those calls would meet.
#[derive(Serialize, ToSchema)]
#[schema(as = PreflightAnswer)]
struct PreflightAnswer {
    /// In the order of the request.
    #[schema(value_type = Vec<Outcome>)]
    services: Vec<Map<String, Value>>,
}

/// What a long job would run into, before it starts.
#[utoipa::path(
    post,
    path = "/preflight",
    operation_id = "preflight",
    tag = "connecting",
    request_body = PreflightBody,
    responses(
        (status = 200, description = "Each service, with a live link where one helps.", body = PreflightAnswer),
        Always, ForCallers, WithBody,
    ),
)]
pub(super) async fn preflight(axum::extract::State(state): Shared, asked: Asked, request: Request<Body>) -> Response {
    let served = async {
        let caller = asked.caller(&state).await?;
        let shape = r#"{"services": [{"service": "github", "account": "work", "scopes": ["repo"]}]}"#;
        let PreflightBody { services } = asked.body(request.into_body(), shape).await?;
        if services.len() > PREFLIGHT_MAX {
            return Err(Refusal::bad_request("services has at most 100 items"));
        }
        let mut answers = Vec::with_capacity(services.len());
        for Object(item) in services {
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
    let Some(service) = state.parts.services.get(&item.service) else {
        // Only what could name a service is repeated.
        let name = ServiceName::parse(&item.service).map_err(|error| Refusal::bad_request(error.to_string()))?;
        answer.insert("service".into(), name.as_str().into());
        answer.insert("status".into(), "unknown_service".into());
        return Ok(answer);
    };
    answer.insert("service".into(), service.name.as_str().into());
    if let Err(forbidden) = of_use(caller, service) {
        answer.extend(Refusal::from(forbidden).members());
        return Ok(answer);
    }
    // No call is made, so there is no method and no path: only rules that speak of every call count.
    let (account, scopes) = (wanted.as_ref(), scopes.as_slice());
    let services = &state.parts.services;
    let want = Want { caller: &caller.id, services, service, account, scopes, operation: None, waited: None };
    let label = match state.parts.connections.resolver.foresee(&want).await {
        Ok(label) => {
            answer.insert("status".into(), "ready".into());
            Some(label)
        }
        Err(unusable) => {
            let application = state.parts.callers.application(&caller.id.issuer);
            let scopes = &service.scopes_beside_its_own(None, scopes);
            let refused = RefusedCall { caller, application, service, scopes };
            let remedy = state.parts.consent.links.remedy(&unusable, &refused, state.now()).await;
            answer.extend(Refusal::no_credential(service, &remedy).members());
            wanted
        }
    };
    if let Some(label) = label.filter(|_| !answer.contains_key("account")) {
        answer.insert("account".into(), label.as_str().into());
    }
    Ok(answer)
}
