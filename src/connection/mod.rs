//! The heart: what Valetkey keeps for a caller, a service and an account, and how it becomes a usable credential.
//!
//! - `record`: the sealed form; `state`: how it changes (one total function)
//! - `root`: the shared secret that names and tickets derive from
//! - `snapshot`: what this process knows of a caller, and until when it may believe it; `held`: one connection there; `few`: a
//!   list of usually one; `load` reads them; `unreadable`: those that can't be opened
//! - `resolve`: (caller, service, account) → credential, and what an upstream's refusal means; `decide`: its pure part
//! - `refresh`: one refresh everywhere; `flight`: single flight in a process; `lease`: between processes; `persist`: no new
//!   grant is ever lost; `circuit`: patience with a token endpoint
//! - `keys`: API keys' retirement, use and census; `migration`: the daily work on them
//! - `manage`: connect, list, disconnect; `rename`: another label; `labels`: how many; `pending`: grants that wait for somebody's word;
//!   `parting`: revoking, and what must not be reached by it
//! - `erase`: a whole user; `used`: when connections were last used; `heal`: ahead of time, and what others left
//!
//! Nothing here knows HTTP requests, pages or how a refusal is worded; nothing above may touch a credential but through here.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use url::Url;
use utoipa::ToSchema;

use crate::{
    clock::{Clock, Timestamp},
    config,
    events::{Event, Events, Kind},
    id::{Account, CallerId, ConnectionId, ServiceName},
    oauth,
    provider::{Service, Services},
    store::{self, Key, OwnerId, Store},
    telemetry::{Metrics, metrics::ServiceMetrics},
    vault::{self, Vault},
};

mod circuit;
mod credential;
mod decide;
mod erase;
mod few;
mod flight;
mod heal;
mod held;
mod keys;
mod labels;
mod lease;
mod load;
mod manage;
mod migration;
mod notices;
mod parting;
mod pending;
mod persist;
mod record;
mod refresh;
mod rename;
mod resolve;
mod root;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod unreadable;
mod used;

pub use credential::{AuthKind, Credential};
pub use erase::Erased;
pub use keys::{Holder, KeyFacts, Standing};
pub use labels::LABELS_MAX;
pub use parting::Arrival;
pub use pending::Aside;
pub use rename::Renamed;
pub use resolve::{AfterRejection, Want};
pub use root::Roots;

use circuit::Circuits;
use flight::Flights;
use persist::Unsaved;
use snapshot::{Selection, Snapshot, Snapshots};

/// How long a process that ends writes when connections were last used.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// A connection as people and applications may see it. Never holds a secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Connection {
    /// The service that owns the connection.
    pub service: ServiceName,
    /// Its label.
    pub account: Account,
    /// Whether calls can use it.
    pub status: Status,
    /// What it rests on.
    pub auth_kind: AuthKind,
    /// What was granted; empty where that is unknown.
    #[schema(value_type = Vec<String>)]
    pub scopes: Box<[String]>,
    /// When it was made.
    #[schema(required)]
    pub connected_at: Option<Timestamp>,
    /// When its access token was last renewed.
    #[schema(required)]
    pub refreshed_at: Option<Timestamp>,
    /// When its access token is over.
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
    /// When a call last used it: to the second as this process saw it, to the hour as others did.
    #[schema(required)]
    pub last_used_at: Option<Timestamp>,
    /// When it became unusable.
    #[schema(required)]
    pub invalidated_at: Option<Timestamp>,
    /// Why.
    #[schema(required)]
    pub invalid_reason: Option<Reason>,
    /// Who granted access, at the provider.
    #[schema(required)]
    pub identity: Option<Box<str>>,
    /// What tells that account from every other one there, whatever it calls itself.
    #[serde(skip)]
    pub identity_id: Option<Box<str>>,
    /// The API key beside or instead of a grant, as far as people may know.
    #[serde(skip)]
    pub api_key: Option<KeyFacts>,
}

/// Whether calls can use a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionStatus)]
pub enum Status {
    /// They can.
    Active,
    /// Not until the application confirms it.
    Pending,
    /// Not until the person connects again.
    Invalid,
}

/// Why there is no usable credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There never was one, or it was disconnected.
    NotConnected,
    /// The access token is over and there is no refresh token.
    Expired,
    /// The provider refused the refresh token.
    Revoked,
    /// The upstream refused a refreshed or unrefreshable token, or the API key.
    RejectedByUpstream,
    /// A refresh was cut off after its token was sent, and the token is spent.
    RefreshInterrupted,
    /// Only an API key is there, and the service no longer takes them.
    ApiKeyRetired,
    /// Connected, but not yet confirmed by the application.
    Pending,
}

/// Why a call gets no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The person must connect (again).
    #[error("no usable credential: {reason:?}")]
    AuthRequired {
        /// Why.
        reason: Reason,
        /// Under which label.
        account: Account,
    },
    /// Several connections, none named, and no `default`.
    #[error("several accounts, none named")]
    AccountRequired {
        /// Their labels.
        accounts: Vec<Account>,
    },
    /// The grant lacks scopes.
    #[error("scopes are missing")]
    MissingScopes {
        /// Which.
        scopes: Vec<String>,
        /// Under which label.
        account: Account,
    },
    /// The access token is over, and the provider's token endpoint fails for now.
    #[error("the provider's token endpoint fails for now")]
    RefreshFailed,
    /// It can't be known now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What is away; never the caller's fault, never a reason to disconnect anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The store.
    #[error("the store is unavailable")]
    Store,
    /// The key that opens the record, or its service.
    #[error("no key opens the record")]
    Keys,
    /// Someone else is at it and takes too long.
    #[error("the connection is being renewed")]
    Busy,
}

