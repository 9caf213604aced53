//! The proxy towards the upstream: what is sent, what comes back, and that nothing else does.

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::raw::Raw;
use crate::support::{Answer, Config, Rig, Script, Store, Upstream, jwt, on_both_stores, wait};

/// An installation whose service `crm` has this upstream, below `path`; ada is connected.
async fn before(upstream: &Upstream, path: &str) -> Rig {
    before_with(upstream, path, |config| config).await
}

async fn before_with(upstream: &Upstream, path: &str, change: impl FnOnce(Config) -> Config) -> Rig {
    let base = format!("{}{path}", upstream.url());
    let rig = Rig::with(Store::Embedded, |config, _| change(config.set("services.crm.base_url", base))).await;
    rig.connect("ada").await;
    rig
}

fn sent(seen: &Value, name: &str) -> Vec<String> {
    let headers: Vec<_> =
        seen["headers"].as_array().expect("a list").iter().map(|text| text.as_str().expect("text")).collect();
    headers.chunks(2).filter(|pair| pair[0].eq_ignore_ascii_case(name)).map(|pair| pair[1].to_owned()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

on_both_stores! {
    async fn each_caller_reaches_the_upstream_with_their_own_token(store) {
        let rig = Rig::start(store).await;
        for user in ["ada", "bob"] {
            rig.connect(user).await;
        }
        for user in ["ada", "bob", "ada"] {
            let seen = rig.get(user, "/proxy/crm/whoami?x=1").await.upstream(200);
            assert_eq!((seen["sub"].as_str(), seen["path"].as_str()), (Some(user), Some("/whoami?x=1")));
            let tokens = rig.server.access_tokens(user).await;
            assert_eq!(sent(&seen, "authorization"), [format!("Bearer {}", tokens[0])]);
        }
        rig.get("eve", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    }
}

#[tokio::test]
async fn the_injected_credential_is_the_only_thing_of_the_callers_or_the_proxys_that_leaves() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = before(&upstream, "").await;
    let token = rig.server.access_tokens("ada").await.remove(0);
    let caller = jwt::of("ada");
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(format!(
        "POST /proxy/crm/x HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {caller}\r\nValetkey-Token: {caller}\r\n\
         Valetkey-Account: default\r\nValetkey-Scopes: contacts\r\nCookie: session=1\r\nForwarded: for=1.2.3.4\r\n\
         X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\nVia: 1.1 x\r\n\
         Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTE: gzip\r\nUpgrade: h2c\r\n\
         X-Nominated: gone\r\nConnection: X-Nominated, authorization, Keep-Alive\r\nX-Kept: yes\r\nAccept: text/plain\r\n\
         Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    ))
    .await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
    let request = upstream.only();
    assert_eq!(request.all("authorization"), [format!("Bearer {token}")]);
    let base = upstream.address.to_string();
    for (name, value) in [("host", base.as_str()), ("x-kept", "yes"), ("accept", "text/plain"), ("content-length", "5")]
    {
        assert_eq!(request.all(name), [value], "{name}");
    }
    assert_eq!(request.body, b"hello");
    for line in request.head.split("\r\n").skip(1) {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let gone = ["cookie", "forwarded", "x-real-ip", "via", "keep-alive", "te", "upgrade", "x-nominated", "trailer"];
        assert!(!gone.contains(&name.as_str()), "{line}");
        for prefix in ["x-forwarded-", "proxy-", "valetkey-"] {
            assert!(!name.starts_with(prefix), "{line}");
        }
        assert!(!line.contains(&caller), "the caller's JWT left: {line}");
    }
}

#[tokio::test]
async fn a_credential_header_of_the_services_own_is_set_once_and_nothing_else() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let inject = json!({ "header": "X-Crm-Key", "template": "key={token}" });
    let rig = before_with(&upstream, "", |config| config.set("services.crm.inject", inject)).await;
    let token = rig.server.access_tokens("ada").await.remove(0);
    let answer = rig.send(rig.anonymous(Method::GET, "/proxy/crm/x").header("x-crm-key", jwt::of("ada"))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = upstream.only();
    assert_eq!(request.all("x-crm-key"), [format!("key={token}")]);
    assert!(request.all("authorization").is_empty());
}

#[tokio::test]
async fn path_and_query_go_upstream_byte_for_byte_below_base_url() {
    let upstream = Upstream::start(|request| Script::text(request.target())).await;
    let rig = before(&upstream, "/api/v1/").await;
    let token = jwt::of("ada");
    let mut raw = Raw::connect(&rig.url).await;
    let literal = [
        "/a",
        "/a/",
        "/a%2Fb",
        "/a%20b?x=1+2&y=%20&x=1",
        "/a?",
        "/a?x=%2e%2e/&y=../..",
        "/%252e%252e/x",
        "/a//b",
        "/a;b=1/c",
        "/...",
        "/..a/b",
        "/a..",
        "/.well-known/x",
        "/@me",
        "/a:b",
        "/*",
        "/'()!$&,=+",
        "/%7Euser",
        "/%c3%a9",
        "/a?b?c",
        "/a|b",
    ];
    for path in literal {
        raw.send(format!("GET /proxy/crm{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(
            (answer.status, String::from_utf8_lossy(&answer.body).into_owned()),
            (200, format!("/api/v1{path}"))
        );
    }
    for path in ["", "/"] {
        raw.send(format!("GET /proxy/crm{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.body), (200, b"/api/v1/".to_vec()), "{path:?} is base_url itself");
    }
}

#[tokio::test]
async fn a_path_that_could_leave_base_url_is_a_bad_request() {
    let upstream = Upstream::start(|_| Script::text("reached")).await;
    let rig = before(&upstream, "/api/v1").await;
    let token = jwt::of("ada");
    let leaving: &[&[u8]] = &[
        b"/proxy/crm/..",
        b"/proxy/crm/../x",
        b"/proxy/crm/a/../../x",
        b"/proxy/crm/%2e%2e/x",
        b"/proxy/crm/.%2E/x",
        b"/proxy/crm/%2E./x",
        b"/proxy/crm/./x",
        b"/proxy/crm/a/.",
        b"/proxy/crm/%2e/x",
        b"/proxy/crm/..;/x",
        b"/proxy/crm/..;a=b/x",
        b"/proxy/crm/%2e%2e;/x",
        b"/proxy/crm/a\\b",
        b"/proxy/crm/..\\x",
        b"/proxy/crm/..%5cx",
        b"/proxy/crm/..%2fx",
        b"/proxy/crm/a%00b",
        b"/proxy/crm/a%0d%0ab",
        b"/proxy/crm/a#b",
        b"/proxy/crm/a\x01b",
        b"/proxy/crm/a\x7fb",
        b"/proxy/crm/\xc3\xa9",
        b"/proxy/crm/a?x=\xff",
        b"http://evil.example/proxy/crm/x",
        b"//evil.example/proxy/crm/x",
    ];
    for target in leaving {
        let mut raw = Raw::connect(&rig.url).await;
        let mut request = b"GET ".to_vec();
        request.extend_from_slice(target);
        request.extend_from_slice(format!(" HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes());
        raw.send(request).await;
        let status = raw.answer().await.map(|answer| answer.status);
        let shown = String::from_utf8_lossy(target);
        // A target that is no request-target at all may also be refused by the HTTP parser, or not be a route.
        let network_path = target.starts_with(b"//");
        assert!(status == Some(400) || (network_path && status == Some(404)), "{shown}: {status:?}");
    }
    assert!(upstream.received().is_empty(), "{:?}", upstream.received());
}

#[tokio::test]
async fn a_malformed_service_or_account_is_refused_before_anything_is_looked_up() {
    let rig = Rig::start(Store::Embedded).await;
    for path in ["/proxy/crm@/x", "/proxy/crm@a%20b/x", "/proxy/crm@a@b/x", &format!("/proxy/crm@{}/x", "a".repeat(65))]
    {
        rig.get("ada", path).await.refusal(400, "bad_request");
    }
    for account in ["a b", "a/b", ""] {
        let request = rig.request("ada", Method::GET, "/proxy/crm/x").header("valetkey-account", account);
        rig.send(request).await.refusal(400, "bad_request");
    }
    let disagree = rig.request("ada", Method::GET, "/proxy/crm@work/x").header("valetkey-account", "home");
    rig.send(disagree).await.refusal(400, "bad_request");
    let agree = rig.request("ada", Method::GET, "/proxy/crm@work/x").header("valetkey-account", "work");
    let body = rig.send(agree).await.refusal(401, "auth_required");
    assert_eq!(body["account"], "work");
    for path in ["/proxy/none/x", "/proxy/none"] {
        rig.get("ada", path).await.refusal(404, "unknown_service");
    }
    for path in ["/proxy", "/proxy/", "/proxy/CRM/x", "/proxy/-crm/x", "/nothing"] {
        let answer = rig.get("ada", path).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(answer.header("valetkey-status").is_some(), "{path}");
    }
}

#[tokio::test]
async fn trace_and_connect_are_refused_and_every_other_method_passes() {
    let upstream = Upstream::start(|request| Script::text(request.method())).await;
    let rig = before(&upstream, "").await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"] {
        let answer =
            rig.send(rig.request("ada", Method::from_bytes(method.as_bytes()).expect("a token"), "/proxy/crm/x")).await;
        assert_eq!((answer.status, answer.text()), (200, method.to_owned()));
    }
    let reached = upstream.received().len();
    let answer = rig.send(rig.request("ada", Method::TRACE, "/proxy/crm/x")).await;
    answer.refusal(405, "method_not_allowed");
    let mut raw = Raw::connect(&rig.url).await;
    raw.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n").await;
    assert_eq!(raw.answer().await.map(|answer| answer.status), Some(405));
    assert_eq!(upstream.received().len(), reached);
}

#[tokio::test]
async fn several_accounts_and_none_named_are_a_conflict_unless_one_is_the_default() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect_account("ada", "crm", "work", "ada-at-work").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada-at-work", "the only one there is");
    rig.connect_account("ada", "crm", "home", "ada-at-home").await;
    let body = rig.get("ada", "/proxy/crm/whoami").await.refusal(409, "account_required");
    let mut accounts: Vec<_> = body["accounts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|name| name.as_str().expect("text").to_owned())
        .collect();
    accounts.sort();
    assert_eq!(accounts, ["home", "work"]);
    assert_eq!(rig.get("ada", "/proxy/crm@work/whoami").await.upstream(200)["sub"], "ada-at-work");
    let named = rig.request("ada", Method::GET, "/proxy/crm/whoami").header("valetkey-account", "home");
    assert_eq!(rig.send(named).await.upstream(200)["sub"], "ada-at-home");
    rig.connect_account("ada", "crm", "default", "ada").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
}

#[tokio::test]
async fn scopes_that_the_grant_lacks_are_asked_for_before_and_after_the_call() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let asked = rig.server.count("resource_requests").await;
    let request = rig.request("ada", Method::GET, "/proxy/crm/whoami").header("valetkey-scopes", "contacts calendar");
    let body = rig.send(request).await.refusal(403, "additional_scopes_required");
    assert_eq!(body["new_scopes"], json!(["calendar"]));
    assert_eq!(rig.server.count("resource_requests").await, asked, "the upstream was not asked");
    let held = rig.request("ada", Method::GET, "/proxy/crm/whoami").header("valetkey-scopes", "contacts");
    rig.send(held).await.upstream(200);

    // The upstream's own word for it, RFC 6750.
    let body = rig.get("ada", "/proxy/crm/scoped/calendar").await.refusal(403, "additional_scopes_required");
    assert_eq!(body["new_scopes"], json!(["calendar"]));
    assert!(
        body["message"].as_str().expect("text").starts_with("This feature requires additional permissions"),
        "{body}"
    );
    assert_eq!(rig.server.count("refreshed").await, 0);

    // The link grants them.
    let link = body["auth_url"].as_str().expect("a link").to_owned();
    rig.walk(&link, "ada").await;
    rig.get("ada", "/proxy/crm/scoped/calendar").await.upstream(200);
    rig.get("ada", "/proxy/crm/scoped/contacts").await.upstream(200);
    // Another 403 is the upstream's own.
    rig.get("ada", "/proxy/crm/status/403").await.upstream(403);
}

#[tokio::test]
async fn limits_on_target_headers_and_body_are_kept() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = before_with(&upstream, "", |config| config.set("limits", json!({ "body_bytes": "10KiB" }))).await;
    let long = format!("/proxy/crm/x?{}", "a".repeat(8 * 1024));
    rig.get("ada", &long).await.refusal(414, "too_large");
    let request = rig.request("ada", Method::GET, "/proxy/crm/x").header("x-long", "a".repeat(33 * 1024));
    rig.send(request).await.refusal(431, "too_large");
    rig.post("ada", "/proxy/crm/x", vec![0; 10 * 1024 + 1]).await.refusal(413, "too_large");
    assert_eq!(upstream.received().len(), 0);
    assert_eq!(rig.post("ada", "/proxy/crm/x", vec![0; 10 * 1024]).await.status, 200);
    assert_eq!(rig.get("ada", &format!("/proxy/crm/x?{}", "a".repeat(7 * 1024))).await.status, 200);
    // Without a length, the limit is met on the way.
    let token = jwt::of("ada");
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(format!(
        "POST /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ))
    .await;
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    for _ in 0..4 {
        raw.try_send(&chunk).await;
    }
    raw.try_send("0\r\n\r\n").await;
    if let Some(answer) = raw.answer().await {
        assert_eq!(answer.status, 413, "{answer:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_away_or_speaks_nonsense_is_a_502() {
    let garbage = Upstream::start(|_| {
        Script::bytes("SSH-2.0-nothing of yours\r\n\r\n").then(crate::support::upstream::Step::Close)
    })
    .await;
    let rig = before(&garbage, "").await;
    rig.get("ada", "/proxy/crm/x").await.refusal(502, "upstream_unreachable");
    drop(garbage);

    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", "http://127.0.0.1:9")).await;
    rig.connect("ada").await;
    rig.get("ada", "/proxy/crm/x").await.refusal(502, "upstream_unreachable");
    rig.post("ada", "/proxy/crm/x", "body").await.refusal(502, "upstream_unreachable");
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_a_504() {
    let upstream = Upstream::start(|_| Script(vec![crate::support::upstream::Step::Hang])).await;
    let rig =
        before_with(&upstream, "", |config| config.set("services.crm.timeouts", json!({ "read": "300ms" }))).await;
    rig.get("ada", "/proxy/crm/x").await.refusal(504, "upstream_timeout");
    rig.post("ada", "/proxy/crm/x", "body").await.refusal(504, "upstream_timeout");
    assert_eq!(upstream.received().len(), 2, "nothing was sent twice");
}

#[tokio::test]
async fn a_refusal_is_a_readable_page_where_html_is_preferred() {
    let rig = Rig::start(Store::Embedded).await;
    let request = rig.request("ada", Method::GET, "/proxy/crm/x").header("accept", "text/html,application/json;q=0.5");
    let answer = rig.send(request).await;
    assert_eq!((answer.status, answer.header("valetkey-status")), (401, Some("auth_required")));
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{:?}", answer.headers);
    assert!(answer.text().contains("Connect your CRM account to continue"), "{}", answer.text());
    assert!(answer.header("content-security-policy").is_some());
    for accept in ["*/*", "application/json, text/html;q=0.9"] {
        let request = rig.request("ada", Method::GET, "/proxy/crm/x").header("accept", accept);
        rig.send(request).await.refusal(401, "auth_required");
    }
}

#[tokio::test]
async fn headers_that_would_act_on_the_proxys_own_origin_are_dropped() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let answer = rig.get("ada", "/proxy/crm/cookies").await;
    answer.upstream(200);
    assert_eq!(answer.header("x-kept"), Some("yes"));
    let dropped = [
        "set-cookie",
        "clear-site-data",
        "strict-transport-security",
        "alt-svc",
        "service-worker-allowed",
        "nel",
        "report-to",
        "valetkey-token",
        "proxy-authenticate",
        "keep-alive",
    ];
    for name in dropped {
        assert_eq!(answer.headers.get(name), None, "{name}");
    }
    let cacheable = answer.header("cache-control").expect("it is there").to_owned();
    assert!(cacheable.contains("private"), "{cacheable}");
    assert!(!cacheable.contains("public") && !cacheable.contains("s-maxage"), "{cacheable}");
    let plain = rig.get("ada", "/proxy/crm/whoami").await;
    assert!(plain.header("cache-control").is_some_and(|value| value.contains("private")), "{:?}", plain.headers);
}

#[tokio::test]
async fn a_service_may_opt_in_to_its_cookies() {
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.response_cookies", true)).await;
    rig.connect("ada").await;
    let answer = rig.get("ada", "/proxy/crm/cookies").await;
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
}

#[tokio::test]
async fn markup_cannot_run_on_the_proxys_origin() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    for kind in ["text/html", "application/xhtml%2Bxml", "image/svg%2Bxml", "text/xml", "none"] {
        let answer = rig.get("ada", &format!("/proxy/crm/html?type={kind}")).await;
        assert_eq!(answer.header("content-security-policy"), Some("sandbox"), "{kind}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{kind}");
    }
    let json = rig.get("ada", "/proxy/crm/whoami").await;
    assert_eq!(json.header("content-security-policy"), None);
    assert_eq!(json.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(json.header("vary"), Some("Authorization, Valetkey-Token, Valetkey-Account"));
}

#[tokio::test]
async fn an_informational_answer_is_dressed_like_any_other() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nSet-Cookie: a=b\r\nClear-Site-Data: \"*\"\r\n\
                 Valetkey-Status: forged\r\n\r\n";
    let upstream = Upstream::start(move |_| {
        Script::text("after hints").after(crate::support::upstream::Step::Write(hints.as_bytes().to_vec()))
    })
    .await;
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", upstream.url())).await;
    rig.connect("ada").await;
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(format!("GET /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", jwt::of("ada"))).await;
    let hints = raw.head().await.expect("hints");
    assert_eq!(hints.status, 103);
    let head = hints.head.to_lowercase();
    assert!(head.contains("<http://h/proxy/crm/style.css>"), "{head}");
    for dropped in ["set-cookie", "clear-site-data", "valetkey-status"] {
        assert!(!head.contains(dropped), "{head}");
    }
    assert_eq!(raw.answer().await.expect("the answer").body, b"after hints");
}

#[tokio::test]
async fn links_and_redirects_stay_inside_the_proxy_and_foreign_ones_stay_as_they_are() {
    let rig = Rig::with(Store::Embedded, |config, server| {
        config.set("services.crm.base_url", format!("{}/v1", server.resource))
    })
    .await;
    rig.connect("ada").await;
    let (ours, upstream) = (&rig.url, &rig.server.resource);
    let page = rig.get("ada", "/proxy/crm/page").await;
    let links = page.header("link").expect("links");
    assert!(links.contains(&format!("<{ours}/proxy/crm/page?page=2>; rel=\"next\"")), "{links}");
    assert!(links.contains("<https://elsewhere.example/docs>; rel=\"help\""), "{links}");
    assert!(
        links.contains(&format!("<{upstream}/page?page=1>; rel=\"first\"")),
        "a root-relative target outside base_url: {links}"
    );
    let own = format!("{ours}/proxy/crm/page?page=1");
    assert_eq!(page.header("content-location"), Some(own.as_str()));

    let location = async |to: &str| {
        let target = url::form_urlencoded::byte_serialize(to.as_bytes()).collect::<String>();
        let answer = rig.get("ada", &format!("/proxy/crm/redirect?to={target}")).await;
        assert_eq!((answer.status, answer.header("valetkey-status")), (302, None));
        answer.header("location").expect("a location").to_owned()
    };
    assert_eq!(location(&format!("{upstream}/v1/whoami?a=b")).await, format!("{ours}/proxy/crm/whoami?a=b"));
    assert_eq!(location("/v1/whoami").await, format!("{ours}/proxy/crm/whoami"));
    assert_eq!(location("/other").await, format!("{upstream}/other"));
    for foreign in ["https://elsewhere.example/x", "https://elsewhere.example/v1/x", "mailto:someone@example.com"] {
        assert_eq!(location(foreign).await, foreign);
    }
    let authority = upstream.strip_prefix("http://").expect("plain");
    for lookalike in [
        format!("http://{authority}.evil.example/v1/x"),
        format!("http://{authority}@evil.example/v1/x"),
        format!("https://{authority}/v1/x"),
        format!("{upstream}/v1evil"),
        format!("{upstream}/v1/../admin"),
        "//evil.example/v1/x".to_owned(),
    ] {
        let seen = location(&lookalike).await;
        assert!(!seen.starts_with(&format!("{ours}/proxy/")), "{lookalike} became {seen}");
    }

    // The caller's own form of service and account is kept.
    rig.connect_account("ada", "crm", "work", "ada").await;
    let page = rig.get("ada", "/proxy/crm@work/page").await;
    let next = format!("<{ours}/proxy/crm@work/page?page=2>");
    assert!(page.header("link").is_some_and(|links| links.contains(&next)), "{:?}", page.headers);
    // And the Host that the caller came by.
    let by_name = rig.request("ada", Method::GET, "/proxy/crm/page").header("host", "valetkey.internal:8080");
    let page = rig.send(by_name).await;
    assert!(
        page.header("link")
            .is_some_and(|links| links.contains("<http://valetkey.internal:8080/proxy/crm/page?page=2>")),
        "{:?}",
        page.headers
    );
}

#[tokio::test]
async fn large_bodies_stream_both_ways_unchanged() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    const SIZE: usize = 24 * 1024 * 1024;
    let down = rig.get("ada", &format!("/proxy/crm/bytes/{SIZE}")).await;
    assert_eq!((down.status, down.body.len()), (200, SIZE));
    let up = rig.post("ada", "/proxy/crm/sink", down.body.clone()).await.upstream(200);
    assert_eq!(
        (up["bytes"].as_u64(), up["sha256"].as_str()),
        (Some(SIZE as u64), Some(hex(&Sha256::digest(&down.body)).as_str()))
    );
    // An upstream that answers while it still reads is served as far as socket buffers go (docs/PINGORA.md).
    let some = down.body[..256 * 1024].to_vec();
    let back = rig.post("ada", "/proxy/crm/echo", some.clone()).await;
    assert!(back.body == some, "the echo differs");
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one_and_end_when_the_client_leaves() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let mut response = rig.request("ada", Method::GET, "/proxy/crm/events?n=0&ms=20").send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut seen = String::new();
    wait::within("three events", async {
        while !seen.contains("\"n\":3}") {
            let part = response.chunk().await.expect("no error").expect("no end");
            seen.push_str(&String::from_utf8_lossy(&part));
        }
    })
    .await;
    assert!(seen.starts_with("id: 1\n"), "{seen}");
    assert_eq!(rig.server.count("open_streams").await, 1);
    drop(response);
    wait::until("the upstream's stream is closed", || async {
        (rig.server.count("open_streams").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_websocket_is_tunnelled_with_the_injected_credential() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let request = |token: &str| {
        let mut request =
            format!("{}/proxy/crm/ws", rig.url.replace("http://", "ws://")).into_client_request().expect("a request");
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("visible"));
        request
    };
    let (mut socket, _) = tokio_tungstenite::connect_async(request(&jwt::of("ada"))).await.expect("a tunnel");
    let hello = socket.next().await.expect("a message").expect("no error");
    let hello: Value = serde_json::from_str(hello.to_text().expect("text")).expect("JSON");
    assert_eq!(hello["sub"], "ada");
    assert_eq!(sent(&hello, "authorization"), [format!("Bearer {}", rig.server.access_tokens("ada").await[0])]);
    for size in [1, 1000, 200_000] {
        let message = Message::binary(vec![7; size]);
        socket.send(message.clone()).await.expect("sent");
        assert!(socket.next().await.expect("an echo").expect("no error") == message);
    }
    socket.close(None).await.expect("closed");
    let refused = tokio_tungstenite::connect_async(request(&jwt::of("eve"))).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else { panic!("not refused: {refused:?}") };
    assert_eq!(answer.headers()["valetkey-status"], "auth_required");
}

#[tokio::test]
async fn answers_without_a_body_keep_the_connection_in_step() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let token = jwt::of("ada");
    let mut raw = Raw::connect(&rig.url).await;
    let request = |method: &str, path: &str| {
        format!("{method} /proxy/crm{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    for (method, path, status) in [
        ("HEAD", "/bytes/1000", 200),
        ("GET", "/status/204", 204),
        ("GET", "/status/304", 304),
        ("HEAD", "/status/404", 404),
    ] {
        raw.send(request(method, path)).await;
        let answer = if method == "HEAD" { raw.head_answer().await } else { raw.answer().await };
        assert_eq!(answer.expect("an answer").status, status, "{method} {path}");
        raw.send(request("GET", "/whoami")).await;
        assert_eq!(raw.answer().await.expect("the next answer").json()["sub"], "ada", "after {method} {path}");
    }
}

#[tokio::test]
async fn an_upload_that_expects_100_is_told_to_go_on_or_refused_without_it() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let head = |user: &str| {
        let token = jwt::of(user);
        format!(
            "POST /proxy/crm/sink HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(head("ada")).await;
    assert_eq!(raw.head().await.map(|answer| answer.status), Some(100));
    raw.send("hello").await;
    assert_eq!(raw.answer().await.expect("an answer").json()["bytes"], 5);
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(head("eve")).await;
    assert_eq!(raw.head().await.map(|answer| answer.status), Some(401), "the body is never asked for");
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_never_a_clean_end() {
    let upstream = Upstream::start(|_| {
        Script::bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .then(crate::support::upstream::Step::Close)
    })
    .await;
    let rig = before(&upstream, "").await;
    let response = rig.request("ada", Method::GET, "/proxy/crm/x").send().await.expect("the head arrives");
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "a broken body looks whole");
    assert_eq!(upstream.received().len(), 1, "and is not fetched again");
}

#[tokio::test]
async fn an_answer_of_the_upstreams_own_never_carries_valetkey_status() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    for status in [200, 400, 403, 404, 429, 500, 503] {
        rig.get("ada", &format!("/proxy/crm/status/{status}")).await.upstream(status);
    }
}

#[tokio::test]
async fn services_that_share_a_connection_share_its_grant() {
    let rig = Rig::with(Store::Embedded, |config, server| {
        config.set("services.crm-files", json!({ "title": "CRM files", "base_url": format!("{}/v1", server.resource), "connection": "crm", "scopes": ["calendar"] }))
    })
    .await;
    let body = rig.get("ada", "/proxy/crm-files/whoami").await.refusal(401, "auth_required");
    assert_eq!(body["service"], "crm-files", "the called one is named");
    let link = body["auth_url"].as_str().expect("a link").to_owned();
    assert!(link.contains("/connect/crm?"), "the link is the owner's: {link}");
    rig.walk(&link, "ada").await;
    let seen = rig.get("ada", "/proxy/crm-files/whoami").await.upstream(200);
    assert_eq!((seen["sub"].as_str(), seen["path"].as_str()), (Some("ada"), Some("/v1/whoami")));
    let scope = seen["scope"].as_str().expect("text");
    assert!(scope.contains("contacts") && scope.contains("calendar"), "the union: {scope}");
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
}

/// Smuggling: whatever the proxy makes of it, the upstream sees one message for each that was accepted, and never the
/// one hidden inside.
#[tokio::test]
async fn no_request_hides_inside_another() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = before(&upstream, "").await;
    let token = jwt::of("ada");
    let start = format!("POST /proxy/crm/outer HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n");
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let length = hidden.len();
    let corpus = [
        (
            "CL and TE",
            format!("{start}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        ("two CL", format!("{start}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}")),
        ("CL with a sign", format!("{start}Content-Length: +{length}\r\n\r\n{hidden}")),
        ("CL list", format!("{start}Content-Length: {length}, {length}\r\n\r\n{hidden}")),
        ("unknown TE", format!("{start}Transfer-Encoding: xchunked\r\n\r\n{hidden}")),
        ("TE not last", format!("{start}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}")),
        ("space before colon", format!("{start}Content-Length : {length}\r\n\r\n{hidden}")),
        (
            "folded TE",
            format!("{start}X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        ),
        (
            "bare CR in a header",
            format!("{start}X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{hidden}"),
        ),
        ("chunk size overflow", format!("{start}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n{hidden}")),
        ("body beyond CL", format!("{start}Content-Length: 0\r\n\r\n{hidden}")),
    ];
    for (what, request) in corpus {
        let mut raw = Raw::connect(&rig.url).await;
        raw.send(&request).await;
        drop(raw.stream.shutdown_write().await);
        while let Some(answer) = raw.answer().await {
            assert!(answer.status < 500 || answer.status == 502, "{what}: {answer:?}");
        }
        for received in upstream.received() {
            assert_eq!(received.target(), "/outer", "{what} reached the upstream");
        }
    }
    // And every upstream connection that is still pooled answers the right question.
    let answer = rig.get("ada", "/proxy/crm/after").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn a_length_that_is_no_single_number_goes_no_further() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = before(&upstream, "").await;
    let token = jwt::of("ada");
    for length in ["2, 2", "2,2", "+2", "-2", "2;", "0x2", "2 2", "٢"] {
        let mut raw = Raw::connect(&rig.url).await;
        raw.send(&format!(
            "POST /proxy/crm/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\nab"
        ))
        .await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{length}: {answer:?}");
    }
    assert!(upstream.received().is_empty());
}

trait ShutdownWrite {
    async fn shutdown_write(&mut self) -> std::io::Result<()>;
}

impl ShutdownWrite for tokio::net::TcpStream {
    async fn shutdown_write(&mut self) -> std::io::Result<()> {
        tokio::io::AsyncWriteExt::shutdown(self).await
    }
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let rig = Rig::start(Store::Embedded).await;
    let one: Answer = rig.get("ada", "/proxy/crm/x").await;
    let two = rig.get("ada", "/proxy/crm/x").await;
    let (one, two) = (one.refusal(401, "auth_required"), two.refusal(401, "auth_required"));
    assert_ne!(one["request_id"], two["request_id"]);
    let id = one["request_id"].as_str().expect("text");
    wait::until("the log names the request", || async { rig.logs().contains(id).then_some(()) }).await;
}
