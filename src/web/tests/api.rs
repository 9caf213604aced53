//! The JSON API for applications.

use super::*;
use crate::{connection::LABELS_MAX, consent::Wish, id::Account};

#[tokio::test]
async fn applications_see_what_their_caller_has_and_nothing_of_others() {
    let site = Site::new();
    assert_eq!(site.api("ada", "GET", "/connections", None).await.json(), json!({"connections": [], "away": false}));
    site.connect(&mut Jar::default(), &site.link("ada").await).await;
    let list = site.api("ada", "GET", "/connections", None).await;
    assert_eq!(list.headers[header::CACHE_CONTROL], "no-store");
    let connection = list.json()["connections"][0].clone();
    for (name, value) in [
        ("service", "crm"),
        ("account", "default"),
        ("status", "active"),
        ("auth_kind", "oauth"),
        ("identity", "ada@crm.example"),
    ] {
        assert_eq!(connection[name], value, "{connection}");
    }
    assert_eq!(site.api("ada", "GET", "/connections/crm", None).await.json(), connection);
    assert_eq!(site.api("ada", "GET", "/connections/crm-files", None).await.json()["service"], "crm-files");
    // Somebody else's, and nobody's, can't be told apart.
    let (eve, none) = (
        site.api("eve", "GET", "/connections/crm", None).await,
        site.api("ada", "GET", "/connections/calendar", None).await,
    );
    assert_eq!(eve.refusal(404, "not_found")["retryable"], false);
    none.refusal(404, "not_found");
    site.api("eve", "DELETE", "/connections/crm", None).await.refusal(404, "not_found");
    let gone = site.api("ada", "DELETE", "/connections/crm", None).await;
    assert_eq!((gone.status.as_u16(), gone.body.as_str()), (204, ""));
    site.api("ada", "DELETE", "/connections/crm", None).await.refusal(404, "not_found");
}

#[tokio::test]
async fn the_api_needs_a_jwt_in_its_headers() {
    let site = Site::with(|config| config.connect.session = Some(SessionProof::Cookie("app".into())));
    for (method, path) in [
        ("GET", "/connections"),
        ("GET", "/connections/crm"),
        ("DELETE", "/connections/crm"),
        ("POST", "/connect-links"),
        ("POST", "/preflight"),
        ("PUT", "/connections/crm/api-key"),
        ("DELETE", "/connections/crm/api-key"),
    ] {
        let request = Request::builder().method(method).uri(path).header("cookie", format!("app={}", jwt("ada")));
        let got = site.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(got.refusal(401, "unauthenticated")["reason"], "missing");
        let challenges: Vec<_> = got.headers.get_all(header::WWW_AUTHENTICATE).iter().collect();
        assert_eq!(challenges, ["Basic realm=\"valetkey\"", "Bearer"]);
    }
}

#[tokio::test]
async fn bad_requests_are_told_without_repeating_them() {
    let site = Site::new();
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"service":7}"#,
        r#"{"service":"crm","account":"a b"}"#,
        r#"{"service":"crm","scopes":"x"}"#,
        r#"{"service":"crm","scopes":["a b"]}"#,
        r#"{"service":"crm","return_to":"https://evil.example/"}"#,
        r#"{"service":"crm","return_to":"/x"}"#,
        r#"{"service":"crm","secret-word":1}"#,
    ] {
        let request =
            Request::post("/connect-links").header("valetkey-token", jwt("ada")).body(Body::from(body)).unwrap();
        let got = site.send(request).await;
        got.refusal(400, "bad_request");
        assert!(!got.body.contains("secret-word") && !got.body.contains("evil"), "{}", got.body);
    }
    let long = Some(json!({"service": "crm", "account": "x".repeat(BODY_LIMIT)}));
    site.api("ada", "POST", "/connect-links", long).await.refusal(413, "too_large");
    site.api("ada", "POST", "/connect-links", Some(json!({"service": "none"}))).await.refusal(404, "unknown_service");
    site.api("ada", "GET", "/connections/none", None).await.refusal(404, "unknown_service");
    site.api("ada", "GET", "/connections/crm?account=a%20b", None).await.refusal(400, "bad_request");
    site.api("ada", "GET", "/connections/crm?account=a&account=b", None).await.refusal(400, "bad_request");
}

