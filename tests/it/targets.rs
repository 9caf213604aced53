//! Request targets with characters that few servers refuse and RFC 3986 doesn't know, and those that no target may hold.

use serde_json::{Value, json};

use crate::support::raw::{Raw, RawAnswer};
use crate::support::upstream::{Step, When};
use crate::support::{Rig, Script, Store, Upstream, jwt};

async fn behind(upstream: &Upstream, service: Value) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| {
        let config = config.set("services.crm.base_url", format!("{}/api", upstream.url()));
        let service = service.as_object().expect("a map").clone();
        service.into_iter().fold(config, |config, (key, value)| config.set(&format!("services.crm.{key}"), value))
    })
    .await;
    rig.connect("ada").await;
    rig
}

/// An upstream that answers with the target that it got.
async fn echo() -> Upstream {
    Upstream::start(|request| Script::text(request.target())).await
}

/// A head with this request line and headers.
fn head(line: impl AsRef<[u8]>, headers: &str) -> Vec<u8> {
    let rest = format!(" HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n{headers}\r\n", jwt::of("ada"));
    [line.as_ref(), rest.as_bytes()].concat()
}

async fn send(rig: &Rig, line: impl AsRef<[u8]>, headers: &str) -> RawAnswer {
    let mut raw = Raw::connect(&rig.url).await;
    let line = line.as_ref();
    raw.send(head(line, headers)).await;
    raw.answer().await.unwrap_or_else(|| panic!("no answer to {}", line.escape_ascii()))
}

/// Asserts a 400 of Valetkey's own, and gives its message.
#[track_caller]
fn refused(answer: &RawAnswer) -> String {
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.head.to_ascii_lowercase().contains("valetkey-status: bad_request"), "{answer:?}");
    assert_eq!(answer.json()["status"], "bad_request");
    answer.json()["message"].as_str().expect("a message").to_owned()
}

const TARGETS: [&str; 9] = [
    "/s?filter={\"name\":\"x\"}",
    "/s?q=a<b",
    "/s?q=a>b&r=`",
    "/a<b>`c",
    "/a\"b",
    "/`\"<>?`\"<>",
    "/%22%3c?%3E\"",
    "/{x}|^?{y}|^'[]",
    "/?\"",
];

#[tokio::test]
async fn a_target_goes_upstream_byte_for_byte_whatever_it_is_made_of() {
    let upstream = echo().await;
    let rig = behind(&upstream, json!({})).await;
    let mut kept = Raw::connect(&rig.url).await;
    for target in TARGETS {
        let sent = if target == "/?\"" { "/api?\"".to_owned() } else { format!("/api{target}") };
        let answer = send(&rig, format!("GET /proxy/crm{target}"), "").await;
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).into_owned()), (200, sent.clone()));
        // And as one of many requests on a connection.
        kept.send(head(format!("GET /proxy/crm{target}"), "")).await;
        let answer = kept.answer().await.expect("an answer");
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).into_owned()), (200, sent));
        kept.send(head("GET /proxy/crm/usual?x=y", "")).await;
        assert_eq!(kept.answer().await.expect("an answer").body, b"/api/usual?x=y");
    }
}

#[tokio::test]
async fn nothing_of_a_request_but_its_target_is_looked_at() {
    let upstream = echo().await;
    let rig = behind(&upstream, json!({})).await;
    let body = "GET /a\"<>`#\u{1}\u{e4} b c HTTP/1.1\r\n\r\n\"<>`#";
    let mut raw = Raw::connect(&rig.url).await;
    let size = body.len();
    let (first, second) = body.split_at(9);
    let chunked = format!("{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    for (framing, body) in
        [(format!("Content-Length: {size}"), body.to_owned()), ("Transfer-Encoding: chunked".to_owned(), chunked)]
    {
        let whole = head("POST /proxy/crm/s?q=\"<b>", &format!("X-Odd: \"<>`#\r\n{framing}\r\n"));
        let whole = [&whole, body.as_bytes()].concat();
        // At once, in two pieces cut at many places, and byte for byte.
        let mut cuts: Vec<Vec<&[u8]>> = vec![vec![&whole], whole.chunks(1).collect()];
        cuts.extend((1..whole.len()).step_by(7).map(|at| vec![&whole[..at], &whole[at..]]));
        for pieces in cuts {
            for piece in pieces {
                raw.send(piece).await;
                tokio::task::yield_now().await;
            }
            let answer = raw.answer().await.expect("an answer");
            assert_eq!((answer.status, answer.body.as_slice()), (200, &b"/api/s?q=\"<b>"[..]), "{framing}");
        }
    }
    for request in upstream.received() {
        assert_eq!(request.all("x-odd"), ["\"<>`#"]);
        assert_eq!(String::from_utf8_lossy(&request.body), "GET /a\"<>`#\u{1}\u{e4} b c HTTP/1.1\r\n\r\n\"<>`#");
    }
}

#[tokio::test]
async fn a_pipelined_request_stays_outside_of_the_one_before_it() {
    let upstream = echo().await;
    let rig = behind(&upstream, json!({})).await;
    for first in ["/one", "/one?\"<"] {
        let mut raw = Raw::connect(&rig.url).await;
        let one = head(format!("POST /proxy/crm{first}"), "Content-Length: 4\r\n");
        let two = head("GET /proxy/crm/two?\"a<b", "");
        raw.send([&one, &b"\"<>`"[..], &two].concat()).await;
        assert_eq!(raw.answer().await.expect("an answer").body, format!("/api{first}").as_bytes());
        assert!(raw.answer().await.is_none(), "only the first is answered");
    }
    assert!(upstream.received().iter().all(|request| request.method() == "POST" && request.body == b"\"<>`"));
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_call_sent_again_with_the_same_target() {
    let upstream = Upstream::start(|request| match request.number {
        0 => Script::answer(401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], ""),
        _ => Script::text(request.target()),
    })
    .await;
    let rig = behind(&upstream, json!({})).await;
    let mut raw = Raw::connect(&rig.url).await;
    raw.send([&head("POST /proxy/crm/s?\"", "Content-Length: 4\r\n"), &b"\"<>`"[..]].concat()).await;
    assert_eq!(raw.answer().await.expect("an answer").body, b"/api/s?\"");
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|request| request.target() == "/api/s?\"" && request.body == b"\"<>`"));
    assert_ne!(received[0].all("authorization"), received[1].all("authorization"));
}

