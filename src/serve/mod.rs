//! The composition root: makes every part from the configuration, in the order of the layers, hands each what it needs, and
//! runs them until the drain is through. The one place that knows all parts; it decides nothing else.

mod health;
mod notices;
mod open;
mod outgoing;
mod runtimes;

use std::{net::TcpListener, sync::Arc, time::Duration};

use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    caller::{Callers, IssuerError},
    clock::Clock,
    config::{Config, Listener, SessionProof},
    connection::{self, Connections, Roots},
    consent::{self, Consent},
    events::{self, AuditLog, Contacts, Events, Inbox, Notifier, Sink},
    id::ServiceName,
    oauth,
    outbound::{self, Outbound, OutboundOptions},
    provider::{Problem, Services},
    proxy,
    store::{Counted, Store},
    telemetry::{Metrics, RequestIds},
    vault::Vault,
    web,
};

pub use open::OpenError;

use runtimes::{CallRuntime, Handles};

/// Notices that are due get at most this long after everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why Valetkey can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A service can't be made whole.
    #[error("{}", .0.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; "))]
    Services(Vec<Problem>),
    /// An issuer of callers can't be trusted as configured.
    #[error(transparent)]
    Callers(#[from] IssuerError),
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A service's certificates can't be used.
    #[error("services.{0}: {1}")]
    Certificate(ServiceName, proxy::BadCertificate),
    /// An address can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// A listener ended while the process served.
    #[error(transparent)]
    ListenerLost(#[from] proxy::ListenerLost),
    /// The listeners can't be set up.
    #[error(transparent)]
    Proxy(#[from] proxy::ServeError),
    /// Mail can't be sent as configured.
    #[error(transparent)]
    Mail(#[from] events::MailError),
    /// The HTTP client for calls of our own can't be made.
    #[error(transparent)]
    Outbound(#[from] outbound::SetupError),
    /// The system lacks something that everything needs.
    #[error("the system gives no {0}")]
    System(&'static str),
}

impl Error {
    /// Whether the configuration must change before another try can help.
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Services(_) | Self::Callers(_) | Self::Certificate(..) | Self::Mail(_) => true,
            Self::Proxy(proxy::ServeError::Certificate(_)) => true,
            Self::Proxy(_)
            | Self::Store(_)
            | Self::Listen(..)
            | Self::ListenerLost(_)
            | Self::Outbound(_)
            | Self::System(_) => false,
        }
    }
}

/// How a run is steered from outside, beside signals.
#[derive(Debug, Default)]
pub struct Control {
    /// Cancelled: drain and return.
    pub stop: Option<CancellationToken>,
    /// Told once all listeners accept and readiness is up.
    pub ready: Option<oneshot::Sender<()>>,
}

/// The parts that several commands need: the heart and what it stands on.
pub struct Heart {
    /// All connections.
    pub connections: Connections,
    /// What they connect to.
    pub services: Arc<Services>,
    roots: Roots,
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    oauth: Arc<oauth::Client>,
    outbound: Outbound,
}

impl Heart {
    /// Makes the heart on this runtime, without any work in the background: commands end when they are done, and replicas may
    /// run beside them.
    ///
    /// # Errors
    /// What of the configuration can't be made real; where another process holds the embedded store, that.
    pub fn for_command(config: &Config, runtime: &Runtime) -> Result<Self, Error> {
        Self::of(config, &Handles::both(runtime), Connections::for_command, Vec::new(), Arc::default())
    }

    /// `more`: sinks for events, beside the log.
    fn of(
        config: &Config,
        on: &Handles,
        make: fn(connection::Parts) -> Connections,
        more: Vec<Box<dyn Sink>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let clock = Clock::system();
        let outbound = Outbound::new(OutboundOptions::default(), on.background.clone())?;
        let services = Arc::new(Services::resolve(config).map_err(Error::Services)?);
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
            services: Arc::clone(&services),
            oauth: Arc::clone(&oauth),
            events: Events::new(sinks),
            metrics: Arc::clone(&metrics),
            clock,
            calls: on.calls.clone(),
            handle: on.background.clone(),
            cache: config.cache,
            refresh: config.refresh,
            public_url: config.public_url.clone(),
        });
        Ok(Self { connections, services, roots, store, vault, oauth, outbound })
    }

    /// Ends connections to the store.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

/// Serves until SIGTERM or SIGINT (or `control.stop`) and the drain that follows. Blocking; outside any tokio runtime.
///
/// # Errors
/// What of the configuration can't be made real.
pub fn run(config: Config, control: Control) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(|_| Error::System("threads"))?;
    let calls = CallRuntime::start().map_err(|_| Error::System("threads"))?;
    let on = Handles { calls: calls.handle().clone(), background: runtime.handle().clone() };
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new());
    let inbox = (!config.notifications.is_empty()).then(|| Inbox::new(clock.clone(), Arc::clone(&metrics)));
    let more = inbox.iter().map(|inbox| Box::new(inbox.clone()) as Box<dyn Sink>).collect();
    let heart = Heart::of(&config, &on, Connections::new, more, Arc::clone(&metrics))?;
    check_addresses(&config.listeners)?;
    let drain = proxy::Drain::default();
    let funnel = consent::Funnel::new(
        heart.roots.clone(),
        Arc::clone(&heart.store),
        Arc::clone(&metrics),
        on.background.clone(),
    );
    let consent = Arc::new(Consent::new(
        heart.roots.clone(),
        Arc::clone(&heart.store),
        Arc::clone(&heart.oauth),
        heart.connections.clone(),
        funnel,
        consent::Settings { public_url: config.public_url.clone(), connect: config.connect.clone() },
    ));
    heart.connections.api_keys.look_after();
    let around = notices::Around::new(
        &config,
        heart.roots.clone(),
        Arc::clone(&consent),
        Arc::clone(&heart.services),
        clock.clone(),
    );
    let (contacts, notifier) = notifications(&config, &heart, inbox, Arc::new(around), clock.clone(), &on)?;
    let noting = contacts.clone();
    let callers = Callers::new(&config.callers, config.cache.callers, heart.outbound.clone(), on.background.clone())?
        .no_longer_than(config.limits.jwt_bytes)
        .telling(move |caller| noting.note(&caller.id, || caller.claims(), caller.expires_at));
    let callers = Arc::new(callers);
    let health = health::Probe::start(&heart, Arc::clone(&callers), drain.clone(), &on.background);
    let state = Arc::new(web::State::new(web::Parts {
        consent: Arc::clone(&consent),
        connections: heart.connections.clone(),
        services: Arc::clone(&heart.services),
        callers: Arc::clone(&callers),
        contacts,
        roots: heart.roots.clone(),
        outbound: heart.outbound.clone(),
        metrics: Arc::clone(&metrics),
        health: Arc::clone(&health) as _,
        clock: clock.clone(),
        request_ids: Arc::new(RequestIds::random().map_err(|_| Error::System("randomness"))?),
        settings: web::Settings {
            public_url: config.public_url.clone(),
            application: config.application.clone(),
            brand: config.brand.clone(),
            confirm: config.connect.confirm,
            return_to: config.connect.return_to.clone(),
            session: config.connect.session.clone(),
            admin_token: config.admin_token.clone(),
            issuers: config.callers.iter().map(|issuer| issuer.issuer.clone()).collect(),
        },
    }));
    let core = proxy::Core::new(proxy::Parts {
        callers,
        connections: heart.connections.clone(),
        consent,
        services: Arc::clone(&heart.services),
        limits: config.limits,
        trusted: proxy::Trusted::new(config.trusted_proxies.clone()),
        session_cookie: match &config.connect.session {
            Some(SessionProof::Cookie(name)) => Some(name.clone()),
            Some(SessionProof::Header(_) | SessionProof::CheckUrl(_)) | None => None,
        },
        clock,
        request_ids: RequestIds::random().map_err(|_| Error::System("randomness"))?,
        metrics: Arc::clone(&metrics),
        drain: drain.clone(),
    })
    .map_err(|(service, bad)| Error::Certificate(service, bad))?;
    open_doors(&config, &Arc::new(core), &state, &on)?;
    let addresses = config.listeners.iter().map(|listener| listener.address).collect();
    on.background.spawn(async move {
        health.doors_open(addresses).await;
        health.first_ready().await;
        if let Some(ready) = control.ready {
            let _ = ready.send(());
        }
    });
    let ended = runtime.block_on(async {
        let ended = drain.run(config.shutdown, &metrics, &heart.connections, control.stop).await;
        if let Some(notifier) = notifier {
            notifier.drain(config.shutdown.grace.min(LAST_WORDS)).await;
        }
        heart.close().await;
        ended
    });
    drop(calls);
    runtime.shutdown_background();
    Ok(ended?)
}

