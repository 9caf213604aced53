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

use crate::{config::Shutdown, connection::Connections, telemetry::Metrics};

/// How far the process has got in stopping. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    draining: Arc<AtomicBool>,
    closing: watch::Sender<bool>,
}

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

    /// Waits for a signal (or `asked`), then drains. Returns when the process may end.
    pub async fn run(
        &self,
        shutdown: Shutdown,
        metrics: &Metrics,
        connections: &Connections,
        asked: Option<CancellationToken>,
    ) {
        let mut signals = Signals::new();
        tokio::select! {
            () = signals.next() => {}
            () = cancelled(asked) => {}
        }
        self.draining.store(true, Ordering::SeqCst);
        connections.rest();
        tracing::info!(delay = ?shutdown.delay, grace = ?shutdown.grace, "draining");
        tokio::select! {
            () = self.let_go(shutdown, metrics, connections) => {}
            () = signals.next() => tracing::warn!("stopping at once: a second signal came"),
        }
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

async fn cancelled(token: Option<CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
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
