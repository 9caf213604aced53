//! The stand-in keeps the rules that the demo claims to show.

use std::{sync::LazyLock, time::Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{
    grants::{Issued, Refused},
    *,
};

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
const REDIRECT: &str = "http://127.0.0.1:1/oauth/callback/demo-hub";
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
const LIFETIME: Duration = Duration::from_secs(20);

fn grants() -> Grants {
    let client = Client { id: "app".into(), secret: "hush".into(), redirect_uri: REDIRECT.into() };
    Grants::new(client, LIFETIME)
}

fn allowed(grants: &mut Grants) -> &'static str {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    grants.allow(Request { scope: "profile".into(), state: "s".into(), challenge }, "the-code", *START);
    "the-code"
}

fn connected(grants: &mut Grants) -> Issued {
    let code = allowed(grants);
    grants.exchange(code, VERIFIER, REDIRECT, *START).ok().unwrap()
}

#[test]
fn a_wrong_verifier_gets_nothing_and_spends_the_code() {
    let mut grants = grants();
    let code = allowed(&mut grants);
    let wrong = "b-verifier-of-at-least-forty-three-characters";
    assert_eq!(grants.exchange(code, wrong, REDIRECT, *START).err(), Some(Refused::Grant));
    assert_eq!(grants.exchange(code, VERIFIER, REDIRECT, *START).err(), Some(Refused::Grant));
}

#[test]
fn a_short_verifier_is_refused_even_if_it_hashes_right() {
    let mut grants = grants();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest("short"));
    grants.allow(Request { scope: String::new(), state: String::new(), challenge }, "c", *START);
    assert_eq!(grants.exchange("c", "short", REDIRECT, *START).err(), Some(Refused::Grant));
}

#[test]
fn a_code_is_bound_to_its_redirect_uri() {
    let mut grants = grants();
    let code = allowed(&mut grants);
    assert_eq!(grants.exchange(code, VERIFIER, "http://127.0.0.1:2/", *START).err(), Some(Refused::Grant));
}

#[test]
fn a_code_works_once_and_a_second_use_revokes_what_the_first_got() {
    let mut grants = grants();
    let issued = connected(&mut grants);
    assert!(grants.live(&issued.access_token, *START).is_some());
    assert_eq!(grants.exchange("the-code", VERIFIER, REDIRECT, *START).err(), Some(Refused::Grant));
    assert!(grants.live(&issued.access_token, *START).is_none());
}

#[test]
fn a_code_expires() {
    let mut grants = grants();
    let code = allowed(&mut grants);
    let late = *START + Duration::from_secs(60);
    assert_eq!(grants.exchange(code, VERIFIER, REDIRECT, late).err(), Some(Refused::Grant));
}

#[test]
fn an_access_token_lives_exactly_its_lifetime() {
    let mut grants = grants();
    let issued = connected(&mut grants);
    assert!(grants.live(&issued.access_token, *START + LIFETIME - Duration::from_millis(1)).is_some());
    assert!(grants.live(&issued.access_token, *START + LIFETIME).is_none());
}

#[test]
fn a_refresh_rotates_both_tokens() {
    let mut grants = grants();
    let first = connected(&mut grants);
    let second = grants.refresh(&first.refresh_token, *START).ok().unwrap();
    assert_ne!(first.access_token, second.access_token);
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_eq!(grants.live(&second.access_token, *START).unwrap().number, 2);
}

#[test]
fn a_refresh_token_used_twice_revokes_the_family() {
    let mut grants = grants();
    let first = connected(&mut grants);
    let second = grants.refresh(&first.refresh_token, *START).ok().unwrap();
    assert_eq!(grants.refresh(&first.refresh_token, *START).err(), Some(Refused::Grant));
    assert!(grants.live(&second.access_token, *START).is_none());
    assert_eq!(grants.refresh(&second.refresh_token, *START).err(), Some(Refused::Grant));
    assert!(grants.journal.since(0).contains(&Happening::RefreshTokenReused));
}

#[test]
fn revocation_ends_the_whole_grant_by_either_token() {
    for by_refresh_token in [true, false] {
        let mut grants = grants();
        let issued = connected(&mut grants);
        grants.revoke(if by_refresh_token { &issued.refresh_token } else { &issued.access_token });
        assert!(grants.live(&issued.access_token, *START).is_none());
        assert_eq!(grants.refresh(&issued.refresh_token, *START).err(), Some(Refused::Grant));
    }
}

#[test]
fn a_person_can_take_back_every_grant() {
    let mut grants = grants();
    let issued = connected(&mut grants);
    assert_eq!(grants.revoke_all(), 1);
    assert!(grants.live(&issued.access_token, *START).is_none());
    assert_eq!(grants.revoke_all(), 0);
}

#[test]
fn only_the_client_itself_is_authenticated() {
    let grants = grants();
    assert_eq!(grants.authenticate("app", "hush"), Ok(()));
    for (id, secret) in [("app", "Hush"), ("App", "hush"), ("", ""), ("app", "")] {
        assert_eq!(grants.authenticate(id, secret), Err(Refused::Client));
    }
}

/// Asks the routes over HTTP terms, without a socket.
async fn get(shared: &Arc<Shared>, uri: &str) -> Response {
    let request = axum::http::Request::get(uri).body(axum::body::Body::empty()).unwrap();
    tower::ServiceExt::oneshot(router(Arc::clone(shared)), request).await.unwrap()
}

fn shared() -> Arc<Shared> {
    let settings = Settings {
        client_id: "app".into(),
        client_secret: "hush".into(),
        redirect_uri: REDIRECT.into(),
        access_token_lifetime: LIFETIME,
    };
    Arc::new(Shared::new("http://127.0.0.1:9".into(), settings))
}

#[tokio::test]
async fn a_request_without_pkce_is_sent_back_with_its_state_and_issuer() {
    let uri = "/authorize?response_type=code&client_id=app&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Foauth%2Fcallback%2Fdemo-hub&state=x";
    let response = get(&shared(), uri).await;
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(REDIRECT), "{location}");
    for part in ["error=invalid_request", "state=x", "iss=http%3A%2F%2F127.0.0.1%3A9"] {
        assert!(location.contains(part), "{location}");
    }
}

#[tokio::test]
async fn a_foreign_redirect_uri_gets_a_page_and_no_redirect() {
    let uri = "/authorize?response_type=code&client_id=app&redirect_uri=https%3A%2F%2Fevil.example%2F";
    let response = get(&shared(), uri).await;
    assert_eq!(response.status(), 400);
    assert!(response.headers().get("location").is_none());
    assert!(response.headers()["stand-in"].to_str().unwrap().starts_with("STAND-IN"));
}

#[tokio::test]
async fn the_api_refuses_whatever_is_not_a_live_token_and_writes_it_down() {
    let shared = shared();
    let response = get(&shared, "/api/user").await;
    assert_eq!(response.status(), 401);
    assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    let journal = shared.grants.lock().journal.since(0).to_vec();
    assert_eq!(journal[0], Happening::Rejected { number: None, what: "GET /api/user".into() });
}
