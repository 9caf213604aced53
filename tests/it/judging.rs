//! An upstream's answer is judged the same however it is framed, encoded and asked for, and passes on byte for byte where it
//! says nothing of the credential.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::vendor::{Asked, Framing, Reply, Vendor, Wire};
use crate::support::{Answer, Rig, Store, jwt, wait};

const ENCODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];
const VERDICTS: [&str; 5] = ["fine", "dead", "scopes", "scopes-in-200", "limited"];

fn encoded(encoding: &str, text: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).expect("in memory");
            encoder.finish().expect("in memory")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text).expect("in memory");
            encoder.finish().expect("in memory")
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(text).expect("in memory");
            out
        }
        "zstd" => zstd::encode_all(text, 3).expect("in memory"),
        _ => text.to_vec(),
    }
}

fn status_and_text(verdict: &str) -> (u16, &'static str) {
    match verdict {
        "dead" => (200, r#"{"ok":false,"error":"token_revoked"}"#),
        "scopes-in-200" => (200, r#"{"ok":false,"error":"missing_scope","needed":"chat:write"}"#),
        "scopes" => (403, r#"{"error":{"errors":[{"reason":"insufficientPermissions"}]}}"#),
        "limited" => (403, r#"{"error":{"errors":[{"reason":"rateLimitExceeded"}]}}"#),
        _ => (200, r#"{"ok":true,"channel":"general, with a text that is worth compressing: aaaaaaaaaaaaaaaaaaaaaa"}"#),
    }
}

fn signs() -> Value {
    let slack =
        |word: &str| json!({ "status": 200, "pointer": "/error", "values": [word], "also": { "/ok": ["false"] } });
    let google = |word: &str| json!({ "status": 403, "pointer": "/error/errors/*/reason", "values": [word] });
    let mut scopes = slack("missing_scope");
    scopes["scopes_pointer"] = json!("/needed");
    json!({
        "dead_token": [slack("token_revoked")],
        "missing_scopes": [scopes, google("insufficientPermissions")],
        "rate_limited": [google("rateLimitExceeded")],
    })
}

/// A case is its path: `/FRAMING/ENCODING/VERDICT/CLIENT`. A token is dead for the case that met it first.
fn handler() -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    let (cases, tokens) = (Mutex::new(HashSet::new()), Mutex::new(HashSet::new()));
    move |asked| {
        let parts: Vec<&str> = asked.target.trim_start_matches('/').split('/').collect();
        let [framing, encoding, mut verdict, _] = parts[..] else { panic!("{asked:?}") };
        let framing = Framing::ALL.into_iter().find(|one| format!("{one:?}") == framing).expect("a framing");
        if verdict == "dead" {
            let token = asked.headers.get("authorization").cloned();
            let first = cases.lock().expect("no panic").insert(asked.target.clone());
            if first {
                tokens.lock().expect("no panic").insert(token);
            } else if !tokens.lock().expect("no panic").contains(&token) {
                verdict = "fine";
            }
        }
        let (status, text) = status_and_text(verdict);
        let mut headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        if encoding != "identity" {
            headers.push(("content-encoding", encoding.to_owned()));
        }
        Reply { status, headers, body: encoded(encoding, text.as_bytes()), framing }
    }
}

/// Services `http1`, `http1tls`, … which share the connection of `crm`.
async fn rig(vendors: &[(Wire, Vendor)]) -> Rig {
    let rig = Rig::with(Store::Embedded, |mut config, _| {
        for (wire, vendor) in vendors {
            config = config.set(
                &format!("services.{}", name(*wire)),
                json!({ "connection": "crm", "base_url": vendor.url(), "upstream": vendor.upstream(), "errors": signs() }),
            );
        }
        config
    })
    .await;
    rig.connect("ada").await;
    rig
}

fn name(wire: Wire) -> String {
    format!("{wire:?}").to_lowercase()
}

fn clients() -> [(&'static str, Client); 2] {
    #[expect(clippy::disallowed_methods, reason = "clients of the tests' own, one for each protocol")]
    let builder = || Client::builder().no_proxy();
    let made = |builder: reqwest::ClientBuilder| builder.build().expect("a client");
    [("http1", made(builder().http1_only())), ("http2", made(builder().http2_prior_knowledge()))]
}

async fn ask(rig: &Rig, client: &Client, method: Method, path: &str) -> Answer {
    let request = client
        .request(method, format!("{}{path}", rig.valetkey.url))
        .bearer_auth(jwt::of("ada"))
        .header("accept-encoding", "gzip, deflate, br, zstd");
    Answer::read(wait::within(path, request.send()).await.expect(path)).await
}

async fn vendors() -> Vec<(Wire, Vendor)> {
    let handler = Arc::new(handler());
    let mut vendors = Vec::new();
    for wire in Wire::ALL {
        let handler = Arc::clone(&handler);
        vendors.push((wire, Vendor::start(wire, move |asked| handler(asked)).await));
    }
    vendors
}

async fn every_case_over(wire: Wire) {
    let vendors: Vec<_> = vendors().await.into_iter().filter(|(one, _)| *one == wire).collect();
    let rig = rig(&vendors).await;
    let clients = clients();
    for (client_name, client) in &clients {
        for framing in Framing::ALL {
            for encoding in ENCODINGS {
                for verdict in VERDICTS {
                    let case = format!("/{framing:?}/{encoding}/{verdict}/{client_name}");
                    let before = rig.server.token_requests("refresh_token").await;
                    let answer = ask(&rig, client, Method::GET, &format!("/proxy/{}{case}", name(wire))).await;
                    let refreshed = rig.server.token_requests("refresh_token").await - before;
                    let shown = format!("{wire:?} {case}: {} {:?}", answer.status, answer.headers);
                    assert_eq!(refreshed, u64::from(verdict == "dead"), "{shown}");
                    match verdict {
                        "scopes" | "scopes-in-200" => {
                            assert_eq!(answer.status, 403, "{shown}");
                            assert_eq!(answer.header("valetkey-status"), Some("additional_scopes_required"), "{shown}");
                        }
                        passed => {
                            let (status, text) = status_and_text(if passed == "dead" { "fine" } else { passed });
                            assert_eq!(answer.status, status, "{shown}");
                            assert_eq!(answer.header("valetkey-status"), None, "{shown}");
                            let coding = answer.header("content-encoding").unwrap_or("identity");
                            assert_eq!(coding, encoding, "{shown}");
                            assert!(answer.body == encoded(encoding, text.as_bytes()), "{shown}: other bytes");
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn http_1_answers_are_judged_in_every_framing_and_encoding() {
    every_case_over(Wire::Http1).await;
}

#[tokio::test]
async fn http_1_answers_over_tls_are_judged_in_every_framing_and_encoding() {
    every_case_over(Wire::Http1Tls).await;
}

#[tokio::test]
async fn http_2_answers_over_tls_are_judged_in_every_framing_and_encoding() {
    every_case_over(Wire::Http2Tls).await;
}

#[tokio::test]
async fn http_2_answers_in_the_clear_are_judged_in_every_framing_and_encoding() {
    every_case_over(Wire::H2c).await;
}

#[tokio::test]
async fn an_answer_without_a_body_is_not_waited_for() {
    let mut vendors = Vec::new();
    for wire in Wire::ALL {
        let vendor = Vendor::start(wire, move |asked| {
            let status = if asked.target == "/dead" { 401 } else { 200 };
            let body = if asked.method == Method::HEAD { br#"{"ok":true}"#.to_vec() } else { Vec::new() };
            // On HTTP/2 the header ends the answer, and nothing else says so.
            let framing =
                if wire.is_http2() && asked.method != Method::HEAD { Framing::Pieces } else { Framing::Length };
            Reply { status, headers: vec![("content-type", "application/json".to_owned())], body, framing }
        })
        .await;
        vendors.push((wire, vendor));
    }
    let rig = rig(&vendors).await;
    for (client_name, client) in &clients() {
        for wire in Wire::ALL {
            for method in [Method::GET, Method::HEAD] {
                let answer = ask(&rig, client, method.clone(), &format!("/proxy/{}/empty", name(wire))).await;
                assert_eq!(answer.status, 200, "{wire:?} {client_name} {method}: {answer:?}");
                assert!(answer.body.is_empty(), "{wire:?} {client_name} {method}");
                assert_eq!(answer.header("valetkey-status"), None);
            }
        }
    }
    let before = rig.server.token_requests("refresh_token").await;
    let (_, client) = &clients()[0];
    ask(&rig, client, Method::GET, "/proxy/http2tls/dead").await.refusal(401, "auth_required");
    assert_eq!(rig.server.token_requests("refresh_token").await - before, 1, "a bare 401 is refreshed for");
}

/// The providers' own files, as their APIs answer: HTTP/2 over TLS, compressed for whoever takes it.
#[tokio::test]
async fn slacks_and_googles_own_signs_are_seen_over_http_2() {
    let vendor = Vendor::start(Wire::Http2Tls, |asked| {
        let (status, text) = match asked.target.as_str() {
            "/chat.postMessage" => status_and_text("scopes-in-200"),
            "/users/me/messages" => status_and_text("scopes"),
            _ => status_and_text("fine"),
        };
        let headers = vec![
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("content-encoding", "gzip".to_owned()),
        ];
        Reply { status, headers, body: encoded("gzip", text.as_bytes()), framing: Framing::Closed }
    })
    .await;
    let rig = Rig::with(Store::Embedded, |mut config, server| {
        for (service, provider) in [("chat", "slack"), ("inbox", "gmail")] {
            config = config.service(service, service, &["contacts"], server);
            config = config
                .set(&format!("services.{service}.provider"), provider)
                .set(&format!("services.{service}.base_url"), vendor.url())
                .set(&format!("services.{service}.upstream"), vendor.upstream())
                .set(&format!("services.{service}.client_auth"), "basic")
                .set(&format!("services.{service}.pkce"), "S256")
                .set(&format!("services.{service}.userinfo_url"), format!("{}/me", server.issuer));
        }
        config
    })
    .await;
    let (_, client) = &clients()[0];
    for (service, path) in [("chat", "chat.postMessage"), ("inbox", "users/me/messages")] {
        rig.connect_to("ada", service).await;
        ask(&rig, client, Method::GET, &format!("/proxy/{service}/{path}"))
            .await
            .refusal(403, "additional_scopes_required");
        assert_eq!(ask(&rig, client, Method::GET, &format!("/proxy/{service}/fine")).await.status, 200);
    }
}
