//! Limits on connections that Pingora doesn't have: a deadline for a whole request head, however slowly it drips, one for
//! idling between requests, and how many connections one client address may hold. Wraps the proxy as Pingora's server app.

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
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
    time::{Instant, Sleep, sleep_until},
};

/// How long the first request head of a connection may take.
const FIRST_HEAD: Duration = Duration::from_secs(20);
/// How long after an answer the next head may take, waiting for it included.
const NEXT_HEAD: Duration = Duration::from_secs(75);
/// What a client hears that has too many connections already. There is no request yet to answer in any other form.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nValetkey-Status: rate_limited\r\nRetry-After: 1\r\n\
Cache-Control: no-store\r\nContent-Type: application/json\r\nContent-Length: 122\r\nConnection: close\r\n\r\n\
{\"status\":\"rate_limited\",\"message\":\"Too many connections from this client\",\"retryable\":true,\"request_id\":\"not-assigned\"}\r\n";

tokio::task_local! {
    /// The deadline of the connection that this task serves. Streams of HTTP/2 have tasks of their own, and none.
    static OWN: Arc<Deadline>;
}

/// By when the head that is waited for must be there: milliseconds since the connection began.
#[derive(Debug)]
struct Deadline {
    began: Instant,
    at: AtomicU64,
}

/// No head is waited for.
const NEVER: u64 = u64::MAX;

impl Deadline {
    fn new(began: Instant) -> Self {
        Self { began, at: AtomicU64::new(millis(FIRST_HEAD)) }
    }

    fn get(&self) -> Option<Instant> {
        match self.at.load(Ordering::Relaxed) {
            NEVER => None,
            at => Some(self.began + Duration::from_millis(at)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER - 1)
}

/// The deadlines of a listener's connections, by the client's address and port: for those whose requests have tasks of
/// their own.
#[derive(Debug, Default)]
pub struct Deadlines(Mutex<HashMap<SocketAddr, Arc<Deadline>>>);

impl Deadlines {
    /// A request's head has come: its answer may take as long as it takes.
    pub fn head_is_there(&self, session: &ServerSession) {
        let lift = |deadline: &Arc<Deadline>| deadline.at.store(NEVER, Ordering::Relaxed);
        if OWN.try_with(lift).is_ok() {
            return;
        }
        let Some(address) = session.client_addr().and_then(|address| address.as_inet()) else { return };
        if let Some(deadline) = self.0.lock().get(address) {
            lift(deadline);
        }
    }

    /// The answer is through at `now`: the next head is waited for. HTTP/2 has streams side by side and an idle limit of
    /// its own.
    pub fn answer_is_done(&self, now: std::time::Instant) {
        let _ = OWN.try_with(|deadline| {
            let at = Instant::from_std(now).saturating_duration_since(deadline.began) + NEXT_HEAD;
            deadline.at.store(millis(at), Ordering::Relaxed);
        });
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

    fn enter(&self, address: SocketAddr, deadline: &Arc<Deadline>) -> (Place<'_, A>, bool) {
        self.deadlines.0.lock().insert(address, Arc::clone(deadline));
        let mut clients = self.clients.lock();
        let count = clients.entry(address.ip()).or_insert(0);
        *count += 1;
        let too_many = self.per_client.is_some_and(|limit| *count > limit);
        (Place { guarded: self, address }, too_many)
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Guarded<A> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let digest = stream.get_socket_digest();
        let address =
            digest.as_ref().and_then(|digest| digest.peer_addr()).and_then(|address| address.as_inet().copied());
        let deadline = Arc::new(Deadline::new(Instant::now()));
        let place = address.map(|address| self.enter(address, &deadline));
        if let Some((_, true)) = place {
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
        let alarm = Alarm::set(Arc::clone(&deadline));
        within(alarm, Box::pin(OWN.scope(deadline, serve))).await.flatten()
    }

    async fn cleanup(&self) {
        self.inner.cleanup().await;
    }
}

/// The timer of a connection. A deadline that moves, which it does twice a request, costs it nothing: it is only looked at
/// when it rings, and is then set anew. No deadline is ever moved to before the time that it is set to.
struct Alarm {
    deadline: Arc<Deadline>,
    sleep: Pin<Box<Sleep>>,
    bell: Arc<Bell>,
    waker: Waker,
    /// The connection's own task, as `bell` has it.
    task: Option<Waker>,
}

/// Notes that the timer rang before it wakes the connection's task, so that other wake-ups leave the timer alone.
struct Bell {
    rang: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Alarm {
    fn set(deadline: Arc<Deadline>) -> Self {
        let at = deadline.began + FIRST_HEAD;
        // Rung once at first, which sets the timer.
        let bell = Arc::new(Bell { rang: AtomicBool::new(true), task: Mutex::default() });
        let waker = Waker::from(Arc::clone(&bell));
        Self { deadline, sleep: Box::pin(sleep_until(at)), bell, waker, task: None }
    }

    /// Whether the deadline has passed.
    fn has_passed(&mut self, task: &Waker) -> bool {
        if !self.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            *self.bell.task.lock() = Some(task.clone());
            self.task = Some(task.clone());
        }
        if !self.bell.rang.load(Ordering::Relaxed) {
            return false;
        }
        self.bell.rang.store(false, Ordering::Relaxed);
        let mut cx = Context::from_waker(&self.waker);
        while self.sleep.as_mut().poll(&mut cx).is_ready() {
            let now = Instant::now();
            match self.deadline.get() {
                Some(at) if at <= now => return true,
                Some(at) => self.sleep.as_mut().reset(at),
                None => self.sleep.as_mut().reset(now + NEXT_HEAD),
            }
        }
        false
    }
}

/// `None` where the deadline passed first.
async fn within<F: Future + Unpin>(mut alarm: Alarm, mut serve: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        if alarm.has_passed(cx.waker()) {
            return Poll::Ready(None);
        }
        Pin::new(&mut serve).poll(cx).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_comes_ends_the_connection() {
        let began = Instant::now();
        let deadline = Arc::new(Deadline::new(began));
        let ended = within(Alarm::set(deadline), Box::pin(std::future::pending::<()>())).await;
        assert_eq!((ended, began.elapsed() / 1000), (None, FIRST_HEAD / 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_long_and_the_next_head_has_its_own_time() {
        let began = Instant::now();
        let deadline = Arc::new(Deadline::new(began));
        let deadlines = Deadlines::default();
        let story = OWN.scope(Arc::clone(&deadline), async {
            OWN.with(|own| own.at.store(NEVER, Ordering::Relaxed));
            tokio::time::sleep(Duration::from_secs(1000)).await;
            deadlines.answer_is_done(Instant::now().into_std());
            std::future::pending::<()>().await;
        });
        assert_eq!(within(Alarm::set(deadline), Box::pin(story)).await, None);
        let expected = Duration::from_secs(1000) + NEXT_HEAD;
        assert!(
            began.elapsed() >= expected && began.elapsed() < expected + Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_in_time_is_kept() {
        let deadline = Arc::new(Deadline::new(Instant::now()));
        let work = async {
            tokio::time::sleep(FIRST_HEAD / 2).await;
            7
        };
        assert_eq!(within(Alarm::set(deadline), Box::pin(work)).await, Some(7));
    }

    #[test]
    fn the_canned_answer_says_how_long_it_is() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
