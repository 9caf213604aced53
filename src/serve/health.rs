//! How the process is: asked of store, keys and issuers in the background, so that a probe waits for nothing. Ready means
//! that each has answered once; what goes away later is `degraded`, for cached credentials serve on.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpStream, UnixStream},
    runtime::Handle,
    sync::watch,
};

use crate::{
    backoff::Backoff,
    config::Listen,
    connection::{Connections, Roots, Unavailable},
    proxy::Drain,
    web::{Health, Readily, Readiness},
};

use super::{generation::Current, heart::Heart};

const INTERVAL: Duration = Duration::from_secs(1);
/// Until it was ready once: a process that finds everything there begins at once, and one that doesn't fills no log.
const WHILE_STARTING: Backoff = Backoff::new(Duration::from_millis(10), INTERVAL);

/// What was last seen.
pub struct Probe {
    store: AtomicBool,
    keys: AtomicBool,
    doors: AtomicBool,
    ready_once: watch::Sender<bool>,
    current: Current,
    /// What became of the last attempt to reload the configuration, where it failed.
    reload: Mutex<Option<String>>,
    connections: Connections,
    roots: Roots,
    drain: Drain,
}

impl Probe {
    /// Begins to ask.
    pub fn start(heart: &Heart, current: Current, drain: Drain, handle: &Handle) -> Arc<Self> {
        let probe = Arc::new(Self {
            store: AtomicBool::new(false),
            keys: AtomicBool::new(false),
            doors: AtomicBool::new(false),
            ready_once: watch::Sender::new(false),
            current,
            reload: Mutex::default(),
            connections: heart.connections.clone(),
            roots: heart.roots.clone(),
            drain,
        });
        let (asking, store, roots) = (Arc::clone(&probe), Arc::clone(&heart.store), heart.roots.clone());
        handle.spawn(async move {
            for asked in 0.. {
                let root = roots.get().await;
                asking.keys.store(!matches!(root, Err(Unavailable::Keys)), Ordering::Relaxed);
                // A store that was emptied breaks no connection: it is found by looking.
                let _ = roots.keep().await;
                asking.store.store(store.ping().await.is_ok(), Ordering::Relaxed);
                let callers = asking.current.get().is_some_and(|current| current.callers.ready());
                if root.is_ok() && callers && asking.doors.load(Ordering::Relaxed) {
                    asking.ready_once.send_replace(true);
                }
                let ready = *asking.ready_once.borrow();
                tokio::time::sleep(if ready { INTERVAL } else { WHILE_STARTING.after(asked) }).await;
            }
        });
        probe
    }

    /// Waits until every one of these takes connections: before that nobody may be told to come.
    pub async fn doors_open(&self, listeners: Vec<Listen>) {
        for listen in listeners {
            while !takes_connections(&listen).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        self.doors.store(true, Ordering::Relaxed);
    }

    /// Waits until the process has been ready once.
    pub async fn first_ready(&self) {
        let mut ready = self.ready_once.subscribe();
        // The sender lives as long as this does.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Notes what became of an attempt to reload the configuration: nothing to say, or why it failed.
    pub fn reloaded(&self, failure: Option<String>) {
        *self.reload.lock() = failure;
    }

    fn troubles(&self) -> BTreeMap<&'static str, String> {
        let mut troubles = BTreeMap::new();
        if !self.store.load(Ordering::Relaxed) {
            troubles.insert("store", "does not answer".to_owned());
        }
        if !self.keys.load(Ordering::Relaxed) {
            troubles.insert("vault", "no configured key opens what is stored".to_owned());
        }
        if self.roots.is_foreign() {
            let detail =
                "the store was emptied and has another root secret than this process: restart it, or restore the store";
            troubles.insert("root", detail.to_owned());
        }
        let current = self.current.get();
        let failing = current.as_ref().map(|current| current.callers.failing()).unwrap_or_default();
        if !failing.is_empty() || !current.is_some_and(|current| current.callers.ready()) {
            let names: Vec<&str> = failing.iter().map(|issuer| issuer.as_str()).collect();
            let detail = match names.as_slice() {
                [] => "an issuer's keys have not been fetched yet".to_owned(),
                names => format!("keys could not be fetched: {}", names.join(", ")),
            };
            troubles.insert("callers", detail);
        }
        if !self.doors.load(Ordering::Relaxed) {
            troubles.insert("listeners", "not all of them take connections yet".to_owned());
        }
        let unsaved = self.connections.unsaved();
        if unsaved > 0 {
            troubles.insert("connections", format!("{unsaved} renewed grants wait to be stored"));
        }
        troubles
    }
}

async fn takes_connections(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => {
            let mut address = *address;
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
            }
            TcpStream::connect(address).await.is_ok()
        }
        Listen::Unix { path, .. } => UnixStream::connect(path).await.is_ok(),
    }
}

impl Health for Probe {
    fn readiness(&self) -> Readiness {
        let mut detail = self.troubles();
        let status = if self.drain.is_draining() {
            Readily::Draining
        } else if !*self.ready_once.borrow() || self.roots.is_foreign() {
            Readily::Starting
        } else if detail.is_empty() {
            Readily::Ready
        } else {
            Readily::Degraded
        };
        // No trouble for calls: what was in force is.
        if let Some(failure) = self.reload.lock().clone() {
            detail.insert("configuration", failure);
        }
        Readiness { status, detail }
    }
}
