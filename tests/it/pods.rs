//! Callers that are pods, by the projected tokens of their ServiceAccounts.

use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Alone, Answer, Cluster, Config, Valetkey, cluster, jwt};

const PATH: &str = "/proxy/crm/whoami";

async fn with_token(valetkey: &Valetkey, token: &str) -> Answer {
    valetkey.send(valetkey.anonymous(Method::GET, PATH).bearer_auth(token)).await
}

/// People's issuer, and these pods of the cluster.
fn and_pods(config: Config, cluster: &Cluster, accounts: &[&str]) -> Config {
    let people = config.get("callers.0").clone();
    config.set("callers", json!([people, cluster.callers(accounts)]))
}

#[tokio::test]
async fn a_pod_is_a_caller_of_its_own_by_the_token_that_it_is_given() {
    let cluster = Cluster::start(&["rsa", "ec"]).await;
    let valetkey = Alone::start(|config| and_pods(config, &cluster, &["jobs/nightly", "web/*"])).await;
    for account in ["jobs:nightly", "web:front", "web:back.v2"] {
        with_token(&valetkey, &cluster::token(account)).await.auth_required("crm", "not_connected");
    }
    with_token(&valetkey, &jwt::asymmetric(Algorithm::ES256, Some("ec"), &cluster::claims("jobs:nightly")))
        .await
        .auth_required("crm", "not_connected");
    // What is one pod's is not another's, nor a person's of that name.
    let subject = "system:serviceaccount:jobs:nightly";
    let key = |token: &str| {
        let request = valetkey.anonymous(Method::PUT, "/connections/crm/api-key").bearer_auth(token);
        valetkey.send(request.header("content-type", "application/json").body(r#"{"api_key":"k-0123456789"}"#))
    };
    assert_eq!(key(&cluster::token("jobs:nightly")).await.status, 204);
    let connections = async |token: &str| {
        let request = valetkey.anonymous(Method::GET, "/connections").bearer_auth(token);
        valetkey.send(request).await.own()["connections"].as_array().expect("a list").len()
    };
    assert_eq!(connections(&cluster::token("jobs:nightly")).await, 1);
    assert_eq!(connections(&cluster::token("web:front")).await, 0);
    assert_eq!(connections(&jwt::of(subject)).await, 0);

    let but = |name: &str, value: Value| {
        let mut claims = cluster::claims("jobs:nightly");
        claims[name] = value;
        jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims)
    };
    let before = valetkey.logs().len();
    for (check, token) in [
        ("audience", but("aud", json!(["https://kubernetes.default.svc.cluster.local"]))),
        ("service account", cluster::token("jobs:weekly")),
        ("service account", cluster::token("job:nightly")),
        ("service account", but("sub", "ada".into())),
        ("service account", but("sub", "jobs/nightly".into())),
        ("exp", but("exp", Value::Null)),
        ("exp", but("exp", (jwt::now() - 120).into())),
        ("issuer", but("iss", "kubernetes/serviceaccount".into())),
        ("algorithm", jwt::hs256(&cluster::claims("jobs:nightly"))),
    ] {
        with_token(&valetkey, &token).await.refusal(401, "unauthenticated");
        let log = valetkey.logs()[before..].to_owned();
        let line = log.lines().rfind(|line| line.contains("a JWT was refused")).unwrap_or_default().to_owned();
        assert!(line.contains(check), "{check}: {line}");
    }
    let logs = valetkey.logs();
    assert!(
        logs.contains("jobs:weekly") && logs.contains("jobs/nightly, web/*"),
        "the log says who, and who may: {logs}"
    );
}

#[tokio::test]
async fn the_key_set_is_fetched_with_the_token_that_is_mounted_then() {
    let cluster = Cluster::start(&["rsa"]).await;
    let valetkey = Alone::start(|config| and_pods(config, &cluster, &["jobs/*"])).await;
    with_token(&valetkey, &cluster::token("jobs:nightly")).await.auth_required("crm", "not_connected");
    cluster.rotate("the second token of Valetkeys own pod");
    cluster.serve(&["rsa", "ec"]);
    let with_new_key = jwt::asymmetric(Algorithm::ES256, Some("ec"), &cluster::claims("jobs:nightly"));
    with_token(&valetkey, &with_new_key).await.auth_required("crm", "not_connected");
    assert_eq!(cluster.heads().len(), 2, "one fetch at start, one for the new key: {:?}", cluster.heads());
}

#[tokio::test]
async fn a_server_by_another_authority_is_shown_nothing() {
    let (cluster, other) = (Cluster::start(&["rsa"]).await, Cluster::start(&["rsa"]).await);
    let folder = tempfile::TempDir::new().expect("a folder");
    let config = and_pods(Alone::config(&folder), &cluster, &["jobs/*"])
        .set("callers.1.kubernetes.ca_file", other.mounted("ca.crt").display().to_string());
    let mut valetkey = Valetkey::prepare(&config);
    valetkey.run().await;
    with_token(&valetkey, &cluster::token("jobs:nightly")).await.refusal(503, "unavailable");
    assert_eq!(cluster.heads(), Vec::<String>::new());
    assert!(valetkey.logs().contains("the TLS handshake failed"), "{}", valetkey.logs());
    // People's issuer is none of it.
    valetkey.get("ada", PATH).await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn a_key_set_in_a_file_needs_no_cluster() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, jwt::jwks().to_string()).expect("written");
    let pods = json!({ "kubernetes": {
        "audience": jwt::AUDIENCE,
        "service_accounts": ["jobs/nightly"],
        "issuer": "https://oidc.example/cluster",
        "jwks_file": file.display().to_string(),
    }});
    let valetkey = Alone::start(|config| config.set("callers", json!([pods]))).await;
    let mut claims = cluster::claims("jobs:nightly");
    with_token(&valetkey, &jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims))
        .await
        .refusal(401, "unauthenticated");
    claims["iss"] = "https://oidc.example/cluster".into();
    with_token(&valetkey, &jwt::asymmetric(Algorithm::RS256, Some("rsa"), &claims))
        .await
        .auth_required("crm", "not_connected");
}
