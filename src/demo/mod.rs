//! `valetkey demo`: the product at work on one machine, with nothing but this binary. Compiled only with the feature `demo`:
//! a binary that holds people's keys needs no pretend provider. Starts one (`valetkey-standin`) and a whole Valetkey on loopback, configured by the YAML that a person would write, and then either shows a person around
//! ([`guide`]) or walks the whole way by itself ([`walk`]). Everything it makes is private to the run and goes with it.
//! Knows Valetkey only as its users do: by configuration and HTTP.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;
use url::Url;
use valetkey_standin::StandIn;

use crate::{clock::Clock, provider::Loaded, serve};

mod client;
mod guide;
mod ink;
mod setup;
#[cfg(test)]
mod tests;
mod walk;

pub use walk::Reader;

/// The port of the demo where none is asked for, if it is free: GitHub's OAuth apps want to know it beforehand.
const PORT: u16 = 8080;
/// Valetkey must be ready within this; it has nothing to wait for.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// Access tokens live this long when a person looks on …
const UNHURRIED: Duration = Duration::from_secs(20);
/// … and this long when the walk waits for them to expire.
const HURRIED: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Valetkey's port; another is taken where this one isn't free.
    pub port: Option<u16>,
    /// Walk by itself, and for whom; else show a person around.
    pub walk: Option<Reader>,
    /// The environment, for `GITHUB_CLIENT_ID` and `GITHUB_CLIENT_SECRET`.
    pub environment: BTreeMap<String, String>,
}

/// Why a demo couldn't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder, port, thread or runtime to be had.
    #[error("the demo can't be set up: {0}")]
    Setup(#[from] io::Error),
    /// The JWT couldn't be signed.
    #[error("the demo's JWT can't be made: {0}")]
    Jwt(#[from] jsonwebtoken::errors::Error),
    /// The configuration that the demo wrote isn't taken.
    #[error("the demo's configuration isn't valid:\n{0}")]
    Config(String),
    /// Valetkey didn't start, or ended with an error.
    #[error("valetkey failed: {0}")]
    Serve(#[from] serve::Error),
    /// Valetkey started, but wasn't ready in time, or ended unasked.
    #[error("valetkey wasn't ready within {} s", READY_WITHIN.as_secs())]
    NotReady,
    /// Valetkey didn't answer.
    #[error("valetkey doesn't answer: {0}")]
    Http(#[from] reqwest::Error),
}

/// Runs a demo to its end. True unless a walk broke. Must be called outside any tokio runtime.
///
/// # Errors
/// Where it can't be set up, or Valetkey fails.
pub fn run(options: Options) -> Result<bool, Error> {
    // The first of two providers wins; a second attempt changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = Runtime::new()?;
    let (stage, loaded) = runtime.block_on(Stage::set(&options))?;
    let mut server = Server::start(loaded)?;
    let outcome = runtime.block_on(async {
        server.ready().await?;
        stage.play(&options, &server).await
    });
    // What stopped the server explains what the play saw of it.
    server.stop()?;
    outcome
}

/// Everything that stands before the curtain rises.
struct Stage {
    // Dropped last: the server's files lie in it.
    standin: StandIn,
    secrets: setup::Secrets,
    clock: Clock,
    public: Url,
    admin: SocketAddr,
    lifetime: Duration,
    github: bool,
    config_path: PathBuf,
    _folder: setup::Folder,
}

impl Stage {
    async fn set(options: &Options) -> Result<(Self, Loaded), Error> {
        let (clock, secrets, folder) = (Clock::system(), setup::Secrets::make()?, setup::Folder::make()?);
        let walks = options.walk.is_some();
        let (address, admin) = setup::addresses(options.port.or((!walks).then_some(PORT)))?;
        let public = Url::parse(&format!("http://{address}")).map_err(io::Error::other)?;
        let lifetime = if walks { HURRIED } else { UNHURRIED };
        let standin = StandIn::start(valetkey_standin::Settings {
            client_id: setup::CLIENT_ID.to_owned(),
            client_secret: secrets.client.expose().clone(),
            redirect_uri: format!("http://{address}/oauth/callback/{}", setup::SERVICE),
            access_token_lifetime: lifetime,
        })
        .await?;
        let given = |name: &str| options.environment.get(name).is_some_and(|value| !value.is_empty());
        let github = !walks && given("GITHUB_CLIENT_ID") && given("GITHUB_CLIENT_SECRET");
        let api = standin.api();
        let places = setup::Places { public: address, admin, standin: standin.origin(), api: &api, github };
        let config_path = setup::write(&folder, &secrets, &places)?;
        let loaded = load(&config_path, &options.environment)?;
        let stage = Self { standin, secrets, clock, public, admin, lifetime, github, config_path, _folder: folder };
        Ok((stage, loaded))
    }

    async fn play(&self, options: &Options, server: &Server) -> Result<bool, Error> {
        let parties = client::Parties::new(self.secrets.mint(self.clock.now())?)?;
        let (standin, public) = (&self.standin, self.public.clone());
        if let Some(reader) = options.walk {
            let world = walk::World { parties, standin, public, clock: self.clock.clone() };
            return Ok(walk::walk(world, reader).await);
        }
        let sights = guide::Sights {
            parties,
            standin,
            public,
            admin: format!("http://{}", self.admin),
            config: self.config_path.display().to_string(),
            github: self.github,
            lifetime: self.lifetime,
        };
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            shown = sights.show() => shown?,
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
            () = server.ended() => {}
        }
        ink::line("\n  Ending the demo: Valetkey drains, the temporary folder goes.");
        Ok(true)
    }
}

fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Loaded, Error> {
    let env = |name: &str| environment.get(name).cloned();
    serve::load(path, &env).map_err(|problems| Error::Config(problems.to_string()))
}

/// A Valetkey in a thread of its own: it builds its own runtimes.
struct Server {
    thread: Option<thread::JoinHandle<Result<(), serve::Error>>>,
    stop: CancellationToken,
    ready: Option<oneshot::Receiver<()>>,
}

impl Server {
    fn start(loaded: Loaded) -> io::Result<Self> {
        let (stop, (ready, told)) = (CancellationToken::new(), oneshot::channel());
        let control = serve::Control { stop: Some(stop.clone()), ready: Some(ready), source: None };
        let thread = thread::Builder::new().name("valetkey".into()).spawn(move || serve::run(loaded, control))?;
        Ok(Self { thread: Some(thread), stop, ready: Some(told) })
    }

    async fn ready(&mut self) -> Result<(), Error> {
        let Some(ready) = self.ready.take() else { return Ok(()) };
        match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(Ok(())) => Ok(()),
            // Its thread ended: `stop` tells why.
            Ok(Err(_)) | Err(_) => Err(Error::NotReady),
        }
    }

    /// Returns once it has ended by itself.
    async fn ended(&self) {
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Drains it and waits for its end.
    fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        match self.thread.take().map(thread::JoinHandle::join) {
            Some(Ok(ended)) => Ok(ended?),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}
