//! What the other modules rely on in the tests' own servers: rotation with reuse detection, PKCE, `iss`, live tokens
//! only, faults on demand. A test that fails here says that the others prove nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::support::authorization_server::{CLIENT_ID, CLIENT_SECRET, http};
use crate::support::redis::Redis;
use crate::support::{Answer, AuthorizationServer, Browser};

const PUBLIC_URL: &str = "http://127.0.0.1:1";
const VERIFIER: &str = "a-code-verifier-of-forty-three-characters-or-more";

async fn server() -> AuthorizationServer {
    let server = AuthorizationServer::start().await;
    server.register(CLIENT_ID, CLIENT_SECRET, PUBLIC_URL, &["crm"], "client_secret_post").await;
    server
}

async fn token(server: &AuthorizationServer, parameters: &[(&str, &str)]) -> Answer {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs([("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)]).extend_pairs(parameters);
    let request = http().post(format!("{}/token", server.issuer));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.finish());
    Answer::read(request.send().await.expect("an answer")).await
}

async fn refresh(server: &AuthorizationServer, refresh_token: &str) -> Answer {
    token(server, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
}

async fn whoami(server: &AuthorizationServer, access_token: &str) -> Answer {
    let request = http().get(format!("{}/whoami", server.resource)).bearer_auth(access_token);
    Answer::read(request.send().await.expect("an answer")).await
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned()
}

fn authorize_url(server: &AuthorizationServer, challenge: Option<&str>) -> Url {
    let mut url = Url::parse(&format!("{}/auth", server.issuer)).expect("a URL");
    url.query_pairs_mut()
        .append_pair("client_id", CLIENT_ID)
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", &format!("{PUBLIC_URL}/oauth/callback/crm"))
        .append_pair("scope", "contacts")
        .append_pair("state", "a-state-of-this-test");
    if let Some(challenge) = challenge {
        url.query_pairs_mut().append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
    }
    url
}

#[tokio::test]
async fn the_browser_walks_login_and_consent_to_a_code_that_needs_its_verifier() {
    let server = server().await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut browser = Browser::new();
    let started = browser.get(authorize_url(&server, Some(&challenge))).await;
    let callback = browser.consent_at_provider(started, "ada").await;
    let query: std::collections::HashMap<_, _> = callback.query_pairs().into_owned().collect();
    assert_eq!(query["iss"], server.issuer);
    assert_eq!(query["state"], "a-state-of-this-test");

    let redirect_uri = format!("{PUBLIC_URL}/oauth/callback/crm");
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", &query["code"]),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", VERIFIER),
    ];
    let answer = token(&server, &exchange).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let granted = answer.json();
    assert_eq!(granted["scope"], "contacts");
    let seen = whoami(&server, &text(&granted, "access_token")).await.json();
    assert_eq!((seen["sub"].as_str(), seen["scope"].as_str()), (Some("ada"), Some("contacts")));
    assert!(!text(&granted, "refresh_token").is_empty());
    server.assert_sound().await;
}

#[tokio::test]
async fn a_request_without_pkce_is_refused_by_the_provider() {
    let server = server().await;
    let mut browser = Browser::new();
    let page = browser.get(authorize_url(&server, None)).await;
    let location = page.location().expect("an error redirect");
    assert!(location.query().is_some_and(|query| query.contains("error=invalid_request")), "{location}");
}

#[tokio::test]
async fn a_person_who_cancels_comes_back_with_access_denied() {
    let server = server().await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut browser = Browser::new();
    let started = browser.get(authorize_url(&server, Some(&challenge))).await;
    let callback = browser.deny_at_provider(started).await;
    assert!(callback.query().is_some_and(|query| query.contains("error=access_denied")), "{callback}");
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_whole_grant() {
    let server = server().await;
    let (access, first) = server.mint(CLIENT_ID, "ada", "contacts").await;
    assert_eq!(whoami(&server, &access).await.status, 200);
    let second = text(&refresh(&server, &first).await.json(), "refresh_token");
    assert_ne!(first, second);
    let again = refresh(&server, &first).await;
    assert_eq!((again.status, again.json()["error"].as_str()), (400, Some("invalid_grant")));
    assert_eq!(server.count("reuse_detected").await, 1);
    assert_eq!(refresh(&server, &second).await.status, 400);
    assert_eq!(whoami(&server, &access).await.status, 401);
    assert_eq!(server.token_requests("refresh_token").await, 3);
}

#[tokio::test]
async fn an_access_token_ends_by_age_or_by_revocation() {
    let server = server().await;
    server.access_token_ttl(1).await;
    let (short, _) = server.mint(CLIENT_ID, "ada", "contacts").await;
    crate::support::wait::until("the token is over", || async {
        (whoami(&server, &short).await.status == 401).then_some(())
    })
    .await;
    server.access_token_ttl(3600).await;
    let (long, refresh_token) = server.mint(CLIENT_ID, "ada", "contacts").await;
    server.revoke("access", "ada").await;
    assert_eq!(whoami(&server, &long).await.status, 401);
    assert_eq!(refresh(&server, &refresh_token).await.status, 200);
}

#[tokio::test]
async fn faults_strike_as_often_as_asked_and_may_lose_the_providers_own_answer() {
    let server = server().await;
    let (_, token) = server.mint(CLIENT_ID, "ada", "contacts").await;
    server.fault(json!({ "status": 503, "headers": { "content-type": "text/html" }, "body": "<h1>Down</h1>" })).await;
    let down = refresh(&server, &token).await;
    assert_eq!((down.status, down.text().as_str()), (503, "<h1>Down</h1>"));
    server.fault(json!({ "after": true, "reset": true, "grant": "refresh_token" })).await;
    let request =
        http().post(format!("{}/token", server.issuer)).header("content-type", "application/x-www-form-urlencoded");
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "refresh_token"),
            ("refresh_token", &token),
        ])
        .finish();
    assert!(request.body(body).send().await.is_err(), "the answer is lost");
    assert_eq!(refresh(&server, &token).await.json()["error"], "invalid_grant", "but the token was spent");

    let (_, token) = server.mint(CLIENT_ID, "bob", "contacts").await;
    server.fault(json!({ "hold": true })).await;
    let (answer, ()) = tokio::join!(refresh(&server, &token), async {
        server.held(1).await;
        server.release().await;
    });
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn redis_wants_its_password_and_forgets_everything_when_killed() {
    let mut redis = Redis::start().await;
    assert_eq!(redis.command(&["SET", "k", "v"]).await.expect("an answer"), "+OK\r\n");
    assert!(redis.dump().await.contains("$1\r\nv"));
    redis.stop();
    assert!(redis.command(&["PING"]).await.is_err());
    redis.run().await;
    assert_eq!(redis.command(&["GET", "k"]).await.expect("an answer"), "$-1\r\n");
    redis.password = "wrong".to_owned();
    assert!(redis.command(&["PING"]).await.is_err());
}
