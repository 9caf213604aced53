//! Callers' JWTs: every algorithm and source of keys, every place a client may put one, and every bad one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::raw::Raw;
use crate::support::{Alone, Answer, Config, Script, Upstream, jwt, wait};

const PATH: &str = "/proxy/crm/whoami";

async fn with_header(valetkey: &Alone, name: &str, value: &str) -> Answer {
    valetkey.send(valetkey.anonymous(Method::GET, PATH).header(name, value)).await
}

async fn bearer(valetkey: &Alone, token: &str) -> Answer {
    with_header(valetkey, "authorization", &format!("Bearer {token}")).await
}

/// Nobody is connected here: a caller who is known gets a connect link.
#[track_caller]
fn assert_known(answer: &Answer) {
    answer.auth_required("crm", "not_connected");
}

#[track_caller]
fn assert_refused(answer: &Answer) -> Value {
    let body = answer.refusal(401, "unauthenticated");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    body
}

/// Nothing was presented: there is nothing that could be wrong, and two ways to come in.
#[track_caller]
fn assert_asked(answer: &Answer) {
    answer.refusal(401, "unauthenticated");
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Basic realm=\"valetkey\"", "Bearer"]);
}

fn issued_by(issuer: &str, user: &str) -> Value {
    let mut claims = jwt::claims(user);
    claims["iss"] = issuer.into();
    claims
}

fn issuer(name: &str, algorithm: &str, key: (&str, Value)) -> Value {
    let mut entry = json!({ "issuer": name, "audience": jwt::AUDIENCE, "algorithms": [algorithm] });
    entry[key.0] = key.1;
    entry
}

#[tokio::test]
async fn every_algorithm_and_every_source_of_keys_is_accepted() {
    let keys =
        Upstream::start(|_| Script::answer(200, &[("Content-Type", "application/json")], jwt::jwks().to_string()))
            .await;
    let files = tempfile::TempDir::new().expect("a folder");
    let file = |name: &str, text: String| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("written");
        Value::from(path.display().to_string())
    };
    let callers = json!([
        issuer("https://secret", "HS256", ("secret", jwt::SECRET.into())),
        issuer("https://secret-file", "HS256", ("secret_file", file("secret", jwt::SECRET.to_owned()))),
        issuer("https://pem", "RS256", ("public_key", jwt::public_pem(Algorithm::RS256).into())),
        issuer(
            "https://pem-file",
            "ES256",
            ("public_key_file", file("ec.pem", jwt::public_pem(Algorithm::ES256).to_owned()))
        ),
        issuer("https://ed", "EdDSA", ("public_key", jwt::public_pem(Algorithm::EdDSA).into())),
        issuer("https://jwks-file", "EdDSA", ("jwks_file", file("jwks.json", jwt::jwks().to_string()))),
        issuer("https://jwks-url", "ES256", ("jwks_url", format!("{}/jwks.json", keys.url()).into())),
    ]);
    let valetkey = Alone::start(|config| config.set("callers", callers)).await;

    for name in ["https://secret", "https://secret-file"] {
        assert_known(&bearer(&valetkey, &jwt::hs256(&issued_by(name, "ada"))).await);
    }
    let asymmetric = [
        ("https://pem", Algorithm::RS256, None),
        ("https://pem-file", Algorithm::ES256, None),
        ("https://ed", Algorithm::EdDSA, None),
        ("https://jwks-file", Algorithm::EdDSA, Some("ed")),
        ("https://jwks-url", Algorithm::ES256, Some("ec")),
    ];
    for (name, algorithm, kid) in asymmetric {
        let token = jwt::asymmetric(algorithm, kid, &issued_by(name, "ada"));
        assert_known(&bearer(&valetkey, &token).await);
        // The issuer's list decides, not the token's header: the same key under another algorithm is refused.
        if algorithm == Algorithm::RS256 {
            assert_refused(&bearer(&valetkey, &jwt::asymmetric(Algorithm::PS256, kid, &issued_by(name, "ada"))).await);
        }
    }
}

#[tokio::test]
async fn a_jwt_is_read_wherever_ordinary_clients_put_it() {
    let valetkey = Alone::start(|config| config).await;
    let token = jwt::of("ada");
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let forms = [
        ("valetkey-token", token.clone()),
        ("authorization", format!("Bearer {token}")),
        ("authorization", format!("bearer {token}")),
        ("authorization", format!("token {token}")),
        ("authorization", basic(format!("someone:{token}"))),
        ("authorization", basic(format!("{token}:"))),
    ];
    for (name, value) in forms {
        assert_known(&with_header(&valetkey, name, &value).await);
    }
    let request = || valetkey.anonymous(Method::GET, PATH);
    let wins = request().header("valetkey-token", &token).header("authorization", "Bearer nonsense");
    assert_known(&valetkey.send(wins).await);
    let loses = request().header("valetkey-token", "nonsense").header("authorization", format!("Bearer {token}"));
    assert_refused(&valetkey.send(loses).await);
}

