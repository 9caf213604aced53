//! What operators learn: from the log, from `/metrics` and `/readyz`, from `check`, and from how `serve` ends.

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::redis::Redis;
use crate::support::rig::with_redis;
use crate::support::valetkey::{printed, run};
use crate::support::{Alone, Browser, Config, Rig, Store, Valetkey, jwt, ports, wait};

const PATH: &str = "/proxy/crm/x";

fn counted(metrics: &str, service: &str, outcome: &str) -> u64 {
    let start = format!("valetkey_requests_total{{service=\"{service}\",outcome=\"{outcome}\"");
    metrics
        .lines()
        .filter(|line| line.starts_with(&start))
        .filter_map(|line| line.rsplit(' ').next())
        .map(|number| number.parse::<u64>().expect("a number"))
        .sum()
}

#[tokio::test]
async fn the_log_says_which_check_refused_a_jwt_and_the_answer_does_not() {
    let rsa = json!({ "issuer": "https://rsa", "audience": "valetkey", "algorithms": ["RS256"],
        "public_key": jwt::public_pem(Algorithm::RS256) });
    let valetkey = Alone::start(|config| {
        let first = config.get("callers.0").clone();
        config.set("callers", json!([first, rsa]))
    })
    .await;
    let changed = |name: &str, value: Value| {
        let mut claims = jwt::claims("ada");
        claims[name] = value;
        jwt::hs256(&claims)
    };
    let mut of_rsa = jwt::claims("ada");
    of_rsa["iss"] = "https://rsa".into();
    let cases = [
        (changed("iss", "https://stranger.example/".into()), vec!["issuer", "https://stranger.example/", jwt::ISSUER]),
        (changed("aud", "somebody-else".into()), vec!["audience", "somebody-else", "valetkey"]),
        (changed("sub", json!(true)), vec!["user claim", "a boolean"]),
        (changed("exp", json!(jwt::now() - 3600)), vec!["exp"]),
        (changed("nbf", json!(jwt::now() + 3600)), vec!["nbf"]),
        (jwt::hs256(&of_rsa), vec!["algorithm", "HS256", "RS256"]),
        (jwt::of("ada") + "AA", vec!["signature"]),
    ];
    for (token, words) in cases {
        let before = valetkey.logs().len();
        let answer = valetkey.send(valetkey.anonymous(Method::GET, PATH).bearer_auth(&token)).await;
        let body = answer.refusal(401, "unauthenticated").to_string();
        let logs = valetkey.logs()[before..].to_owned();
        let line =
            logs.lines().find(|line| line.contains("JWT was refused")).unwrap_or_else(|| panic!("{words:?}: {logs}"));
        for word in &words {
            assert!(line.contains(word), "{word} is not in {line}");
        }
        assert!(!logs.contains(&token) && !logs.contains(token.split('.').nth(1).expect("claims")), "{logs}");
        assert!(!body.contains("stranger") && !body.contains("somebody") && !body.contains("RS256"), "{body}");
    }
}

#[tokio::test]
async fn every_refusal_is_counted_by_its_status() {
    let valetkey = Alone::start(|config| {
        let slow = json!({ "requests": 1, "per": "1h", "burst": 1 });
        let mut forbidden = config.get("services.crm").clone();
        let mut limited = forbidden.clone();
        forbidden["policy"] = json!([{ "deny": {} }]);
        limited["rate_limit"] = slow;
        limited["limits"] = json!({ "uri_bytes": "100" });
        config.set("services.forbidden", forbidden).set("services.limited", limited)
    })
    .await;
    let long = "y".repeat(200);
    for path in ["/proxy/forbidden/x", "/proxy/limited/x", "/proxy/limited/x", "/proxy/nothing/x", "/nothing"] {
        valetkey.get("ada", path).await;
    }
    valetkey.get("ada", &format!("/proxy/limited/{long}")).await.refusal(414, "too_large");
    valetkey.send(valetkey.anonymous(Method::GET, PATH)).await;
    valetkey.send(valetkey.anonymous(Method::GET, "/connections")).await;
    valetkey.send(valetkey.request("ada", Method::GET, PATH).header("valetkey-account", "a b")).await;
    valetkey.send(valetkey.request("ada", Method::TRACE, PATH)).await;
    valetkey.send(valetkey.request("ada", Method::PATCH, "/connections")).await;
    let metrics = valetkey.admin_get("/metrics").await.text();
    for (service, outcome, count) in [
        ("forbidden", "forbidden", 1),
        ("limited", "rate_limited", 1),
        ("limited", "too_large", 1),
        ("crm", "unauthenticated", 1),
        ("-", "unauthenticated", 1),
        ("crm", "bad_request", 1),
        ("crm", "method_not_allowed", 1),
        ("-", "method_not_allowed", 1),
        ("-", "not_found", 2),
    ] {
        assert_eq!(counted(&metrics, service, outcome), count, "{service} {outcome}\n{metrics}");
    }
}