#[tokio::test]
async fn api_keys_are_stored_listed_and_removed_but_never_shown() {
    let site = Site::new();
    let key = json!({"api_key": "sk-very-secret"});
    let stored = site.api("ada", "PUT", "/connections/crm/api-key?account=work", Some(key)).await;
    assert_eq!(stored.status, 204, "{}", stored.body);
    let list = site.api("ada", "GET", "/connections", None).await;
    assert_eq!(list.json()["connections"][0]["auth_kind"], "api_key");
    assert!(!list.body.contains("sk-very"), "{}", list.body);
    for bad in [
        json!({"api_key": ""}),
        json!({"api_key": "a\nb"}),
        json!({"api_key": ["sk-very-secret"]}),
        json!({"api_key": "x".repeat(5000)}),
    ] {
        let got = site.api("ada", "PUT", "/connections/crm/api-key", Some(bad)).await;
        got.refusal(400, "bad_request");
        assert!(!got.body.contains("sk-very"), "{}", got.body);
    }
    site.api("ada", "PUT", "/connections/none/api-key", Some(json!({"api_key": "k"})))
        .await
        .refusal(404, "unknown_service");
    assert_eq!(site.api("ada", "DELETE", "/connections/crm/api-key", None).await.status, 204);
    site.api("ada", "DELETE", "/connections/crm/api-key", None).await.refusal(404, "not_found");
}

#[tokio::test]
async fn several_accounts_and_none_named_are_a_conflict() {
    let site = Site::new();
    for account in ["home", "work"] {
        let path = format!("/connections/crm/api-key?account={account}");
        site.api("ada", "PUT", &path, Some(json!({"api_key": "k"}))).await;
    }
    for (method, path, body) in [
        ("GET", "/connections/crm", None),
        ("DELETE", "/connections/crm", None),
        ("DELETE", "/connections/crm/api-key", None),
        ("POST", "/connect-links", Some(json!({"service": "crm"}))),
    ] {
        let refusal = site.api("ada", method, path, body).await.refusal(409, "account_required");
        assert_eq!(refusal["accounts"], json!(["home", "work"]), "{method} {path}");
    }
    assert_eq!(site.api("ada", "GET", "/connections/crm?account=work", None).await.json()["account"], "work");
}

