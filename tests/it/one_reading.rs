//! A request is read once, in the strictest way: no spelling of a method or a path and no header that renames either gets
//! past a policy or a scope rule, and what does pass goes upstream byte for byte.

use serde_json::{Value, json};

use crate::support::raw::{Raw, RawAnswer};
use crate::support::{Rig, Script, Store, Upstream, jwt};

async fn behind(upstream: &Upstream, service: Value) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| {
        let mut config = config.set("services.crm.base_url", upstream.url());
        for (key, value) in service.as_object().expect("a map") {
            config = config.set(&format!("services.crm.{key}"), value.clone());
        }
        config
    })
    .await;
    rig.connect("ada").await;
    rig
}

#[track_caller]
fn refused(answer: &RawAnswer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.head.to_ascii_lowercase().contains(&format!("valetkey-status: {code}")), "{what}: {answer:?}");
}

const OVERRIDES: [&str; 3] = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"];

#[tokio::test]
async fn no_spelling_of_a_method_passes_a_policy() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(&upstream, json!({ "policy": [{ "deny": { "methods": ["DELETE", "PROPFIND"] } }] })).await;
    refused(&rig.send_raw("DELETE /proxy/crm/x", "").await, 403, "forbidden", "DELETE");
    refused(&rig.send_raw("propfind /proxy/crm/x", "").await, 403, "forbidden", "propfind");
    for method in ["delete", "Delete", "get", "post", "trace", "connect", "Options", "patch", "put", "pATCH"] {
        let answer = rig.send_raw(&format!("{method} /proxy/crm/x"), "").await;
        refused(&answer, 400, "bad_request", method);
    }
    for name in OVERRIDES {
        for (value, status, code) in [
            ("DELETE", 403, "forbidden"),
            ("delete", 403, "forbidden"),
            ("TRACE", 405, "method_not_allowed"),
            ("connect", 405, "method_not_allowed"),
            ("", 400, "bad_request"),
            ("PUT, DELETE", 400, "bad_request"),
            ("<PUT>", 400, "bad_request"),
        ] {
            for method in ["POST", "GET"] {
                let answer = rig.send_raw(&format!("{method} /proxy/crm/x"), &format!("{name}: {value}\r\n")).await;
                refused(&answer, status, code, &format!("{method} {name}: {value}"));
            }
        }
        let twice = format!("{name}: PUT\r\n{name}: DELETE\r\n");
        refused(&rig.send_raw("POST /proxy/crm/x", &twice).await, 403, "forbidden", &twice);
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    assert_eq!(rig.send_raw("POST /proxy/crm/x", "X-HTTP-Method-Override: PUT\r\n").await.status, 200);
    assert_eq!(upstream.only().all("x-http-method-override"), ["PUT"], "what may pass goes as it came");
}

#[tokio::test]
async fn head_is_judged_as_get() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let policy = json!([{ "allow": { "methods": ["GET"], "paths": ["/open", "/whoami"] } }, { "deny": {} }]);
    let rig = behind(&upstream, json!({ "policy": policy })).await;
    assert_eq!(rig.send_raw("HEAD /proxy/crm/open", "").await.status, 200);
    assert_eq!(rig.send_raw("HEAD /proxy/crm/closed", "").await.status, 403);
    refused(
        &rig.send_raw("GET /proxy/crm/open", "X-HTTP-Method: POST\r\n").await,
        403,
        "forbidden",
        "a GET that is a POST",
    );
    assert_eq!(upstream.only().method(), "HEAD");
}

