//! An upstream that frames its answers as vendors do: TLS with HTTP/2 or HTTP/1.1 by ALPN, or either of them in the clear;
//! with a length, without one, in pieces, with trailers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/1.1 over TLS.
    Http1Tls,
    /// HTTP/2 over TLS.
    Http2Tls,
    /// HTTP/2 in the clear, with prior knowledge.
    H2c,
}

impl Wire {
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::Http2Tls, Self::H2c];

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2Tls | Self::H2c)
    }

    fn alpn(self) -> Option<&'static [u8]> {
        match self {
            Self::Http1Tls => Some(b"http/1.1"),
            Self::Http2Tls => Some(b"h2"),
            Self::Http1 | Self::H2c => None,
        }
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length`, all at once.
    Length,
    /// `Content-Length`, a few bytes at a time.
    LengthInPieces,
    /// Chunked on HTTP/1.1; frames without a length on HTTP/2. A few bytes at a time.
    Pieces,
    /// No length; the connection's end on HTTP/1.1, an empty last frame on HTTP/2.
    Closed,
    /// No length, and trailers after the body.
    Trailers,
}

impl Framing {
    pub(crate) const ALL: [Self; 5] = [Self::Length, Self::LengthInPieces, Self::Pieces, Self::Closed, Self::Trailers];
}

/// A request as the vendor sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

/// What the vendor answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
}

type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A running vendor.
pub(crate) struct Vendor {
    address: SocketAddr,
    wire: Wire,
    authority: TempDir,
    accepting: JoinHandle<()>,
}

impl Vendor {
    pub(crate) async fn start(wire: Wire, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they fit");
        config.alpn_protocols = wire.alpn().into_iter().map(<[u8]>::to_vec).collect();
        let authority = TempDir::new().expect("a folder");
        std::fs::write(authority.path().join("ca.pem"), made.cert.pem()).expect("written");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (acceptor, handler): (_, Handler) = (TlsAcceptor::from(Arc::new(config)), Arc::new(handler));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                drop(stream.set_nodelay(true));
                connections.spawn(async move {
                    match wire {
                        Wire::Http1 => serve_http1(stream, &handler).await,
                        Wire::H2c => serve_http2(stream, &handler).await,
                        Wire::Http1Tls | Wire::Http2Tls => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            match wire {
                                Wire::Http2Tls => serve_http2(stream, &handler).await,
                                _ => serve_http1(stream, &handler).await,
                            }
                        }
                    }
                });
            }
        });
        Self { address, wire, authority, accepting }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        match self.wire.alpn() {
            Some(_) => format!("https://localhost:{}", self.address.port()),
            None => format!("http://{}", self.address),
        }
    }

    /// What a service's `upstream` says to reach it.
    pub(crate) fn upstream(&self) -> serde_json::Value {
        match self.wire {
            Wire::Http1 => serde_json::json!({}),
            Wire::H2c => serde_json::json!({ "protocol": "h2c" }),
            Wire::Http1Tls | Wire::Http2Tls => serde_json::json!({ "ca_file": self.authority.path().join("ca.pem") }),
        }
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A few bytes at a time: enough pieces to cut every word.
fn pieces(body: &[u8]) -> Vec<Bytes> {
    body.chunks(body.len().div_ceil(6).max(1)).map(Bytes::copy_from_slice).collect()
}

/// Lets what was written arrive by itself.
async fn let_it_arrive() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn serve_http1(mut stream: impl AsyncRead + AsyncWrite + Unpin, handler: &Handler) {
    let mut buffer = Vec::new();
    while let Some(asked) = read_http1(&mut stream, &mut buffer).await {
        let reply = handler(&asked);
        let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&match reply.framing {
            Framing::Length | Framing::LengthInPieces => format!("Content-Length: {}\r\n\r\n", reply.body.len()),
            Framing::Pieces => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
            Framing::Trailers => "Trailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            Framing::Closed => "Connection: close\r\n\r\n".to_owned(),
        });
        let mut writes = vec![Bytes::from(head)];
        if asked.method != Method::HEAD {
            match reply.framing {
                Framing::Length | Framing::Closed => writes.push(reply.body.clone().into()),
                Framing::LengthInPieces => writes.extend(pieces(&reply.body)),
                Framing::Pieces | Framing::Trailers => {
                    let chunk = |piece: Bytes| [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
                    writes.extend(pieces(&reply.body).into_iter().map(|piece| Bytes::from(chunk(piece))));
                    let last = if reply.framing == Framing::Trailers { "0\r\nx-sum: 1\r\n\r\n" } else { "0\r\n\r\n" };
                    writes.push(last.into());
                }
            }
        }
        for write in writes {
            if stream.write_all(&write).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            let_it_arrive().await;
        }
        if reply.framing == Framing::Closed {
            drop(stream.shutdown().await);
            return;
        }
    }
}

async fn read_http1(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Asked> {
    let mut part = [0; 4096];
    let (asked, whole) = loop {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        if let Ok(httparse::Status::Complete(head)) = request.parse(buffer) {
            let mut headers = HeaderMap::new();
            for field in request.headers.iter() {
                let name = http::HeaderName::from_bytes(field.name.as_bytes()).ok()?;
                headers.append(name, http::HeaderValue::from_bytes(field.value).ok()?);
            }
            let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
            let whole = head + length.unwrap_or(0);
            if buffer.len() >= whole {
                let method = request.method?.parse().ok()?;
                break (Asked { method, target: request.path?.to_owned(), headers }, whole);
            }
        }
        match stream.read(&mut part).await {
            Ok(read @ 1..) => buffer.extend_from_slice(&part[..read]),
            _ => return None,
        }
    };
    buffer.drain(..whole);
    Some(asked)
}

async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, handler: &Handler) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let handler = Arc::clone(handler);
        tokio::spawn(answer_http2(request, respond, handler));
    }
}

async fn answer_http2(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    handler: Handler,
) {
    let (parts, mut body) = request.into_parts();
    while let Some(Ok(piece)) = body.data().await {
        drop(body.flow_control().release_capacity(piece.len()));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let reply = handler(&Asked { method: parts.method.clone(), target, headers: parts.headers });
    let mut head = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        head = head.header(*name, value);
    }
    if matches!(reply.framing, Framing::Length | Framing::LengthInPieces) {
        head = head.header("content-length", reply.body.len());
    }
    let empty = parts.method == Method::HEAD || (reply.body.is_empty() && reply.framing != Framing::Trailers);
    let Ok(mut sending) = respond.send_response(head.body(()).expect("a response"), empty) else { return };
    if empty {
        return;
    }
    let all = match reply.framing {
        Framing::Length | Framing::Closed => vec![Bytes::from(reply.body)],
        Framing::LengthInPieces | Framing::Pieces | Framing::Trailers => pieces(&reply.body),
    };
    let last = all.len().saturating_sub(1);
    for (at, piece) in all.into_iter().enumerate() {
        let end = at == last && matches!(reply.framing, Framing::Length | Framing::LengthInPieces | Framing::Pieces);
        if sending.send_data(piece, end).is_err() {
            return;
        }
        let_it_arrive().await;
    }
    match reply.framing {
        Framing::Closed => drop(sending.send_data(Bytes::new(), true)),
        Framing::Trailers => {
            drop(sending.send_trailers(HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                http::HeaderValue::from_static("1"),
            )])));
        }
        _ => {}
    }
}