#[tokio::test]
async fn the_credential_header_of_a_service_is_a_place_for_the_jwt_too() {
    let inject = json!({ "header": "X-Crm-Key", "template": "{token}" });
    let valetkey = Alone::start(|config| config.set("services.crm.inject", inject)).await;
    assert_known(&with_header(&valetkey, "x-crm-key", &jwt::of("ada")).await);
    assert_asked(&with_header(&valetkey, "x-other-key", &jwt::of("ada")).await);
}

#[tokio::test]
async fn a_bad_jwt_is_refused_in_words_that_do_not_tell_what_is_wrong_with_it() {
    let rsa = issuer("https://pem", "RS256", ("public_key", jwt::public_pem(Algorithm::RS256).into()));
    let valetkey = Alone::start(|config| {
        let first = config.get("callers.0").clone();
        config.set("callers", json!([first, rsa]))
    })
    .await;

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut claims = jwt::claims("ada");
        change(&mut claims);
        jwt::hs256(&claims)
    };
    let good = jwt::of("ada");
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let (header, claims) = signed.split_once('.').expect("two parts");
    let other_signature = jwt::of("bob").rsplit_once('.').expect("three parts").1.to_owned();
    let rsa_pem = EncodingKey::from_secret(jwt::public_pem(Algorithm::RS256).as_bytes());
    let bad = [
        ("nothing like a JWT", "nonsense".to_owned()),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.x")),
        ("another's signature", format!("{signed}.{other_signature}")),
        ("no signature", format!("{signed}.")),
        ("a padded signature", format!("{signed}.{signature}=")),
        ("claims that are not base64", format!("{header}.!.{signature}")),
        ("changed claims", format!("{header}.{}x.{signature}", &claims[..claims.len() - 1])),
        ("alg none", jwt::forged(&json!({ "alg": "none" }), &jwt::claims("ada"), b"")),
        ("alg none, signed", jwt::forged(&json!({ "alg": "none" }), &jwt::claims("ada"), b"signature")),
        (
            "an algorithm that is not allowed",
            jwt::sign(
                &Header::new(Algorithm::HS512),
                &jwt::claims("ada"),
                &EncodingKey::from_secret(jwt::SECRET.as_bytes()),
            ),
        ),
        (
            "the public key as an HMAC secret",
            jwt::sign(&Header::new(Algorithm::HS256), &issued_by("https://pem", "ada"), &rsa_pem),
        ),
        ("an unknown issuer", changed(&|claims| claims["iss"] = "https://other.example/".into())),
        ("no issuer", changed(&|claims| drop(claims.as_object_mut().expect("a map").remove("iss")))),
        ("another audience", changed(&|claims| claims["aud"] = json!(["other"]))),
        ("no audience", changed(&|claims| drop(claims.as_object_mut().expect("a map").remove("aud")))),
        ("expired", changed(&|claims| claims["exp"] = (jwt::now() - 61).into())),
        ("no exp", changed(&|claims| drop(claims.as_object_mut().expect("a map").remove("exp")))),
        ("exp as text", changed(&|claims| claims["exp"] = "tomorrow".into())),
        ("not yet valid", changed(&|claims| claims["nbf"] = (jwt::now() + 120).into())),
        ("no sub", changed(&|claims| drop(claims.as_object_mut().expect("a map").remove("sub")))),
        ("an empty sub", changed(&|claims| claims["sub"] = "".into())),
        ("a fraction for sub", changed(&|claims| claims["sub"] = 7.5.into())),
        ("a sub that is too long", changed(&|claims| claims["sub"] = "x".repeat(256).into())),
        ("a control character in sub", changed(&|claims| claims["sub"] = "a\nb".into())),
    ];
    let mut messages = Vec::new();
    for (what, token) in bad {
        let answer = bearer(&valetkey, &token).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        let body = assert_refused(&answer);
        if ["another's signature", "an unknown issuer", "another audience"].contains(&what) {
            messages.push((body["message"].clone(), body["reason"].clone()));
        }
    }
    assert!(messages.windows(2).all(|pair| pair[0] == pair[1]), "strangers learn what was wrong: {messages:?}");
}

#[tokio::test]
async fn the_edges_of_what_is_valid_are_accepted() {
    let valetkey = Alone::start(|config| config).await;
    let edges: [(&str, Value); 4] = [
        ("exp", (jwt::now() - 50).into()),
        ("nbf", (jwt::now() + 50).into()),
        ("aud", json!(["other", jwt::AUDIENCE])),
        ("sub", "x".repeat(255).into()),
    ];
    for (name, value) in edges {
        let mut claims = jwt::claims("ada");
        claims[name] = value;
        assert_known(&bearer(&valetkey, &jwt::hs256(&claims)).await);
    }
}

