//! STAND-IN. The authorization server's routes: `/authorize` with its consent page, `/token`, `/revoke`, `/userinfo`, a
//! settings page to take access back, and the metadata of RFC 8414. Decides nothing itself: `grants` does.

use std::{collections::HashMap, sync::Arc, time::Instant};

use axum::{
    Form, Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::{
    LABEL, LOGIN, PERSON, Shared,
    grants::{Issued, Refused, Request, random},
    pages::{Body, Page, STYLE},
};

type Fields = HashMap<String, String>;

/// What a scope allows, in words.
const SCOPES: [(&str, &str); 2] = [("profile", "See your name and login"), ("issues", "Read and open issues")];

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(settings))
        .route("/style.css", get(|| async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .route("/authorize", get(ask).post(decide))
        .route("/token", post(token))
        .route("/revoke", post(revoke))
        .route("/userinfo", get(userinfo))
        .route("/settings", get(settings))
        .route("/settings/revoke", post(remove_access))
        .route("/.well-known/oauth-authorization-server", get(metadata))
}

/// `GET /authorize` (RFC 6749 §4.1.1): checks the request, then asks the person.
async fn ask(State(shared): State<Arc<Shared>>, Query(query): Query<Fields>) -> Response {
    let field = |name: &str| query.get(name).cloned().unwrap_or_default();
    if !shared.grants.lock().knows(&field("client_id"), &field("redirect_uri")) {
        let why = "No application is registered here under this client_id with this redirect_uri.";
        return page(&shared, StatusCode::BAD_REQUEST, "This request can't be answered", Body::Problem { why });
    }
    let state = field("state");
    if field("response_type") != "code" {
        return back(&shared, &state, &[("error", "unsupported_response_type")]);
    }
    let challenge = field("code_challenge");
    if field("code_challenge_method") != "S256" || challenge.len() != 43 {
        let why = "code_challenge with code_challenge_method=S256 is required";
        return back(&shared, &state, &[("error", "invalid_request"), ("error_description", why)]);
    }
    let scope = field("scope");
    let known = |name: &str| SCOPES.iter().find(|(scope, _)| *scope == name).copied();
    let Some(scopes) = scope.split_whitespace().map(known).collect::<Option<Vec<_>>>() else {
        return back(&shared, &state, &[("error", "invalid_scope")]);
    };
    let handle = random("");
    shared.pending.lock().insert(handle.clone(), Request { scope: scope.clone(), state, challenge });
    let body = Body::Consent { client: &field("client_id"), scopes: &scopes, handle: &handle };
    page(&shared, StatusCode::OK, "Allow access?", body)
}

/// `POST /authorize`: what the person decided. A consent page works once.
async fn decide(State(shared): State<Arc<Shared>>, Form(form): Form<Fields>) -> Response {
    let handle = form.get("request").map(String::as_str).unwrap_or_default();
    let Some(request) = shared.pending.lock().remove(handle) else {
        let why = "This page was already answered. Go back to the application and begin again.";
        return page(&shared, StatusCode::BAD_REQUEST, "This page is over", Body::Problem { why });
    };
    let state = request.state.clone();
    if form.get("decision").is_some_and(|decision| decision == "allow") {
        let code = random("standin_code_");
        shared.grants.lock().allow(request, &code, Instant::now());
        back(&shared, &state, &[("code", &code)])
    } else {
        shared.grants.lock().deny();
        back(&shared, &state, &[("error", "access_denied")])
    }
}

/// Sends the browser back to the client, with `state` and `iss` (RFC 9207) beside the outcome.
fn back(shared: &Shared, state: &str, outcome: &[(&str, &str)]) -> Response {
    let redirect_uri = shared.grants.lock().redirect_uri().to_owned();
    let Ok(mut url) = Url::parse(&redirect_uri) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    url.query_pairs_mut().extend_pairs(outcome).append_pair("state", state).append_pair("iss", &shared.origin);
    Redirect::to(url.as_str()).into_response()
}

/// `POST /token` (RFC 6749 §3.2), with `client_secret_basic` only.
async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let now = Instant::now();
    let mut grants = shared.grants.lock();
    let (id, secret) = basic(&headers).unwrap_or_default();
    let issued = grants.authenticate(&id, &secret).and_then(|()| match field("grant_type") {
        "authorization_code" => {
            grants.exchange(field("code"), field("code_verifier"), field("redirect_uri"), now).map(Some)
        }
        "refresh_token" => grants.refresh(field("refresh_token"), now).map(Some),
        _ => Ok(None),
    });
    match issued {
        Ok(Some(issued)) => Json(answer(&issued)).into_response(),
        Ok(None) => (StatusCode::BAD_REQUEST, Json(failure("unsupported_grant_type"))).into_response(),
        Err(refused @ Refused::Grant) => (StatusCode::BAD_REQUEST, Json(failure(&refused.to_string()))).into_response(),
        Err(refused @ Refused::Client) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"stand-in\"")];
            (StatusCode::UNAUTHORIZED, challenge, Json(failure(&refused.to_string()))).into_response()
        }
    }
}

fn answer(issued: &Issued) -> Value {
    json!({
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in.as_secs(),
        "refresh_token": issued.refresh_token,
        "scope": issued.scope,
        "stand_in": LABEL,
    })
}

fn failure(error: &str) -> Value {
    json!({ "error": error, "stand_in": LABEL })
}

/// `POST /revoke` (RFC 7009): 200 whether the token was known or not.
async fn revoke(State(shared): State<Arc<Shared>>, headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    let mut grants = shared.grants.lock();
    let (id, secret) = basic(&headers).unwrap_or_default();
    if let Err(refused) = grants.authenticate(&id, &secret) {
        return (StatusCode::UNAUTHORIZED, Json(failure(&refused.to_string()))).into_response();
    }
    grants.revoke(form.get("token").map(String::as_str).unwrap_or_default());
    StatusCode::OK.into_response()
}

/// `GET /userinfo`: who granted access.
async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let live = super::api::bearer(&headers).and_then(|token| shared.grants.lock().live(token, Instant::now()));
    match live {
        Some(_) => Json(json!({ "sub": "1001", "name": PERSON, "preferred_username": LOGIN, "stand_in": LABEL }))
            .into_response(),
        None => super::api::refusal(),
    }
}

/// `GET /settings`: where a person takes access back at a real provider.
async fn settings(State(shared): State<Arc<Shared>>) -> Response {
    page(&shared, StatusCode::OK, "Applications with access to your account", Body::Settings)
}

async fn remove_access(State(shared): State<Arc<Shared>>) -> Response {
    let count = shared.grants.lock().revoke_all();
    page(&shared, StatusCode::OK, "Access removed", Body::Removed { count })
}

/// `GET /.well-known/oauth-authorization-server` (RFC 8414).
async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", shared.origin);
    Json(json!({
        "issuer": shared.origin,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "userinfo_endpoint": at("/userinfo"),
        "scopes_supported": SCOPES.map(|(scope, _)| scope),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "stand_in": LABEL,
    }))
}

fn page(shared: &Shared, status: StatusCode, title: &str, body: Body<'_>) -> Response {
    let page = Page { label: LABEL, person: PERSON, login: LOGIN, origin: &shared.origin, title, body };
    match askama::Template::render(&page) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Id and secret of `Authorization: Basic`, each form-urlencoded first (RFC 6749 §2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
