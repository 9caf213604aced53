//! The traps of Pingora that docs/PINGORA.md tells of. Each test fails without its mitigation.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::raw::Raw;
use crate::support::upstream::{Step, When};
use crate::support::{Rig, Script, Store, Upstream, jwt, wait};

async fn behind(upstream: &Upstream) -> Rig {
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", upstream.url())).await;
    rig.connect("ada").await;
    rig
}

/// An HTTP/2 connection in clear, with prior knowledge.
async fn h2(url: &str) -> h2::client::SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(url.strip_prefix("http://").expect("plain")).await.expect("it listens");
    let (client, connection) =
        wait::within("the h2 handshake", h2::client::handshake(stream)).await.expect("h2c is spoken");
    tokio::spawn(connection);
    client.ready().await.expect("ready")
}

fn h2_request(url: &str, method: &str, path: &str, user: &str) -> http::Request<()> {
    http::Request::builder()
        .method(method)
        .uri(format!("{url}{path}"))
        .header("authorization", format!("Bearer {}", jwt::of(user)))
        .body(())
        .expect("a request")
}

async fn h2_body(body: &mut h2::RecvStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(part) = wait::within("h2 data", body.data()).await {
        let part = part.expect("no reset");
        body.flow_control().release_capacity(part.len()).expect("it was received");
        bytes.extend_from_slice(&part);
    }
    bytes
}

// 1. Replay: error_while_proxy turns retries of POST off, and a truncated buffer would be replayed without its rest.

#[tokio::test]
async fn a_post_is_replayed_with_all_of_its_bytes_or_not_at_all() {
    let upstream = Upstream::start(|request| match request.number {
        number if number % 2 == 0 => {
            Script::answer(401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], "{}")
        }
        _ => Script::answer(200, &[], &request.body),
    })
    .await;
    let rig = behind(&upstream).await;
    for chunked in [false, true] {
        let before = upstream.received().len();
        let body = vec![b'x'; 65_536];
        let token = jwt::of("ada");
        let mut raw = Raw::connect(&rig.url).await;
        let head = format!("POST /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n");
        if chunked {
            raw.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n10000\r\n")).await;
            raw.send(&body).await;
            raw.send("\r\n0\r\n\r\n").await;
        } else {
            raw.send(format!("{head}Content-Length: 65536\r\n\r\n")).await;
            raw.send(&body).await;
        }
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "chunked: {chunked}");
        assert!(answer.body == body, "chunked: {chunked}: {} bytes arrived", answer.body.len());
        assert_eq!(upstream.received().len(), before + 2);
    }
    // One byte more, and only the first attempt reaches the upstream, whole.
    let before = upstream.received().len();
    let answer = wait::within("an answer", rig.post("ada", "/proxy/crm/x", vec![b'x'; 65_537])).await;
    answer.refusal(503, "unavailable");
    let received = upstream.received();
    assert_eq!((received.len(), received[before].body.len()), (before + 1, 65_537));
}

// 3. Local answers to unread bodies: without a drain an HTTP/2 client loses the answer, an HTTP/1 one sees EPIPE.

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_10_mb_before_it_reads() {
    let rig = Rig::start(Store::Embedded).await;
    let body = vec![b'x'; 10_000_000];
    for _ in 0..5 {
        let mut raw = Raw::connect(&rig.url).await;
        raw.send(format!(
            "POST /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            jwt::of("ada"),
            body.len()
        ))
        .await;
        assert!(raw.try_send(&body).await, "the connection was cut while the body was on its way");
        let answer = raw.answer().await.expect("the refusal");
        assert_eq!((answer.status, answer.json()["status"].as_str()), (401, Some("auth_required")));
    }
}

#[tokio::test]
async fn a_refusal_reaches_an_http2_client_that_sends_a_long_body() {
    let rig = Rig::start(Store::Embedded).await;
    for _ in 0..5 {
        let mut client = h2(&rig.url).await;
        let (answer, mut upload) =
            client.send_request(h2_request(&rig.url, "POST", "/proxy/crm/x", "ada"), false).expect("sent");
        let sending = tokio::spawn(async move {
            let mut left = 2_000_000;
            while left > 0 {
                upload.reserve_capacity(left.min(65_536));
                match std::future::poll_fn(|context| upload.poll_capacity(context)).await {
                    Some(Ok(window)) if window > 0 => {
                        let part = window.min(left);
                        if upload.send_data(Bytes::from(vec![b'x'; part]), part == left).is_err() {
                            return;
                        }
                        left -= part;
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                }
            }
        });
        let answer = wait::within("the refusal", answer).await.expect("not a reset");
        assert_eq!(answer.status(), 401);
        let body = h2_body(&mut answer.into_body()).await;
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).expect("JSON")["status"], "auth_required");
        sending.abort();
    }
}

