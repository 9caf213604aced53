//! The heart: what Valetkey keeps for a caller, a service and an account, and how it becomes a usable credential.
//!
//! - `model`: what the rest of the house knows of a connection
//! - `cache`: what this process holds, and until when it may believe it
//! - `record`: what is kept, sealed; the only room that reads and writes it
//! - `lease`: one process at a time; `flight`: one task at a time; `daily`: one process a day
//! - `revoke`: parting with grants; `edit`: changing records safely; `recall`: reading them for calls and lists
//! - `refresh`: one refresh everywhere; `keys`: API keys
//! - `resolve`: (caller, service, account) → credential, and what an upstream's refusal means
//! - `manage`: connect, list, rename, disconnect, erase, and grants that wait for somebody's word
//! - `heal`: ahead of time, and what others left; `survey`: all connections at once, and which of them end; `census`: how many
//!   there are
//!
//! Each room has one type that owns its part; this file puts them together and says when they begin and end. Nothing here
//! knows HTTP requests, pages or how a refusal is worded; nothing above may touch a credential but through here.

use std::{sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    clock::Clock,
    config,
    events::{Events, Gathered, Sealer},
    oauth,
    provider::Live,
    store::Store,
    telemetry::Metrics,
    vault::Vault,
};

mod cache;
mod census;
mod daily;
mod edit;
mod flight;
mod heal;
mod keys;
mod lease;
mod manage;
mod model;
mod recall;
mod record;
mod refresh;
mod resolve;
mod revoke;
mod survey;
#[cfg(test)]
mod tests;

pub use cache::Credential;
pub use census::CensusTaker;
pub use edit::Renamed;
pub use keys::{ApiKeys, Holder, Standing};
pub use manage::{Erased, LABELS_MAX, Manager, Unconfirmed, UnconfirmedGrant};
pub use model::{AuthKind, Connection, End, EndReason, KeyFacts, Reason, Status, Unavailable, Unusable};
pub use record::root::Roots;
pub use resolve::{AfterRejection, Decision, Resolver, Waited, Want};
pub use revoke::{Arrival, Revoker};
pub use survey::{Counted, Filter, PartError, Parted, Reminders, Survey, SurveyError, SurveyPage, Surveyed};

use cache::SnapshotCache;
use edit::{Editor, Moves, Saver};
use heal::Healer;
use lease::Leases;
use manage::ManagerParts;
use recall::{LastUse, Reader};
use record::{records::Records, view::Projector};
use refresh::{Refresher, RefresherParts};

/// How long a process that ends writes what it has gathered for the log, and when connections were last used.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// What connections are made of; `serve` hands it in.
pub struct Parts {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// What seals them.
    pub vault: Arc<Vault>,
    /// The shared secret.
    pub roots: Roots,
    /// What they connect to.
    pub live: Live,
    /// Who speaks to token endpoints.
    pub oauth: Arc<oauth::Client>,
    /// Who is told what happens.
    pub events: Events,
    /// Where refreshes are counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The runtime that calls run on: what they wait for is read there.
    pub calls: Handle,
    /// The long-lived runtime that refreshes run on.
    pub handle: Handle,
    /// What is kept in memory.
    pub cache: config::Cache,
    /// When tokens are renewed.
    pub refresh: config::Refresh,
    /// How long the log keeps its entries.
    pub log_kept: Duration,
    /// `public_url`, from which redirect URIs are made.
    pub public_url: Url,
}

/// All connections of all callers. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    /// Credentials for calls.
    pub resolver: Arc<Resolver>,
    /// What people and applications do with connections.
    pub manager: Arc<Manager>,
    /// Grants that wait for somebody's word.
    pub unconfirmed: Arc<Unconfirmed>,
    /// API keys.
    pub api_keys: Arc<ApiKeys>,
    /// Parting with grants.
    pub revoker: Arc<Revoker>,
    /// All connections at once, for operators.
    pub survey: Arc<Survey>,
    /// Tells people of connections that will end.
    pub reminders: Arc<Reminders>,
    /// How many connections there are.
    pub census: Arc<CensusTaker>,
    records: Arc<Records>,
    reader: Arc<Reader>,
    saver: Arc<Saver>,
    refresher: Arc<Refresher>,
    healer: Arc<Healer>,
    last_use: Arc<LastUse>,
    /// Cancelled once the process is to end: nothing is begun any more that nobody waits for.
    ending: CancellationToken,
    /// The long-lived runtime.
    handle: Handle,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connections")
    }
}

impl Connections {
    /// Wires the parts; starts the tasks that watch for changes, save what couldn't be saved and heal.
    pub fn new(parts: Parts) -> Self {
        Self::named(parts, random_name())
    }

    /// As a process of this name, which no other may have. All that is random here follows from it.
    fn named(parts: Parts, process: String) -> Self {
        let connections = Self::at_rest(parts, process);
        connections.reader.watch(&connections.handle);
        connections.saver.keep_saving(&connections.handle);
        connections.saver.repair_after_gaps(&connections.handle);
        connections.healer.heal();
        connections.last_use.keep_writing(&connections.handle);
        connections.records.facts().keep_writing(&connections.handle);
        connections
    }

    /// Without any task in the background: for commands that look at records beside running replicas.
    pub fn for_command(parts: Parts) -> Self {
        Self::at_rest(parts, random_name())
    }

