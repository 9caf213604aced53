//! Token endpoints as vendors run them: TLS, HTTP/2 or HTTP/1.1, gzip that nobody asked for, and refusals in words of
//! their own.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::vendor::{Asked, Door, Framing, Reply, Vendor};
use crate::support::{Rig, Store, wait};

/// What was asked of the vendor: targets and codings.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// `/token` grants a token that lives a second, `/refresh/…` refreshes it as the vendor of that name does: `fine`, or in
/// words that end the grant. Everything below `/api` answers with the credential it got.
fn handler(seen: Seen) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    move |asked| {
        let header = |name: &str| {
            asked.headers.get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
        };
        seen.lock().expect("no panic").push((asked.target.clone(), header("accept-encoding")));
        let (status, body) = match asked.target.as_str() {
            "/token" => {
                (200, json!({ "access_token": "first", "token_type": "bot", "expires_in": 1, "refresh_token": "r0" }))
            }
            "/refresh/fine" => (201, json!({ "access_token": "second", "expires_in": "3600.0" })),
            "/refresh/hubspot" => {
                (400, json!({ "status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token" }))
            }
            "/refresh/fitbit" => {
                (401, json!({ "errors": [{ "errorType": "invalid_grant", "message": "x" }], "success": false }))
            }
            "/refresh/strava" => (
                403,
                json!({ "message": "Bad Request",
                    "errors": [{ "resource": "RefreshToken", "field": "refresh_token", "code": "invalid" }] }),
            ),
            "/refresh/chat" => (200, json!({ "ok": false, "error": "invalid_refresh_token" })),
            _ => (200, json!({ "credential": header("authorization") })),
        };
        let (mut headers, mut bytes) =
            (vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes());
        if !asked.target.starts_with("/api") {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes).expect("in memory");
            bytes = encoder.finish().expect("in memory");
            headers.push(("content-encoding", "gzip".to_owned()));
        }
        Reply { status, headers, body: bytes, framing: Framing::Open, slow: false }
    }
}

/// An installation with a service for each way to refresh, all of this vendor; the whole process trusts its certificate.
async fn behind(vendor: &Vendor, ways: &[&str]) -> Rig {
    let base = vendor.url();
    let mut rig = Rig::prepare(Store::Embedded, |config, server| {
        ways.iter().fold(config, |config, way| {
            config
                .service(way, way, &["contacts"], server)
                .set(&format!("services.{way}.base_url"), format!("{base}/api"))
                .set(&format!("services.{way}.token_url"), format!("{base}/token"))
                .set(&format!("services.{way}.refresh_url"), format!("{base}/refresh/{way}"))
        })
    })
    .await;
    let authority = vendor.authority();
    rig.valetkey.environment("SSL_CERT_FILE", &authority);
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    rig
}

#[tokio::test]
async fn connecting_and_refreshing_work_at_a_token_endpoint_on_tls_that_compresses_unasked() {
    for door in [Door::Tls, Door::TlsHttp1] {
        let seen = Seen::default();
        let vendor = Vendor::start(door, handler(Arc::clone(&seen))).await;
        let rig = behind(&vendor, &["fine"]).await;
        rig.connect_to("ada", "fine").await;
        wait::until("the token is renewed", || async {
            let answer: Value = rig.get("ada", "/proxy/fine/x").await.upstream(200);
            (answer["credential"] == "Bearer second").then_some(())
        })
        .await;
        let seen = seen.lock().expect("no panic");
        let own: Vec<_> = seen.iter().filter(|(target, _)| !target.starts_with("/api")).collect();
        assert!(own.len() >= 2 && own.iter().all(|(_, codings)| codings == "identity"), "{door:?}: {own:?}");
    }
}

#[tokio::test]
async fn a_vendors_own_words_for_a_dead_refresh_token_end_that_grant() {
    let ways = ["hubspot", "fitbit", "strava", "chat"];
    let vendor = Vendor::start(Door::Tls, handler(Seen::default())).await;
    let rig = behind(&vendor, &ways).await;
    for way in ways {
        rig.connect_to("ada", way).await;
        let path = format!("/proxy/{way}/x");
        let refused = wait::until("the token is over", || async {
            let answer = rig.get("ada", &path).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
        refused.auth_required(way, "revoked");
        assert_eq!(rig.connection("ada", way).await["invalid_reason"], "revoked");
    }
}

#[tokio::test]
async fn without_pkce_neither_challenge_nor_verifier_is_sent() {
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.pkce", "off")).await;
    rig.server.set(json!({ "pkce_required": false })).await;
    rig.connect("ada").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    assert_eq!(rig.server.count("code_verifiers_missing").await, 1);
}