#[tokio::test]
async fn no_spelling_of_a_path_passes_a_policy() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let policy = json!([
        { "deny": { "paths": ["/admin", "/admin/*", "/projects/grp%2Fsecret/*", "/my files"] } },
        { "allow": { "paths": ["/public/*"], "methods": ["POST"] } },
        { "deny": { "methods": ["POST"] } },
    ]);
    let rig = behind(&upstream, json!({ "policy": policy })).await;
    for path in [
        "/admin",
        "/admin/",
        "/%61dmin",
        "//admin",
        "/admin//users",
        "/admin;x=1",
        "/admin;x/users",
        "/admin%3Bx/users",
        "/;x/admin",
        "/admin%2Fusers",
        "/%2Fadmin",
        "/projects/grp%2Fsecret/x",
        "/projects/grp%2fsecret/x",
        "/projects/%67rp/secret/x",
        "/projects/grp;y%2Fsecret/x",
        "/my%20files",
    ] {
        refused(&rig.send_raw(&format!("GET /proxy/crm{path}"), "").await, 403, "forbidden", path);
    }
    for path in ["//public/x", "/public%2Fx", "/public;/x", "/public", "/other", "/public;x/../y"] {
        let answer = rig.send_raw(&format!("POST /proxy/crm{path}"), "Content-Length: 0\r\n").await;
        assert!(matches!(answer.status, 400 | 403), "{path}: {answer:?}");
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    let passed = ["/projects/grp%2Fopen/x", "/administration", "/a//b;c=%61/%2F", "/%2561dmin"];
    for path in passed {
        assert_eq!(rig.send_raw(&format!("GET /proxy/crm{path}"), "").await.status, 200, "{path}");
    }
    let sent: Vec<String> = upstream.received().iter().map(|request| request.target().to_owned()).collect();
    assert_eq!(sent, passed, "byte for byte");
    for path in ["/public/x", "/public/x%2Fy", "/public/x;v=1"] {
        assert_eq!(
            rig.send_raw(&format!("POST /proxy/crm{path}"), "Content-Length: 0\r\n").await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn no_spelling_of_a_call_passes_a_scope_rule() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rules = json!([
        { "methods": ["DELETE"], "path": "/items/{id}", "any_of": ["items:delete"] },
        { "path": "/admin/**", "any_of": ["admin"] },
        { "path": "/projects/grp%2Fsecret/{x}", "any_of": ["secret"] },
    ]);
    let rig = behind(&upstream, json!({ "scope_rules": rules })).await;
    for (line, headers) in [
        ("DELETE /proxy/crm/items/1", ""),
        ("DELETE /proxy/crm/items;x/1", ""),
        ("DELETE /proxy/crm//items//1", ""),
        ("DELETE /proxy/crm/%69tems/1", ""),
        ("POST /proxy/crm/items/1", "X-Method-Override: DELETE\r\n"),
        ("GET /proxy/crm/admin;x/users", ""),
        ("GET /proxy/crm//admin/users", ""),
        ("GET /proxy/crm/admin%2Fusers", ""),
        ("GET /proxy/crm/projects/grp%2Fsecret/x", ""),
        ("GET /proxy/crm/projects/grp%2fsecret/x", ""),
    ] {
        let answer = rig.send_raw(line, headers).await;
        refused(&answer, 403, "additional_scopes_required", &format!("{line} {headers}"));
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
    assert_eq!(rig.send_raw("GET /proxy/crm/items/1", "").await.status, 200);
}

#[tokio::test]
async fn headers_that_name_another_path_do_not_go_upstream() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(&upstream, json!({})).await;
    let headers = "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-Kept: yes\r\n";
    assert_eq!(rig.send_raw("GET /proxy/crm/x", headers).await.status, 200);
    let request = upstream.only();
    assert!(request.all("x-original-url").is_empty() && request.all("x-rewrite-url").is_empty(), "{}", request.head);
    assert_eq!(request.all("x-kept"), ["yes"]);
}

#[tokio::test]
async fn http_1_1_without_a_host_is_malformed() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(&upstream, json!({})).await;
    let token = jwt::of("ada");
    for path in ["/proxy/crm/x", "/connections"] {
        let mut raw = Raw::connect(&rig.url).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
        refused(&raw.answer().await.expect("an answer"), 400, "bad_request", path);
    }
    assert!(upstream.received().is_empty());
}
