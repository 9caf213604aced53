//! Limits and patience: a service's own limits, bodies that are sent again, long JWTs, and callers who say or read nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::raw::Raw;
use crate::support::upstream::{Step, When};
use crate::support::{Rig, Script, Store, Upstream, jwt, wait};

#[expect(clippy::disallowed_methods, reason = "a client of tests")]
fn http2_client() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().expect("a client")
}

async fn behind(upstream: &Upstream, settings: &[(&str, Value)]) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| {
        let config = config.set("services.crm.base_url", upstream.url());
        settings.iter().fold(config, |config, (path, value)| config.set(path, value.clone()))
    })
    .await;
    rig.connect("ada").await;
    rig
}

#[tokio::test]
async fn a_body_that_is_sent_again_counts_once() {
    let upstream = Upstream::start(|request| match request.number {
        0 => Script::answer(401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], "{}"),
        _ => Script::answer(200, &[], &request.body),
    })
    .await;
    let rig = behind(&upstream, &[("limits", json!({ "body_bytes": "10KiB" }))]).await;
    let answer = rig.post("ada", "/proxy/crm/x", vec![b'x'; 6 * 1024]).await;
    assert_eq!((answer.status, answer.body.len()), (200, 6 * 1024), "{}", answer.text());
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn a_services_own_limits_replace_the_common_ones_in_both_directions() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(
        &upstream,
        &[
            ("limits", json!({ "body_bytes": "10KiB", "uri_bytes": "1KiB" })),
            ("services.crm.limits", json!({ "body_bytes": "none", "uri_bytes": "32KiB", "header_bytes": "64KiB" })),
            ("services.calendar.limits", json!({ "body_bytes": "1KiB" })),
        ],
    )
    .await;
    assert_eq!(rig.get("ada", &format!("/proxy/crm/x?{}", "a".repeat(20 * 1024))).await.status, 200);
    rig.get("ada", &format!("/proxy/crm/x?{}", "a".repeat(33 * 1024))).await.refusal(414, "too_large");
    let request = rig.request("ada", Method::GET, "/proxy/crm/x").header("x-long", "a".repeat(40 * 1024));
    assert_eq!(rig.send(request).await.status, 200);
    assert_eq!(rig.post("ada", "/proxy/crm/x", vec![0; 2 << 20]).await.status, 200);
    rig.post("ada", "/proxy/calendar/x", vec![0; 2048]).await.refusal(413, "too_large");
    rig.get("ada", &format!("/proxy/calendar/x?{}", "a".repeat(2048))).await.refusal(414, "too_large");
    rig.get("ada", &format!("/connections?{}", "a".repeat(2048))).await.refusal(414, "too_large");
    rig.get("ada", &format!("/proxy/nobody/x?{}", "a".repeat(2048))).await.refusal(414, "too_large");
}

/// A JWT of ada's of about so many bytes.
fn long_jwt(bytes: usize) -> String {
    let mut claims = jwt::claims("ada");
    claims["groups"] = json!("g".repeat(bytes * 3 / 4));
    jwt::hs256(&claims)
}

#[tokio::test]
async fn a_jwt_may_have_16_kib_and_a_longer_one_is_told_so() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(&upstream, &[("services.crm.limits", json!({ "header_bytes": "64KiB" }))]).await;
    let (fits, long) = (long_jwt(15 * 1024), long_jwt(17 * 1024));
    assert!(fits.len() > 15 * 1024 && fits.len() <= 16 * 1024 && long.len() > 16 * 1024);
    for path in ["/proxy/crm/x", "/connections"] {
        let with = |request: reqwest::RequestBuilder| rig.send(request);
        let bearer = |token: &str| rig.anonymous(Method::GET, path).bearer_auth(token);
        let basic = |token: &str| rig.anonymous(Method::GET, path).basic_auth("user", Some(token));
        assert_eq!(with(bearer(&fits)).await.status, 200, "{path}");
        assert_eq!(with(basic(&fits)).await.status, 200, "{path}");
        for answer in [with(bearer(&long)).await, with(basic(&long)).await] {
            answer.refusal(431, "too_large");
            assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("token")), "{}", answer.text());
        }
    }
    let http2 = http2_client();
    for (token, status) in [(&fits, 200), (&long, 431)] {
        let answer = http2.get(format!("{}/proxy/crm/x", rig.url)).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
    }
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn a_caller_who_stops_reading_is_let_go() {
    let endless = vec![b'x'; 32 << 20];
    let upstream = Upstream::listen(When::Head, move |_| Script::answer(200, &[], &endless).then(Step::Close)).await;
    let rig = behind(&upstream, &[("services.crm.timeouts", json!({ "write": "1s" }))]).await;
    let mut raw = Raw::connect(&rig.url).await;
    let token = jwt::of("ada");
    raw.send(format!("GET /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    // Not a byte is read, and yet the request ends.
    wait::until("the request has ended", || async {
        let metrics = rig.admin_get("/metrics").await.text();
        metrics.lines().any(|line| line == "valetkey_in_flight 0").then_some(())
    })
    .await;
    drop(raw);
}

/// Some seconds longer than Pingora waits by itself: the one thing here that can't be awaited.
const LONGER_THAN_A_MINUTE: Duration = Duration::from_secs(63);

#[tokio::test]
async fn a_quiet_tunnel_and_a_paused_upload_live_as_long_as_the_upstreams_read_timeout() {
    let upstream = Upstream::listen(When::Head, |request| {
        if request.all("upgrade").is_empty() {
            return Script(vec![Step::Take(10), Step::Write(Script::whole("taken"))]);
        }
        Script::bytes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .then(Step::Echo)
    })
    .await;
    let rig = behind(&upstream, &[("services.crm.timeouts", json!({ "read": "5m" }))]).await;
    let token = jwt::of("ada");
    let (mut tunnel, mut upload) = (Raw::connect(&rig.url).await, Raw::connect(&rig.url).await);
    let head = format!("HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n");
    tunnel.send(format!("GET /proxy/crm/ws {head}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")).await;
    assert_eq!(tunnel.answer().await.expect("an answer").status, 101);
    upload.send(format!("POST /proxy/crm/x {head}Content-Length: 10\r\n\r\n12345")).await;
    tokio::time::sleep(LONGER_THAN_A_MINUTE).await;
    tunnel.send("ping").await;
    assert_eq!(tunnel.until("ping").await.as_deref(), Some(&b"ping"[..]));
    upload.send("67890").await;
    assert_eq!(upload.answer().await.expect("an answer").body, b"taken");
}
