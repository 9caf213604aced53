//! An issuer's key set behind a URL (RFC 7517). One task fetches it, again and again, so that no two fetches are ever under
//! way and none is on a request's path; a token with an unknown key id may ask for one fetch more, now and then. What
//! was fetched last serves on while the issuer is away, for a bounded time.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, header};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
};
use url::Url;
use zeroize::Zeroizing;

use super::{
    IssuerProblem, Reason,
    keys::{Found, KeyRing},
};
use crate::{
    backoff::Backoff,
    config::{Algorithm, CallerIssuer},
    id::Issuer,
    outbound::{CallLimits, Outbound, OutboundError},
    secret::SecretString,
};

/// The longest key set, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// The whole of one fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How often keys are fetched, and how long they serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between fetches, when all is well.
    pub(super) refresh: Duration,
    /// Between retries after failures.
    pub(super) retry: Backoff,
    /// Between fetches because of unknown key ids.
    pub(super) unknown_key: Duration,
    /// How long keys serve that can't be fetched again.
    pub(super) stale: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(600),
            retry: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            unknown_key: Duration::from_secs(30),
            stale: Duration::from_secs(24 * 3600),
        }
    }
}

/// Where a key set lies.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) url: Url,
    /// Holds a bearer token to show there, if it exists. It goes to that URL and, as no redirect is followed, nowhere else.
    pub(super) token_file: Option<PathBuf>,
}

/// A key set behind a URL; its task ends with it.
pub(super) struct Jwks {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    demanded: Mutex<Option<Demand>>,
    pace: Pace,
    task: AbortHandle,
}

/// What the task and the askers share.
#[derive(Default)]
struct Shared {
    current: ArcSwapOption<Snapshot>,
    wake: Notify,
}

/// A key set as it was fetched.
struct Snapshot {
    ring: KeyRing,
    /// What it was read from, to see whether another one differs.
    body: Vec<u8>,
    epoch: u32,
    fetched_at: Instant,
}

/// How far the task has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    started: u64,
    finished: u64,
    failing: bool,
}

/// A fetch that was asked for.
#[derive(Debug, Clone, Copy)]
struct Demand {
    at: Instant,
    /// The fetch, by its number.
    fetch: u64,
}

/// Why a fetch brought no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the answer's status is {0}")]
    Status(http::StatusCode),
    #[error("the token file can't be used: {0}")]
    Token(io::Error),
    #[error(transparent)]
    Keys(#[from] IssuerProblem),
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Jwks {
    /// Begins to fetch.
    pub(super) fn start(config: &CallerIssuer, place: Place, outbound: Outbound, runtime: &Handle, pace: Pace) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, progress) = watch::channel(Progress::default());
        let fetcher = Fetcher {
            issuer: config.issuer.clone(),
            place,
            allowed: config.algorithms.clone(),
            outbound,
            shared: shared.clone(),
            progress: sender,
            pace,
        };
        let task = runtime.spawn(fetcher.run()).abort_handle();
        Self { shared, progress, demanded: Mutex::new(None), pace, task }
    }

    /// Whether the issuer has answered once.
    pub(super) fn answered(&self) -> bool {
        self.shared.current.load().is_some()
    }

    /// Whether the last fetch failed.
    pub(super) fn failing(&self) -> bool {
        self.progress.borrow().failing
    }

    /// Which set is current; another number means other keys.
    pub(super) fn epoch(&self) -> u32 {
        self.shared.current.load().as_ref().map_or(0, |snapshot| snapshot.epoch)
    }

    /// The key that a token names. Where it isn't known, waits for a fetch that may bring it, if one is due.
    ///
    /// # Errors
    /// [`Reason::Invalid`] where the issuer has no such key, [`Reason::KeysUnavailable`] where nobody can tell.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Reason> {
        if let Some(found) = self.look(id, algorithm) {
            return Ok(found);
        }
        if let Some(fetch) = self.fetch_to_wait_for() {
            // An error means that the task is gone, and with it the hope for other keys.
            let _ = self.progress.clone().wait_for(|progress| progress.finished >= fetch).await;
        }
        self.look(id, algorithm).ok_or_else(|| {
            if self.failing() || self.usable().is_none() { Reason::KeysUnavailable } else { Reason::Invalid }
        })
    }

    fn look(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Found> {
        let snapshot = self.usable()?;
        let key = snapshot.ring.find(id, algorithm)?;
        Some(Found { key, epoch: snapshot.epoch })
    }

    fn usable(&self) -> Option<Arc<Snapshot>> {
        self.shared.current.load_full().filter(|snapshot| snapshot.fetched_at.elapsed() < self.pace.stale)
    }

    /// The fetch whose end a request with an unknown key should wait for.
    fn fetch_to_wait_for(&self) -> Option<u64> {
        let progress = *self.progress.borrow();
        if self.usable().is_none() {
            // The task is at it by itself. What is under way is waited for, and a pause between retries isn't.
            let under_way = progress.started > progress.finished || progress.started == 0;
            return under_way.then_some(progress.started.max(1));
        }
        let mut demanded = self.demanded.lock();
        match *demanded {
            Some(demand) if demand.at.elapsed() < self.pace.unknown_key => Some(demand.fetch),
            _ => {
                // A fetch under way may have been answered before the key came to be.
                let fetch = progress.started + 1;
                *demanded = Some(Demand { at: Instant::now(), fetch });
                self.shared.wake.notify_one();
                Some(fetch)
            }
        }
    }
}