impl From<store::Error> for Unavailable {
    fn from(error: store::Error) -> Self {
        tracing::warn!(%error, "the store failed");
        Self::Store
    }
}

impl From<vault::Error> for Unavailable {
    fn from(error: vault::Error) -> Self {
        tracing::error!(%error, "sealing or opening failed");
        Self::Keys
    }
}

impl From<record::SealError> for Unavailable {
    fn from(error: record::SealError) -> Self {
        tracing::error!(%error, "a record can't be used; it stays as it is");
        Self::Keys
    }
}

/// What connections are made of; `serve` hands it in.
pub struct Parts {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// What seals them.
    pub vault: Arc<Vault>,
    /// The shared secret.
    pub roots: Roots,
    /// What they connect to.
    pub services: Arc<Services>,
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
    /// `public_url`, from which redirect URIs are made.
    pub public_url: Url,
}

/// All connections of all callers. Cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    parts: Parts,
    /// Tells this process's marks and leases from those of others.
    process: String,
    /// How many leases it has asked for.
    leases: AtomicU64,
    /// How many versions it has chosen.
    versions: AtomicU64,
    snapshots: Snapshots,
    loads: Flights<OwnerId, Result<Arc<Snapshot>, Unavailable>>,
    refreshes: Flights<Key, Result<(), refresh::Failure>>,
    circuits: Circuits,
    unsaved: Unsaved,
    /// Cancelled once the process is to end: nothing is begun any more that nobody waits for.
    background: CancellationToken,
    counters: HashMap<ServiceName, ServiceMetrics>,
    key_uses: keys::Uses,
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
        connections.watch_changes();
        connections.save_the_unsaved();
        connections.repair_after_gaps();
        connections.heal();
        connections.write_use();
        connections
    }

    /// Without any task in the background: for commands that look at records beside running replicas.
    pub fn for_command(parts: Parts) -> Self {
        Self::at_rest(parts, random_name())
    }

    fn at_rest(parts: Parts, process: String) -> Self {
        let inner = Inner {
            process,
            leases: AtomicU64::new(0),
            versions: AtomicU64::new(0),
            snapshots: Snapshots::new(parts.cache.credentials, parts.cache.offline_max),
            loads: Flights::new(parts.calls.clone()),
            refreshes: Flights::new(parts.handle.clone()),
            circuits: Circuits::default(),
            unsaved: Unsaved::default(),
            background: CancellationToken::new(),
            counters: parts.services.iter().map(|s| (s.name.clone(), parts.metrics.service(&s.name))).collect(),
            key_uses: keys::Uses::new(parts.cache.credentials),
            parts,
        };
        Self(Arc::new(inner))
    }

    /// The process is to end: from now on no refresh, revocation or repair begins that nobody waits for. Calls are served
    /// as before.
    pub fn rest(&self) {
        self.0.background.cancel();
    }

    /// Begins no refresh any more, and waits until those in flight are done and persisted, at most this long. Says whether
    /// they are.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.rest();
        self.0.refreshes.close();
        let settled = self.0.refreshes.settle(limit).await;
        let settled = self.0.unsaved.settle(limit).await && settled;
        self.write_last_use(LAST_WRITES.min(limit)).await;
        settled
    }

    /// How many refreshes are in flight or waiting to be saved.
    pub fn under_way(&self) -> usize {
        self.0.refreshes.len() + self.0.unsaved.len()
    }

    /// How many renewed grants wait for the store.
    pub fn unsaved(&self) -> usize {
        self.0.unsaved.len()
    }

    fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }

    /// Tells that a call of this caller lacked scopes: those that the service knows, as a call may name any text, and that
    /// has no place in a mail. From memory alone: whoever refused the call has just looked there.
    pub fn lacks_scopes(&self, caller: &CallerId, service: &Service, account: &Account, scopes: &[String]) {
        let scopes: Vec<String> = scopes.iter().filter(|scope| service.knows_scope(scope)).cloned().collect();
        if scopes.is_empty() {
            return;
        }
        let Some(snapshot) = self.owner(caller).and_then(|owner| self.0.snapshots.held(&owner)) else { return };
        let Selection::One(held) = snapshot.select(&service.owner, Some(account)) else { return };
        // Another grant may be refused the same again.
        let generation = held.connected_at().map(Timestamp::millis);
        let fact = Event::new(held.id.as_ref().clone(), Kind::ScopesMissing, None);
        self.0.parts.events.tell_once(&Event { generation, scopes, ..fact });
    }

    fn redirect_uri(&self, service: &ServiceName) -> Url {
        redirect_uri(&self.0.parts.public_url, service)
    }

    async fn key(&self, id: &ConnectionId) -> Result<Key, Unavailable> {
        Ok(root::key(self.0.parts.roots.get().await?.as_ref(), id))
    }
}

/// Names a process.
fn random_name() -> String {
    let mut random = [0; 8];
    // Without randomness two processes might share a name and take each other's lease for their own.
    getrandom::fill(&mut random).expect("a system without randomness can run no TLS either");
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The callback of a service: the same text in the authorization URL and at the token endpoint (RFC 6749 §4.1.3).
pub fn redirect_uri(public_url: &Url, service: &ServiceName) -> Url {
    let mut url = public_url.clone();
    url.set_path(&format!("{}/oauth/callback/{service}", public_url.path().trim_end_matches('/')));
    url
}
