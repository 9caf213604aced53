//! The demo's browser and the stand-in understand each other over real HTTP, before Valetkey comes between them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha256};
use valetkey_standin::{Happening, LABEL, Settings, StandIn};

use super::*;
use crate::demo::client::{Form, Parties};

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const REDIRECT: &str = "http://127.0.0.1:9/oauth/callback/demo-hub";

async fn standin() -> StandIn {
    let settings = Settings {
        client_id: "app".into(),
        client_secret: "hush:+%/".into(),
        redirect_uri: REDIRECT.into(),
        access_token_lifetime: UNHURRIED,
    };
    StandIn::start(settings).await.unwrap()
}

fn authorize_url(standin: &StandIn) -> Url {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut url = Url::parse(&format!("{}/authorize", standin.origin())).unwrap();
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", REDIRECT),
        ("scope", "profile issues"),
        ("state", "the state"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    url
}

/// What the consent page's button leads to.
async fn decided(standin: &StandIn, decision: &str) -> Vec<(String, String)> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut parties = Parties::new("jwt".into()).unwrap();
    let page = parties.open(authorize_url(standin)).await.unwrap();
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains(LABEL) && page.body.contains("Read and open issues"));
    let answer = parties.submit(&Form::of(&page).unwrap().with("decision", decision)).await.unwrap();
    let to = answer.location().unwrap();
    assert!(to.as_str().starts_with(REDIRECT), "{to}");
    to.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn consent_gives_a_code_that_gives_a_token_that_the_api_takes() {
    let standin = standin().await;
    let outcome = decided(&standin, "allow").await;
    let of = |name: &str| outcome.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap();
    assert_eq!((of("state"), of("iss")), ("the state", standin.origin()));

    #[expect(clippy::disallowed_methods, reason = "the test plays an OAuth client")]
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("grant_type", "authorization_code"), ("code", of("code")), ("code_verifier", VERIFIER)])
        .append_pair("redirect_uri", REDIRECT)
        .finish();
    let request = http
        .post(format!("{}/token", standin.origin()))
        // Id and secret are form-urlencoded first (RFC 6749 §2.3.1).
        .basic_auth("app", Some("hush%3A%2B%25%2F"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let issued: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(issued["scope"], "profile issues", "{issued}");

    let token = issued["access_token"].as_str().unwrap();
    let user = http.get(format!("{}/user", standin.api())).bearer_auth(token).send().await.unwrap();
    assert_eq!(user.status(), StatusCode::OK);
    assert_eq!(standin.last_called(), Some(1));

    assert_eq!(standin.revoke_upstream(), 1);
    let user = http.get(format!("{}/user", standin.api())).bearer_auth(token).send().await.unwrap();
    assert_eq!(user.status(), StatusCode::UNAUTHORIZED);
    let last = standin.journal_since(0).pop().unwrap();
    assert_eq!(last, Happening::Rejected { number: Some(1), what: "GET /api/user".into() });
}

#[tokio::test]
async fn a_refusal_goes_back_as_access_denied() {
    let outcome = decided(&standin().await, "deny").await;
    assert!(outcome.contains(&("error".into(), "access_denied".into())), "{outcome:?}");
}
