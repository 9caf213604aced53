//! Limits on connections that Pingora doesn't have: a deadline for a whole request head, however slowly it drips, one for
//! idling between requests (`deadline`), and how many connections one client address may hold. Wraps the proxy as Pingora's server app;
//! between two requests of HTTP/1 it holds nothing but the stream.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Instant,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use pingora::{
    apps::{HttpServerApp, ServerApp},
    protocols::{ALPN, Stream, http::ServerSession},
    server::ShutdownWatch,
};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use crate::refusal::Refusal;

use super::{
    Core,
    deadline::{Deadline, Deadlines, Peer, Within},
    wording::{Refuse, Worded},
};

/// Pingora's own limit for the pause between two reads of a head, in seconds.
const KEEP_ALIVE: u64 = 60;
/// Numbers the connections that have no address.
static LOCAL: AtomicU64 = AtomicU64::new(0);

/// The proxy behind these limits.
pub struct Guarded<A> {
    /// The proxy.
    pub inner: Arc<A>,
    /// The same for clients that begin with HTTP/2 in clear (RFC 9113 §3.3); none where TLS negotiates. It is a second one
    /// because Pingora, where it takes h2c, waits for 24 bytes before it looks at any request (docs/PINGORA.md 7).
    pub h2c: Option<Arc<A>>,
    /// Shared with the proxy's phases.
    pub deadlines: Arc<Deadlines>,
    /// Says how many connections one client address may hold at the same time, and whose aren't counted.
    pub core: Arc<Core>,
    /// How many each has.
    pub clients: Arc<Mutex<HashMap<IpAddr, u32>>>,
    /// Answers what never became a request.
    pub refuse: Refuse,
}

/// One connection's places in the tables, freed when it ends.
struct Place<'a, A> {
    guarded: &'a Guarded<A>,
    peer: Peer,
}

impl<A> Drop for Place<'_, A> {
    fn drop(&mut self) {
        self.guarded.deadlines.remove(&self.peer);
        let Peer::Inet(address) = self.peer else { return };
        let mut clients = self.guarded.clients.lock();
        if let Some(count) = clients.get_mut(&address.ip()) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&address.ip());
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

    /// Who comes over a Unix socket is not counted: there is no telling one client from another.
    fn enter(&self, peer: Peer) -> (Place<'_, A>, Arc<Deadline>, bool) {
        let deadline = self.deadlines.add(peer, Instant::now());
        let Peer::Inet(address) = peer else { return (Place { guarded: self, peer }, deadline, false) };
        let mut clients = self.clients.lock();
        let count = clients.entry(address.ip()).or_insert(0);
        *count += 1;
        let generation = self.core.now();
        // A trusted peer's connection carries many clients' requests.
        let too_many = generation.settings.limits.connections_per_client.is_some_and(|limit| *count > limit)
            && !generation.settings.trusted.contains(address.ip());
        (Place { guarded: self, peer }, deadline, too_many)
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Guarded<A> {
    /// Serves one request after the other, as Pingora does. But what serves a request, some 25 KiB, is made when the next
    /// begins, not while it is waited for.
    async fn one_by_one(&self, stream: Stream, shutdown: &ShutdownWatch) {
        let mut session = ServerSession::new_http1(Worded::at_a_request(stream));
        session.set_keepalive(if *shutdown.borrow() { None } else { Some(KEEP_ALIVE) });
        while let Some(kept) = self.inner.process_new_http(session, shutdown).await {
            let (mut stream, settings) = kept.consume();
            if !self.begins(&mut stream).await {
                return;
            }
            session = ServerSession::new_http1(Worded::at_a_request(stream));
            if let Some(settings) = settings {
                settings.apply_to_session(&mut session);
            }
        }
    }

    /// Waits until a request begins, or the connection ends, which is then for the session to see. `false`: it is no longer
    /// waited for.
    async fn begins(&self, stream: &mut Stream) -> bool {
        poll_fn(|cx| {
            if self.deadlines.is_closing() {
                return Poll::Ready(false);
            }
            // Reads ahead into the stream's own buffer, and takes nothing out of it.
            Pin::new(&mut *stream).poll_read(cx, &mut ReadBuf::new(&mut [])).map(|_| true)
        })
        .await
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Guarded<A> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let address =
            digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|address| address.as_inet().copied());
        let peer = address.map_or_else(|| Peer::Local(LOCAL.fetch_add(1, Ordering::Relaxed)), Peer::Inet);
        let (_place, deadline, too_many) = self.enter(peer);
        if too_many {
            let _ = stream.write_all(&(self.refuse)(&Refusal::rate_limited(1))).await;
            let _ = AsyncWriteExt::shutdown(&mut stream).await;
            return None;
        }
        let mut stream: Stream = Box::new(Worded::new(stream, Arc::clone(&deadline), Arc::clone(&self.refuse)));
        let app = Within::new(&deadline, Box::pin(self.app_for(&mut stream))).await??;
        let h2 = stream.selected_alpn_proto() == Some(ALPN::H2) || !Arc::ptr_eq(app, &self.inner);
        if h2 && address.is_none() {
            // Its streams have tasks of their own and no address by which to find this deadline: HTTP/2's own limits do.
            return app.process_new(stream, shutdown).await;
        }
        if h2 {
            return Within::new(&deadline, app.process_new(stream, shutdown)).await?;
        }
        Within::new(&deadline, Box::pin(self.one_by_one(stream, shutdown))).await;
        None
    }

    async fn cleanup(&self) {
        self.deadlines.close();
        self.inner.cleanup().await;
    }
}
