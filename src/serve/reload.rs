//! Another configuration takes the place of the one in force: whole, or not at all. A refused one is told as `check` would
//! tell it, and shown by readiness and metrics; what was in force stays. Nothing is lost: what has begun ends by what it began
//! with.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Error, doors::Certificates, generation::Generation, lasting::Lasting, load};
use crate::{
    config::{Config, FilesRead, Problems},
    provider::{Difference, Loaded},
    proxy, web,
};

/// Files that change while they are read are read again so much later.
pub const SETTLE: Duration = Duration::from_millis(100);
/// How often at most.
const READINGS: usize = 20;

/// Looks up a variable of the environment, from whichever thread.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the configuration is read from, again and again.
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The environment.
    pub env: Environment,
}

/// Why a configuration was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is wrong, or changes what can't change while Valetkey runs.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// It can't be made real.
    #[error(transparent)]
    Unreal(#[from] Error),
}

/// What goes by the configuration in force.
pub struct Served {
    /// Calls.
    pub core: Arc<proxy::Core>,
    /// Pages.
    pub routes: Vec<Arc<web::Routes>>,
    /// Listeners.
    pub certificates: Certificates,
}

/// Replaces the configuration in force.
pub struct Reloader {
    source: Source,
    lasting: Arc<Lasting>,
    served: Served,
    /// What was read last, also where that was refused.
    files: Mutex<Arc<FilesRead>>,
    /// One at a time.
    turn: Mutex<()>,
}

impl Reloader {
    /// Replaces what these serve by, with what is read from there. `files`: what was read at start.
    pub fn new(source: Source, files: FilesRead, lasting: Arc<Lasting>, served: Served) -> Arc<Self> {
        Arc::new(Self { source, lasting, served, files: Mutex::new(Arc::new(files)), turn: Mutex::new(()) })
    }

    /// The files that were read last, and what they held.
    pub fn files(&self) -> Arc<FilesRead> {
        Arc::clone(&self.files.lock())
    }

    /// Reads the configuration again, with the files that it names, and puts it in force, or says why not: in the log, by
    /// readiness and by metrics. To be called by whoever learns that it may have changed. Reads files, so it blocks.
    pub fn reload(&self) {
        let _turn = self.turn.lock();
        match self.replace() {
            Ok(difference) => {
                let names = |names: &[_]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                let Difference { added, changed, removed } = &difference;
                tracing::info!(
                    added = names(added),
                    changed = names(changed),
                    removed = names(removed),
                    "the configuration was reloaded"
                );
                self.lasting.health.reloaded(None);
                self.lasting.metrics.config_reloaded(self.lasting.clock.now());
            }
            Err(refused) => {
                let count = refused.tell();
                let plural = if count == 1 { "problem" } else { "problems" };
                let detail =
                    format!("the changed configuration was refused ({count} {plural}); the one before serves on");
                tracing::error!("{detail}");
                self.lasting.health.reloaded(Some(detail));
                self.lasting.metrics.config_refused();
            }
        }
    }

    fn replace(&self) -> Result<Difference, Refused> {
        let Some(before) = self.lasting.current.get() else { return Ok(Difference::default()) };
        self.put_in_force(self.read(&before.config)?, &before)
    }

    /// Reads all of it as it was at one moment: what changed while it was read is read again.
    fn read(&self, running: &Config) -> Result<Loaded, Problems> {
        let mut readings = 0;
        loop {
            readings += 1;
            let loaded = load::reload(&self.source.file, &*self.source.env, running);
            let files = match &loaded {
                Ok(loaded) => &loaded.files,
                Err(problems) => &problems.files,
            };
            if readings == READINGS || files.changed().is_empty() {
                *self.files.lock() = Arc::new(files.clone());
                return loaded;
            }
            thread::sleep(SETTLE);
        }
    }

    /// All that may fail comes first, then all that can be seen.
    fn put_in_force(&self, loaded: Loaded, before: &Generation) -> Result<Difference, Refused> {
        let generation = self.lasting.generation(loaded, Some(before))?;
        let bad = |(service, bad)| Error::Certificate(service, bad);
        let calls = self.served.core.prepare(generation.settings()).map_err(bad)?;
        let certificates = self.served.certificates.prepare(&generation.config.listeners)?;
        let state = self.lasting.state(&generation);
        let difference = generation.services.difference(&before.services);

        self.lasting.heart.live.replace(Arc::clone(&generation.services));
        self.served.core.put_in_force(calls);
        for routes in &self.served.routes {
            routes.replace(Arc::clone(&state));
        }
        self.served.certificates.put_in_force(certificates);
        self.lasting.collector.store(generation.config.telemetry.otlp.clone().map(Arc::new));
        self.lasting.current.set(Arc::new(generation));
        Ok(difference)
    }

    /// Reloads whenever the process gets the signal.
    pub async fn on_signal(self: Arc<Self>, mut signal: Signal) {
        while signal.recv().await.is_some() {
            let reloader = Arc::clone(&self);
            // Files are read.
            let _ = tokio::task::spawn_blocking(move || reloader.reload()).await;
        }
    }
}

/// The signal that asks for it. From now on it no longer ends the process.
///
/// # Errors
/// Where the system takes no handler.
pub fn asked() -> Result<Signal, Error> {
    signal(SignalKind::hangup()).map_err(|_| Error::System("signals"))
}

impl Refused {
    /// Logs each of its problems as `check` shows it; gives their number.
    fn tell(&self) -> usize {
        match self {
            Self::Problems(problems) => {
                for problem in &problems.all {
                    tracing::error!("{}", problem.in_file(&problems.file));
                }
                problems.all.len()
            }
            Self::Unreal(error) => {
                tracing::error!("{error}");
                1
            }
        }
    }
}
