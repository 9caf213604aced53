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

#[tokio::test]
async fn a_body_is_one_json_object_with_known_members_only() {
    let rig = Rig::start(Store::Embedded).await;
    let send = |method: Method, path: &'static str, kind: Option<&'static str>, body: &'static str| {
        let request = rig.request("ada", method, path).body(body);
        rig.send(kind.into_iter().fold(request, |request, kind| request.header("content-type", kind)))
    };
    let json = Some("application/json");
    for (method, path, good) in [
        (Method::POST, "/connect-links", r#"{"service": "crm"}"#),
        (Method::POST, "/preflight", r#"{"services": [{"service": "crm"}]}"#),
        (Method::PUT, "/connections/crm/api-key", r#"{"api_key": "a key"}"#),
    ] {
        for kind in [None, json, Some("application/json; charset=utf-8")] {
            let answer = send(method.clone(), path, kind, good).await;
            assert!(matches!(answer.status, 200 | 204), "{path}: {}", answer.text());
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml"] {
            let refused = send(method.clone(), path, Some(kind), good).await.refusal(400, "bad_request");
            assert!(refused["message"].as_str().is_some_and(|text| text.contains("application/json")), "{refused}");
        }
    }
    for (method, path, bad) in [
        (Method::POST, "/connect-links", r#"{"service": "crm", "extra": 1}"#),
        (Method::POST, "/connect-links", r#"["crm", null, [], null]"#),
        (Method::POST, "/connect-links", r#"{"service": "crm", "service": "crm"}"#),
        (Method::POST, "/connect-links", "{\"service\": \"crm\"} {}"),
        (Method::POST, "/connect-links", r#"{"service": "crm", "scopes": [""]}"#),
        (Method::POST, "/connect-links", r#"{"service": "crm", "scopes": ["a\u0000b"]}"#),
        (Method::POST, "/connect-links", r#"{"service": "crm", "return_to": "https://elsewhere.example/"}"#),
        (Method::POST, "/preflight", r#"{"services": [["crm"]]}"#),
        (Method::POST, "/preflight", r#"{"services": [{"service": "crm", "extra": 1}]}"#),
        (Method::POST, "/preflight", r#"{"services": {"service": "crm"}}"#),
        (Method::POST, "/preflight", r#"{"services": [{"service": "no service's name"}]}"#),
        (Method::PUT, "/connections/crm/api-key", r#"{"api_key": "a key", "extra": 1}"#),
        (Method::PUT, "/connections/crm/api-key", r#"["a key"]"#),
        (Method::PUT, "/connections/crm/api-key", r#"{"api_key": " a key"}"#),
        (Method::PUT, "/connections/crm/api-key", "\"a key\""),
        (Method::POST, "/connections/confirm", r#"{"code": "x", "extra": 1}"#),
        (Method::POST, "/connections/confirm", r#"["x"]"#),
    ] {
        send(method, path, json, bad).await.refusal(400, "bad_request");
    }
    send(Method::POST, "/connections/confirm", json, r#"{"code": "x"}"#).await.refusal(404, "not_found");
}

#[tokio::test]
async fn a_preflight_tells_of_each_service_what_a_call_would_meet() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    for account in ["home", "work"] {
        let path = format!("/connections/calendar/api-key?account={account}");
        let key = rig.request("ada", Method::PUT, &path).header("content-type", "application/json");
        let stored = rig.send(key.body(r#"{"api_key": "a key"}"#)).await;
        assert_eq!((stored.status, stored.body.len()), (204, 0));
    }
    assert_eq!(rig.post_json("ada", "/preflight", &json!({ "services": [] })).await.own(), json!({ "services": [] }));
    let body = json!({ "services": [
        { "service": "crm" },
        { "service": "crm", "scopes": ["calendar"] },
        { "service": "crm", "account": "spare" },
        { "service": "calendar" },
        { "service": "calendar", "account": "work" },
        { "service": "none" },
    ] });
    let answer = rig.post_json("ada", "/preflight", &body).await.own();
    let items = answer["services"].as_array().expect("a list");
    assert_eq!(items[0], json!({ "service": "crm", "account": "default", "status": "ready" }));
    assert_eq!(
        (&items[1]["status"], &items[1]["new_scopes"]),
        (&json!("additional_scopes_required"), &json!(["calendar"]))
    );
    assert_eq!((&items[2]["status"], &items[2]["reason"]), (&json!("auth_required"), &json!("not_connected")));
    assert_eq!(items[2]["account"], "spare");
    assert_eq!((&items[3]["status"], &items[3]["accounts"]), (&json!("account_required"), &json!(["home", "work"])));
    assert_eq!(items[4], json!({ "service": "calendar", "account": "work", "status": "ready" }));
    assert_eq!(items[5], json!({ "service": "none", "status": "unknown_service" }));
    for item in &items[1..4] {
        assert!(
            item["message"].is_string() && item["retryable"] == false && item.get("request_id").is_none(),
            "{item}"
        );
    }
    // The links are live.
    rig.walk(items[2]["auth_url"].as_str().expect("a link"), "ada").await;
    rig.get("ada", "/proxy/crm@spare/whoami").await.upstream(200);
    let many = json!({ "services": vec![json!({ "service": "crm" }); 101] });
    rig.post_json("ada", "/preflight", &many).await.refusal(400, "bad_request");
}

#[tokio::test]
async fn a_wrong_method_is_told_which_ones_there_are() {
    let rig = Rig::start(Store::Embedded).await;
    for (path, methods) in [
        ("/connections", "GET,HEAD"),
        ("/connections/crm", "GET,HEAD,DELETE"),
        ("/connections/crm/api-key", "PUT,DELETE"),
        ("/connections/confirm", "POST"),
        ("/connect-links", "POST"),
        ("/dashboard-links", "POST"),
        ("/preflight", "POST"),
        ("/openapi.json", "GET,HEAD"),
    ] {
        for method in [Method::PATCH, Method::TRACE, Method::OPTIONS] {
            let answer = rig.send(rig.request("ada", method, path)).await;
            answer.refusal(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some(methods), "{path}");
        }
    }
    let proxied = rig.send(rig.request("ada", Method::TRACE, "/proxy/crm/x")).await;
    proxied.refusal(405, "method_not_allowed");
    assert!(proxied.header("allow").is_some_and(|methods| methods.contains("GET") && !methods.contains("TRACE")));
}
