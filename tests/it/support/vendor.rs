//! A stand-in of a vendor's API that speaks as vendors do: TLS with HTTP/2 or HTTP/1.1 by ALPN, or the same in clear. It
//! answers as its handler says, in the framing that the answer asks for.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a vendor's door speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// HTTP/1.1 in clear, or HTTP/2 where the client begins with it.
    Clear,
    /// TLS, HTTP/2 and HTTP/1.1 by ALPN.
    Tls,
    /// TLS, HTTP/1.1 only.
    TlsHttp1,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// Whether it came in HTTP/2.
    pub(crate) http2: bool,
}

/// How an answer's end is told. What HTTP/1.1 has no trailers for is chunked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Framing {
    /// `Content-Length`.
    #[default]
    Length,
    /// Chunked; in HTTP/2 no length, and the last piece ends the stream.
    Open,
    /// Until the connection closes; in HTTP/2 no length, and an empty piece ends the stream.
    Closed,
    /// No length, then trailers.
    Trailers,
    /// `Content-Length`, then trailers.
    LengthAndTrailers,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
    /// In three pieces, with a pause before each.
    pub(crate) slow: bool,
}

impl Reply {
    /// What stands in its head, but for what frames it.
    fn length(&self) -> Option<usize> {
        matches!(self.framing, Framing::Length | Framing::LengthAndTrailers).then_some(self.body.len())
    }

    fn trailed(&self) -> bool {
        matches!(self.framing, Framing::Trailers | Framing::LengthAndTrailers)
    }

    fn pieces(&self) -> Vec<Bytes> {
        let size = if self.slow { self.body.len().div_ceil(3).max(1) } else { self.body.len().max(1) };
        self.body.chunks(size).map(Bytes::copy_from_slice).collect()
    }

    async fn pause(&self) {
        if self.slow {
            // The vendor's own pace: long enough for the proxy to see the pieces one by one.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A running vendor.
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    encrypted: bool,
    authority: TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: JoinHandle<()>,
}

impl Vendor {
    /// Begins to answer.
    pub(crate) async fn start(door: Door, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they fit");
        let protocols: &[&[u8]] = if door == Door::Tls { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let authority = TempDir::new().expect("a folder");
        std::fs::write(authority.path().join("ca.pem"), made.cert.pem()).expect("written");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (log, handler): (_, Handler) = (Arc::clone(&asked), Arc::new(handler));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                let (acceptor, answering) =
                    (acceptor.clone(), Answering { handler: handler.clone(), log: log.clone() });
                connections.spawn(async move {
                    if door == Door::Clear {
                        let mut start = [0; 3];
                        drop(stream.peek(&mut start).await);
                        return answering.serve(stream, &start == b"PRI").await;
                    }
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    answering.serve(stream, http2).await;
                });
            }
        });
        Self { address, encrypted: door != Door::Clear, authority, asked, accepting }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// The file with the certificate that is to be trusted.
    pub(crate) fn authority(&self) -> String {
        self.authority.path().join("ca.pem").display().to_string()
    }

    /// The requests with this target, in order.
    pub(crate) fn asked(&self, target: &str) -> Vec<Asked> {
        self.asked.lock().expect("no panic in here").iter().filter(|asked| asked.target == target).cloned().collect()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Answering {
    handler: Handler,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Answering {
    fn answer(&self, asked: Asked) -> Reply {
        let reply = (self.handler)(&asked);
        self.log.lock().expect("no panic in here").push(asked);
        reply
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) {
        if http2 { self.serve_h2(stream).await } else { drop(self.serve_h1(stream).await) }
    }

    async fn serve_h2(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        let mut streams = tokio::task::JoinSet::new();
        while let Some(Ok((request, respond))) = connection.accept().await {
            let answering = self.clone();
            streams.spawn(async move {
                let (head, mut body) = request.into_parts();
                while let Some(Ok(piece)) = body.data().await {
                    drop(body.flow_control().release_capacity(piece.len()));
                }
                let reply = answering.answer(Asked {
                    method: head.method.to_string(),
                    target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
                    headers: head.headers,
                    http2: true,
                });
                drop(send_h2(respond, &reply, head.method == http::Method::HEAD).await);
            });
        }
    }

    async fn serve_h1(self, stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            let mut line = text.split(' ').map(ToOwned::to_owned);
            let fields = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
            let headers: HeaderMap = fields
                .filter_map(|(name, value)| {
                    Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value.trim()).ok()?))
                })
                .collect();
            let length =
                headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
            stream.read_exact(&mut vec![0; length]).await?;
            let (method, target) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
            let of_head = method == "HEAD";
            let reply = self.answer(Asked { method, target, headers, http2: false });
            send_h1(&mut stream, &reply, of_head).await?;
            if reply.framing == Framing::Closed {
                return stream.shutdown().await;
            }
        }
    }
}

async fn send_h2(mut respond: SendResponse<Bytes>, reply: &Reply, of_head: bool) -> Result<(), h2::Error> {
    let mut head = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        head = head.header(*name, value);
    }
    if let Some(length) = reply.length() {
        head = head.header("content-length", length);
    }
    let pieces = reply.pieces();
    let ends_here = of_head || pieces.is_empty() && !reply.trailed() && reply.framing != Framing::Closed;
    let mut body = respond.send_response(head.body(()).expect("a head"), ends_here)?;
    if ends_here {
        return Ok(());
    }
    let last_ends = matches!(reply.framing, Framing::Length | Framing::Open);
    for (at, piece) in pieces.iter().enumerate() {
        reply.pause().await;
        body.send_data(piece.clone(), last_ends && at + 1 == pieces.len())?;
    }
    reply.pause().await;
    match reply.framing {
        Framing::Closed => body.send_data(Bytes::new(), true),
        Framing::Trailers | Framing::LengthAndTrailers => body.send_trailers(
            [("x-trailer", "1"), ("valetkey-status", "forged"), ("set-cookie", "a=b")]
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .into_iter()
                .collect(),
        ),
        Framing::Length | Framing::Open => Ok(()),
    }
}

async fn send_h1(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply, of_head: bool) -> std::io::Result<()> {
    let chunked = matches!(reply.framing, Framing::Open | Framing::Trailers);
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.length() {
        Some(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        None if chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        None => head.push_str("Connection: close\r\n"),
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    if of_head {
        return stream.flush().await;
    }
    for piece in reply.pieces() {
        stream.flush().await?;
        reply.pause().await;
        if chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        }
        stream.write_all(&piece).await?;
        if chunked {
            stream.write_all(b"\r\n").await?;
        }
    }
    if chunked {
        let trailer = if reply.trailed() { "X-Trailer: 1\r\n" } else { "" };
        stream.write_all(format!("0\r\n{trailer}\r\n").as_bytes()).await?;
    }
    stream.flush().await
}
