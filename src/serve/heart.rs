//! The parts that serving and commands share: connections, and what they stand on. Made once a process; what they connect to
//! may change.

use std::{sync::Arc, time::Duration};

use tokio::runtime::{Handle, Runtime};

use super::{Error, open, outgoing, runtimes::Handles};
use crate::{
    clock::Clock,
    connection::{self, Connections, Roots},
    consent::Funnel,
    events::{
        AuditLog, Events, Sink,
        failures::{FailureLog, Failures, Pace},
    },
    oauth,
    outbound::{Outbound, OutboundOptions},
    provider::{Live, Loaded},
    store::{Counted, Store},
    telemetry::Metrics,
    vault::Vault,
};

/// The heart and what it stands on.
pub struct Heart {
    /// All connections.
    pub connections: Connections,
    /// What they connect to.
    pub(super) live: Live,
    pub(super) roots: Roots,
    pub(super) store: Arc<dyn Store>,
    pub(super) vault: Arc<Vault>,
    pub(super) oauth: Arc<oauth::Client>,
    pub(super) outbound: Outbound,
}

impl Heart {
    /// Makes the heart on this runtime, without any work in the background: commands end when they are done, and replicas may
    /// run beside them.
    ///
    /// # Errors
    /// What of the configuration can't be made real; where another process holds the embedded store, that.
    pub fn for_command(loaded: &Loaded, runtime: &Runtime) -> Result<Self, Error> {
        Self::of(loaded, &Handles::both(runtime), Connections::for_command, Vec::new(), Arc::default())
    }

    /// `more`: sinks for events, beside the log.
    pub(super) fn of(
        loaded: &Loaded,
        on: &Handles,
        make: fn(connection::Parts) -> Connections,
        more: Vec<Box<dyn Sink>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let config = &loaded.config;
        let outbound = Outbound::new(OutboundOptions::default(), on.background.clone())?;
        let live = Live::new(Arc::clone(&loaded.services));
        let store: Arc<dyn Store> = Arc::new(Counted::new(open::store(&config.store, on)?, Arc::clone(&metrics)));
        let vault = Arc::new(Vault::new(&config.vault));
        let roots = Roots::new(Arc::clone(&store), Arc::clone(&vault));
        let oauth = Arc::new(oauth::Client::new(Arc::new(outgoing::ThroughOutbound {
            outbound: outbound.clone(),
            timeout: config.refresh.timeout,
        })));
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(AuditLog)];
        sinks.extend(more);
        let connections = make(connection::Parts {
            store: Arc::clone(&store),
            vault: Arc::clone(&vault),
            roots: roots.clone(),
            live: live.clone(),
            oauth: Arc::clone(&oauth),
            events: Events::new(sinks),
            metrics,
            clock: Clock::system(),
            calls: on.calls.clone(),
            handle: on.background.clone(),
            cache: config.cache,
            refresh: config.refresh,
            public_url: config.public_url.clone(),
        });
        Ok(Self { connections, live, roots, store, vault, oauth, outbound })
    }

    /// What counts attempts to connect; on the runtime that this is called on.
    pub fn funnel(&self) -> Funnel {
        let failures = Failures::new(Clock::system(), Pace::for_window(Duration::from_secs(3600)));
        Funnel::new(self.roots.clone(), Arc::clone(&self.store), Arc::default(), failures, Handle::current())
    }

    /// What failed, as all replicas stored it.
    pub fn failures(&self) -> FailureLog {
        FailureLog::new(Arc::clone(&self.store), Arc::clone(&self.vault))
    }

    /// Ends connections to the store.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
