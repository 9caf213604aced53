//! Limits on connections that Pingora doesn't have: a deadline for a whole request head, however slowly it drips, one for
//! idling between requests, and how many connections one client address may hold. Wraps the proxy as Pingora's server app;
//! between two requests of HTTP/1 it holds nothing but the stream.

use std::{
    cell::Cell,
    collections::HashMap,
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
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

use super::wording::{Refuse, Worded};

use super::forwarded::Trusted;

/// How long the first request head of a connection may take.
const FIRST_HEAD: Duration = Duration::from_secs(20);
/// How long after an answer the next head may take, waiting for it included.
const NEXT_HEAD: Duration = Duration::from_secs(75);
/// Pingora's own limit for the pause between two reads of a head, in seconds.
const KEEP_ALIVE: u64 = 60;
thread_local! {
    /// The deadline of the connection that is served at this moment. Streams of HTTP/2 have tasks of their own, and none.
    /// (What tokio has for this costs three times as much, and it is paid with every turn of every connection.)
    static OWN: Cell<Option<Arc<Deadline>>> = const { Cell::new(None) };
}

/// Does something with the deadline of the connection that is served, if there is one.
fn with_own(act: impl FnOnce(&Deadline)) -> bool {
    OWN.with(|own| {
        let deadline = own.take();
        let found = deadline.as_deref().map(act).is_some();
        own.set(deadline);
        found
    })
}

/// By when the head that is waited for must be there. It moves twice a request, which costs nothing but a store: nobody
/// sets a timer for it, but one thread looks at all of them every second (a timer in Pingora's own runtimes would have them
/// read the clock each time they wait).
#[derive(Debug)]
pub struct Deadline {
    /// When the listener began; `at` counts from there.
    began: Instant,
    /// In milliseconds.
    at: AtomicU64,
    passed: AtomicBool,
    /// The connection's task.
    task: Mutex<Option<Waker>>,
}

/// No head is waited for.
const NEVER: u64 = u64::MAX;
/// How often deadlines are looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Deadline {
    /// The deadline is so long after `now`.
    fn set(&self, now: Instant, time: Duration) {
        let at = now.saturating_duration_since(self.began) + time;
        // A head that came in the very moment in which its time ran out was served: the next one has its whole time.
        self.passed.store(false, Ordering::Relaxed);
        self.at.store(u64::try_from(at.as_millis()).unwrap_or(NEVER - 1), Ordering::Relaxed);
    }

    /// Whether a head is waited for.
    pub fn is_set(&self) -> bool {
        self.at.load(Ordering::Relaxed) != NEVER
    }

    /// Ends the connection if its time is over.
    fn check(&self, now: Instant) {
        let at = self.at.load(Ordering::Relaxed);
        if at != NEVER && now.saturating_duration_since(self.began) >= Duration::from_millis(at) {
            self.passed.store(true, Ordering::Release);
            self.wake();
        }
    }

    fn wake(&self) {
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The deadlines of a listener's connections, by the client's address and port.
#[derive(Debug)]
pub struct Deadlines {
    began: Instant,
    all: Mutex<HashMap<SocketAddr, Arc<Deadline>>>,
    /// The listener closes: who waits for a request waits no longer.
    closing: AtomicBool,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { began: Instant::now(), all: Mutex::default(), closing: AtomicBool::new(false) }
    }
}

impl Deadlines {
    /// Begins to look at the deadlines of these listeners, for as long as they are there.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn watch(listeners: Vec<Weak<Self>>) -> std::io::Result<()> {
        let watch = move || {
            while listeners
                .iter()
                .filter_map(Weak::upgrade)
                .inspect(|deadlines| deadlines.check(Instant::now()))
                .count()
                > 0
            {
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name("deadlines".into()).spawn(watch).map(drop)
    }

    fn check(&self, now: Instant) {
        for deadline in self.all.lock().values() {
            deadline.check(now);
        }
    }

    /// Lets go of the connections that wait for a request.
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.all.lock().values().for_each(|deadline| deadline.wake());
    }

    /// A request's head has come: its answer may take as long as it takes.
    pub fn head_is_there(&self, session: &ServerSession) {
        let lift = |deadline: &Deadline| deadline.at.store(NEVER, Ordering::Relaxed);
        if with_own(lift) {
            return;
        }
        let Some(address) = session.client_addr().and_then(|address| address.as_inet()) else { return };
        if let Some(deadline) = self.all.lock().get(address) {
            lift(deadline);
        }
    }

    /// The answer is through at `now`: the next head is waited for. HTTP/2 has streams side by side and an idle limit of
    /// its own.
    pub fn answer_is_done(&self, now: Instant) {
        with_own(|deadline| deadline.set(now, NEXT_HEAD));
    }

    fn add(&self, address: SocketAddr, now: Instant) -> Arc<Deadline> {
        let (at, passed) = (AtomicU64::new(NEVER), AtomicBool::new(false));
        let deadline = Arc::new(Deadline { began: self.began, at, passed, task: Mutex::default() });
        deadline.set(now, FIRST_HEAD);
        self.all.lock().insert(address, Arc::clone(&deadline));
        deadline
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
    /// Answers what never became a request.
    pub refuse: Refuse,
    /// Peers that aren't counted: each of their connections carries many clients' requests.
    pub trusted: Trusted,
}

/// One connection's places in the tables, freed when it ends.
struct Place<'a, A> {
    guarded: &'a Guarded<A>,
    address: SocketAddr,
}

impl<A> Drop for Place<'_, A> {
    fn drop(&mut self) {
        self.guarded.deadlines.all.lock().remove(&self.address);
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

    fn enter(&self, address: SocketAddr) -> (Place<'_, A>, Arc<Deadline>, bool) {
        let deadline = self.deadlines.add(address, Instant::now());
        let mut clients = self.clients.lock();
        let count = clients.entry(address.ip()).or_insert(0);
        *count += 1;
        let too_many = self.per_client.is_some_and(|limit| *count > limit) && !self.trusted.contains(address.ip());
        (Place { guarded: self, address }, deadline, too_many)
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
            if self.deadlines.closing.load(Ordering::SeqCst) {
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
        let Some(address) = address else { return self.inner.process_new(stream, shutdown).await };
        let (_place, deadline, too_many) = self.enter(address);
        if too_many {
            let _ = stream.write_all(&(self.refuse)(&Refusal::rate_limited(1))).await;
            let _ = AsyncWriteExt::shutdown(&mut stream).await;
            return None;
        }
        let mut stream: Stream = Box::new(Worded::new(stream, Arc::clone(&deadline), Arc::clone(&self.refuse)));
        let app = Within::new(&deadline, Box::pin(self.app_for(&mut stream))).await??;
        if stream.selected_alpn_proto() == Some(ALPN::H2) || !Arc::ptr_eq(app, &self.inner) {
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

/// What serves a connection, for as long as its deadline allows; `None` where that passed first.
struct Within<F> {
    /// Lent to [`OWN`] while `serve` is at work.
    deadline: Option<Arc<Deadline>>,
    task: Option<Waker>,
    serve: F,
}

impl<F> Within<F> {
    fn new(deadline: &Arc<Deadline>, serve: F) -> Self {
        Self { deadline: Some(Arc::clone(deadline)), task: None, serve }
    }
}

impl<F: Future + Unpin> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(deadline) = self.deadline.take() else { return Poll::Ready(None) };
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *deadline.task.lock() = Some(cx.waker().clone());
            self.task = Some(cx.waker().clone());
        }
        // Unless the head came in that very moment.
        if deadline.passed.load(Ordering::Acquire) && deadline.at.load(Ordering::Relaxed) != NEVER {
            return Poll::Ready(None);
        }
        OWN.set(Some(deadline));
        let served = Pin::new(&mut self.serve).poll(cx);
        self.deadline = OWN.take();
        served.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4711);

    #[tokio::test]
    async fn a_head_that_never_comes_ends_the_connection() {
        let (deadlines, now) = (Deadlines::default(), Instant::now());
        let deadline = deadlines.add(CLIENT, now);
        deadlines.check(now + FIRST_HEAD - LOOK);
        let early = Within::new(&deadline, Box::pin(async { 7 })).await;
        assert_eq!(early, Some(7), "there was time left");
        let waiting = tokio::spawn(Within::new(&deadline, Box::pin(std::future::pending::<()>())));
        tokio::task::yield_now().await;
        deadlines.check(now + FIRST_HEAD + LOOK);
        assert_eq!(waiting.await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_may_take_long_and_the_next_head_has_its_own_time() {
        let (deadlines, now) = (Deadlines::default(), Instant::now());
        let deadline = deadlines.add(CLIENT, now);
        let passed = || deadline.passed.load(Ordering::Relaxed);
        deadline.at.store(NEVER, Ordering::Relaxed);
        deadlines.check(now + 100 * FIRST_HEAD);
        assert!(!passed());
        let answered = async { deadlines.answer_is_done(now + 100 * FIRST_HEAD) };
        Within::new(&deadline, Box::pin(answered)).await;
        deadlines.check(now + 100 * FIRST_HEAD + NEXT_HEAD - LOOK);
        assert!(!passed());
        deadlines.check(now + 100 * FIRST_HEAD + NEXT_HEAD + LOOK);
        assert!(passed());
    }

    #[tokio::test]
    async fn a_head_that_came_just_in_time_leaves_the_next_one_its_whole_time() {
        let (deadlines, now) = (Deadlines::default(), Instant::now());
        let deadline = deadlines.add(CLIENT, now);
        deadlines.check(now + FIRST_HEAD + LOOK);
        deadline.at.store(NEVER, Ordering::Relaxed);
        let answered = async { deadlines.answer_is_done(now + FIRST_HEAD + LOOK) };
        assert_eq!(Within::new(&deadline, Box::pin(answered)).await, Some(()));
        assert_eq!(Within::new(&deadline, Box::pin(async { 7 })).await, Some(7), "the next head is waited for");
    }
}
