//! The composition root: makes every part from the configuration, in the order of the layers, hands each what it needs, and
//! runs them until the drain is through. The one place that knows all parts; it decides nothing else.
//!
//! - `load`: from a file to what everything can be made from; `heart`: what commands need, too
//! - `generation`: a configuration made real; `lasting`: what it is made with; `reload`: another one in its place; `watch`: when
//! - `doors`: listeners; `sockets`: Unix sockets among them; `health`: how the process is; `notices`: what messages say
//! - `open`, `outgoing`, `runtimes`: the store, the way out, the threads; `traces`: what leaves for a collector

mod doors;
mod generation;
mod health;
mod heart;
mod lasting;
mod load;
mod notices;
mod open;
mod outgoing;
mod reload;
mod runtimes;
mod sockets;
mod traces;
mod watch;

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    caller::IssuerError,
    clock::Clock,
    config::{Config, Listen},
    connection::Connections,
    consent::Funnel,
    events::{
        self, Contacts, Inbox, Notifier, Sink,
        alerts::Watch,
        audit::{self, AuditWriter},
        failures::{Failures, Keeper, Pace},
    },
    id::ServiceName,
    outbound,
    provider::Loaded,
    proxy,
    telemetry::{Metrics, RequestIds, trace::Tracer},
    trends::Trends,
};

pub use heart::Heart;
pub use load::{load, parse};
pub use open::OpenError;
pub use reload::Source;

use generation::Current;
use lasting::Lasting;
use notices::Around;
use reload::Reloader;
use runtimes::{CallRuntime, Handles};
use traces::Exporter;

/// Notices that are due get at most this long after everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What has yet to be counted gets at most this long.
const LAST_COUNTS: Duration = Duration::from_secs(3);

/// Why Valetkey can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An issuer of callers can't be trusted as configured.
    #[error(transparent)]
    Callers(#[from] IssuerError),
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A service's certificates can't be used.
    #[error("services.{0}: {1}")]
    Certificate(ServiceName, proxy::BadCertificate),
    /// An address or socket can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Listen(Listen, std::io::Error),
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
    /// The audit file can't be written to.
    #[error("audit.file: {0}")]
    AuditFile(std::io::Error),
    /// The system lacks something that everything needs.
    #[error("the system gives no {0}")]
    System(&'static str),
}

impl Error {
    /// Whether the configuration must change before another try can help.
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Callers(_) | Self::Certificate(..) | Self::Mail(_) => true,
            Self::Proxy(proxy::ServeError::Certificate(_)) => true,
            Self::Proxy(_)
            | Self::Store(_)
            | Self::Listen(..)
            | Self::ListenerLost(_)
            | Self::Outbound(_)
            | Self::AuditFile(_)
            | Self::System(_) => false,
        }
    }
}

/// How a run is steered from outside, beside signals.
#[derive(Default)]
pub struct Control {
    /// Cancelled: drain and return.
    pub stop: Option<CancellationToken>,
    /// Told once all listeners accept and readiness is up.
    pub ready: Option<oneshot::Sender<()>>,
    /// Where the configuration is read again when its files change, or SIGHUP comes; none: neither is looked for.
    pub source: Option<Source>,
}

