//! Providers that say in the body of a 200 what others say with a status (Slack's way): the answer is held until its first
//! bytes are judged, and everything else passes as it came.

use reqwest::Method;
use serde_json::json;

use crate::support::upstream::Step;
use crate::support::{Config, Rig, Script, Store, Upstream};

fn with_signs(config: Config, upstream: &Upstream) -> Config {
    config.set("services.crm.base_url", upstream.url()).set(
        "services.crm.errors",
        json!({
            "dead_token": [{ "status": 200, "pointer": "/error", "values": ["token_revoked"], "also": { "/ok": ["false"] } }],
            "missing_scopes": [{
                "status": 200, "pointer": "/error", "values": ["missing_scope"], "also": { "/ok": ["false"] },
                "scopes_pointer": "/needed"
            }]
        }),
    )
}

/// Head and body in two writes, as many servers do it.
fn in_two_writes(body: &str) -> Script {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Kept: 1\r\n\r\n",
        body.len()
    );
    Script(vec![Step::Write(head.into_bytes()), Step::Write(body.as_bytes().to_vec())])
}

fn chunked(parts: &[&str]) -> Script {
    let mut steps = vec![Step::Write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
    )];
    for part in parts {
        steps.push(Step::Write(format!("{:x}\r\n{part}\r\n", part.len()).into_bytes()));
    }
    steps.push(Step::Write(b"0\r\n\r\n".to_vec()));
    Script(steps)
}

#[tokio::test]
async fn a_dead_token_that_is_told_in_a_200_is_refreshed_and_the_call_sent_again() {
    let upstream = Upstream::start(|request| match request.number {
        0 => in_two_writes(r#"{"ok":false,"error":"token_revoked"}"#),
        _ => in_two_writes(r#"{"ok":true,"channel":"general"}"#),
    })
    .await;
    let rig = Rig::with(Store::Embedded, |config, _| with_signs(config, &upstream)).await;
    rig.connect("ada").await;
    let answer = rig.post("ada", "/proxy/crm/chat.postMessage", b"{\"text\":\"hi\"}".to_vec()).await;
    assert_eq!((answer.status, answer.json()["channel"].as_str()), (200, Some("general")));
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!(answer.header("valetkey-status"), None);
    let received = upstream.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].body, received[1].body, "the body is sent again whole");
    assert_ne!(received[0].all("authorization"), received[1].all("authorization"));
}

#[tokio::test]
async fn a_missing_scope_that_is_told_in_a_200_asks_for_that_scope_and_refreshes_nothing() {
    let upstream =
        Upstream::start(|_| chunked(&[r#"{"ok":false,"error":"missing"#, r#"_scope","needed":"chat:write"}"#])).await;
    let rig = Rig::with(Store::Embedded, |config, _| with_signs(config, &upstream)).await;
    rig.connect("ada").await;
    let body = rig.get("ada", "/proxy/crm/x").await.refusal(403, "additional_scopes_required");
    assert_eq!(body["new_scopes"], json!(["chat:write"]));
    assert_eq!(rig.server.token_requests("refresh_token").await, 0);
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_credential_passes_as_it_came() {
    let long = format!(r#"{{"ok":true,"members":"{}"}}"#, "m".repeat(300_000));
    let short = r#"{"ok":false,"error":"channel_not_found"}"#;
    let expected = [long.clone(), short.to_owned(), "{\"a\":1}".to_owned()];
    let upstream = Upstream::start(move |request| match request.target() {
        "/long" => chunked(&[&long[..10], &long[10..100_000], &long[100_000..]]),
        "/short" => in_two_writes(short),
        _ => chunked(&["{", "\"a\"", ":1}"]),
    })
    .await;
    let rig = Rig::with(Store::Embedded, |config, _| with_signs(config, &upstream)).await;
    rig.connect("ada").await;
    for (path, expected) in ["/long", "/short", "/bits"].into_iter().zip(expected) {
        let answer = rig.get("ada", &format!("/proxy/crm{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text() == expected, "{path}");
        assert_eq!(answer.header("cache-control"), Some("private"), "{path}");
    }
    assert_eq!(rig.server.token_requests("refresh_token").await, 0);
}

#[tokio::test]
async fn a_401_to_head_whose_body_could_have_named_scopes_ends_no_grant() {
    let upstream = Upstream::start(|request| match request.method() {
        "HEAD" => Script::bytes("HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\n\r\n"),
        _ => Script::text("fine"),
    })
    .await;
    let rig = Rig::with(Store::Embedded, |config, _| {
        config.set("services.crm.base_url", upstream.url()).set(
            "services.crm.errors",
            json!({ "missing_scopes": [{ "status": 401, "pointer": "/error", "values": ["missing_scope"] }] }),
        )
    })
    .await;
    rig.connect("ada").await;
    let head = rig.send(rig.request("ada", Method::HEAD, "/proxy/crm/x")).await;
    assert_eq!((head.status, head.header("valetkey-status")), (401, None), "it is the upstream's own");
    assert_eq!(rig.get("ada", "/proxy/crm/x").await.status, 200);
    assert_eq!(rig.server.token_requests("refresh_token").await, 0);
}