    fn at_rest(parts: Parts, process: String) -> Self {
        let Parts { store, vault, roots, live, oauth, events, metrics, clock, calls, handle, .. } = parts;
        let (capacity, counted_in) = (parts.cache.credentials, Arc::clone(&metrics));
        let ending = CancellationToken::new();
        let cache = Arc::new(SnapshotCache::new(capacity, parts.cache.offline_max));
        let leases = Arc::new(Leases::new(Arc::clone(&store), process.clone(), handle.clone()));
        let projector = Arc::new(Projector::new(live.clone(), parts.refresh.window));
        let named = (process.as_str(), capacity);
        let sealer = Arc::new(Sealer::new(Arc::clone(&store), Arc::clone(&vault), clock.clone(), parts.log_kept));
        let gathered =
            Gathered::new(Arc::clone(&sealer), Arc::clone(&store), Arc::clone(&metrics), clock.clone(), &process);
        let events = (events, (sealer, gathered));
        let records = Arc::new(Records::new(store, vault, roots, clock, Arc::clone(&cache), events, named));

        let server = (Arc::clone(&oauth), parts.refresh.timeout);
        let revoker = Revoker::new(Arc::clone(&records), Arc::clone(&leases), live.clone(), server, handle.clone());
        let saver = Saver::new(Arc::clone(&records), Arc::clone(&revoker));
        let moves = Moves::new(Arc::clone(&records), Arc::clone(&leases), Arc::clone(&revoker));
        let editor = Editor::new(
            Arc::clone(&records),
            Arc::clone(&cache),
            Arc::clone(&projector),
            Arc::clone(&saver),
            Arc::clone(&moves),
            Arc::clone(&revoker),
        );
        let last_use = LastUse::new(Arc::clone(&records), Arc::clone(&cache));
        let reader = Reader::new(Arc::clone(&records), Arc::clone(&cache), live.clone(), Arc::clone(&projector), calls);
        let refresher = Refresher::new(RefresherParts {
            records: Arc::clone(&records),
            cache,
            projector,
            saver: Arc::clone(&saver),
            moves: Arc::clone(&moves),
            revoker: Arc::clone(&revoker),
            leases: Arc::clone(&leases),
            metrics: Arc::clone(&metrics),
            timeout: parts.refresh.timeout,
            live: live.clone(),
            oauth,
            public_url: parts.public_url,
            ending: ending.clone(),
            handle: handle.clone(),
        });
        let api_keys = ApiKeys::new(
            (Arc::clone(&records), Arc::clone(&editor)),
            Arc::clone(&leases),
            live.clone(),
            capacity,
            handle.clone(),
        );
        let resolver = Resolver::new(
            Arc::clone(&records),
            Arc::clone(&reader),
            Arc::clone(&editor),
            Arc::clone(&refresher),
            Arc::clone(&api_keys),
            metrics,
        );
        let (own_leases, counting) = (Arc::clone(&leases), process.clone());
        let unconfirmed =
            Unconfirmed::new(Arc::clone(&records), Arc::clone(&editor), (Arc::clone(&revoker), leases), live.clone());
        let healer = Healer::new(
            Arc::clone(&records),
            (Arc::clone(&moves), Arc::clone(&revoker)),
            (Arc::clone(&unconfirmed), Arc::clone(&refresher)),
            live.clone(),
            process,
            (ending.clone(), handle.clone()),
        );
        let looking = Arc::clone(&last_use);
        let survey = Survey::new((Arc::clone(&records), Arc::clone(&editor)), looking, live.clone(), handle.clone());
        let census = CensusTaker::new((Arc::clone(&survey), counted_in), counting, (ending.clone(), handle.clone()));
        let reminders = Reminders::new(Arc::clone(&survey), Arc::clone(&own_leases));
        let manager = Manager::new(ManagerParts {
            records: Arc::clone(&records),
            reader: Arc::clone(&reader),
            editor,
            moves,
            revoker: Arc::clone(&revoker),
            unconfirmed: Arc::clone(&unconfirmed),
            api_keys: Arc::clone(&api_keys),
            last_use: Arc::clone(&last_use),
            live,
            handle: handle.clone(),
        });
        Self {
            resolver,
            manager,
            unconfirmed,
            api_keys,
            revoker,
            survey,
            reminders,
            census,
            records,
            reader,
            saver,
            refresher,
            healer,
            last_use,
            ending,
            handle,
        }
    }

    /// The process is to end: from now on no refresh, revocation or repair begins that nobody waits for. Calls are served
    /// as before.
    pub fn rest(&self) {
        self.ending.cancel();
    }

    /// Begins no refresh any more, and waits until those in flight are done and persisted, at most this long. Says whether
    /// they are.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.rest();
        let settled = self.refresher.drain(limit).await;
        let settled = self.records.own().unsaved.settle(limit).await && settled;
        self.records.facts().settle(LAST_WRITES.min(limit)).await;
        self.last_use.write_all(LAST_WRITES.min(limit)).await;
        settled
    }

    /// How many refreshes are in flight or waiting to be saved.
    pub fn under_way(&self) -> usize {
        self.refresher.under_way() + self.unsaved()
    }

    /// How many renewed grants wait for the store.
    pub fn unsaved(&self) -> usize {
        self.records.own().unsaved.len()
    }
}

/// Names a process.
fn random_name() -> String {
    let mut random = [0; 8];
    // Without randomness two processes might share a name and take each other's lease for their own.
    getrandom::fill(&mut random).expect("a system without randomness can run no TLS either");
    HEXLOWER.encode(&random)
}
