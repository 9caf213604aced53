//! What an upstream's answer says of the credential is found in every framing, coding and version of HTTP, for the
//! providers' own signs, and what is passed on is passed on byte for byte.

use std::{
    collections::HashMap,
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Config, Rig, Store, Vendor, jwt,
    vendor::{Asked, Door, Framing, Reply},
    wait,
};

const FRAMINGS: [(&str, Framing); 5] = [
    ("length", Framing::Length),
    ("open", Framing::Open),
    ("closed", Framing::Closed),
    ("trailers", Framing::Trailers),
    ("length-trailers", Framing::LengthAndTrailers),
];
const CODINGS: [&str; 5] = ["identity", "gzip", "br", "zstd", "deflate"];
/// What SDKs accept goes upstream as it came.
const ACCEPTED: &str = "gzip, br, zstd, deflate";
const VERDICTS: [&str; 4] = ["fine", "dead", "scopes", "rate"];
/// The proxy's services, each with the provider's file, the vendor's door and the upstream protocol.
const SERVICES: [(&str, &str, Door, &str); 8] = [
    ("slack-h1", "slack", Door::Clear, "http1"),
    ("slack-h2c", "slack", Door::Clear, "h2c"),
    ("slack-tls", "slack", Door::Tls, "auto"),
    ("slack-tls-h1", "slack", Door::TlsHttp1, "auto"),
    ("gmail-h1", "gmail", Door::Clear, "http1"),
    ("gmail-h2c", "gmail", Door::Clear, "h2c"),
    ("gmail-tls", "gmail", Door::Tls, "auto"),
    ("gmail-tls-h1", "gmail", Door::TlsHttp1, "auto"),
];

/// Status and JSON of a provider's answer.
fn told(provider: &str, verdict: &str) -> (u16, Value) {
    match (provider, verdict) {
        ("slack", "dead") => (200, json!({ "ok": false, "error": "token_revoked" })),
        ("slack", "scopes") => (200, json!({ "ok": false, "error": "missing_scope", "needed": "chat:write" })),
        ("slack", "rate") => (200, json!({ "ok": false, "error": "ratelimited" })),
        (_, "dead") => (401, json!({ "error": { "code": 401, "status": "UNAUTHENTICATED" } })),
        (_, "scopes") => (
            403,
            json!({ "error": { "code": 403, "status": "PERMISSION_DENIED", "details": [
            { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT" }
        ] } }),
        ),
        (_, "rate") => (403, json!({ "error": { "code": 403, "errors": [{ "reason": "rateLimitExceeded" }] } })),
        _ => (200, json!({ "ok": true, "members": ["x".repeat(40), "y".repeat(9)] })),
    }
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::default());
            encoder.write_all(body).expect("memory");
            encoder.finish().expect("memory");
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(&mut out, flate2::Compression::default());
            encoder.write_all(body).expect("memory");
            encoder.finish().expect("memory");
        }
        "br" => drop(brotli::CompressorWriter::new(&mut out, 4096, 5, 20).write_all(body)),
        "zstd" => out = zstd::encode_all(body, 3).expect("memory"),
        _ => out.extend_from_slice(body),
    }
    out
}

/// `/{provider}/{framing}/{coding}/{verdict}/{slow or whole}/{id}`: "dead" is said once a path, then "fine".
fn vendor_answers(told_dead: &Mutex<HashMap<String, usize>>, asked: &Asked) -> Reply {
    let parts: Vec<&str> = asked.target.split('/').collect();
    let [_, provider, framing, coding, verdict, pace, _] = parts[..] else { panic!("{asked:?}") };
    let mut verdict = verdict;
    if verdict == "dead" {
        let mut told_dead = told_dead.lock().expect("no panic in here");
        let times = told_dead.entry(asked.target.clone()).or_default();
        *times += 1;
        verdict = if *times == 1 { "dead" } else { "fine" };
    }
    let (status, body) = told(provider, verdict);
    let body = if verdict == "empty" { String::new() } else { body.to_string() };
    let mut headers = vec![("content-type", "application/json; charset=utf-8".to_owned()), ("x-kept", "1".to_owned())];
    if coding != "identity" {
        headers.push(("content-encoding", coding.to_owned()));
    }
    let (_, framing) = FRAMINGS.into_iter().find(|(name, _)| *name == framing).expect("a framing");
    Reply { status, headers, body: coded(coding, body.as_bytes()), framing, slow: pace == "slow" }
}

