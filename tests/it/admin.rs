//! The admin listener: health, readiness, metrics, and that none of it is on the callers' port.

use reqwest::{Method, RequestBuilder};

use crate::refresh::{assert_served, connect_expired};
use crate::support::config::ADMIN_TOKEN;
use crate::support::{Alone, Answer, Rig, Store, Valetkey, jwt, on_both_stores, wait};

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

fn erasure(valetkey: &Valetkey, path: &str) -> RequestBuilder {
    crate::support::authorization_server::http().delete(format!("{}/admin/users/{path}", valetkey.admin))
}

/// An operator erases a user: `user` or `user?issuer=…`.
pub(crate) async fn erase(valetkey: &Valetkey, path: &str) -> Answer {
    Answer::read(erasure(valetkey, path).bearer_auth(ADMIN_TOKEN).send().await.expect("an answer")).await
}

on_both_stores! {
    async fn an_erased_user_is_revoked_at_the_provider_and_nothing_of_them_is_left(store) {
        let rig = Rig::start(store).await;
        for user in ["ada", "bob"] {
            rig.connect(user).await;
        }
        rig.connect_to("ada", "calendar").await;
        rig.connect_account("ada", "crm", "work", "ada").await;
        let other = if store == Store::Redis { Some(rig.replica().await) } else { None };
        for valetkey in [Some(&rig.valetkey), other.as_ref()].into_iter().flatten() {
            assert_served(&valetkey.get("ada", "/proxy/crm@work/whoami").await, "ada");
        }
        let answer = erase(&rig, "ada").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
        for valetkey in [Some(&rig.valetkey), other.as_ref()].into_iter().flatten() {
            wait::until("nobody is served as the user any more", || async {
                (valetkey.get("ada", "/proxy/crm@work/whoami").await.status == 401).then_some(())
            })
            .await;
            valetkey.get("ada", "/proxy/calendar/whoami").await.auth_required("calendar", "not_connected");
            assert_eq!(valetkey.get("ada", "/connections").await.own()["connections"], serde_json::json!([]));
            assert_served(&valetkey.get("bob", "/proxy/crm/whoami").await, "bob");
        }
        assert_eq!(rig.server.access_tokens("ada").await, Vec::<String>::new());
        assert_eq!(rig.server.refresh_tokens("ada").await, Vec::<String>::new());
        assert_eq!(erase(&rig, "ada").await.status, 204, "once more is no error");
        assert_eq!(erase(&rig, "bob").await.status, 204);
        if let Some(redis) = &rig.redis {
            let left = redis.dump().await;
            for kind in [":r:", ":due", ":owners", "used-"] {
                assert!(!left.contains(kind), "{kind} is left: {left:?}");
            }
        }
        assert!(rig.logs().contains("\"erased\""), "the audit line");
    }
}

#[tokio::test]
async fn only_the_admin_token_erases() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    for request in [
        erasure(&rig, "ada"),
        erasure(&rig, "ada").bearer_auth("another"),
        erasure(&rig, "ada").bearer_auth(""),
        erasure(&rig, "ada").bearer_auth(jwt::of("ada")),
        erasure(&rig, "ada").header("authorization", format!("Basic {ADMIN_TOKEN}")),
    ] {
        Answer::read(request.send().await.expect("an answer")).await.refusal(401, "unauthenticated");
    }
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    let public = rig.anonymous(Method::DELETE, "/admin/users/ada").bearer_auth(ADMIN_TOKEN);
    rig.send(public).await.refusal(404, "not_found");
}

#[tokio::test]
async fn without_an_admin_token_there_is_nothing_to_erase_with() {
    let valetkey = Alone::start(|config| config.without("admin")).await;
    let answer = erasure(&valetkey, "ada").bearer_auth("").send().await.expect("an answer");
    Answer::read(answer).await.refusal(404, "not_found");
}

#[tokio::test]
async fn of_several_issuers_one_is_to_be_named() {
    let valetkey = Alone::start(|config| {
        let second = config.get("callers.0").clone();
        let both = serde_json::json!([config.get("callers.0").clone(), second]);
        config.set("admin.token", ADMIN_TOKEN).set("callers", both).set("callers.1.issuer", "https://second.example/")
    })
    .await;
    let refusal = erase(&valetkey, "ada").await.refusal(409, "bad_request");
    assert_eq!(refusal["issuers"].as_array().map(Vec::len), Some(2), "{refusal}");
    assert_eq!(erase(&valetkey, "ada?issuer=https://second.example/").await.status, 204);
    erase(&valetkey, "ada?issuer=").await.refusal(400, "bad_request");
}

/// The value of a metric, by its whole name with labels.
async fn metric(valetkey: &Valetkey, name: &str) -> Option<f64> {
    let metrics = valetkey.admin_get("/metrics").await.text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test]
async fn refreshes_and_store_errors_are_counted() {
    let mut rig = Rig::start(Store::Redis).await;
    connect_expired(&rig, &["ada", "bob"]).await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    let renewed = "valetkey_refreshes_total{service=\"crm\",outcome=\"renewed\"}";
    assert_eq!(metric(&rig, renewed).await, Some(1.0));
    assert_eq!(metric(&rig, "valetkey_refresh_duration_seconds_count{service=\"crm\"}").await, Some(1.0));
    rig.server.fault(serde_json::json!({ "grant": "refresh_token", "times": 1, "status": 500, "body": "" })).await;
    rig.get("bob", "/proxy/crm/whoami").await.refusal(502, "refresh_failed");
    let unknown = "valetkey_refreshes_total{service=\"crm\",outcome=\"interrupted\"}";
    assert_eq!(metric(&rig, unknown).await, Some(1.0));
    let errors = "valetkey_store_errors_total";
    assert_eq!(metric(&rig, errors).await, Some(0.0));
    rig.redis.as_mut().expect("Redis").stop();
    wait::until("store errors are counted", || async {
        metric(&rig, errors).await.filter(|count| *count > 0.0).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn what_memory_knows_is_a_hit_also_where_it_is_a_refusal() {
    let rig = Rig::start(Store::Embedded).await;
    let looked_up = async || {
        let name = |outcome: &str| format!("valetkey_credential_cache_total{{outcome=\"{outcome}\"}}");
        let (hits, misses) = (metric(&rig, &name("hit")).await, metric(&rig, &name("miss")).await);
        (hits.expect("it is counted"), misses.expect("it is counted"))
    };
    let refused = async || rig.get("ada", "/proxy/crm/whoami").await.refusal(401, "auth_required");
    refused().await;
    assert_eq!(looked_up().await, (0.0, 1.0), "nothing was known");
    let told = refused().await;
    assert_eq!(looked_up().await, (1.0, 1.0));
    rig.walk(told["auth_url"].as_str().expect("a link"), "ada").await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
}
