//! How the process stops. On SIGTERM (or SIGINT, or when whoever runs it says so) readiness falls at once; new connections
//! are still taken for `shutdown.delay`, so that load balancers notice; then listeners close, and what is in flight, refreshes
//! included, has `shutdown.grace`. A second signal ends it at once. (Pingora's own server would always sleep the whole grace
//! period.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pingora::server::ShutdownWatch;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Listen, Shutdown},
    connection::Connections,
    telemetry::Metrics,
};

/// How far the process has got in stopping. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    draining: Arc<AtomicBool>,
    closing: watch::Sender<bool>,
    /// A listener that ended though nobody asked it to.
    lost: watch::Sender<Option<Listen>>,
}

/// A listener couldn't begin, or ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("can't listen on {0} any more, or another listener or program has the address")]
pub struct ListenerLost(pub Listen);

/// How often it is looked whether anything is still in flight.
const LOOK: Duration = Duration::from_millis(20);
/// Refreshes in flight get this long even where requests used up the grace.
const LEAST_FOR_REFRESHES: Duration = Duration::from_secs(2);

impl Drain {
    /// Whether the process is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Becomes true when the listeners are to close.
    pub(super) fn listeners_close(&self) -> ShutdownWatch {
        self.closing.subscribe()
    }

    /// Serves until a listener's end. Where nobody asked for that end, the process doesn't go on without the listener: what
    /// isn't served must not look alive. In a task of its own, because Pingora panics where it can't bind.
    pub(super) async fn mind(self, address: Listen, listener: impl Future<Output = ()> + Send + 'static) {
        let _ = tokio::spawn(listener).await;
        if !self.is_draining() {
            tracing::error!(%address, "a listener could not be started, or ended by itself");
            self.lost.send_replace(Some(address));
        }
    }

    /// Waits for a signal (or `asked`), then drains as `shutdown` says by then. Returns when the process may end.
    ///
    /// # Errors
    /// Where it ends because a listener did. Then nothing waits for load balancers.
    pub async fn run(
        &self,
        shutdown: impl Fn() -> Shutdown,
        metrics: &Metrics,
        connections: &Connections,
        asked: &CancellationToken,
    ) -> Result<(), ListenerLost> {
        let mut signals = Signals::new();
        let mut lost = self.lost.subscribe();
        let (shutdown, ended) = tokio::select! {
            () = signals.next() => (shutdown(), Ok(())),
            () = asked.cancelled() => (shutdown(), Ok(())),
            address = listener(&mut lost) => {
                (Shutdown { delay: Duration::ZERO, ..shutdown() }, Err(ListenerLost(address)))
            }
        };
        self.draining.store(true, Ordering::SeqCst);
        connections.rest();
        tracing::info!(delay = ?shutdown.delay, grace = ?shutdown.grace, "draining");
        tokio::select! {
            () = self.let_go(shutdown, metrics, connections) => {}
            () = signals.next() => tracing::warn!("stopping at once: a second signal came"),
        }
        ended
    }

    async fn let_go(&self, shutdown: Shutdown, metrics: &Metrics, connections: &Connections) {
        sleep(shutdown.delay).await;
        self.closing.send_replace(true);
        let deadline = Instant::now() + shutdown.grace;
        while metrics.in_flight() > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(LEAST_FOR_REFRESHES);
        if !connections.drain(left).await {
            tracing::error!(lost = connections.under_way(), "stopping with renewed grants that could not be stored");
        }
    }
}

/// The address of a listener that has ended by itself.
async fn listener(lost: &mut watch::Receiver<Option<Listen>>) -> Listen {
    match lost.wait_for(Option::is_some).await.map(|address| address.clone()) {
        Ok(Some(address)) => address,
        // Whoever could tell is gone, and so is what would be told.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// The signals that stop the process. QUIT is among them, because it would end it without a word otherwise.
struct Signals([Option<Signal>; 3]);

impl Signals {
    fn new() -> Self {
        Self([SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()].map(|kind| signal(kind).ok()))
    }

    async fn next(&mut self) {
        let [term, int, quit] = &mut self.0;
        tokio::select! {
            () = one(term) => {}
            () = one(int) => {}
            () = one(quit) => {}
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_that_panics_is_lost_and_one_that_the_drain_ended_is_not() {
        let address = Listen::Tcp(([127, 0, 0, 1], 8080).into());
        let drain = Drain::default();
        let mut lost = drain.lost.subscribe();
        drain.draining.store(true, Ordering::SeqCst);
        drain.clone().mind(address.clone(), async {}).await;
        assert!(!lost.has_changed().unwrap());
        drain.draining.store(false, Ordering::SeqCst);
        drain.clone().mind(address.clone(), async { panic!("the address is taken") }).await;
        assert_eq!(listener(&mut lost).await, address);
    }
}
