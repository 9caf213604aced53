//! Callers by the rules of RFC 7519 and RFC 8725: each test is a table of tokens and what becomes of them.

mod remote;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Header;
use serde_json::{Value, json};

use super::{
    testing::{AUDIENCE, ISSUER, NOW, Pair, SECRET, at, claims, issuer, jwks, sign_hmac},
    *,
};
use crate::{
    config::{Algorithm, IssuerKeys},
    outbound::OutboundOptions,
};

fn callers(issuers: &[CallerIssuer]) -> Callers {
    let outbound = Outbound::new(OutboundOptions::default(), Handle::current()).unwrap();
    Callers::new(issuers, 100, outbound, Handle::current()).unwrap()
}

fn with_secret() -> CallerIssuer {
    issuer(IssuerKeys::Secret(SECRET.into()), &[Algorithm::HS256])
}

fn with_key(pair: Pair, algorithms: &[Algorithm]) -> CallerIssuer {
    issuer(IssuerKeys::PublicKey(pair.public_pem().into()), algorithms)
}

fn sign(claims: &Value) -> String {
    sign_hmac(SECRET.as_bytes(), Algorithm::HS256, claims)
}

async fn reason(callers: &Callers, token: &str) -> Option<Reason> {
    callers.authenticate(token, at(NOW)).await.err().map(|error| error.reason)
}

