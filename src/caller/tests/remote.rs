//! Callers whose issuer's keys are behind a URL.

use std::time::Duration;

use super::*;
use crate::{backoff::Backoff, caller::testing::JwksServer};

/// Nothing is fetched but at start and on demand.
const PATIENT: Pace = Pace {
    refresh: Duration::from_secs(3600),
    retry: Backoff::new(Duration::from_secs(3600), Duration::from_secs(3600)),
    unknown_key: Duration::from_secs(3600),
    stale: Duration::from_secs(3600),
};

fn remote(server: &JwksServer, pace: Pace) -> Callers {
    let outbound = Outbound::new(OutboundOptions::default(), Handle::current()).unwrap();
    let issuer = issuer(IssuerKeys::JwksUrl(server.url.clone()), &[Algorithm::RS256, Algorithm::ES256]);
    Callers::with_pace(&[issuer], 100, &outbound, &Handle::current(), pace).unwrap()
}

fn signed(pair: Pair, id: &str) -> String {
    signed_for(pair, id, "u")
}

fn signed_for(pair: Pair, id: &str, subject: &str) -> String {
    pair.sign(pair.algorithm(), Some(id), &claims(subject))
}

#[tokio::test]
async fn the_first_request_waits_for_the_first_fetch() {
    let server = JwksServer::start(&jwks(&[(Pair::Rsa, "a")])).await;
    let callers = remote(&server, PATIENT);
    assert!(!callers.ready());
    assert_eq!(reason(&callers, &signed(Pair::Rsa, "a")).await, None);
    assert!(callers.ready());
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn a_thousand_unknown_key_ids_cause_one_fetch() {
    let server = JwksServer::start(&jwks(&[(Pair::P256, "a")])).await;
    let callers = remote(&server, PATIENT);
    assert_eq!(reason(&callers, &signed(Pair::P256, "a")).await, None);
    let tokens: Vec<_> = (0..1000).map(|number| signed(Pair::P256, &format!("random-{number}"))).collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| reason(&callers, token))).await;
    assert!(answers.iter().all(|answer| *answer == Some(Reason::Invalid)));
    assert_eq!(server.fetches(), 2, "one at start, one for all of them");
    assert_eq!(reason(&callers, &signed_for(Pair::P256, "a", "other")).await, None);
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let server = JwksServer::start(&jwks(&[(Pair::Rsa, "a")])).await;
    let callers = remote(&server, PATIENT);
    let old = signed(Pair::Rsa, "a");
    assert_eq!(reason(&callers, &old).await, None);
    server.serve(&jwks(&[(Pair::P256, "b")]));
    assert_eq!(reason(&callers, &signed(Pair::P256, "b")).await, None);
    assert!(callers.cached(old.as_bytes(), at(NOW)).is_none(), "a token of a key that is gone must be verified again");
    assert_eq!(reason(&callers, &old).await, Some(Reason::Invalid));
}

#[tokio::test]
async fn known_keys_serve_while_the_issuer_is_down() {
    let server = JwksServer::start(&jwks(&[(Pair::Rsa, "a")])).await;
    let callers = remote(&server, Pace { unknown_key: Duration::ZERO, ..PATIENT });
    assert_eq!(reason(&callers, &signed(Pair::Rsa, "a")).await, None);
    let oversized = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(256 * 1024));
    let too_many = json!({"keys": vec![Pair::P256.jwk("b"); 101]}).to_string();
    for (number, answer) in [
        "HTTP/1.1 500 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        String::new(),
        format!("HTTP/1.1 302 x\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", server.url),
        format!("HTTP/1.1 200 x\r\nConnection: close\r\n\r\n{oversized}"),
        format!("HTTP/1.1 200 x\r\nConnection: close\r\n\r\n{too_many}"),
        "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n<html>".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        server.answer_with(&answer);
        let before = server.fetches();
        let unknown = reason(&callers, &signed(Pair::P256, "b")).await;
        assert_eq!(unknown, Some(Reason::KeysUnavailable), "{answer:.60}");
        assert_eq!(server.fetches(), before + 1, "a redirect must not be followed: {answer:.60}");
        assert_eq!(callers.failing(), [Issuer::parse(ISSUER).unwrap()]);
        let known = signed_for(Pair::Rsa, "a", &format!("u{number}"));
        assert_eq!(reason(&callers, &known).await, None, "{answer:.60}");
        assert!(callers.ready());
    }
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_again_serve_for_a_bounded_time() {
    let server = JwksServer::start(&jwks(&[(Pair::Rsa, "a")])).await;
    let callers = remote(&server, Pace { stale: Duration::ZERO, ..PATIENT });
    assert_eq!(reason(&callers, &signed(Pair::Rsa, "a")).await, Some(Reason::KeysUnavailable));
}

#[tokio::test]
async fn an_issuer_that_never_answered_is_not_the_callers_fault() {
    let server = JwksServer::start("").await;
    let callers = remote(&server, PATIENT);
    for _ in 0..2 {
        assert_eq!(reason(&callers, &signed(Pair::Rsa, "a")).await, Some(Reason::KeysUnavailable));
    }
    assert!(!callers.ready());
    assert_eq!(server.fetches(), 1, "the second request must not wait for a retry, nor cause one");
}

#[tokio::test]
async fn an_issuer_that_was_down_is_fetched_again_by_itself() {
    let server = JwksServer::start("").await;
    let retry = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let callers = remote(&server, Pace { retry, ..PATIENT });
    assert_eq!(reason(&callers, &signed(Pair::Rsa, "a")).await, Some(Reason::KeysUnavailable));
    server.serve(&jwks(&[(Pair::Rsa, "a")]));
    while !callers.ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(reason(&callers, &signed(Pair::Rsa, "a")).await, None);
}

#[tokio::test]
async fn keys_for_other_uses_verify_nothing() {
    let mut encryption = Pair::Rsa.jwk("enc");
    encryption["use"] = json!("enc");
    let mut mismatched = Pair::Rsa.jwk("alg");
    mismatched["alg"] = json!("PS256");
    let secret = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let set = json!({"keys": [encryption, mismatched, secret]}).to_string();
    let server = JwksServer::start(&set).await;
    let callers = remote(&server, PATIENT);
    for token in [signed(Pair::Rsa, "enc"), signed(Pair::Rsa, "alg"), sign(&claims("u"))] {
        assert_eq!(reason(&callers, &token).await, Some(Reason::Invalid));
    }
}

#[tokio::test]
async fn the_task_ends_with_its_callers() {
    let server = JwksServer::start("").await;
    let busy = Pace { retry: Backoff::new(Duration::ZERO, Duration::ZERO), ..PATIENT };
    let callers = remote(&server, busy);
    while server.fetches() == 0 {
        tokio::task::yield_now().await;
    }
    let tasks = Handle::current().metrics().num_alive_tasks();
    drop(callers);
    while Handle::current().metrics().num_alive_tasks() >= tasks {
        tokio::task::yield_now().await;
    }
}