#[tokio::test]
async fn no_jwt_two_jwts_or_a_cookie_are_unauthenticated() {
    let valetkey = Alone::start(|config| config).await;
    assert_asked(&valetkey.send(valetkey.anonymous(Method::GET, PATH)).await);
    assert_refused(&with_header(&valetkey, "authorization", "").await);
    assert_refused(&with_header(&valetkey, "authorization", "Digest x=y").await);
    assert_asked(&with_header(&valetkey, "cookie", &format!("token={}", jwt::of("ada"))).await);
    let mut raw = Raw::connect(&valetkey.url).await;
    let token = jwt::of("ada");
    raw.send(format!(
        "GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    let answer = raw.answer().await.expect("an answer");
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
}

#[tokio::test]
async fn the_same_subject_of_two_issuers_is_two_callers() {
    let second = issuer("https://second.example/", "HS256", ("secret", jwt::SECRET.into()));
    let valetkey = Alone::start(|config| {
        let first = config.get("callers.0").clone();
        config.set("callers", json!([first, second])).set("services.crm.title", "CRM")
    })
    .await;
    let ticket = |answer: Answer| answer.auth_required("crm", "not_connected");
    let one = ticket(bearer(&valetkey, &jwt::of("ada")).await);
    let two = ticket(bearer(&valetkey, &jwt::hs256(&issued_by("https://second.example/", "ada"))).await);
    assert_ne!(one, two);
}

#[tokio::test]
async fn another_claim_may_name_the_caller() {
    let valetkey = Alone::start(|config| config.set("callers.0.user_claim", "email")).await;
    let mut claims = jwt::claims("ada");
    assert_refused(&bearer(&valetkey, &jwt::hs256(&claims)).await);
    claims["email"] = "ada@example.com".into();
    assert_known(&bearer(&valetkey, &jwt::hs256(&claims)).await);
}

fn jwks_url(config: Config, keys: &Upstream) -> Config {
    config.set("callers", json!([issuer(jwt::ISSUER, "RS256", ("jwks_url", format!("{}/jwks", keys.url()).into()))]))
}

#[tokio::test]
async fn a_storm_of_unknown_key_ids_costs_the_issuer_next_to_nothing() {
    let keys =
        Upstream::start(|_| Script::answer(200, &[("Content-Type", "application/json")], jwt::jwks().to_string()))
            .await;
    let valetkey = Alone::start(|config| jwks_url(config, &keys)).await;
    assert_known(&bearer(&valetkey, &jwt::asymmetric(Algorithm::RS256, Some("rsa"), &jwt::claims("ada"))).await);
    let before = keys.received().len();
    for number in 0..30 {
        let token = jwt::asymmetric(Algorithm::RS256, Some(&format!("unknown-{number}")), &jwt::claims("ada"));
        assert_refused(&bearer(&valetkey, &token).await);
    }
    let fetched = keys.received().len() - before;
    assert!(fetched <= 1, "{fetched} fetches for 30 unknown key ids");
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_and_known_keys_outlive_its_outage() {
    use std::sync::atomic::{AtomicU8, Ordering};
    static PHASE: AtomicU8 = AtomicU8::new(0);
    let keys = Upstream::start(|_| {
        let mut set = jwt::jwks();
        match PHASE.load(Ordering::SeqCst) {
            // Only the EC key yet.
            0 => set["keys"].as_array_mut().expect("a list").retain(|key| key["kid"] == "ec"),
            1 => {}
            _ => return Script::answer(500, &[], "down"),
        }
        Script::answer(200, &[("Content-Type", "application/json")], set.to_string())
    })
    .await;
    let valetkey = Alone::start(|config| jwks_url(config, &keys)).await;
    PHASE.store(1, Ordering::SeqCst);
    let token = jwt::asymmetric(Algorithm::RS256, Some("rsa"), &jwt::claims("ada"));
    wait::until("the new key is known", || async {
        (bearer(&valetkey, &token).await.header("valetkey-status") == Some("auth_required")).then_some(())
    })
    .await;
    PHASE.store(2, Ordering::SeqCst);
    assert_known(&bearer(&valetkey, &jwt::asymmetric(Algorithm::RS256, Some("rsa"), &jwt::claims("bob"))).await);
}

#[tokio::test]
async fn a_header_that_points_to_a_key_is_never_followed() {
    let canary = Upstream::start(|_| Script::text("here")).await;
    let valetkey = Alone::start(|config| config).await;
    let url = canary.url();
    for member in ["jku", "x5u"] {
        let header = json!({ "alg": "HS256", member: url });
        assert_refused(&bearer(&valetkey, &jwt::forged(&header, &jwt::claims("ada"), b"x")).await);
    }
    let critical = json!({ "alg": "HS256", "crit": ["exp"], "exp": 1 });
    assert_refused(&bearer(&valetkey, &jwt::forged(&critical, &jwt::claims("ada"), b"x")).await);
    assert!(canary.received().is_empty());
}