/// What `check` and `serve` say of a configuration that can't be served, and how they end.
#[track_caller]
fn assert_refused(config: &Config, about: &[&str]) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("valetkey.yaml");
    std::fs::write(&path, config.text()).expect("written");
    for command in ["check", "serve"] {
        let output = run(&[command, "--config", path.to_str().expect("UTF-8")]);
        let said = printed(&output);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        for word in about {
            assert!(said.contains(word), "{command} does not say {word}: {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

/// Within the time of [`wait::DEADLINE`]: a `serve` that goes on is a failure, too.
async fn refused(config: Config, about: &'static [&'static str]) {
    let work = tokio::task::spawn_blocking(move || assert_refused(&config, about));
    wait::within("both commands' ends", work).await.expect("as they should");
}

fn plain() -> (TempDir, Config) {
    let data = TempDir::new().expect("a folder");
    let config = Alone::config(&data);
    (data, config)
}

fn key_pair(data: &TempDir, certificate: &str, key: &str) -> (String, String) {
    let write = |name: &str, text: &str| {
        let path = data.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    (write("certificate.pem", certificate), write("key.pem", key))
}

#[tokio::test]
async fn a_key_pair_that_does_not_match_ends_serve_and_is_found_by_check() {
    let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (data, config) = plain();
    let (certificate, key) = key_pair(&data, &made().cert.pem(), &made().signing_key.serialize_pem());
    let tls = json!({ "certificate_file": certificate, "key_file": key });
    refused(config.set("listeners.0.tls", tls), &["listeners[0].tls", "match"]).await;
}

#[tokio::test]
async fn keys_that_are_too_weak_or_of_another_kind_end_serve_and_are_found_by_check() {
    let weak = include_str!("../../src/caller/testdata/rsa1024.pub.pem");
    let callers = |algorithm: &str, name: &str, key: Value| {
        let mut entry = json!({ "issuer": "https://a.example", "audience": "a", "algorithms": [algorithm] });
        entry[name] = key;
        json!([entry])
    };
    let (data, config) = plain();
    let config = |callers: Value| config.clone().set("callers", callers);
    refused(config(callers("RS256", "public_key", weak.into())), &["callers[0]", "2048"]).await;
    let p256 = jwt::public_pem(Algorithm::ES256);
    refused(config(callers("ES384", "public_key", p256.into())), &["callers[0]", "algorithm"]).await;
    let file = data.path().join("jwks.json");
    std::fs::write(&file, "{\"keys\": []}").expect("written");
    refused(config(callers("RS256", "jwks_file", file.display().to_string().into())), &["callers[0]", "JWKS"]).await;
}

#[tokio::test]
async fn authorities_that_can_not_be_read_end_serve_and_are_found_by_check() {
    let (data, config) = plain();
    let file = data.path().join("ca.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n")
        .expect("written");
    let upstream = json!({ "ca_file": file.display().to_string() });
    let config = config.set("services.crm.base_url", "https://localhost:9").set("services.crm.upstream", upstream);
    refused(config, &["ca_file"]).await;
}

#[tokio::test]
async fn listeners_that_can_never_be_reached_or_are_in_each_others_way_are_found_by_check() {
    let (_data, config) = plain();
    refused(config.clone().set("listeners.0.address", "127.0.0.1:0"), &["listeners[0].address", "port"]).await;
    let port = ports::free_port();
    let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
    refused(config.clone().set("listeners.0.address", all).set("listeners.1.address", one), &["listeners[1].address"])
        .await;
    let (all, one) = (format!("[::]:{port}"), format!("127.0.0.1:{port}"));
    refused(config.set("listeners.0.address", one).set("listeners.1.address", all), &["listeners[1].address"]).await;
}

#[test]
fn check_warns_of_what_is_allowed_and_unwise() {
    let (data, config) = plain();
    let config = config
        .set("admin.token", "x")
        .set("connect.confirm", false)
        .set("connect.ticket_ttl", "36500d")
        .set("listeners.1.address", "0.0.0.0:9090");
    let path = data.path().join("valetkey.yaml");
    std::fs::write(&path, config.text()).expect("written");
    let output = run(&["check", "--config", path.to_str().expect("UTF-8")]);
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for about in ["admin.token", "connect.confirm", "connect.ticket_ttl", "listeners[1]"] {
        assert!(said.lines().any(|line| line.contains("warning") && line.contains(about)), "{about}: {said}");
    }
    let (data, config) = plain();
    let path = data.path().join("valetkey.yaml");
    std::fs::write(&path, config.text()).expect("written");
    let said = printed(&run(&["check", "--config", path.to_str().expect("UTF-8")]));
    assert!(!said.contains("warning"), "{said}");
}

#[tokio::test]
async fn readyz_names_what_it_waits_for() {
    let (_data, config) = plain();
    let nobody = format!("http://127.0.0.1:{}/jwks.json", ports::free_port());
    let callers =
        json!([{ "issuer": "https://away.example", "audience": "a", "algorithms": ["RS256"], "jwks_url": nobody }]);
    let mut valetkey = Valetkey::prepare(&config.clone().set("callers", callers));
    valetkey.run().await;
    wait::until("readyz names the issuer", || async {
        let answer = valetkey.admin_get("/readyz").await;
        let detail = answer.json()["detail"].to_string();
        (answer.status == 503 && detail.contains("https://away.example")).then_some(())
    })
    .await;

    drop(valetkey);
    let away = Redis::reserved();
    let mut valetkey = Valetkey::prepare(&with_redis(config.without("store.embedded"), &away));
    valetkey.run().await;
    wait::until("readyz names the store", || async {
        let answer = valetkey.admin_get("/readyz").await;
        (answer.status == 503 && answer.json()["detail"]["store"].is_string()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_names_the_command_that_redis_does_not_permit() {
    let redis = Redis::start().await;
    redis.say(&["ACL", "SETUSER", "default", "-hgetall"]).await;
    let (_data, config) = plain();
    let mut valetkey = Valetkey::prepare(&with_redis(config.without("store.embedded"), &redis));
    valetkey.run().await;
    valetkey.ready().await;
    valetkey.get("ada", PATH).await.refusal(503, "unavailable");
    let logs = valetkey.logs();
    assert!(logs.lines().any(|line| line.contains("NOPERM") && line.contains("HGETALL")), "{logs}");
}

#[tokio::test]
async fn a_user_claim_that_is_an_integer_is_its_decimal_text() {
    let valetkey = Alone::start(|config| config.set("callers.0.user_claim", "user_id")).await;
    let of = |id: Value| {
        let mut claims = jwt::claims("ada");
        claims["user_id"] = id;
        valetkey.send(valetkey.anonymous(Method::GET, PATH).bearer_auth(jwt::hs256(&claims)))
    };
    for id in [json!(42), json!("42"), json!(-7), json!(u64::MAX)] {
        of(id).await.auth_required("crm", "not_connected");
    }
    for id in [json!(4.5), json!(42.0), json!(true), json!(null), json!([42]), json!({"id": 42}), json!("")] {
        of(id).await.refusal(401, "unauthenticated");
    }
    let key = valetkey
        .anonymous(Method::PUT, "/connections/crm/api-key")
        .header("content-type", "application/json")
        .body(json!({"api_key": "k-0123456789"}).to_string());
    let mut claims = jwt::claims("ada");
    claims["user_id"] = json!(42);
    assert_eq!(valetkey.send(key.bearer_auth(jwt::hs256(&claims))).await.status, 204);
    claims["user_id"] = json!("42");
    let same = valetkey.anonymous(Method::GET, "/connections/crm").bearer_auth(jwt::hs256(&claims));
    assert_eq!(valetkey.send(same).await.status, 200, "42 and \"42\" are one user");
}

#[tokio::test]
async fn the_log_has_the_providers_own_error_at_the_callback() {
    let rig = Rig::start(Store::Embedded).await;
    let mut browser = Browser::new();
    let started = browser.accept_connect_page(&rig.link("ada", "crm").await).await;
    let mut callback = browser.consent_at_provider(started, "ada").await;
    let kept: Vec<_> = callback.query_pairs().into_owned().filter(|(name, _)| name != "code").collect();
    callback.query_pairs_mut().clear().extend_pairs(kept).append_pair("error", "unauthorized_client");
    let before = rig.logs().len();
    let page = browser.open(callback.as_str()).await;
    assert!(page.answer.status >= 400, "{}", page.text());
    let logs = rig.logs()[before..].to_owned();
    let told = |line: &&str| line.contains("answered with an error") && line.contains("unauthorized_client");
    assert!(logs.lines().any(|line| told(&line)), "{logs}");
}