/// One vendor a door, and a service for each way to it; all share one connection.
struct Matrix {
    rig: Rig,
    vendors: HashMap<&'static str, Vendor>,
    clients: [(&'static str, reqwest::Client); 2],
}

fn name(door: Door) -> &'static str {
    match door {
        Door::Clear => "clear",
        Door::Tls => "tls",
        Door::TlsHttp1 => "tls-h1",
    }
}

impl Matrix {
    #[expect(clippy::disallowed_methods, reason = "clients of one HTTP version each")]
    async fn start() -> Self {
        let mut vendors = HashMap::new();
        for door in [Door::Clear, Door::Tls, Door::TlsHttp1] {
            let told_dead = Mutex::default();
            vendors.insert(name(door), Vendor::start(door, move |asked| vendor_answers(&told_dead, asked)).await);
        }
        let with_services = |mut config: Config| {
            for (service, provider, door, protocol) in SERVICES {
                let vendor = &vendors[name(door)];
                let provider_path = if provider == "slack" { "slack" } else { "google" };
                let mut upstream = json!({ "protocol": protocol });
                if door != Door::Clear {
                    upstream["ca_file"] = vendor.authority().into();
                }
                config = config.set(
                    &format!("services.{service}"),
                    json!({
                        "provider": provider, "connection": "crm", "scopes": ["contacts"],
                        "base_url": format!("{}/{provider_path}", vendor.url()), "upstream": upstream,
                    }),
                );
            }
            config
        };
        let rig = Rig::with(Store::Embedded, |config, _| with_services(config)).await;
        for (service, ..) in SERVICES {
            rig.connect(service).await;
        }
        let client = || reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let clients = [
            ("http1", client().http1_only().build().expect("a client")),
            ("http2", client().http2_prior_knowledge().build().expect("a client")),
        ];
        Self { rig, vendors, clients }
    }

    fn vendor(&self, service: &str) -> &Vendor {
        let (.., door, _) = SERVICES.into_iter().find(|(name, ..)| *name == service).expect("a service");
        &self.vendors[name(door)]
    }

