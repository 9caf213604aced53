//! The listeners: one Pingora service each, on the runtime that carries calls.

use std::{
    collections::HashMap,
    fs::Permissions,
    os::{
        fd::IntoRawFd,
        unix::{fs::PermissionsExt, net::UnixListener},
    },
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use pingora::{
    apps::HttpServerOptions,
    listeners::{ListenerConfig, tls::TlsSettings},
    protocols::l4::stream::L4BufferSettings,
    proxy::{HttpProxy, http_proxy},
    server::{Fds, ListenFds, configuration::ServerConf},
    services::{Service as _, listening::Service},
};
use tokio::runtime::Handle;

use crate::config::{Listen, Roles};

use super::{
    Core, Gate,
    certificate::Shown,
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
    pub listen: Listen,
    /// The socket of that name, listening already, where it is a Unix socket.
    pub socket: Option<UnixListener>,
    /// For whom.
    pub serves: Roles,
    /// With which certificate.
    pub tls: Option<Arc<Shown>>,
    /// Serves everything but `/proxy/`.
    pub own_routes: ServePipe,
}

/// The listeners can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A certificate or its key can't be used.
    #[error("the certificate of listener {0} can't be used")]
    Certificate(Listen),
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}

/// Serves these doors on this runtime, until the drain says that listeners close. (Pingora's own server would bring runtimes
/// of its own: a call that asks the store would wake another thread, and that one this, each at the price of a system call.)
///
/// # Errors
/// Where TLS can't be had, or no thread.
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
        let mut service = Service::new(format!("listener {}", door.listen), guarded);
        let mut endpoint = endpoint(&door.listen).l4_buffer(L4BufferSettings::default().read(READ_BUFFER));
        if let Some(tls) = door.tls {
            endpoint = endpoint.tls(tls_settings(tls).ok_or_else(|| ServeError::Certificate(door.listen.clone()))?);
        }
        service.add_listener(endpoint);
        services.push((door.listen, service, door.socket));
    }
    Deadlines::watch(watched).map_err(ServeError::Thread)?;
    for (listen, mut service, socket) in services {
        let (drain, shutdown) = (core.parts.drain.clone(), core.parts.drain.listeners_close());
        let open = handed_over(&listen, socket);
        calls.spawn(drain.mind(listen, async move { service.start_service(open, shutdown, 1).await }));
    }
    Ok(())
}

fn endpoint(listen: &Listen) -> ListenerConfig {
    match listen {
        Listen::Tcp(address) => ListenerConfig::tcp(address.to_string()),
        Listen::Unix { path, mode } => {
            ListenerConfig::uds(path.display().to_string()).permissions(Permissions::from_mode(*mode))
        }
    }
}

/// A socket that listens already, as Pingora takes it: it would remove the file, whoever listens there, and make another one
/// that anybody may connect to for a moment.
fn handed_over(listen: &Listen, socket: Option<UnixListener>) -> Option<ListenFds> {
    let (Listen::Unix { path, .. }, Some(socket)) = (listen, socket) else { return None };
    let mut open = Fds::new();
    open.add(path.display().to_string(), socket.into_raw_fd());
    Some(Arc::new(Mutex::new(open)))
}

/// How a client is answered whose request was never read: counted, logged, and in the words of all other refusals.
fn refused_unread(core: &Arc<Core>) -> Refuse {
    let core = Arc::clone(core);
    Arc::new(move |refusal| {
        let request_id = core.parts.request_ids.next();
        let http = refusal.status.as_u16();
        tracing::info!(%request_id, status = refusal.code.as_str(), http, "refused unread");
        core.nowhere.request(refusal.code.into(), Duration::ZERO);
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

/// The resolver takes the place of the files that Pingora would read once.
fn tls_settings(certificate: Arc<Shown>) -> Option<TlsSettings> {
    let mut settings = TlsSettings::intermediate("", "").ok()?;
    settings.set_cert_resolver(certificate);
    settings.enable_h2();
    Some(settings)
}
