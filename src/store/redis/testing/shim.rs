//! A bad network: a relay in front of a server that can be told to swallow answers, to fall silent or to cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the relay does with what it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Passes everything on.
    Open,
    /// The next request that holds this word reaches the server, and the connection is cut instead of passing the
    /// answer on; then everything is passed on again.
    LosingAnswerTo(&'static str),
    /// Keeps connections open and passes nothing on.
    Silent,
}

/// The relay. Ends when dropped.
pub(crate) struct Shim {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    tasks: tokio::task::JoinHandle<()>,
}

impl Shim {
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let way = watch::Sender::new(Way::Open);
        let ways = way.clone();
        let tasks = tokio::spawn(async move {
            let mut relays = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let ways = ways.clone();
                relays.spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    relay(client, server, ways).await;
                });
            }
        });
        Self { port, way, tasks }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

async fn relay(client: TcpStream, server: TcpStream, way: watch::Sender<Way>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let doomed = Arc::new(AtomicBool::new(false));
    tokio::select! {
        () = requests(from_client, to_server, &way, &doomed) => {}
        () = answers(from_server, to_client, &way, &doomed) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: &watch::Sender<Way>, doomed: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let now = *way.borrow();
        match now {
            Way::Silent => continue,
            Way::LosingAnswerTo(word) if holds(&buffer[..length], word.as_bytes()) => {
                doomed.store(true, Ordering::SeqCst);
                way.send_replace(Way::Open);
            }
            Way::LosingAnswerTo(_) | Way::Open => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: &watch::Sender<Way>, doomed: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if doomed.load(Ordering::SeqCst) {
            return;
        }
        if *way.borrow() != Way::Silent && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