#[tokio::test]
async fn after_a_refusal_the_connection_is_closed_or_in_step() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let mut raw = Raw::connect(&rig.url).await;
    raw.send(format!(
        "POST /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Length: 70000\r\n\r\n{}",
        jwt::of("eve"),
        "GET /proxy/crm/hidden HTTP/1.1\r\n\r\n".repeat(2000)
    ))
    .await;
    assert_eq!(raw.answer().await.expect("an answer").status, 401);
    let next = format!("GET /proxy/crm/whoami HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", jwt::of("ada"));
    if raw.try_send(next).await
        && let Some(answer) = raw.answer().await
    {
        assert_eq!((answer.status, answer.json()["sub"].as_str()), (200, Some("ada")));
    }
}

// 5. An HTTP/2 request that ends in an empty DATA frame wrote the chunked terminator twice; the second one was a request
// of its own to the upstream, and its answer went to the next caller on the pooled connection.

#[tokio::test]
async fn an_empty_last_frame_does_not_become_a_second_request_on_a_pooled_connection() {
    let upstream = Upstream::start(|request| Script::text(&format!("{} {}", request.method(), request.target()))).await;
    let rig = behind(&upstream).await;
    rig.connect_to("bob", "calendar").await;
    for round in 0..6 {
        let mut client = h2(&rig.url).await;
        let path = format!("/proxy/crm/upload-{round}");
        let (answer, mut upload) =
            client.send_request(h2_request(&rig.url, "POST", &path, "ada"), false).expect("sent");
        upload.send_data(Bytes::from_static(b"hello"), false).expect("sent");
        upload.send_data(Bytes::new(), true).expect("sent");
        let answer = wait::within("an answer", answer).await.expect("not a reset");
        assert_eq!(answer.status(), 200);
        let body = h2_body(&mut answer.into_body()).await;
        assert_eq!(String::from_utf8_lossy(&body), format!("POST /upload-{round}"));
        let next = rig.get("ada", &format!("/proxy/crm/next-{round}")).await;
        assert_eq!(next.text(), format!("GET /next-{round}"), "another's answer");
    }
    // The test is about pooled connections: it proves nothing if each call had its own.
    let connections: std::collections::BTreeSet<_> =
        upstream.received().iter().map(|request| request.connection).collect();
    assert!(connections.len() < 12, "nothing was pooled: {connections:?}");
    for bytes in upstream.raw() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("0\r\n\r\n0\r\n\r\n"), "the terminator twice: {text}");
    }
}

#[tokio::test]
async fn many_callers_over_few_pooled_connections_never_get_each_others_answers() {
    let rig = Rig::start(Store::Embedded).await;
    let users: Vec<_> = (0..6).map(|number| format!("user-{number}")).collect();
    for user in &users {
        rig.connect(user).await;
    }
    let calls = users.iter().flat_map(|user| (0..20).map(move |round| (user, round)));
    let answers = join_all(calls.map(|(user, round)| {
        let rig = &rig;
        async move {
            let path = format!("/proxy/crm/whoami?round={round}");
            let seen = if round % 3 == 0 {
                let mut client = h2(&rig.url).await;
                let (answer, _) = client.send_request(h2_request(&rig.url, "GET", &path, user), true).expect("sent");
                let answer = wait::within("an answer", answer).await.expect("not a reset");
                serde_json::from_slice(&h2_body(&mut answer.into_body()).await).expect("JSON")
            } else {
                rig.get(user, &path).await.upstream(200)
            };
            (user, round, seen)
        }
    }))
    .await;
    for (user, round, seen) in answers {
        assert_eq!(
            (seen["sub"].as_str(), seen["path"].as_str()),
            (Some(user.as_str()), Some(format!("/whoami?round={round}").as_str()))
        );
    }
}

// 6. A 101 that comes before the request's own empty end of body was read tore the tunnel down (0.7 % on loopback).

