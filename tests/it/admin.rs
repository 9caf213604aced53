//! The admin listener: health, readiness, metrics, and that none of it is on the callers' port.

use reqwest::Method;

use crate::support::{Alone, Rig, Store, jwt};

#[tokio::test]
async fn health_readiness_and_metrics_need_no_token() {
    let rig = Rig::start(Store::Redis).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(rig.admin_get(path).await.status, 200, "{path}");
    }
    let metrics = rig.admin_get("/metrics").await;
    let kind = metrics.header("content-type").expect("a type");
    assert!(kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(metrics.text().contains("# TYPE "), "{}", metrics.text());
}

#[tokio::test]
async fn each_listener_answers_only_what_is_its_own() {
    let valetkey = Alone::start(|config| config).await;
    for path in ["/healthz", "/readyz", "/metrics", "/admin", "/admin/audit"] {
        let answer = valetkey.get("ada", path).await;
        assert_eq!(answer.status, 404, "{path} on the callers' port");
    }
    for path in ["/proxy/crm/x", "/connections", "/connect/crm", "/dashboard", "/oauth/callback/crm"] {
        assert_eq!(valetkey.admin_get(path).await.status, 404, "{path} on the admin port");
    }
}

#[tokio::test]
async fn roles_may_share_a_port() {
    let valetkey = Alone::start(|config| config.set("listeners.0.serves", vec!["proxy", "connect", "admin"])).await;
    valetkey.get("ada", "/proxy/crm/x").await.auth_required("crm", "not_connected");
    let health = valetkey.send(valetkey.anonymous(Method::GET, "/healthz")).await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn pages_may_have_a_port_of_their_own() {
    let valetkey = Alone::start(|config| {
        let extra = format!("127.0.0.1:{}", crate::support::ports::free_port());
        let (proxy, admin) = (config.get("listeners.0").clone(), config.get("listeners.1").clone());
        let connect = serde_json::json!({ "address": extra, "serves": ["connect"] });
        config.set("listeners", serde_json::json!([proxy, admin, connect])).set("listeners.0.serves", vec!["proxy"])
    })
    .await;
    let pages = format!("http://{}", valetkey.config.get("listeners.2.address").as_str().expect("an address"));
    let ask = async |url: String| {
        let request = crate::support::authorization_server::http().get(url).bearer_auth(jwt::of("ada"));
        crate::support::Answer::read(request.send().await.expect("an answer")).await.status
    };
    assert_eq!(ask(format!("{pages}/dashboard")).await, 200);
    assert_eq!(ask(format!("{pages}/proxy/crm/x")).await, 404);
    assert_eq!(ask(format!("{}/dashboard", valetkey.url)).await, 404);
    assert_eq!(ask(format!("{}/proxy/crm/x", valetkey.url)).await, 401);
}

#[tokio::test]
async fn metrics_count_without_naming_anybody() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada-lovelace").await;
    for _ in 0..3 {
        rig.get("ada-lovelace", "/proxy/crm/whoami?who=secret-query").await.upstream(200);
    }
    let before = rig.admin_get("/metrics").await.text();
    assert!(before.contains("crm"), "nothing by service: {before}");
    for number in 0..20 {
        rig.get(&format!("stranger-{number}"), "/proxy/crm/whoami").await;
        rig.get("ada-lovelace", &format!("/proxy/unknown-{number}/x")).await;
    }
    let after = rig.admin_get("/metrics").await.text();
    for name in ["ada-lovelace", "stranger-", "unknown-", "secret-query", "whoami"] {
        assert!(!after.contains(name), "{name} is in the metrics");
    }
    let (before, after) = (before.lines().count(), after.lines().count());
    assert!(after < before + 60, "40 requests added {} lines", after - before);
}

#[tokio::test]
async fn the_admin_routes_want_the_token() {
    let valetkey = Alone::start(|config| config).await;
    for path in ["/admin", "/admin/audit", "/admin/connections"] {
        assert!(matches!(valetkey.admin_get(path).await.status, 401 | 404), "{path}");
    }
}