/// Serves until SIGTERM, SIGINT, `POST /quitquitquit` or `control.stop`, and the drain that follows. Blocking; outside any tokio runtime.
///
/// # Errors
/// What of the configuration can't be made real.
pub fn run(loaded: Loaded, control: Control) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(|_| Error::System("threads"))?;
    let calls = CallRuntime::start().map_err(|_| Error::System("threads"))?;
    let on = Handles { calls: calls.handle().clone(), background: runtime.handle().clone() };
    let asked_to_reload = match &control.source {
        Some(_) => Some(on.background.block_on(async { reload::asked() })?),
        None => None,
    };
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new());
    let (config, files) = (loaded.config.clone(), loaded.files.clone());
    let inbox = (!config.notifications.is_empty()).then(|| Inbox::new(clock.clone(), Arc::clone(&metrics)));
    let lines = config.audit.file.as_ref().map(|to| AuditWriter::open(to, clock.clone()));
    let lines = lines.transpose().map_err(Error::AuditFile)?;
    let failures = Failures::new(clock.clone(), Pace::for_window(config.alerts.window));
    let mut more: Vec<Box<dyn Sink>> = vec![Box::new(failures.clone())];
    more.extend(inbox.iter().map(|inbox| Box::new(inbox.clone()) as Box<dyn Sink>));
    more.extend(lines.iter().map(|lines| Box::new(lines.clone()) as Box<dyn Sink>));
    let heart = Heart::of(&loaded, &on, Connections::new, more, Arc::clone(&metrics))?;
    doors::check_addresses(&config.listeners)?;
    let drain = proxy::Drain::default();
    let current = Current::default();
    let funnel = Funnel::new(
        heart.roots.clone(),
        Arc::clone(&heart.store),
        Arc::clone(&metrics),
        failures.clone(),
        on.background.clone(),
    );
    let keeper = Keeper::start(failures, Arc::clone(&heart.store), Arc::clone(&heart.vault), &on.background);
    heart.connections.api_keys.look_after();
    if inbox.is_some() {
        heart.connections.reminders.look_after(config.notifications.before_end.clone());
    }
    if let Some(interval) = config.telemetry.census {
        heart.connections.census.take_each(interval);
    }
    let request_ids = Arc::new(RequestIds::random().map_err(|_| Error::System("randomness"))?);
    let (kept_in, process) = ((heart.roots.clone(), Arc::clone(&heart.store)), request_ids.next().to_string());
    let trends = Trends::new(kept_in, Arc::clone(&metrics), clock.clone(), process);
    trends.keep(&on.background);
    let lasting = Arc::new(Lasting {
        around: Arc::new(Around::new(heart.roots.clone(), current.clone(), clock.clone())),
        health: health::Probe::start(&heart, current.clone(), drain.clone(), &on.background),
        trends,
        request_ids,
        clock: clock.clone(),
        metrics: Arc::clone(&metrics),
        stop: control.stop.unwrap_or_default(),
        on: on.clone(),
        current,
        funnel,
        collector: Arc::new(config.telemetry.otlp.clone().map(Arc::new).into()),
        heart,
    });
    let heart = &lasting.heart;
    let (tracer, recorded) = Tracer::new();
    let told_by = (heart.outbound.clone(), Arc::clone(&metrics));
    let exporter = Exporter::start(recorded, Arc::clone(&lasting.collector), told_by, &on.background);
    let generation = Arc::new(lasting.generation(loaded, None)?);
    lasting.current.set(Arc::clone(&generation));
    let (store, around) = (Arc::clone(&heart.store), Arc::clone(&lasting.around) as _);
    let audit_log = Arc::new(audit::Keeper::new(store, around, clock.clone(), &config.audit, lines.clone()));
    audit_log.start(&on.background);
    let notifier = notifications(&config, &lasting, inbox, generation.contacts.clone())?;
    let watch = alerts(&config, &lasting)?;
    let parts = proxy::Parts {
        connections: heart.connections.clone(),
        clock: clock.clone(),
        request_ids: RequestIds::random().map_err(|_| Error::System("randomness"))?,
        metrics: Arc::clone(&metrics),
        tracer: Arc::new(tracer),
        drain: drain.clone(),
    };
    let core = proxy::Core::new(parts, generation.settings());
    let core = Arc::new(core.map_err(|(service, bad)| Error::Certificate(service, bad))?);
    let doors::Doors { routes, claims, certificates } =
        doors::open(&config.listeners, &core, &lasting.state(&generation), &on)?;
    drop(generation);
    metrics.config_reloaded(clock.now());
    if let Some((source, signal)) = control.source.zip(asked_to_reload) {
        let doors = reload::Served { core, routes, certificates };
        let reloader = Reloader::new(source, files, Arc::clone(&lasting), doors);
        on.background.spawn(watch::watch(Arc::clone(&reloader)));
        on.background.spawn(reloader.on_signal(signal));
    }
    let addresses = config.listeners.iter().map(|listener| listener.listen.clone()).collect();
    let health = Arc::clone(&lasting.health);
    on.background.spawn(async move {
        health.doors_open(addresses).await;
        health.first_ready().await;
        if let Some(ready) = control.ready {
            let _ = ready.send(());
        }
    });
    let shutdown = || lasting.current.get().map_or(config.shutdown, |generation| generation.config.shutdown);
    let ended = runtime.block_on(async {
        let ended = drain.run(shutdown, &metrics, &heart.connections, &lasting.stop).await;
        tokio::join!(lasting.funnel.drain(LAST_COUNTS), lasting.trends.drain(LAST_COUNTS), keeper.drain(LAST_COUNTS));
        if let Some(watch) = watch {
            watch.drain(LAST_COUNTS).await;
        }
        if let Some(notifier) = notifier {
            notifier.drain(shutdown().grace.min(LAST_WORDS)).await;
        }
        exporter.drain(shutdown().grace.min(LAST_WORDS)).await;
        audit_log.settle(LAST_WORDS).await;
        heart.close().await;
        if let Some(lines) = lines {
            let _ = tokio::task::spawn_blocking(move || lines.flush()).await;
        }
        ended
    });
    drop((calls, claims));
    runtime.shutdown_background();
    Ok(ended?)
}

/// Begins to watch for what fails too often, where that is configured.
fn alerts(config: &Config, lasting: &Lasting) -> Result<Option<Watch>, Error> {
    let heart = &lasting.heart;
    let parts = events::alerts::Parts {
        store: Arc::clone(&heart.store),
        vault: Arc::clone(&heart.vault),
        live: heart.live.clone(),
        outbound: heart.outbound.clone(),
        settings: config.alerts.clone(),
        metrics: Arc::clone(&lasting.metrics),
        clock: lasting.clock.clone(),
        handle: lasting.on.background.clone(),
    };
    Ok(Watch::start(parts)?)
}

/// Begins to tell operators and callers what happens, where that is configured.
fn notifications(
    config: &Config,
    lasting: &Lasting,
    inbox: Option<Inbox>,
    contacts: Contacts,
) -> Result<Option<Notifier>, Error> {
    let Some(inbox) = inbox else { return Ok(None) };
    let parts = events::Parts {
        store: Arc::clone(&lasting.heart.store),
        vault: Arc::clone(&lasting.heart.vault),
        surroundings: Arc::clone(&lasting.around) as _,
        contacts,
        outbound: lasting.heart.outbound.clone(),
        settings: config.notifications.clone(),
        handle: lasting.on.background.clone(),
    };
    Ok(Some(Notifier::start(inbox, parts)?))
}