#[tokio::test]
async fn tunnels_stay_open_when_the_101_comes_at_once() {
    const TUNNELS: usize = 600;
    let upstream = Upstream::listen(When::Head, |_| {
        Script::bytes("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n").then(Step::Echo)
    })
    .await;
    let rig = behind(&upstream).await;
    let request = format!(
        "GET /proxy/crm/ws HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        jwt::of("ada")
    );
    let tunnels = (0..8).map(|_| async {
        let mut torn = 0;
        for _ in 0..TUNNELS / 8 {
            let mut raw = Raw::connect(&rig.url).await;
            raw.send(&request).await;
            let head = raw.head().await.expect("an answer");
            assert_eq!(head.status, 101, "{}", head.head);
            torn += usize::from(!raw.try_send("ping").await || raw.until("ping").await.is_none());
        }
        torn
    });
    let torn: usize = join_all(tunnels).await.into_iter().sum();
    assert_eq!(torn, 0, "of {TUNNELS} tunnels");
}

// 7. Connections that say nothing, or too slowly, were kept for ever.

async fn closes(url: &str, first: &[u8], drip: Option<&[u8]>) -> Duration {
    let start = std::time::Instant::now();
    let mut raw = Raw::connect(url).await;
    raw.send(first).await;
    let limit = Duration::from_secs(100);
    loop {
        let mut byte = [0; 1024];
        let read =
            tokio::time::timeout(Duration::from_millis(500), tokio::io::AsyncReadExt::read(&mut raw.stream, &mut byte))
                .await;
        match read {
            Ok(Ok(0) | Err(_)) => return start.elapsed(),
            // The answer to a whole request, or to the timeout itself.
            Ok(Ok(_)) => {}
            Err(_) => {
                if let Some(drip) = drip
                    && !raw.try_send(drip).await
                {
                    return start.elapsed();
                }
            }
        }
        assert!(start.elapsed() < limit, "still open");
    }
}

#[tokio::test]
async fn connections_that_say_nothing_or_drip_or_idle_are_closed() {
    let rig = Rig::start(Store::Embedded).await;
    let url = &rig.url;
    let whole = format!("GET /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", jwt::of("ada"));
    let drip_after = format!("{whole}GET /proxy/crm/x HTTP/1.1\r\n");
    let all = tokio::join!(
        closes(url, b"", None),
        closes(url, b"GET /proxy/crm/x HTTP/1.1\r\n", None),
        closes(url, b"GET /proxy/crm/x HTTP/1.1\r\nX: ", Some(b"a")),
        closes(url, whole.as_bytes(), None),
        closes(url, drip_after.as_bytes(), Some(b"a")),
        closes(url, b"PRI * HTTP/2.0\r\n", None),
        closes(url, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    );
    for (what, elapsed) in [
        ("silent", all.0),
        ("half a header", all.1),
        ("dripped header", all.2),
        ("idle", all.3),
        ("drip after a request", all.4),
        ("half a preface", all.5),
        ("preface only", all.6),
    ] {
        assert!(elapsed < Duration::from_secs(90), "{what}: {elapsed:?}");
    }
}

#[tokio::test]
async fn a_request_shorter_than_the_http2_preface_is_answered() {
    let rig = Rig::start(Store::Embedded).await;
    let mut raw = Raw::connect(&rig.url).await;
    raw.send("GET / HTTP/1.0\r\n\r\n").await;
    // On its own it must at least not hang: an answer, or the connection's end.
    let answer = raw.answer().await;
    assert!(answer.is_none_or(|answer| matches!(answer.status, 303 | 400 | 404 | 426 | 505)));
}

#[tokio::test]
async fn a_long_answer_is_not_cut_by_the_header_deadline() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let mut response =
        rig.request("ada", reqwest::Method::GET, "/proxy/crm/events?n=14&ms=1000").send().await.expect("an answer");
    let mut seen = String::new();
    while let Some(part) = response.chunk().await.expect("no cut") {
        seen.push_str(&String::from_utf8_lossy(&part));
    }
    assert!(seen.contains("\"n\":14}"), "{seen}");
}

// 8. Hop-by-hop headers of the upstream's answer pass unless they are taken out.

