//! TLS to upstreams: sessions are resumed, and HTTP/2 is spoken where ALPN offers it (RFC 8446 §2.2, RFC 7301).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rustls::HandshakeKind;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::support::{Rig, Script, Store, wait};

/// What an upstream saw of its clients, in order.
#[derive(Debug, Default)]
struct Seen {
    handshakes: Vec<HandshakeKind>,
    requests: Vec<http::HeaderMap>,
}

/// A TLS server that speaks whatever is negotiated.
struct TlsUpstream {
    address: SocketAddr,
    /// The certificate, to be trusted, in a file.
    authority: TempDir,
    seen: Arc<Mutex<Seen>>,
}

impl TlsUpstream {
    async fn start(protocols: &[&str]) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they fit");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let authority = TempDir::new().expect("a folder");
        std::fs::write(authority.path().join("ca.pem"), made.cert.pem()).expect("written");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, acceptor) = (Arc::<Mutex<Seen>>::default(), TlsAcceptor::from(Arc::new(config)));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let kind = stream.get_ref().1.handshake_kind().expect("it is done");
                    seen.lock().expect("no panic").handshakes.push(kind);
                    match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => serve_h2(stream, &seen).await,
                        _ => serve_once(stream).await,
                    }
                });
            }
        });
        Self { address, authority, seen }
    }

    fn authority(&self) -> String {
        self.authority.path().join("ca.pem").display().to_string()
    }

    /// An installation whose `crm` is this upstream, with `ada` connected. The whole process trusts its certificate.
    async fn behind(&self) -> Rig {
        let base = format!("https://localhost:{}", self.address.port());
        let mut rig = Rig::prepare(Store::Embedded, |config, _| config.set("services.crm.base_url", base)).await;
        rig.valetkey.environment("SSL_CERT_FILE", &self.authority());
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        rig.connect("ada").await;
        rig
    }

    fn handshakes(&self) -> Vec<HandshakeKind> {
        self.seen.lock().expect("no panic").handshakes.clone()
    }
}

/// HTTP/1.1: one answer a connection.
async fn serve_once(mut stream: TlsStream<TcpStream>) {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let Ok(read @ 1..) = stream.read(&mut part).await else { return };
        head.extend_from_slice(&part[..read]);
    }
    let answer = Script::whole("over TLS");
    let text = String::from_utf8(answer).expect("text").replacen("\r\n", "\r\nConnection: close\r\n", 1);
    drop(stream.write_all(text.as_bytes()).await);
    drop(stream.shutdown().await);
}

async fn serve_h2(stream: TlsStream<TcpStream>, seen: &Mutex<Seen>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        seen.lock().expect("no panic").requests.push(request.headers().clone());
        let head = http::Response::builder().header("content-type", "text/plain").body(()).expect("a response");
        let mut body = respond.send_response(head, false).expect("sent");
        body.send_data(Bytes::from_static(b"over HTTP/2"), true).expect("sent");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_is_opened_again_with_a_resumed_session() {
    let upstream = TlsUpstream::start(&["http/1.1"]).await;
    let rig = upstream.behind().await;
    for _ in 0..3 {
        let answer = rig.get("ada", "/proxy/crm/x").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "over TLS"));
    }
    assert_eq!(upstream.handshakes(), [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
}

/// Pingora builds their configuration anew for each connection, sessions included (docs/PERFORMANCE.md). When this fails
/// because they are resumed, it has learnt better: say so there.
#[tokio::test]
async fn a_service_with_an_authority_of_its_own_resumes_nothing() {
    let upstream = TlsUpstream::start(&["http/1.1"]).await;
    let rig = Rig::with(Store::Embedded, |config, _| {
        config
            .set("services.crm.base_url", format!("https://localhost:{}", upstream.address.port()))
            .set("services.crm.upstream", json!({ "ca_file": upstream.authority() }))
    })
    .await;
    rig.connect("ada").await;
    for _ in 0..2 {
        assert_eq!(rig.get("ada", "/proxy/crm/x").await.status, 200);
    }
    assert_eq!(upstream.handshakes(), [HandshakeKind::Full, HandshakeKind::Full]);
}

#[tokio::test]
async fn an_upstream_that_offers_http_2_is_spoken_to_in_it_over_one_connection() {
    let upstream = TlsUpstream::start(&["h2", "http/1.1"]).await;
    let rig = upstream.behind().await;
    let call = async || {
        let answer = wait::within("an answer", rig.get("ada", "/proxy/crm/x")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "over HTTP/2"));
    };
    call().await;
    tokio::join!(call(), call(), call());
    assert_eq!(upstream.handshakes().len(), 1);
    let token = rig.server.access_tokens("ada").await.remove(0);
    let seen = upstream.seen.lock().expect("no panic");
    assert_eq!(seen.requests.len(), 4);
    for headers in &seen.requests {
        let credentials: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(credentials, [&format!("Bearer {token}")]);
        assert!(!headers.contains_key("connection") && !headers.contains_key("host"), "{headers:?}");
    }
}
