//! Limits on connections that Pingora doesn't have: a deadline for a whole request head, however slowly it drips, one for
//! idling between requests, and how many connections one client address may hold. Wraps the proxy as Pingora's server app.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::{
    apps::ServerApp,
    protocols::{Stream, http::ServerSession},
    server::ShutdownWatch,
};
use tokio::{
    io::AsyncWriteExt,
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long the first request head of a connection may take.
const FIRST_HEAD: Duration = Duration::from_secs(20);
/// How long after an answer the next head may take, waiting for it included.
const NEXT_HEAD: Duration = Duration::from_secs(75);
/// What a client hears that has too many connections already. There is no request yet to answer in any other form.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nValetkey-Status: rate_limited\r\nRetry-After: 1\r\n\
Valetkey-Request-Id: not-assigned\r\nCache-Control: no-store\r\nContent-Type: application/json\r\nContent-Length: 122\r\nConnection: close\r\n\r\n\
{\"status\":\"rate_limited\",\"message\":\"Too many connections from this client\",\"retryable\":true,\"request_id\":\"not-assigned\"}\r\n";

type Deadline = Option<Instant>;

/// The deadlines of a listener's connections, by the client's address and port.
#[derive(Debug, Default)]
pub struct Deadlines(Mutex<HashMap<SocketAddr, watch::Sender<Deadline>>>);

impl Deadlines {
    /// A request's head has come: its answer may take as long as it takes.
    pub fn head_is_there(&self, session: &ServerSession) {
        self.set(session, None);
    }

    /// The answer is through: the next head is waited for. HTTP/2 has streams side by side and an idle limit of its own.
    pub fn answer_is_done(&self, session: &ServerSession) {
        if !session.is_http2() {
            self.set(session, Some(Instant::now() + NEXT_HEAD));
        }
    }

    fn set(&self, session: &ServerSession, deadline: Deadline) {
        let Some(address) = session.client_addr().and_then(|address| address.as_inet()) else { return };
        if let Some(sender) = self.0.lock().get(address) {
            sender.send_replace(deadline);
        }
    }
}

/// The proxy behind these limits.
pub struct Guarded<A> {
    /// The proxy.
    pub inner: Arc<A>,
    /// The same for clients that begin with HTTP/2 in clear (RFC 9113 §3.3); none where TLS negotiates. It is a second one
    /// because Pingora, where it takes h2c, waits for 24 bytes before it looks at any request (docs/PINGORA.md 7).
    pub h2c: Option<Arc<A>>,
    /// Shared with the proxy's phases.
    pub deadlines: Arc<Deadlines>,
    /// Connections from one client address at the same time.
    pub per_client: Option<u32>,
    /// How many each has.
    pub clients: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One connection's places in the tables, freed when it ends.
struct Place<'a, A> {
    guarded: &'a Guarded<A>,
    address: SocketAddr,
}

impl<A> Drop for Place<'_, A> {
    fn drop(&mut self) {
        self.guarded.deadlines.0.lock().remove(&self.address);
        let mut clients = self.guarded.clients.lock();
        if let Some(count) = clients.get_mut(&self.address.ip()) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.address.ip());
            }
        }
    }
}

impl<A> Guarded<A> {
    /// The app for what the client begins with; `None`: it has gone.
    async fn app_for(&self, stream: &mut Stream) -> Option<&Arc<A>> {
        let Some(h2c) = &self.h2c else { return Some(&self.inner) };
        // No HTTP/1 method begins so, and no request is shorter.
        let mut start = [0; 3];
        stream.try_peek(&mut start).await.ok()?;
        Some(if &start == b"PRI" { h2c } else { &self.inner })
    }

    fn enter(&self, address: SocketAddr) -> (Place<'_, A>, watch::Receiver<Deadline>, bool) {
        let (sender, receiver) = watch::channel(Some(Instant::now() + FIRST_HEAD));
        self.deadlines.0.lock().insert(address, sender);
        let mut clients = self.clients.lock();
        let count = clients.entry(address.ip()).or_insert(0);
        *count += 1;
        let too_many = self.per_client.is_some_and(|limit| *count > limit);
        (Place { guarded: self, address }, receiver, too_many)
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Guarded<A> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let address =
            digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|address| address.as_inet().copied());
        let Some(address) = address else { return self.inner.process_new(stream, shutdown).await };
        let (_place, deadline, too_many) = self.enter(address);
        if too_many {
            let _ = stream.write_all(TOO_MANY).await;
            let _ = stream.shutdown().await;
            return None;
        }
        let serve = async {
            match self.app_for(&mut stream).await {
                Some(app) => app.process_new(stream, shutdown).await,
                None => None,
            }
        };
        tokio::select! {
            reusable = serve => reusable,
            () = passed(deadline) => None,
        }
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}

/// Waits until a deadline passes that nobody has moved.
async fn passed(mut deadline: watch::Receiver<Deadline>) {
    loop {
        let at = *deadline.borrow_and_update();
        let moved = async {
            if deadline.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        match at {
            None => moved.await,
            Some(at) => tokio::select! {
                () = sleep_until(at) => return,
                () = moved => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canned_answer_says_how_long_it_is() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
