//! By when a request's head must be there, and the one thread that looks at all of these deadlines: a head may drip, and a
//! connection may idle, only for so long. Knows nothing of who serves a connection.

use std::{
    cell::Cell,
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use pingora::protocols::http::ServerSession;

/// How long the first request head of a connection may take.
const FIRST_HEAD: Duration = Duration::from_secs(20);
/// How long after an answer the next head may take, waiting for it included.
const NEXT_HEAD: Duration = Duration::from_secs(75);
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
    /// The deadline is this long after `now`.
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

/// Whose connection it is: of a client's address and port, or, over a Unix socket, which has none, a number of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Over the network.
    Inet(SocketAddr),
    /// Over a Unix socket.
    Local(u64),
}

/// The deadlines of a listener's connections, by their peers.
#[derive(Debug)]
pub struct Deadlines {
    began: Instant,
    all: Mutex<HashMap<Peer, Arc<Deadline>>>,
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
    pub fn close(&self) {
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
        if let Some(deadline) = self.all.lock().get(&Peer::Inet(*address)) {
            lift(deadline);
        }
    }

    /// The answer is through at `now`: the next head is waited for. HTTP/2 has streams side by side and an idle limit of
    /// its own.
    pub fn answer_is_done(&self, now: Instant) {
        with_own(|deadline| deadline.set(now, NEXT_HEAD));
    }

    /// Whether the listener closes.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Forgets a connection that has ended.
    pub fn remove(&self, peer: &Peer) {
        self.all.lock().remove(peer);
    }

    /// A connection has come, whose first head is waited for.
    pub fn add(&self, peer: Peer, now: Instant) -> Arc<Deadline> {
        let (at, passed) = (AtomicU64::new(NEVER), AtomicBool::new(false));
        let deadline = Arc::new(Deadline { began: self.began, at, passed, task: Mutex::default() });
        deadline.set(now, FIRST_HEAD);
        self.all.lock().insert(peer, Arc::clone(&deadline));
        deadline
    }
}

/// What serves a connection, for as long as its deadline allows; `None` where that passed first.
pub struct Within<F> {
    /// Lent to [`OWN`] while `serve` is at work.
    deadline: Option<Arc<Deadline>>,
    task: Option<Waker>,
    serve: F,
}

impl<F> Within<F> {
    /// Serves until then.
    pub fn new(deadline: &Arc<Deadline>, serve: F) -> Self {
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

    const CLIENT: Peer = Peer::Inet(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4711));

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