#[tokio::test]
async fn hop_by_hop_headers_of_an_answer_end_here() {
    let upstream = Upstream::start(|_| {
        Script::answer(
            200,
            &[
                ("Connection", "X-Nominated, keep-alive"),
                ("X-Nominated", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("Proxy-Connection", "x"),
                ("Upgrade", "h2c"),
                ("Trailer", "X-T"),
                ("X-Kept", "1"),
            ],
            "ok",
        )
    })
    .await;
    let rig = behind(&upstream).await;
    let answer = rig.get("ada", "/proxy/crm/x").await;
    assert_eq!((answer.status, answer.header("x-kept")), (200, Some("1")));
    for name in ["x-nominated", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade", "trailer"] {
        assert_eq!(answer.headers.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_nominated_header_that_must_not_go_is_a_bad_request_with_valetkeys_own_answer() {
    let upstream = Upstream::start(|_| Script::text("ok")).await;
    let rig = behind(&upstream).await;
    for nominated in ["host", "x-forwarded-for", "\"quoted\"", "content-length"] {
        let mut raw = Raw::connect(&rig.url).await;
        raw.send(format!(
            "GET /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nConnection: {nominated}\r\n\r\n",
            jwt::of("ada")
        ))
        .await;
        let answer = raw.answer().await.expect("an answer");
        if answer.status != 200 {
            assert_eq!((answer.status, answer.json()["status"].as_str()), (400, Some("bad_request")), "{nominated}");
        }
    }
}

// gRPC: HTTP/2 in clear on both sides, trailers at the end.

#[tokio::test]
async fn grpc_passes_with_its_trailers_and_te() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let mut seen = Vec::new();
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut connection = h2::server::handshake(stream).await.expect("h2c");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen.push(request.headers().clone());
            let mut stream = respond
                .send_response(
                    http::Response::builder().header("content-type", "application/grpc").body(()).expect("a response"),
                    false,
                )
                .expect("sent");
            stream.send_data(Bytes::from_static(b"\0\0\0\0\x02ok"), false).expect("sent");
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            trailers.insert("grpc-message", http::HeaderValue::from_static("fine"));
            stream.send_trailers(trailers).expect("sent");
            if seen.len() == 1 {
                tokio::spawn(async move { while connection.accept().await.is_some() {} });
                return seen;
            }
        }
        seen
    });
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", base)).await;
    rig.connect("ada").await;
    let mut client = h2(&rig.url).await;
    let mut request = h2_request(&rig.url, "POST", "/proxy/crm/pkg.Service/Method", "ada");
    request.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
    let (answer, mut upload) = client.send_request(request, false).expect("sent");
    upload.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true).expect("sent");
    let answer = wait::within("an answer", answer).await.expect("not a reset");
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].as_bytes()),
        (200, b"application/grpc".as_slice())
    );
    let mut body = answer.into_body();
    assert_eq!(h2_body(&mut body).await, b"\0\0\0\0\x02ok");
    let trailers = wait::within("trailers", body.trailers()).await.expect("no reset").expect("trailers");
    assert_eq!(
        (trailers["grpc-status"].as_bytes(), trailers["grpc-message"].as_bytes()),
        (b"0".as_slice(), b"fine".as_slice())
    );
    let seen = serving.await.expect("no panic").remove(0);
    assert_eq!(seen.get("te").map(http::HeaderValue::as_bytes), Some(b"trailers".as_slice()));
    let token = rig.server.access_tokens("ada").await.remove(0);
    assert_eq!(seen["authorization"].as_bytes(), format!("Bearer {token}").as_bytes());
}

// 9. The pool does not know by which authority a connection was trusted.

/// A TLS server with a certificate of its own making; its authority in PEM.
fn tls_upstream() -> (SocketAddr, String) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("a certificate");
    let pem = made.cert.pem();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they fit");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let config = config.clone();
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).expect("a connection");
                let mut stream = rustls::StreamOwned::new(connection, stream);
                let mut buffer = Vec::new();
                let mut part = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    buffer.extend_from_slice(&part[..read]);
                    while let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                        buffer.drain(..at + 4);
                        if stream.write_all(&Script::whole("over TLS")).is_err() || stream.flush().is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, pem)
}

#[tokio::test]
async fn a_service_without_the_private_authority_never_uses_anothers_connection() {
    let (address, authority) = tls_upstream();
    let (_, other_authority) = tls_upstream();
    let files = tempfile::TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (right, wrong) = (file("right.pem", &authority), file("wrong.pem", &other_authority));
    let rig = Rig::with(Store::Embedded, |config, _| {
        let base = format!("https://localhost:{}", address.port());
        let mut config =
            config.set("services.crm.base_url", base.clone()).set("services.crm.upstream", json!({ "ca_file": right }));
        for (name, upstream) in [("plain", json!({})), ("other", json!({ "ca_file": wrong }))] {
            config = config.set(
                &format!("services.{name}"),
                json!({ "title": name, "base_url": base, "connection": "crm", "upstream": upstream }),
            );
        }
        config
    })
    .await;
    rig.connect("ada").await;
    for _ in 0..3 {
        let answer = rig.get("ada", "/proxy/crm/x").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "over TLS"));
        for name in ["plain", "other"] {
            rig.get("ada", &format!("/proxy/{name}/x")).await.refusal(502, "upstream_unreachable");
        }
    }
}