/// Begins to tell operators and callers what happens, where that is configured, and to note where callers can be reached.
fn notifications(
    config: &Config,
    heart: &Heart,
    inbox: Option<Inbox>,
    around: Arc<notices::Around>,
    clock: Clock,
    on: &Handles,
) -> Result<(Contacts, Option<Notifier>), Error> {
    let issuers = if config.notifications.email.is_some() { config.callers.as_slice() } else { &[] };
    let (store, remembered) = (Arc::clone(&heart.store), config.cache.callers);
    let contacts =
        Contacts::new(issuers, remembered, Arc::clone(&store), Arc::clone(&around) as _, clock, on.background.clone());
    let Some(inbox) = inbox else { return Ok((contacts, None)) };
    let parts = events::Parts {
        store,
        vault: Arc::clone(&heart.vault),
        surroundings: around,
        contacts: contacts.clone(),
        outbound: heart.outbound.clone(),
        settings: config.notifications.clone(),
        handle: on.background.clone(),
    };
    Ok((contacts, Some(Notifier::start(inbox, parts)?)))
}

/// The admin listener is up first and last, in the background; those that carry calls are Pingora's, on the runtime for calls.
fn open_doors(config: &Config, core: &Arc<proxy::Core>, state: &Arc<web::State>, on: &Handles) -> Result<(), Error> {
    let mut doors = Vec::new();
    for listener in &config.listeners {
        let router = web::router(Arc::clone(state), listener.serves);
        let only_admin = listener.serves.admin && !listener.serves.proxy && !listener.serves.connect;
        if only_admin && listener.tls.is_none() {
            let failed = |error| Error::Listen(listener.address, error);
            on.background.block_on(web::listen(listener.address, Arc::clone(state), router)).map_err(failed)?;
        } else {
            doors.push(proxy::Door {
                address: listener.address,
                serves: listener.serves,
                tls: listener.tls.clone(),
                own_routes: web::behind_a_pipe(Arc::clone(state), router, on.background.clone()),
            });
        }
        tracing::info!(address = %listener.address, serves = %listener.serves, "listening");
    }
    Ok(proxy::serve(core, doors, &on.calls)?)
}

/// Pingora would panic on an address that is taken.
fn check_addresses(listeners: &[Listener]) -> Result<(), Error> {
    for listener in listeners {
        TcpListener::bind(listener.address).map_err(|error| Error::Listen(listener.address, error))?;
    }
    Ok(())
}
