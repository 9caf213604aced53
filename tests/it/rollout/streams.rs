//! Calls that go on for long: a download, server-sent events and a WebSocket, all at one replica.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::support::balancer::Balancer;
use crate::support::load::lasting_jwt;
use crate::support::raw::Raw;
use crate::support::{Valetkey, wait};

/// How often a stream is opened until the balancer hands it to the replica in question.
const TRIES: usize = 50;
/// What is downloaded: far more than all buffers on the way hold, so that it is under way until its end is read.
const SIZE: usize = 64 << 20;
/// What is read of it at a time.
const PART: usize = 4 << 20;
/// What the download repeats.
const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ";
/// How many events come before all is taken to be well.
const EVENTS: u64 = 20;

/// Three streams of one person's at one replica.
pub(super) struct Streams {
    download: Download,
    events: Events,
    socket: Socket,
}

impl Streams {
    /// Opens them through the balancer, at this replica.
    pub(super) async fn open(balancer: &Balancer, at: &Valetkey, user: &str) -> Self {
        let mut streams = Self {
            download: landed(balancer, at, || Download::open(&balancer.url, user)).await,
            events: Events::read(landed(balancer, at, || open(&balancer.url, user, "/events?n=0&ms=20")).await),
            socket: landed(balancer, at, || Socket::open(&balancer.url, user)).await,
        };
        streams.go_on().await;
        streams
    }

    /// Something more passes on each of them.
    pub(super) async fn go_on(&mut self) {
        self.download.read(PART).await;
        self.socket.echo().await;
        self.events.go_on().await;
    }

    /// Each comes to its end.
    pub(super) async fn end(mut self) {
        self.download.read(SIZE - self.download.read).await;
        self.socket.close().await;
        self.events.leave().await;
    }
}

trait Opened {
    /// The client's end.
    fn client(&self) -> SocketAddr;
}

/// Opens one again and again, until it lies where it should.
async fn landed<T: Opened, F: Future<Output = T>>(balancer: &Balancer, at: &Valetkey, open: impl Fn() -> F) -> T {
    for _ in 0..TRIES {
        let opened = open().await;
        if balancer.gave(opened.client(), at) {
            return opened;
        }
    }
    panic!("the balancer never came to that replica");
}

/// An answer whose head has been read.
async fn open(url: &str, user: &str, path: &str) -> Raw {
    let mut raw = Raw::connect(url).await;
    let token = lasting_jwt(user);
    raw.send(format!("GET /proxy/crm{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    let head = raw.head().await.expect("an answer");
    assert_eq!(head.status, 200, "{}", head.head);
    raw
}

impl Opened for Raw {
    fn client(&self) -> SocketAddr {
        self.stream.local_addr().expect("an address")
    }
}

struct Download {
    raw: Raw,
    read: usize,
}

impl Opened for Download {
    fn client(&self) -> SocketAddr {
        self.raw.client()
    }
}

impl Download {
    async fn open(url: &str, user: &str) -> Self {
        Self { raw: open(url, user, &format!("/bytes/{SIZE}")).await, read: 0 }
    }

    async fn read(&mut self, count: usize) {
        let bytes = wait::within("some more of the download", self.raw.exactly(count)).await.expect("it is whole");
        let begin = self.read % ALPHABET.len();
        let wrong = bytes.iter().zip(ALPHABET.iter().cycle().skip(begin)).position(|(is, should)| is != should);
        assert_eq!(wrong, None, "behind {} bytes", self.read);
        self.read += count;
    }
}

/// Events are read as they come, by a task of its own.
struct Events {
    last: Arc<AtomicU64>,
    leave: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Events {
    fn read(mut raw: Raw) -> Self {
        let (last, leave) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (seen, left) = (Arc::clone(&last), Arc::clone(&leave));
        let reader = tokio::spawn(async move {
            while !left.load(SeqCst) {
                let event = raw.until("\n\n").await.expect("the stream goes on");
                let number = seen.fetch_add(1, SeqCst) + 1;
                let text = String::from_utf8_lossy(&event).into_owned();
                assert!(text.contains(&format!("id: {number}\ndata: {{\"n\":{number}}}")), "event {number}: {text}");
            }
        });
        Self { last, leave, reader }
    }

    async fn go_on(&self) {
        let enough = self.last.load(SeqCst) + EVENTS;
        wait::until("events come", || async {
            assert!(!self.reader.is_finished(), "the stream was cut");
            (self.last.load(SeqCst) >= enough).then_some(())
        })
        .await;
    }

    async fn leave(self) {
        self.leave.store(true, SeqCst);
        self.reader.await.expect("the stream went on to the last");
    }
}

struct Socket {
    client: SocketAddr,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sent: usize,
}

impl Opened for Socket {
    fn client(&self) -> SocketAddr {
        self.client
    }
}

impl Socket {
    async fn open(url: &str, user: &str) -> Self {
        let url = format!("{}/proxy/crm/ws", url.replace("http://", "ws://"));
        let mut request = url.into_client_request().expect("a request");
        let token = format!("Bearer {}", lasting_jwt(user));
        request.headers_mut().insert("authorization", token.parse().expect("visible"));
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a tunnel");
        let hello = socket.next().await.expect("a message").expect("no error");
        assert!(hello.to_text().expect("text").contains(user), "{hello}");
        let MaybeTlsStream::Plain(stream) = socket.get_ref() else { panic!("it is plain") };
        Self { client: stream.local_addr().expect("an address"), socket, sent: 0 }
    }

    async fn echo(&mut self) {
        self.sent += 1;
        let message = Message::binary(vec![7; self.sent * 1000]);
        self.socket.send(message.clone()).await.expect("sent");
        let echo = wait::within("an echo", self.socket.next()).await.expect("the tunnel stands").expect("no error");
        assert!(echo == message, "another message came back");
    }

    async fn close(&mut self) {
        self.socket.close(None).await.expect("closed");
        while let Some(Ok(_)) = wait::within("the other's farewell", self.socket.next()).await {}
    }
}
