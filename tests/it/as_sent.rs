//! What clients and terminators really send, and what an upstream gets of it.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::raw::{Raw, RawAnswer};
use crate::support::upstream::{Step, When};
use crate::support::{Rig, Script, Store, Upstream, jwt, wait};

#[expect(clippy::disallowed_methods, reason = "a client of tests")]
fn http2_client() -> reqwest::Client {
    reqwest::Client::builder().http2_prior_knowledge().build().expect("a client")
}

async fn behind(base_url: String, settings: &[(&str, Value)]) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| {
        let config = config.set("services.crm.base_url", base_url);
        settings.iter().fold(config, |config, (path, value)| config.set(path, value.clone()))
    })
    .await;
    rig.connect("ada").await;
    rig
}

#[tokio::test]
async fn grpc_web_is_no_grpc() {
    let upstream = Upstream::start(|request| Script::text(request.all("content-type")[0])).await;
    let rig = behind(upstream.url(), &[]).await;
    for kind in ["application/grpc-web+proto", "application/grpc-web", "application/grpc-web-text", "application/grpcx"]
    {
        let headers = format!("Content-Type: {kind}\r\nContent-Length: 0\r\n");
        let answer = rig.send_raw("POST /proxy/crm/pkg.Svc/Method", &headers).await;
        assert_eq!((answer.status, answer.body), (200, kind.as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn a_request_that_could_have_a_body_and_has_none_says_so() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(upstream.url(), &[]).await;
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(rig.send_raw(&format!("{method} /proxy/crm/star"), "").await.status, 200);
    }
    for method in ["GET", "DELETE"] {
        assert_eq!(rig.send_raw(&format!("{method} /proxy/crm/star"), "").await.status, 200);
    }
    let http2 = http2_client();
    let request = http2.post(format!("{}/proxy/crm/star", rig.url)).bearer_auth(jwt::of("ada"));
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let lengths: Vec<Vec<String>> = upstream
        .received()
        .iter()
        .map(|request| request.all("content-length").iter().map(ToString::to_string).collect())
        .collect();
    let zero = vec!["0".to_owned()];
    assert_eq!(lengths, [zero.clone(), zero.clone(), zero.clone(), vec![], vec![], zero]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_whatever_the_upstream_speaks() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.expect("h2c");
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let expected = request.headers().contains_key("expect");
                        let mut body = request.into_body();
                        let mut bytes = Vec::new();
                        while let Some(Ok(part)) = body.data().await {
                            drop(body.flow_control().release_capacity(part.len()));
                            bytes.extend_from_slice(&part);
                        }
                        let answer = http::Response::builder().header("x-expected", expected.to_string()).body(());
                        let mut stream = respond.send_response(answer.expect("a response"), false).expect("open");
                        stream.send_data(Bytes::from(bytes), true).expect("open");
                    });
                }
            });
        }
    });
    let rig = behind(base, &[("services.crm.upstream", json!({ "protocol": "h2c" }))]).await;
    let token = jwt::of("ada");
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(format!(
        "POST /proxy/crm/sink HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\n\r\n"
    ))
    .await;
    // Not a byte of the body is sent before this has come.
    assert_eq!(raw.head().await.expect("an interim answer").status, 100);
    raw.send("hello").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
}

#[tokio::test]
async fn the_scopes_that_a_call_names_are_scope_tokens_of_2_kib_at_most() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(upstream.url(), &[]).await;
    let many = vec!["scope"; 342].join(" ");
    assert!(many.len() > 2048);
    for scopes in ["a\"b", "a\\b", "a\tb", "sc\u{f6}pe", many.as_str()] {
        let answer = rig.send_raw("GET /proxy/crm/x", &format!("Valetkey-Scopes: {scopes}\r\n")).await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (400, Some("bad_request")), "{scopes:.20}");
    }
    let half = "x".repeat(1100);
    let twice = format!("Valetkey-Scopes: {half}\r\nValetkey-Scopes: {half}\r\n");
    assert_eq!(rig.send_raw("GET /proxy/crm/x", &twice).await.status, 400);
    assert_eq!(rig.send_raw("GET /proxy/crm/x", "Valetkey-Scopes:  contacts  contacts\r\n").await.status, 200);
    let missing = rig.send_raw("GET /proxy/crm/x", "Valetkey-Scopes: a:b https://x/y c\r\n").await;
    assert_eq!(missing.json()["new_scopes"], json!(["a:b", "https://x/y", "c"]));
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn behind_a_trusted_terminator_links_lead_back_the_way_the_request_came() {
    let upstream = Upstream::start(|request| {
        let host = request.all("host")[0].to_owned();
        assert!(request.all("forwarded").is_empty() && request.all("x-forwarded-proto").is_empty());
        Script::answer(200, &[("Link", &format!("<http://{host}/page?page=2>; rel=\"next\""))], "[]")
    })
    .await;
    let link = |answer: RawAnswer| {
        let line = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with("link:")).expect("a Link");
        line[line.find('<').expect("a target") + 1..line.find('>').expect("its end")].to_owned()
    };
    let x_forwarded =
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: api.example.com\r\nX-Forwarded-For: 203.0.113.7\r\n";
    let forwarded = "Forwarded: for=203.0.113.7;proto=https;host=api.example.com\r\n";
    let trusting = behind(upstream.url(), &[("trusted_proxies", json!(["127.0.0.0/8", "10.0.0.1"]))]).await;
    let wary = behind(upstream.url(), &[("trusted_proxies", json!(["10.0.0.0/8"]))]).await;
    for headers in [x_forwarded, forwarded] {
        let answer = trusting.send_raw("GET /proxy/crm/page", headers).await;
        assert_eq!(link(answer), "https://api.example.com/proxy/crm/page?page=2", "{headers}");
        let answer = wary.send_raw("GET /proxy/crm/page", headers).await;
        assert_eq!(link(answer), "http://h/proxy/crm/page?page=2", "{headers}");
    }
    let answer = trusting.send_raw("GET /proxy/crm/page", "X-Forwarded-Proto: https\r\n").await;
    assert_eq!(link(answer), "https://h/proxy/crm/page?page=2");
    assert_eq!(link(trusting.send_raw("GET /proxy/crm/page", "").await), "http://h/proxy/crm/page?page=2");
}

#[tokio::test]
async fn a_terminators_connections_are_not_counted_as_one_clients() {
    let upstream = Upstream::listen(When::Head, |_| Script(vec![Step::Write(Script::whole("ok"))])).await;
    let limits = ("limits", json!({ "connections_per_client": 2 }));
    for (trusted, status) in [(json!(["127.0.0.1"]), 200), (json!([]), 429)] {
        let rig = behind(upstream.url(), &[limits.clone(), ("trusted_proxies", trusted.clone())]).await;
        // Anew each time: those that met what is left of the connecting client's own were refused, and hold no place.
        let answer = wait::until("two idle connections are counted", || async {
            let _idle = [Raw::connect(&rig.url).await, Raw::connect(&rig.url).await];
            let answer = rig.send_raw("GET /connections", "").await;
            (answer.status == status).then_some(answer)
        })
        .await;
        assert_eq!(answer.status, status);
    }
}