/// The task that fetches.
struct Fetcher {
    issuer: Issuer,
    place: Place,
    allowed: Vec<Algorithm>,
    outbound: Outbound,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    pace: Pace,
}

impl Fetcher {
    async fn run(self) {
        let mut failures = 0_u32;
        loop {
            self.progress.send_modify(|progress| progress.started += 1);
            let result = self.fetch().await;
            failures = if result.is_ok() { 0 } else { failures.saturating_add(1) };
            if let Err(error) = &result {
                tracing::warn!(issuer = %self.issuer, %error, "an issuer's keys could not be fetched");
            }
            self.progress.send_modify(|progress| {
                progress.finished = progress.started;
                progress.failing = result.is_err();
            });
            tokio::select! {
                () = tokio::time::sleep(self.pause(failures)) => {}
                () = self.shared.wake.notified() => {}
            }
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => self.pace.refresh,
            Some(doublings) => self.pace.retry.after(doublings),
        }
    }

    async fn fetch(&self) -> Result<(), FetchError> {
        let mut request = http::Request::get(self.place.url.as_str())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Vec::new())
            .map_err(|_| IssuerProblem::InsecureUrl)?;
        if let Some(bearer) = self.bearer().await.map_err(FetchError::Token)? {
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        let limits = CallLimits { total: Some(FETCH_TIMEOUT), body: Some(MAX_BODY), allow_plain_http: false };
        let answer = self.outbound.send(request, limits).await?;
        if answer.status() != http::StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        self.take(answer.into_body())?;
        Ok(())
    }

    /// What shows that we may read the key set, as its file has it now: such tokens are short-lived.
    async fn bearer(&self) -> io::Result<Option<HeaderValue>> {
        let Some(file) = self.place.token_file.clone() else { return Ok(None) };
        tokio::task::spawn_blocking(move || bearer_in(&file)).await.map_err(io::Error::other)?
    }

    /// Makes a key set the current one. One without any key replaces none that was good: an issuer that has withdrawn all its
    /// keys can't be told from one that is out of order, and the keys it had end with their time.
    fn take(&self, body: Vec<u8>) -> Result<(), IssuerProblem> {
        let ring = KeyRing::from_jwks(&body, &self.allowed)?;
        let before = self.shared.current.load();
        if ring.is_empty() && before.as_ref().is_some_and(|before| !before.ring.is_empty()) {
            return Err(IssuerProblem::NoUsableKey);
        }
        let epoch = match before.as_ref() {
            Some(before) if before.body == body => before.epoch,
            Some(before) => before.epoch.wrapping_add(1),
            None => 0,
        };
        if ring.is_empty() {
            tracing::warn!(issuer = %self.issuer, "an issuer's key set has no key that fits its algorithms");
        }
        self.shared.current.store(Some(Arc::new(Snapshot { ring, body, epoch, fetched_at: Instant::now() })));
        Ok(())
    }
}

/// The bearer token in a file, as a header; none where there is no such file.
fn bearer_in(file: &Path) -> io::Result<Option<HeaderValue>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => SecretString::new(read?),
    };
    let header = Zeroizing::new(format!("Bearer {}", text.expose().trim()));
    let mut header = HeaderValue::from_str(&header).map_err(|_| io::Error::other("it holds no token"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}