/// The good claims with one of them changed, or taken away by `null`.
fn but(name: &str, value: Value) -> Value {
    let mut claims = claims("u");
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// A token with this header and a signature of the right length that nobody made.
fn unsigned(header: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", encode(header), encode(&claims("u")), URL_SAFE_NO_PAD.encode([0; 64]))
}

#[tokio::test]
async fn every_algorithm_verifies_its_own_signature_and_no_other() {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    for algorithm in [HS256, HS384, HS512] {
        let callers = callers(&[issuer(IssuerKeys::Secret(SECRET.into()), &[algorithm])]);
        let good = sign_hmac(SECRET.as_bytes(), algorithm, &claims("u"));
        assert_eq!(reason(&callers, &good).await, None, "{algorithm:?}");
        let forged = sign_hmac(b"another secret", algorithm, &claims("u"));
        assert_eq!(reason(&callers, &forged).await, Some(Reason::Invalid), "{algorithm:?}");
    }
    let rsa = [RS256, RS384, RS512, PS256, PS384, PS512].map(|algorithm| (algorithm, Pair::Rsa));
    let others = [(ES256, Pair::P256), (ES384, Pair::P384), (EdDSA, Pair::Ed25519)];
    for (algorithm, pair) in rsa.into_iter().chain(others) {
        let callers = callers(&[with_key(pair, &[algorithm])]);
        let good = pair.sign(algorithm, None, &claims("u"));
        assert_eq!(reason(&callers, &good).await, None, "{algorithm:?}");
        let spoiled = good.replacen("eyJ", "eyK", 2);
        assert!(reason(&callers, &spoiled).await.is_some(), "{algorithm:?}");
        let (head, _) = good.rsplit_once('.').unwrap();
        let forged = format!("{head}.{}", URL_SAFE_NO_PAD.encode([1; 64]));
        assert_eq!(reason(&callers, &forged).await, Some(Reason::Invalid), "{algorithm:?}");
    }
}

#[tokio::test]
async fn the_token_does_not_choose_its_algorithm() {
    let callers = callers(&[with_key(Pair::Rsa, &[Algorithm::RS256])]);
    let pem = Pair::Rsa.public_pem().as_bytes();
    for token in [
        unsigned(&json!({"alg": "none"})),
        unsigned(&json!({"alg": "None"})),
        unsigned(&json!({"alg": "RS256"})),
        sign_hmac(pem, Algorithm::HS256, &claims("u")),
        Pair::Rsa.sign(Algorithm::PS256, None, &claims("u")),
        Pair::Rsa.sign(Algorithm::RS512, None, &claims("u")),
        Pair::RsaOther.sign(Algorithm::RS256, None, &claims("u")),
        Pair::P256.sign(Algorithm::ES256, None, &claims("u")),
    ] {
        assert_eq!(reason(&callers, &token).await, Some(Reason::Invalid), "{token}");
    }
    let without_signature = unsigned(&json!({"alg": "none"}));
    let (head, _) = without_signature.rsplit_once('.').unwrap();
    assert_eq!(reason(&callers, &format!("{head}.")).await, Some(Reason::Malformed));
}

#[tokio::test]
async fn keys_in_a_tokens_header_are_not_believed() {
    let server = super::testing::JwksServer::start(&jwks(&[(Pair::RsaOther, "evil")])).await;
    let callers = callers(&[with_key(Pair::Rsa, &[Algorithm::RS256])]);
    let url = || Some(server.url.to_string());
    let plain = Header::new(jsonwebtoken::Algorithm::RS256);
    for header in [
        Header { jku: url(), ..plain.clone() },
        Header { x5u: url(), ..plain.clone() },
        Header { jwk: serde_json::from_value(Pair::RsaOther.jwk("evil")).unwrap(), ..plain.clone() },
        Header { x5c: Some(vec!["AAAA".into()]), ..plain.clone() },
    ] {
        let foreign = Pair::RsaOther.sign_with(&header, &claims("u"));
        assert_eq!(reason(&callers, &foreign).await, Some(Reason::Invalid), "{header:?}");
        let own = Pair::Rsa.sign_with(&header, &claims("u"));
        assert_eq!(reason(&callers, &own).await, None, "{header:?}");
    }
    assert_eq!(server.fetches(), 0);
}

#[tokio::test]
async fn a_critical_extension_is_refused_though_the_signature_is_good() {
    let callers = callers(&[with_key(Pair::Rsa, &[Algorithm::RS256])]);
    let header = Header { crit: Some(vec!["b64".into()]), ..Header::new(jsonwebtoken::Algorithm::RS256) };
    let token = Pair::Rsa.sign_with(&header, &claims("u"));
    assert_eq!(reason(&callers, &token).await, Some(Reason::Invalid));
}

#[tokio::test]
async fn times_are_held_to_the_second() {
    let callers = callers(&[with_secret()]);
    for (name, value, expected) in [
        ("exp", json!(NOW - 59), None),
        ("exp", json!(NOW - 60), Some(Reason::Expired)),
        ("exp", json!(NOW - 61), Some(Reason::Expired)),
        ("exp", json!(0), Some(Reason::Expired)),
        ("exp", json!(NOW as f64 + 0.5), None),
        ("exp", json!(u64::MAX), None),
        ("exp", Value::Null, Some(Reason::Invalid)),
        ("exp", json!("1900000000"), Some(Reason::Invalid)),
        ("exp", json!(-1), Some(Reason::Invalid)),
        ("exp", json!(1e300), Some(Reason::Invalid)),
        ("exp", json!([NOW + 300]), Some(Reason::Invalid)),
        ("nbf", json!(NOW + 60), None),
        ("nbf", json!(NOW + 61), Some(Reason::NotYetValid)),
        ("nbf", json!("soon"), Some(Reason::Invalid)),
        ("iat", json!(NOW + 60), None),
        ("iat", json!(NOW + 61), Some(Reason::NotYetValid)),
        ("iat", json!(true), Some(Reason::Invalid)),
    ] {
        let token = sign(&but(name, value.clone()));
        assert_eq!(reason(&callers, &token).await, expected, "{name} {value}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_required_and_must_match() {
    let callers = callers(&[with_secret()]);
    for (name, value, expected) in [
        ("aud", json!([AUDIENCE]), None),
        ("aud", json!(["other", AUDIENCE]), None),
        ("aud", json!(["other"]), Some(Reason::Invalid)),
        ("aud", json!([]), Some(Reason::Invalid)),
        ("aud", json!("other"), Some(Reason::Invalid)),
        ("aud", json!("valetkey "), Some(Reason::Invalid)),
        ("aud", json!(7), Some(Reason::Invalid)),
        ("aud", json!([7, AUDIENCE]), Some(Reason::Invalid)),
        ("aud", json!([[AUDIENCE]]), Some(Reason::Invalid)),
        ("aud", Value::Null, Some(Reason::Invalid)),
        ("iss", json!("https://auth.example.com"), Some(Reason::Invalid)),
        ("iss", json!("https://evil.example/"), Some(Reason::Invalid)),
        ("iss", json!([ISSUER]), Some(Reason::Invalid)),
        ("iss", json!(7), Some(Reason::Invalid)),
        ("iss", Value::Null, Some(Reason::Invalid)),
    ] {
        let token = sign(&but(name, value.clone()));
        assert_eq!(reason(&callers, &token).await, expected, "{name} {value}");
    }
}

#[tokio::test]
async fn a_subject_is_a_modest_text() {
    let callers = callers(&[with_secret()]);
    for subject in [json!(""), json!(7.5), json!(["u"]), json!("a\nb"), json!("x".repeat(256)), json!("x".repeat(5000))]
    {
        assert_eq!(reason(&callers, &sign(&but("sub", subject.clone()))).await, Some(Reason::Invalid), "{subject}");
    }
    assert_eq!(reason(&callers, &sign(&but("sub", Value::Null))).await, Some(Reason::Invalid));
    assert_eq!(reason(&callers, &sign(&but("sub", json!("x".repeat(255))))).await, None);
}

#[tokio::test]
async fn another_claim_may_name_the_caller() {
    let callers = callers(&[CallerIssuer { user_claim: "https://acme.example/uid".into(), ..with_secret() }]);
    let mut claims = but("sub", Value::Null);
    assert_eq!(reason(&callers, &sign(&claims)).await, Some(Reason::Invalid));
    claims["https://acme.example/uid"] = json!("77");
    let caller = callers.authenticate(&sign(&claims), at(NOW)).await.unwrap();
    assert_eq!(caller.id.subject.as_str(), "77");
    claims["https://acme.example/uid"] = json!("");
    assert_eq!(reason(&callers, &sign(&claims)).await, Some(Reason::Invalid));
}

#[tokio::test]
async fn the_same_subject_of_two_issuers_is_two_callers() {
    let other = CallerIssuer {
        issuer: Issuer::parse("other").unwrap(),
        application: Some("Billing".into()),
        keys: IssuerKeys::Secret("another secret of thirty-two byte".into()),
        ..with_secret()
    };
    let callers = callers(&[with_secret(), other.clone()]);
    let one = callers.authenticate(&sign(&claims("u")), at(NOW)).await.unwrap();
    let theirs = sign_hmac(b"another secret of thirty-two byte", Algorithm::HS256, &but("iss", json!("other")));
    let two = callers.authenticate(&theirs, at(NOW)).await.unwrap();
    assert_ne!(one.id, two.id);
    assert_eq!(callers.application(&one.id.issuer), None);
    assert_eq!(callers.application(&two.id.issuer), Some("Billing"));
    // A token of one issuer under the name of the other.
    assert_eq!(reason(&callers, &sign(&but("iss", json!("other")))).await, Some(Reason::Invalid));
}

#[tokio::test]
async fn what_is_wrong_is_not_told_to_strangers() {
    let server = super::testing::JwksServer::start(&jwks(&[(Pair::Rsa, "a")])).await;
    let callers = callers(&[issuer(IssuerKeys::JwksUrl(server.url.clone()), &[Algorithm::RS256])]);
    let sign = |pair: Pair, id: &str, claims: &Value| pair.sign(Algorithm::RS256, Some(id), claims);
    let mut texts = Vec::new();
    for token in [
        sign(Pair::RsaOther, "a", &claims("u")),
        sign(Pair::Rsa, "unknown", &claims("u")),
        sign(Pair::Rsa, "a", &but("iss", json!("https://evil.example/"))),
        sign(Pair::Rsa, "a", &but("aud", json!("other"))),
        sign(Pair::RsaOther, "a", &but("exp", json!(0))),
    ] {
        texts.push(callers.authenticate(&token, at(NOW)).await.unwrap_err().to_string());
    }
    assert!(texts.iter().all(|text| *text == "the token is not valid"), "{texts:?}");
}

#[tokio::test]
async fn what_is_not_a_jwt_is_malformed() {
    let callers = callers(&[with_secret()]);
    for token in ["", "a", "a.b", "a.b.c.d", "a.b.c", "..", "eyJ9.eyJ9.eyJ9", &"a.b.".repeat(3000)] {
        assert_eq!(reason(&callers, token).await, Some(Reason::Malformed), "{token:.20}");
    }
}

#[tokio::test]
async fn a_verified_token_is_remembered_until_it_expires() {
    let callers = callers(&[with_secret()]);
    let token = sign(&claims("u"));
    assert!(callers.cached(token.as_bytes(), at(NOW)).is_none());
    let caller = callers.authenticate(&token, at(NOW)).await.unwrap();
    assert_eq!(caller.claims()["aud"], AUDIENCE);
    let again = callers.cached(token.as_bytes(), at(NOW)).unwrap();
    assert!(Arc::ptr_eq(&caller, &again));
    let end = caller.expires_at.plus(LEEWAY);
    let last = end.before(Duration::from_secs(1));
    assert!(callers.cached(token.as_bytes(), last).is_some());
    assert!(callers.cached(token.as_bytes(), end).is_none());
    assert_eq!(callers.authenticate(&token, end).await.unwrap_err().reason, Reason::Expired);
    let forged = format!("{}A", &token[..token.len() - 1]);
    assert!(callers.cached(forged.as_bytes(), at(NOW)).is_none());
}

#[tokio::test]
async fn a_key_set_from_a_file_serves_by_key_id() {
    let set = jwks(&[(Pair::Rsa, "a"), (Pair::P256, "b")]);
    let callers = callers(&[issuer(IssuerKeys::Jwks(set), &[Algorithm::RS256, Algorithm::ES256])]);
    assert!(callers.ready());
    assert_eq!(reason(&callers, &Pair::Rsa.sign(Algorithm::RS256, Some("a"), &claims("u"))).await, None);
    assert_eq!(reason(&callers, &Pair::P256.sign(Algorithm::ES256, Some("b"), &claims("u"))).await, None);
    let wrong_name = Pair::P256.sign(Algorithm::ES256, Some("a"), &claims("u"));
    assert_eq!(reason(&callers, &wrong_name).await, Some(Reason::Invalid));
}

#[test]
fn impossible_issuers_are_told_all_at_once() {
    let url = |text: &str| IssuerKeys::JwksUrl(text.parse().unwrap());
    let table = [
        (issuer(IssuerKeys::Secret("short".into()), &[Algorithm::HS256]), Some(IssuerProblem::ShortSecret)),
        (issuer(IssuerKeys::Secret(SECRET.into()), &[Algorithm::RS256]), Some(IssuerProblem::SecretMismatch)),
        (with_secret(), None),
        (with_key(Pair::Rsa, &[Algorithm::HS256]), Some(IssuerProblem::SecretMismatch)),
        (with_key(Pair::Rsa, &[]), Some(IssuerProblem::NoAlgorithms)),
        (issuer(IssuerKeys::PublicKey("no".into()), &[Algorithm::RS256]), Some(IssuerProblem::UnreadableKey)),
        (issuer(IssuerKeys::Jwks(jwks(&[])), &[Algorithm::RS256]), Some(IssuerProblem::NoUsableKey)),
        (issuer(url("http://idp.example/jwks"), &[Algorithm::RS256]), Some(IssuerProblem::InsecureUrl)),
        (issuer(url("file:///jwks"), &[Algorithm::RS256]), Some(IssuerProblem::InsecureUrl)),
        (issuer(url("https://idp.example/jwks"), &[Algorithm::HS256]), Some(IssuerProblem::SecretMismatch)),
        (issuer(url("https://idp.example/jwks"), &[Algorithm::RS256, Algorithm::ES256]), None),
        (issuer(url("http://localhost:1/jwks"), &[Algorithm::RS256]), None),
    ];
    let (issuers, expected): (Vec<_>, Vec<_>) = table.into_iter().unzip();
    let found = Callers::check(&issuers);
    let expected: Vec<_> =
        expected.into_iter().enumerate().filter_map(|(index, problem)| Some((index, problem?))).collect();
    assert_eq!(found.into_iter().map(|error| (error.index, error.problem)).collect::<Vec<_>>(), expected);
}
