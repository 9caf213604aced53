//! The listeners: one Pingora service each, on the runtime that carries calls.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use pingora::{
    apps::HttpServerOptions,
    listeners::{ListenerConfig, tls::TlsSettings},
    protocols::l4::stream::L4BufferSettings,
    proxy::{HttpProxy, http_proxy},
    server::configuration::ServerConf,
    services::{Service as _, listening::Service},
};
use tokio::runtime::Handle;

use crate::config::{ListenerTls, Roles};

use super::{
    Core, Gate,
    deadline::Deadlines,
    guard::Guarded,
    streams::{OwnRoutes, ServePipe},
    wording::Refuse,
};

/// How many idle connections to upstreams are kept, in all. Fewer than there are concurrent calls cost a handshake each.
const IDLE_UPSTREAM_CONNECTIONS: usize = 4096;
/// What a client's connection reads ahead, in bytes, and holds while it is idle: a usual request's head. What a longer one has
/// beyond that takes another read; bodies are read past it.
const READ_BUFFER: usize = 2 * 1024;
const H2_IDLE: Duration = Duration::from_secs(75);
/// At most this many connection attempts and replays a request; phases bound each kind on its own.
const ATTEMPTS: usize = 8;

/// One listener that Pingora serves.
pub struct Door {
    /// Where.
    pub address: SocketAddr,
    /// For whom.
    pub serves: Roles,
    /// With which certificate.
    pub tls: Option<ListenerTls>,
    /// Serves everything but `/proxy/`.
    pub own_routes: ServePipe,
}

/// The listeners can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A certificate or its key can't be used.
    #[error("the certificate of listener {0} can't be used")]
    Certificate(SocketAddr),
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}

/// Serves these doors on this runtime, until the drain says that listeners close. (Pingora's own server would bring runtimes
/// of its own: a call that asks the store would wake another thread, and that one this, each at the price of a system call.)
///
/// # Errors
/// Where a certificate can't be used.
pub fn serve(core: &Arc<Core>, doors: Vec<Door>, calls: &Handle) -> Result<(), ServeError> {
    let clients = Arc::new(Mutex::new(HashMap::new()));
    let refuse = refused_unread(core);
    let (mut watched, mut services) = (Vec::new(), Vec::new());
    let conf = Arc::new(ServerConf {
        upstream_keepalive_pool_size: IDLE_UPSTREAM_CONNECTIONS,
        max_retries: ATTEMPTS,
        ..ServerConf::default()
    });
    for door in doors {
        let deadlines = Arc::new(Deadlines::default());
        watched.push(Arc::downgrade(&deadlines));
        let gate = Gate {
            core: Arc::clone(core),
            serves: door.serves,
            encrypted: door.tls.is_some(),
            own_routes: Arc::new(OwnRoutes(door.own_routes)),
            deadlines: Arc::clone(&deadlines),
        };
        let guarded = Guarded {
            inner: Arc::new(proxy(&conf, gate.clone(), false)),
            h2c: door.tls.is_none().then(|| Arc::new(proxy(&conf, gate, true))),
            deadlines,
            core: Arc::clone(core),
            clients: Arc::clone(&clients),
            refuse: Arc::clone(&refuse),
        };
        let mut service = Service::new(format!("listener {}", door.address), guarded);
        let buffer = L4BufferSettings::default().read(READ_BUFFER);
        match &door.tls {
            None => service.add_listener(ListenerConfig::tcp(door.address.to_string()).l4_buffer(buffer)),
            Some(tls) => {
                let settings = tls_settings(tls).ok_or(ServeError::Certificate(door.address))?;
                let listener = ListenerConfig::tcp(door.address.to_string()).tls(settings);
                service.add_listener(listener.l4_buffer(buffer));
            }
        }
        services.push((door.address, service));
    }
    Deadlines::watch(watched).map_err(ServeError::Thread)?;
    for (address, mut service) in services {
        let (drain, shutdown) = (core.drain.clone(), core.drain.listeners_close());
        calls.spawn(drain.mind(address, async move { service.start_service(None, shutdown, 1).await }));
    }
    Ok(())
}

/// How a client is answered whose request was never read: counted, logged, and in the words of all other refusals.
fn refused_unread(core: &Arc<Core>) -> Refuse {
    let core = Arc::clone(core);
    Arc::new(move |refusal| {
        let request_id = core.request_ids.next();
        let http = refusal.status.as_u16();
        tracing::info!(%request_id, status = refusal.code.as_str(), http, "refused unread");
        core.nowhere.request(refusal.code.into(), 0.0);
        refusal.on_the_wire(&request_id)
    })
}

fn proxy(conf: &Arc<ServerConf>, gate: Gate, h2c: bool) -> HttpProxy<Gate> {
    let mut proxy = http_proxy(conf, gate);
    let mut options = HttpServerOptions::default();
    options.h2c = h2c;
    // Refused in our own words.
    options.allow_connect_method_proxying = true;
    options.h2_idle_timeout = Some(H2_IDLE);
    proxy.server_options = Some(options);
    proxy
}

fn tls_settings(tls: &ListenerTls) -> Option<TlsSettings> {
    let mut settings = TlsSettings::intermediate(tls.certificate_file.to_str()?, tls.key_file.to_str()?).ok()?;
    settings.enable_h2();
    Some(settings)
}
