//! The JSON that applications use: connect links and a caller's connections.

use reqwest::Method;
use serde_json::json;

use crate::support::{Rig, Store, jwt, on_both_stores, wait};

on_both_stores! {
    async fn a_caller_sees_their_own_connections_and_no_secret(store) {
        let rig = Rig::start(store).await;
        assert_eq!(rig.get("ada", "/connections").await.own()["connections"], json!([]));
        rig.connect("ada").await;
        rig.connect("bob").await;
        rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
        let list = rig.get("ada", "/connections").await.own();
        let connections = list["connections"].as_array().expect("a list");
        assert_eq!(connections.len(), 1, "{list}");
        let connection = &connections[0];
        for (name, value) in [("service", "crm"), ("account", "default"), ("status", "active"), ("auth_kind", "oauth")] {
            assert_eq!(connection[name], value, "{connection}");
        }
        assert_eq!(connection["scopes"], json!(["contacts"]));
        for name in ["connected_at", "expires_at"] {
            let time = connection[name].as_str().unwrap_or_else(|| panic!("no {name}: {connection}"));
            assert!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{name} is not RFC 3339 in UTC: {time}");
        }
        assert_eq!(crate::support::canary::found_in(&list.to_string()), Vec::<String>::new());
        assert_eq!(&rig.connection("ada", "crm").await, connection);
    }

    async fn a_disconnected_caller_is_asked_to_connect_and_the_provider_hears_of_it(store) {
        let rig = Rig::start(store).await;
        rig.connect("ada").await;
        rig.connect("bob").await;
        let answer = rig.send(rig.request("ada", Method::DELETE, "/connections/crm")).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
        rig.get("ada", "/connections/crm").await.refusal(404, "not_found");
        rig.send(rig.request("ada", Method::DELETE, "/connections/crm")).await.refusal(404, "not_found");
        wait::until("the provider's tokens are revoked", || async {
            (rig.server.access_tokens("ada").await.is_empty() && rig.server.refresh_tokens("ada").await.is_empty()).then_some(())
        })
        .await;
        assert_eq!(rig.get("bob", "/proxy/crm/whoami").await.upstream(200)["sub"], "bob");
        rig.connect("ada").await;
        rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    }

    async fn a_connect_link_may_be_asked_for_before_it_is_needed(store) {
        let rig = Rig::start(store).await;
        let body = json!({ "service": "crm", "account": "work", "scopes": ["calendar"] });
        let link = rig.post_json("ada", "/connect-links", &body).await.own();
        assert!(link["expires_in"].as_u64().is_some_and(|seconds| seconds > 0 && seconds <= 600), "{link}");
        rig.walk(link["auth_url"].as_str().expect("a link"), "ada").await;
        let seen = rig.get("ada", "/proxy/crm@work/whoami").await.upstream(200);
        let scope = seen["scope"].as_str().expect("text");
        assert!(scope.contains("contacts") && scope.contains("calendar"), "{scope}");
    }
}

#[tokio::test]
async fn every_route_needs_the_callers_jwt() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    for (method, path) in [
        (Method::GET, "/connections"),
        (Method::GET, "/connections/crm"),
        (Method::DELETE, "/connections/crm"),
        (Method::POST, "/connect-links"),
    ] {
        let answer = rig
            .send(
                rig.anonymous(method.clone(), path)
                    .header("content-type", "application/json")
                    .body("{\"service\":\"crm\"}"),
            )
            .await;
        answer.refusal(401, "unauthenticated");
        let by_cookie = rig
            .anonymous(method, path)
            .header("cookie", format!("token={}", jwt::of("ada")))
            .header("content-type", "application/json")
            .body("{\"service\":\"crm\"}");
        rig.send(by_cookie).await.refusal(401, "unauthenticated");
    }
    rig.get("eve", "/connections/crm").await.refusal(404, "not_found");
    rig.send(rig.request("eve", Method::DELETE, "/connections/crm")).await.refusal(404, "not_found");
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
}

#[tokio::test]
async fn a_bad_request_for_a_link_says_what_is_wrong() {
    let rig = Rig::start(Store::Embedded).await;
    for body in [
        "",
        "{",
        "[]",
        "{}",
        "{\"service\":7}",
        "{\"service\":\"crm\",\"account\":\"a b\"}",
        "{\"service\":\"crm\",\"scopes\":\"contacts\"}",
    ] {
        let request =
            rig.request("ada", Method::POST, "/connect-links").header("content-type", "application/json").body(body);
        rig.send(request).await.refusal(400, "bad_request");
    }
    rig.post_json("ada", "/connect-links", &json!({ "service": "none" })).await.refusal(404, "unknown_service");
    rig.get("ada", "/connections/none").await.refusal(404, "unknown_service");
    rig.send(rig.request("ada", Method::PUT, "/connect-links")).await.refusal(405, "method_not_allowed");
    rig.send(rig.request("ada", Method::POST, "/connections")).await.refusal(405, "method_not_allowed");
    let long = json!({ "service": "crm", "padding": "x".repeat(100_000) });
    let answer = rig.post_json("ada", "/connect-links", &long).await;
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
}

#[tokio::test]
async fn several_accounts_and_none_named_are_a_conflict_here_too() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect_account("ada", "crm", "work", "ada").await;
    rig.connect_account("ada", "crm", "home", "ada").await;
    rig.get("ada", "/connections/crm").await.refusal(409, "account_required");
    rig.send(rig.request("ada", Method::DELETE, "/connections/crm")).await.refusal(409, "account_required");
    assert_eq!(rig.get("ada", "/connections/crm?account=work").await.own()["account"], "work");
    assert_eq!(rig.send(rig.request("ada", Method::DELETE, "/connections/crm?account=work")).await.status, 204);
    rig.get("ada", "/proxy/crm@work/whoami").await.auth_required("crm", "not_connected");
    rig.get("ada", "/proxy/crm@home/whoami").await.upstream(200);
}

#[tokio::test]
async fn a_connection_is_gone_at_once_even_where_the_provider_cannot_revoke() {
    // Nothing listens there: revocation fails, and is not the caller's problem.
    let rig =
        Rig::with(Store::Redis, |config, _| config.set("services.crm.revoke_url", "http://127.0.0.1:9/revoke")).await;
    rig.connect("ada").await;
    assert_eq!(rig.send(rig.request("ada", Method::DELETE, "/connections/crm")).await.status, 204);
    rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn a_connection_that_is_dead_says_why() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    rig.server.revoke("grant", "ada").await;
    rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "revoked");
    let connection = rig.connection("ada", "crm").await;
    assert_eq!(
        (connection["status"].as_str(), connection["invalid_reason"].as_str()),
        (Some("invalid"), Some("revoked"))
    );
    assert!(connection["invalidated_at"].is_string(), "{connection}");
}