#[tokio::test]
async fn a_preflight_tells_of_each_service_what_a_call_would_meet() {
    let site = Site::new();
    site.connect(&mut Jar::default(), &site.link("ada").await).await;
    let body = json!({"services": [
        {"service": "crm"},
        {"service": "crm", "scopes": ["files"]},
        {"service": "crm", "account": "work"},
        {"service": "calendar"},
        {"service": "none"},
    ]});
    let answer = site.api("ada", "POST", "/preflight", Some(body)).await.json();
    let services = answer["services"].as_array().unwrap();
    let seen: Vec<(&str, &str)> =
        services.iter().map(|item| (item["service"].as_str().unwrap(), item["status"].as_str().unwrap())).collect();
    let expected = [
        ("crm", "ready"),
        ("crm", "additional_scopes_required"),
        ("crm", "auth_required"),
        ("calendar", "auth_required"),
        ("none", "unknown_service"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(services[1]["new_scopes"], json!(["files"]));
    assert_eq!(services[2]["account"], "work");
    let link = services[3]["auth_url"].as_str().unwrap();
    Jar::default().get(&site, link).await.assert_page(200);
}

#[tokio::test]
async fn a_preflight_asks_the_policy_and_blames_nobody_for_a_store_that_is_away() {
    let site = Site::writing(&[("calendar", deny("{}"))], |_| {});
    let status = async |user: &str| {
        let body = json!({"services": [{"service": "crm"}, {"service": "calendar"}]});
        let answer = site.api(user, "POST", "/preflight", Some(body)).await.json();
        ["0", "1"].map(|at| answer.pointer(&format!("/services/{at}/status")).unwrap().as_str().unwrap().to_owned())
    };
    assert_eq!(status("ada").await, ["auth_required", "forbidden"]);
    // Nothing is known of eve yet.
    site.rig.brittle.break_after(1, Break::Before);
    assert_eq!(status("eve").await, ["unavailable", "forbidden"]);
    site.rig.brittle.mend();
    assert_eq!(status("eve").await, ["auth_required", "forbidden"]);
}

#[tokio::test]
async fn what_is_known_to_be_missing_is_said_with_its_link_while_the_store_is_away() {
    let site = Site::new();
    let ask = async || {
        let body = json!({"services": [{"service": "crm"}]});
        site.api("ada", "POST", "/preflight", Some(body)).await.json()["services"][0].clone()
    };
    assert_eq!(ask().await["status"], "auth_required");
    site.rig.brittle.break_after(0, Break::Before);
    let told = ask().await;
    assert_eq!((&told["status"], &told["reason"]), (&json!("auth_required"), &json!("not_connected")));
    site.rig.brittle.mend();
    Jar::default().get(&site, told["auth_url"].as_str().unwrap()).await.assert_page(200);
}

/// A policy that denies what matches.
fn deny(matching: &str) -> String {
    format!("policy: [{{ deny: {matching} }}]")
}

#[tokio::test]
async fn nobody_is_sent_to_connect_what_they_may_never_call() {
    let eve = || deny("{ claims: { sub: eve } }");
    let site = Site::writing(&[("crm", eve()), ("calendar", eve())], |config| {
        config.connect.session = Some(SessionProof::Cookie("app".into()));
    });
    let link = async |user: &str, service: &str| {
        site.api(user, "POST", "/connect-links", Some(json!({ "service": service }))).await
    };
    let refused = link("eve", "calendar").await.refusal(403, "forbidden");
    assert_eq!((&refused["service"], &refused["retryable"]), (&json!("calendar"), &json!(false)));
    assert_eq!(link("ada", "calendar").await.status, StatusCode::OK);
    // Another service that shares the connection is open to her.
    link("eve", "crm").await.refusal(403, "forbidden");
    assert_eq!(link("eve", "crm-files").await.status, StatusCode::OK);
    // Her browser is told, too, and her dashboard offers nothing that leads there.
    let page = async |user: &str, path: &str| {
        let request = Request::get(path).header("cookie", format!("app={}", jwt(user)));
        site.send(request.body(Body::empty()).unwrap()).await
    };
    let shut = page("eve", "/connect/calendar").await;
    shut.assert_page(403);
    assert!(shut.body.contains("not open to you"), "{}", shut.body);
    page("ada", "/connect/calendar").await.assert_page(200);
    page("eve", "/connect/crm").await.assert_page(200);
    for (user, offered) in [("eve", false), ("ada", true)] {
        let dashboard = page(user, "/dashboard").await;
        dashboard.assert_page(200);
        assert_eq!(dashboard.body.contains("/connect/calendar?"), offered, "{user}: {}", dashboard.body);
        assert!(dashboard.body.contains("/connect/crm?"), "{user}");
    }
}

#[tokio::test]
async fn a_link_to_what_nobody_may_call_any_more_leads_to_a_page_that_says_so() {
    let lines = [("crm", deny("{}")), ("crm-files", deny("{}")), ("calendar", deny("{ claims: { sub: eve } }"))];
    let shut = Site::writing(&lines, |_| {});
    // Made before the policy was, or by a notification, which knows no claims.
    let (caller, now) = (crate::consent::testing::caller("ada"), shut.rig.clock.now());
    for (service, status) in [("crm", 403), ("calendar", 200)] {
        let wish = Wish {
            caller: &caller,
            name: None,
            application: None,
            service: shut.rig.services.get(service).unwrap(),
            account: &Account::default(),
            scopes: &[],
            return_to: None,
        };
        let link = shut.rig.consent.links.link(&wish, now).await.unwrap();
        Jar::default().get(&shut, &link.url).await.assert_page(status);
    }
}

#[tokio::test]
async fn a_confirmation_goes_on_when_the_application_goes_away() {
    let site = Site::with(|config| config.connect.binding = crate::config::Binding::Confirm);
    let page = site.connect(&mut Jar::default(), &site.link("ada").await).await;
    let code = page.body.split("<code").nth(1).and_then(|rest| rest.split(['<', '>']).nth(1)).unwrap().to_owned();
    site.rig.brittle.break_after(2, Break::Waits);
    let asked = site.api("ada", "POST", "/connections/confirm", Some(json!({ "code": code })));
    tokio::select! {
        got = asked => panic!("{}", got.body),
        () = site.rig.brittle.is_broken() => {}
    }
    site.rig.brittle.mend();
    for _ in 0..500 {
        let list = site.api("ada", "GET", "/connections", None).await.json();
        if list["connections"][0]["status"] == "active" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the grant was never stored");
}

#[tokio::test]
async fn a_caller_has_so_many_labels_for_a_service_and_no_more() {
    let site = Site::new();
    let put = async |user: &str, account: &str| {
        let path = format!("/connections/crm/api-key?account={account}");
        site.api(user, "PUT", &path, Some(json!({"api_key": "k"}))).await
    };
    for number in 0..LABELS_MAX {
        assert_eq!(put("ada", &format!("a{number}")).await.status, StatusCode::NO_CONTENT, "{number}");
    }
    let refused = put("ada", "more").await.refusal(400, "bad_request");
    assert!(refused.to_string().contains("remove one first"), "{refused}");
    let link = async |account: &str| {
        site.api("ada", "POST", "/connect-links", Some(json!({"service": "crm", "account": account}))).await
    };
    link("more").await.refusal(400, "bad_request");
    // What is there can be replaced, others have room of their own, and so has who removed one.
    assert_eq!(link("a3").await.status, StatusCode::OK);
    assert_eq!(put("ada", "a3").await.status, StatusCode::NO_CONTENT);
    assert_eq!(put("eve", "more").await.status, StatusCode::NO_CONTENT);
    // A link from before there was no room any more leads to a page that says so, not to the provider.
    site.api("ada", "DELETE", "/connections/crm/api-key?account=a0", None).await;
    let early = link("late").await.json()["auth_url"].as_str().unwrap().to_owned();
    assert_eq!(put("ada", "more").await.status, StatusCode::NO_CONTENT);
    let page = Jar::default().get(&site, early.strip_prefix(OWN).unwrap()).await;
    page.assert_page(400);
    assert!(page.body.contains("Remove one"), "{}", page.body);
}