#[tokio::test]
async fn a_policy_judges_the_bytes_that_go_upstream() {
    let upstream = echo().await;
    let policy = json!([{ "deny": { "paths": ["/a<b", "/\"secret\"/*"] } }]);
    let rig = behind(&upstream, json!({ "policy": policy })).await;
    for path in ["/a<b", "/a%3Cb", "/a<b?x", "/\"secret\"/x", "/%22secret\"/x"] {
        assert_eq!(send(&rig, format!("GET /proxy/crm{path}"), "").await.status, 403, "{path}");
    }
    for path in ["/a>b", "/a#b", "/a\"b", "/<secret>/x", "/open?/a<b"] {
        let status = if path.contains('#') { 400 } else { 200 };
        assert_eq!(send(&rig, format!("GET /proxy/crm{path}"), "").await.status, status, "{path}");
    }
    let escapes = send(&rig, "GET /proxy/crm/<x>/../y", "").await;
    refused(&escapes);
}

#[tokio::test]
async fn an_upgrade_keeps_its_target() {
    let upstream = Upstream::listen(When::Head, |request| {
        let target = request.target();
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Target: {target}\r\n\r\n");
        Script::bytes(head).then(Step::Echo)
    })
    .await;
    let rig = behind(&upstream, json!({})).await;
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(head("GET /proxy/crm/ws?q={\"a\":\"<b>\"}", "Upgrade: websocket\r\nConnection: Upgrade\r\n")).await;
    let answer = raw.head().await.expect("an answer");
    assert_eq!(answer.status, 101);
    assert!(answer.head.contains("/api/ws?q={\"a\":\"<b>\"}"), "{answer:?}");
    raw.send("\"<>`#\n").await;
    assert!(raw.until("\"<>`#\n").await.is_some());
}

#[tokio::test]
async fn a_raw_space_control_character_or_byte_beyond_ascii_in_a_target_is_refused() {
    let upstream = echo().await;
    let rig = behind(&upstream, json!({})).await;
    for target in [
        &b"/proxy/crm/a b"[..],
        b"/proxy/crm/a b c?d e",
        b"/proxy/crm/ HTTP/1.1",
        b" /proxy/crm/a",
        b"/proxy/crm/x?x=\x01",
        b"/proxy/crm/x?x=\x00",
        b"/proxy/crm/a\tb",
        b"/proxy/crm/a\rb",
        b"/proxy/crm/\x7f",
        b"/proxy/crm/\xa2",
        b"/proxy/crm/\xff?\"",
        "/proxy/crm/\u{e4}?<".as_bytes(),
        b"/proxy/crm/a#b",
        b"/proxy/crm/a#\"",
        b"/connections?a b",
        b"/connections?a\x02b",
        b"/connections?a=\"b\"",
    ] {
        let answer = send(&rig, [b"GET ", target].concat(), "").await;
        let message = refused(&answer);
        assert!(message.contains("percent-encoded"), "{}: {message}", target.escape_ascii());
    }
    assert!(upstream.received().is_empty());
}

#[tokio::test]
async fn what_an_upstream_of_http_2_cannot_be_sent_is_refused_in_our_own_words() {
    let upstream = echo().await;
    let rig = behind(&upstream, json!({ "upstream": { "protocol": "h2c" } })).await;
    for target in ["/s?q=\"x\"", "/a<b", "/a`b", "/?>"] {
        let message = refused(&send(&rig, format!("GET /proxy/crm{target}"), "").await);
        assert!(message.contains("percent-encoded"), "{message}");
    }
    assert!(upstream.raw().is_empty());
}