    /// A call by the user of that service: a connection for each, so that they don't wait for each other's renewals.
    async fn call(&self, client: &reqwest::Client, user: &str, method: Method, path: &str) -> Answer {
        let request = client
            .request(method, format!("{}{path}", self.rig.url))
            .bearer_auth(jwt::of(user))
            .header("accept-encoding", ACCEPTED);
        Answer::read(request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"))).await
    }

    /// Every framing, coding, pace and verdict at one service, over either version; what was wrong.
    async fn every_combination(&self, service: &str) -> Vec<String> {
        let mut failed = Vec::new();
        for (framing, _) in FRAMINGS {
            for (coding, pace) in CODINGS.into_iter().flat_map(|coding| [(coding, "whole"), (coding, "slow")]) {
                for verdict in VERDICTS {
                    let rest = format!("{framing}/{coding}/{verdict}/{pace}");
                    for client in 0..self.clients.len() {
                        failed.extend(self.check(service, &rest, verdict, coding, client).await.err());
                    }
                    if failed.len() > 10 {
                        return failed;
                    }
                }
            }
        }
        failed
    }

    /// One call of the matrix; `Err` says what was wrong.
    async fn check(&self, service: &str, rest: &str, verdict: &str, coding: &str, client: usize) -> Result<(), String> {
        static CALL: AtomicUsize = AtomicUsize::new(0);
        let id = CALL.fetch_add(1, Ordering::Relaxed);
        let provider = if service.starts_with("slack") { "slack" } else { "google" };
        let (version, client) = &self.clients[client];
        let tail = format!("/{rest}/{id}");
        let path = format!("/proxy/{service}{tail}");
        let call = self.call(client, service, Method::GET, &path);
        let said = format!("{service}{tail} over {version}");
        let Ok(answer) = tokio::time::timeout(wait::DEADLINE / 2, call).await else {
            return Err(format!("{said}: no answer"));
        };
        let asked = self.vendor(service).asked(&format!("/{provider}{tail}"));
        let fact = |holds: bool, what: &str| {
            if holds { Ok(()) } else { Err(format!("{said}: {what}: {} {}", answer.status, answer.text())) }
        };
        fact(
            asked.iter().all(|asked| asked.http2 == (service.ends_with("h2c") || service.ends_with("tls"))),
            "version",
        )?;
        fact(asked.iter().all(|asked| asked.headers["accept-encoding"] == ACCEPTED), "compression was taken away")?;
        if verdict == "scopes" {
            let wanted = if provider == "slack" { "chat:write" } else { "contacts" };
            fact(answer.header("valetkey-status") == Some("additional_scopes_required"), "missing scopes passed")?;
            return fact(answer.json()["new_scopes"] == json!([wanted]) && asked.len() == 1, "other scopes");
        }
        let verdict = if verdict == "dead" {
            fact(asked.len() == 2, "a dead token was passed on")?;
            fact(asked[0].headers["authorization"] != asked[1].headers["authorization"], "the same token again")?;
            "fine"
        } else {
            verdict
        };
        let (status, body) = told(provider, verdict);
        fact(answer.status == status && answer.header("valetkey-status").is_none(), "not the upstream's answer")?;
        fact(answer.body == coded(coding, body.to_string().as_bytes()), "the body is not as it came")?;
        let coding = if coding == "identity" { None } else { Some(coding) };
        fact(answer.header("content-encoding") == coding, "another coding")?;
        fact(answer.header("x-kept") == Some("1"), "a header is gone")
    }
}

#[tokio::test]
async fn an_answer_means_the_same_in_every_framing_coding_and_version() {
    let matrix = Matrix::start().await;
    let failed = join_all(SERVICES.map(|(service, ..)| matrix.every_combination(service))).await.concat();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test]
async fn an_answer_without_a_body_waits_for_none() {
    let matrix = Matrix::start().await;
    for (service, ..) in SERVICES {
        for (framing, _) in FRAMINGS {
            for (version, client) in &matrix.clients {
                for (method, verdict) in [(Method::HEAD, "fine"), (Method::GET, "empty"), (Method::HEAD, "dead")] {
                    let path =
                        format!("/proxy/{service}/{framing}/identity/{verdict}/whole/{method}-{version}-{service}");
                    let call = matrix.call(client, service, method.clone(), &path);
                    let answer = wait::within(&path, call).await;
                    assert_eq!((answer.status, answer.header("valetkey-status")), (200, None), "{path}");
                    assert!(answer.body.is_empty(), "{path}");
                    let provider = if service.starts_with("slack") { "slack" } else { "google" };
                    let asked = matrix.vendor(service).asked(&path.replacen(
                        &format!("/proxy/{service}"),
                        &format!("/{provider}"),
                        1,
                    ));
                    // A head alone says nothing of a token at Slack; at Google its status does.
                    let calls = if verdict == "dead" && provider == "google" { 2 } else { 1 };
                    assert_eq!(asked.len(), calls, "{path}");
                    assert!(asked.iter().all(|asked| asked.method == method.as_str()), "{path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn trailers_follow_an_answer_that_was_held() {
    let matrix = Matrix::start().await;
    let address = matrix.rig.url.strip_prefix("http://").expect("in clear").to_owned();
    let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("h2c is spoken");
    tokio::spawn(connection);
    for framing in ["trailers", "length-trailers"] {
        let request = http::Request::get(format!("{}/proxy/slack-tls/{framing}/gzip/fine/slow/t", matrix.rig.url))
            .header("authorization", format!("Bearer {}", jwt::of("slack-tls")));
        let (answer, _) = client.send_request(request.body(()).expect("a request"), true).expect("sent");
        let mut body = wait::within("an answer", answer).await.expect("an answer").into_body();
        let mut bytes = Vec::new();
        while let Some(piece) = wait::within("a piece", body.data()).await {
            bytes.extend_from_slice(&piece.expect("whole"));
        }
        assert_eq!(bytes, coded("gzip", told("slack", "fine").1.to_string().as_bytes()), "{framing}");
        let trailers = wait::within("trailers", body.trailers()).await.expect("an end").expect("trailers");
        assert_eq!(trailers["x-trailer"], "1", "{framing}");
        assert_eq!(trailers.len(), 1, "{trailers:?}");
    }
}
