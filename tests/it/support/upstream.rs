//! An upstream that records every byte by connection and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::raw;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Which connection, counted from 0.
    pub(crate) connection: usize,
    /// Which request of all, counted from 0.
    pub(crate) number: usize,
    /// Request line and headers, without the empty line.
    pub(crate) head: String,
    /// The body with its framing removed.
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The method.
    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// The request target, byte for byte.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        raw::values(&self.head, name)
    }
}

/// What an upstream does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(Vec<u8>),
    /// Reads so many bytes of the body first.
    Take(usize),
    /// Waits for a `notify_one`.
    Hold(Arc<Notify>),
    /// Sends back whatever comes, until the end.
    Echo,
    /// Closes the connection.
    Close,
    /// Keeps the connection open and says nothing.
    Hang,
}

/// The steps of one answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(pub(crate) Vec<Step>);

impl Script {
    /// A whole answer with Content-Length.
    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Self(vec![Step::Write(bytes)])
    }

    /// The bytes of a 200 with text.
    pub(crate) fn whole(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    /// 200 with text.
    pub(crate) fn text(body: &str) -> Self {
        Self::answer(200, &[("Content-Type", "text/plain")], body)
    }

    /// Bytes verbatim.
    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self(vec![Step::Write(bytes.as_ref().to_vec())])
    }

    /// Then something else.
    #[must_use]
    pub(crate) fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// But first something else.
    #[must_use]
    pub(crate) fn after(mut self, step: Step) -> Self {
        self.0.insert(0, step);
        self
    }
}

/// When the handler is asked: with the head alone, or with the whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Head,
    Message,
}

type Handler = Arc<dyn Fn(&Received) -> Script + Send + Sync>;

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    raw: Vec<Vec<u8>>,
}

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Log>>,
    accepting: JoinHandle<()>,
}

impl Upstream {
    /// Answers whole messages.
    pub(crate) async fn start(handler: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        Self::listen(When::Message, handler).await
    }

    /// Answers as told by `when`. With [`When::Head`], the body is recorded raw while the script runs, and the
    /// connection serves one request only.
    pub(crate) async fn listen(when: When, handler: impl Fn(&Received) -> Script + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let log = Arc::new(Mutex::new(Log::default()));
        let (shared, handler): (_, Handler) = (log.clone(), Arc::new(handler));
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream.set_nodelay(true));
                let id = {
                    let mut log = shared.lock().expect("no panic in here");
                    log.raw.push(Vec::new());
                    log.raw.len() - 1
                };
                connections.spawn(serve(stream, id, when, handler.clone(), shared.clone()));
            }
        });
        Self { address, log, accepting }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.log.lock().expect("no panic in here").received.clone()
    }

    /// The only request so far.
    #[track_caller]
    pub(crate) fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.into_iter().next().expect("counted")
    }

    /// Every byte that arrived, by connection.
    pub(crate) fn raw(&self) -> Vec<Vec<u8>> {
        self.log.lock().expect("no panic in here").raw.clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, connection: usize, when: When, handler: Handler, log: Arc<Mutex<Log>>) {
    let mut buffer = Vec::new();
    loop {
        let Some((head, body)) = message(&mut stream, &mut buffer, connection, when, &log).await else {
            return;
        };
        let received = {
            let mut log = log.lock().expect("no panic in here");
            let received = Received { connection, number: log.received.len(), head, body };
            log.received.push(received.clone());
            received
        };
        for step in handler(&received).0 {
            let done = match step {
                Step::Write(bytes) => stream.write_all(&bytes).await.is_err(),
                Step::Take(count) => {
                    let mut open = true;
                    while open && buffer.len() < count {
                        open = read(&mut stream, &mut buffer, connection, &log).await;
                    }
                    !open
                }
                Step::Hold(signal) => {
                    signal.notified().await;
                    false
                }
                Step::Echo => {
                    let (mut read, mut write) = stream.split();
                    drop(write.write_all(&std::mem::take(&mut buffer)).await);
                    drop(tokio::io::copy(&mut read, &mut write).await);
                    true
                }
                Step::Close => true,
                Step::Hang => {
                    while read(&mut stream, &mut buffer, connection, &log).await {}
                    true
                }
            };
            if done {
                return;
            }
        }
        if when == When::Head {
            while read(&mut stream, &mut buffer, connection, &log).await {}
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize, log: &Mutex<Log>) -> bool {
    let mut part = vec![0; 16 * 1024];
    match stream.read(&mut part).await {
        Ok(0) | Err(_) => false,
        Ok(count) => {
            buffer.extend_from_slice(&part[..count]);
            log.lock().expect("no panic in here").raw[connection].extend_from_slice(&part[..count]);
            true
        }
    }
}

async fn message(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
    when: When,
    log: &Mutex<Log>,
) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if !read(stream, buffer, connection, log).await {
            return None;
        }
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let head = String::from_utf8_lossy(&head[..end]).into_owned();
    if when == When::Head {
        return Some((head, Vec::new()));
    }
    if !raw::values(&head, "expect").is_empty() && stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
        return None;
    }
    let mut body = Vec::new();
    if raw::values(&head, "transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let line_end = loop {
                if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
                    break at;
                }
                if !read(stream, buffer, connection, log).await {
                    return None;
                }
            };
            let line: Vec<u8> = buffer.drain(..line_end + 2).collect();
            let size = usize::from_str_radix(String::from_utf8_lossy(&line[..line_end]).trim(), 16).ok()?;
            while buffer.len() < size + 2 {
                if !read(stream, buffer, connection, log).await {
                    return None;
                }
            }
            body.extend(buffer.drain(..size));
            buffer.drain(..2);
            if size == 0 {
                return Some((head, body));
            }
        }
    }
    let length =
        raw::values(&head, "content-length").first().and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
    while buffer.len() < length {
        if !read(stream, buffer, connection, log).await {
            return None;
        }
    }
    body.extend(buffer.drain(..length));
    Some((head, body))
}
