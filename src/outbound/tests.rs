//! The client against small servers of its own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::dns::Unresolved;

/// A server that gives every connection the same bytes once a request's head has come, and counts connections.
async fn server(answer: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = socket.write_all(&answer).await;
                let _ = socket.shutdown().await;
                let _ = socket.read_buf(&mut head).await;
            });
        }
    });
    (format!("http://{address}"), count)
}

fn outbound() -> Outbound {
    Outbound::new(OutboundOptions::default(), Handle::current()).unwrap()
}

fn get(url: &str) -> http::Request<Vec<u8>> {
    http::Request::get(url).body(Vec::new()).unwrap()
}

#[tokio::test]
async fn an_answer_comes_back_whole() {
    let (url, _) = server(b"HTTP/1.1 418 x\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi".to_vec()).await;
    let answer = outbound().send(get(&url), CallLimits::default()).await.unwrap();
    assert_eq!(answer.status(), 418);
    assert_eq!(answer.headers()["x-a"], "b");
    assert_eq!(answer.body(), b"hi");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (target, visits) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let answer = format!("HTTP/1.1 307 x\r\nLocation: {target}/\r\nContent-Length: 0\r\n\r\n");
    let (url, _) = server(answer.into_bytes()).await;
    let answer = outbound().send(get(&url), CallLimits::default()).await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(visits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_past_the_limit_is_refused_with_and_without_a_length() {
    let limits = CallLimits { body: Some(4), ..CallLimits::default() };
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ] {
        let (url, _) = server(answer.into()).await;
        let result = outbound().send(get(&url), limits).await;
        assert_eq!(result.unwrap_err(), OutboundError::TooLarge, "{answer}");
    }
}

#[tokio::test]
async fn a_body_of_just_the_limit_passes() {
    let (url, _) = server(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfour".to_vec()).await;
    let limits = CallLimits { body: Some(4), ..CallLimits::default() };
    assert_eq!(outbound().send(get(&url), limits).await.unwrap().body(), b"four");
}

#[tokio::test]
async fn a_server_that_never_ends_its_answer_meets_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limits = CallLimits { total: Some(Duration::from_millis(50)), ..CallLimits::default() };
    let error = outbound().send(get(&url), limits).await.unwrap_err();
    assert_eq!(error, OutboundError::Timeout);
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = outbound().send(get(&url), CallLimits::default()).await.unwrap_err();
    assert_eq!(error, OutboundError::Connect);
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    let (url, _) = server(b"SSH-2.0-nonsense\r\n".to_vec()).await;
    let error = outbound().send(get(&url), CallLimits::default()).await.unwrap_err();
    assert_eq!(error, OutboundError::Protocol);
}

#[tokio::test]
async fn plain_text_where_tls_is_due_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.write_all(b"HTTP/1.1 400 x\r\n\r\n").await;
        let _ = socket.read(&mut [0; 1024]).await;
    });
    let error = outbound().send(get(&url), CallLimits::default()).await.unwrap_err();
    assert_eq!(error, OutboundError::Tls);
}

#[tokio::test]
async fn a_refused_target_is_never_connected_to() {
    let error = outbound().send(get("http://169.254.169.254/latest"), CallLimits::default()).await.unwrap_err();
    assert_eq!(error, OutboundError::Refused { reason: Refusal::Address });
    let error = outbound().send(get("http://192.0.2.1/"), CallLimits::default()).await.unwrap_err();
    assert_eq!(error, OutboundError::Refused { reason: Refusal::PlainHttp });
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a client with a resolver that finds only forbidden addresses")]
async fn a_name_that_leads_to_forbidden_addresses_is_refused_as_such() {
    struct Leads(Unresolved);
    impl reqwest::dns::Resolve for Leads {
        fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
            let error = self.0;
            Box::pin(async move { Err(error.into()) })
        }
    }
    // Sees to it that there is a TLS provider.
    drop(outbound());
    for (unresolved, expected) in [
        (Unresolved::Forbidden, OutboundError::Refused { reason: Refusal::Address }),
        (Unresolved::Unknown, OutboundError::Connect),
    ] {
        let client = reqwest::Client::builder().no_proxy().dns_resolver(Arc::new(Leads(unresolved))).build().unwrap();
        let error = client.get("http://idp.example/").send().await.unwrap_err();
        assert_eq!(OutboundError::from_client(&error), expected);
    }
}

#[test]
fn a_call_from_another_runtime_runs_on_the_clients_own() {
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = Outbound::new(OutboundOptions::default(), home.handle().clone()).unwrap();
    let (url, _) = home.block_on(server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()));
    // This runtime has neither timers nor sockets.
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = bare.block_on(client.send(get(&url), CallLimits::default())).unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn extra_authorities_must_be_certificates() {
    let options = OutboundOptions { extra_ca_pem: Some("not PEM".into()), ..OutboundOptions::default() };
    assert_eq!(Outbound::new(options, Handle::current()).unwrap_err(), SetupError::Authorities);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    encoder.finish().unwrap()
}

async fn compressed(coding: &str, body: &[u8], limit: usize) -> Result<http::Response<Vec<u8>>, OutboundError> {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n", body.len());
    let (url, _) = server([answer.as_bytes(), body].concat()).await;
    let limits = CallLimits { body: Some(limit), ..CallLimits::default() };
    outbound().send(get(&url), limits).await
}

#[tokio::test]
async fn gzip_that_nobody_asked_for_is_read() {
    for coding in ["gzip", "x-gzip", "GZIP"] {
        let answer = compressed(coding, &gzip(br#"{"a":1}"#), 100).await.unwrap();
        assert_eq!(answer.body(), br#"{"a":1}"#, "{coding}");
        assert!(!answer.headers().contains_key("content-encoding") && !answer.headers().contains_key("content-length"));
    }
    // Some say so and don't do it.
    assert_eq!(compressed("gzip", b"{}", 100).await.unwrap().body(), b"{}");
}

#[tokio::test]
async fn a_small_answer_does_not_unfold_past_the_limit() {
    let bomb = gzip(&vec![b' '; 1 << 20]);
    let error = compressed("gzip", &bomb, bomb.len() + 1).await.unwrap_err();
    assert_eq!(error, OutboundError::TooLarge);
    assert_eq!(compressed("gzip", &gzip(b"four"), 4096).await.unwrap().body(), b"four");
    let cut = &gzip(b"some text")[..12];
    assert_eq!(compressed("gzip", cut, 4096).await.unwrap_err(), OutboundError::Protocol);
}
