//! Everything that a run is made of: people, processes, the calls that are made, and whether their answers have a cause.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use url::Url;

use super::{
    gate::Gate,
    journal::Journal,
    provider::{Mode, Provider},
    store::Server,
};
use crate::{
    clock::{Clock, Timestamp},
    config::{self, VaultKey},
    connection::{Arrival, Connections, Parts, Renamed, Roots, Want},
    events::CALLER,
    events::{Event, Events, Kind, Sink},
    oauth,
    provider::{Live, Services, testing},
    secret::Secret,
    vault::{Context, Purpose, Root, Vault},
};

pub const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// How long a person waits until what they want can even begin.
const PATIENCE: Duration = Duration::from_secs(60);

mod calls;
mod user;

pub use user::User;

/// The services of all runs: `crm`, one that shares its connections, one that only shares its OAuth client, and one with a
/// client of its own at the same provider.
pub fn services() -> &'static Arc<Services> {
    static SERVICES: OnceLock<Arc<Services>> = OnceLock::new();
    SERVICES.get_or_init(|| Arc::new(testing::resolve(written()).unwrap()))
}

/// The same as they are written.
pub fn written() -> serde_json::Value {
    serde_json::json!({
            "crm": {
                "base_url": "https://crm.example/api",
                "authorize_url": "https://crm.example/authorize",
                "token_url": "https://crm.example/token",
                "revoke_url": "https://crm.example/revoke",
                "client_id": "client",
                "client_secret": "secret",
            },
            "crm-files": { "base_url": "https://files.crm.example", "connection": "crm" },
            "crm-mail": {
                "base_url": "https://mail.crm.example",
                "authorize_url": "https://crm.example/authorize",
                "token_url": "https://crm.example/token",
                "revoke_url": "https://crm.example/revoke",
                "client_id": "client",
                "client_secret": "secret",
            },
            "elsewhere": {
                "base_url": "https://elsewhere.example",
                "authorize_url": "https://crm.example/authorize",
                "token_url": "https://crm.example/token",
                "revoke_url": "https://crm.example/revoke",
                "client_id": "another client",
                "client_secret": "secret",
            },
    })
}

fn vault() -> Arc<Vault> {
    let key = VaultKey { id: "one".into(), key: Secret::new([7; 32]) };
    Arc::new(Vault::new(&config::Vault { keys: vec![key] }))
}

pub struct Process {
    pub gate: Arc<Gate>,
    pub live: Live,
    pub connections: Connections,
    /// Calls that have no answer yet.
    pub open: AtomicU64,
}

/// What sinks were told.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<Kind>>);

impl Told {
    pub fn count(&self, kind: Kind) -> usize {
        self.0.lock().iter().filter(|told| **told == kind).count()
    }
}

impl Sink for Arc<Told> {
    fn tell(&self, event: &Event) {
        self.0.lock().push(event.kind);
    }
}

pub struct World {
    pub journal: Arc<Journal>,
    pub server: Arc<Server>,
    pub provider: Arc<Provider>,
    pub users: Vec<User>,
    /// What sinks were told, by any process.
    pub told: Arc<Told>,
    vault: Arc<Vault>,
}

/// What a run's provider is like.
#[derive(Debug, Clone, Copy)]
pub struct Nature {
    pub mode: Mode,
    pub life: Duration,
    pub one_at_a_time: bool,
    pub skewed: bool,
}

impl World {
    /// This many people, each with a connection to `crm`.
    pub fn new(journal: Arc<Journal>, nature: Nature, users: usize) -> Arc<Self> {
        let users: Vec<_> = (0..users).map(|person| (person, "crm")).collect();
        Self::of(journal, nature, &users)
    }

    /// With these connections of these people.
    pub fn of(journal: Arc<Journal>, nature: Nature, users: &[(usize, &str)]) -> Arc<Self> {
        let vault = vault();
        let server = Server::new(Arc::clone(&journal), Arc::clone(&vault));
        let Nature { mode, life, one_at_a_time, skewed } = nature;
        let provider = Provider::new(Arc::clone(&journal), mode, life, one_at_a_time, skewed);
        server.watched_by(Arc::clone(&provider));
        provider.looks_at(&server);
        let secret = [3; 32];
        let context = Context { purpose: Purpose::Root, parts: &[b"valetkey root secret"] };
        server.preset("root", vault.seal(&context, &secret).unwrap());
        let root = Root::from_bytes(secret);
        let users = users.iter().enumerate();
        let users = users.map(|(number, (person, service))| User::new(number, *person, service, &root)).collect();
        Arc::new(Self { journal, server, provider, users, told: Arc::default(), vault })
    }

    /// Starts a process whose clock is ahead by this much.
    pub fn start(&self, name: &str, ahead: Duration) -> Arc<Process> {
        self.process(name, ahead, Connections::named)
    }

    /// Starts a command beside them.
    pub fn command(&self, name: &str) -> Arc<Process> {
        self.process(name, Duration::ZERO, Connections::at_rest)
    }

    fn process(&self, name: &str, ahead: Duration, make: fn(Parts, String) -> Connections) -> Arc<Process> {
        let gate = Gate::new(name.to_owned(), Arc::clone(&self.journal));
        let store = self.server.reached_by(&gate);
        let live = Live::new(Arc::clone(services()));
        let parts = Parts {
            store: Arc::clone(&store) as _,
            vault: Arc::clone(&self.vault),
            roots: Roots::new(store, Arc::clone(&self.vault)),
            live: live.clone(),
            oauth: Arc::new(oauth::Client::new(self.provider.reached_by(&gate))),
            events: Events::new(vec![Box::new(Arc::clone(&self.told))]),
            metrics: Arc::default(),
            clock: Clock::of_tokio(START.plus(self.journal.elapsed()).plus(ahead)),
            calls: Handle::current(),
            handle: Handle::current(),
            cache: config::Cache { offline_max: Duration::from_secs(300), credentials: 16, callers: 16 },
            refresh: config::Refresh::default(),
            public_url: Url::parse("https://connect.example.com").unwrap(),
        };
        let connections = make(parts, name.to_owned());
        Arc::new(Process { gate, live, connections, open: AtomicU64::new(0) })
    }

    pub fn want<'a>(&'a self, user: &'a User) -> Want<'a> {
        let (caller, services, service) = (&user.id.caller, services(), &user.service);
        Want { caller, services, service, account: None, scopes: &[], operation: None, waited: None }
    }

    /// The person connects through this process.
    pub async fn connect(&self, user: &User, process: &Process) {
        self.connect_as(user, process, 0).await;
    }

    /// The person connects as this account of theirs. Where a revocation reaches far it is done as the callback does it.
    pub async fn connect_as(&self, user: &User, process: &Process, account: u8) {
        let (connections, far) = (&process.connections, self.provider.is_far());
        let arrival = if far {
            let arrival = connections.revoker.arrival(&user.id.caller, &user.service);
            let Ok(arrival) = timeout(PATIENCE, arrival).await else { return };
            Some((arrival, Instant::now()))
        } else {
            None
        };
        let (family, grant) = self.provider.consent_as(user.number, user.holder(account));
        let access = grant.access_token.expose().clone();
        self.journal.step(&process.gate.name, "connect", &family);
        user.connecting(family);
        self.provider.connected(user.number, None);
        let identity = (far && !self.provider.habits().nameless).then(|| user.account(account));
        let renews = self.server.record(&user.key).is_some_and(|record| {
            let named = identity.as_ref().zip(record.identity.as_ref());
            named.is_some_and(|(new, old)| new.id == old.id) && self.provider.can_renew(&record)
        });
        let writes = self.server.writes();
        let connecting = connections.manager.connect(&user.id, grant.clone(), identity.clone(), &[], &CALLER);
        let outcome = timeout(Duration::from_secs(20), connecting).await;
        if far && matches!(outcome, Ok(Err(_))) {
            connections.revoker.give_up_unstored(&user.id, grant, identity);
        }
        let done = matches!(outcome, Ok(Ok(_)));
        if user.connected(family, done) {
            self.provider.connected(user.number, Some(family));
        }
        if let Some((arrival, began)) = arrival.filter(|_| done) {
            if arrival.is_held() {
                self.provider.stored(family);
                self.provider.no_longer_in_doubt(family, &access);
            }
            self.judge_arrival(family, &arrival, process, began);
            arrival.end();
            // What came before it, or was carried out late, may have taken it along.
            let parted = self.server.parted_since(writes, &user.key);
            if renews && !parted && self.provider.continued(family) && !self.renews(user) {
                self.journal.violated(format!("a second consent took the refresh token of family {family} away"));
            }
        }
    }

    /// Whether what is stored can be renewed.
    fn renews(&self, user: &User) -> bool {
        let grant = self.server.record(&user.key).and_then(|record| record.grant);
        grant.is_none_or(|grant| grant.refresh_token.is_some())
    }

    /// A grant that has come in, while nothing was to be revoked that could take it along.
    fn judge_arrival(&self, family: usize, arrival: &Arrival, process: &Process, began: Instant) {
        let now = Instant::now();
        // Who came in without the lease, or may have lost it on the way, may have been overtaken.
        let held = arrival.is_held()
            && !process.gate.troubled(began, now)
            && !self.server.was_down(began, now)
            && self.journal.failover(began - PATIENCE, now).is_none();
        if held && self.provider.was_overtaken(family) {
            self.journal.violated(format!("family {family} was revoked while it came in"));
        }
    }

    /// The person disconnects through this process.
    pub async fn disconnect(&self, user: &User, process: &Process) {
        self.journal.step(&process.gate.name, "disconnect", &user.number);
        self.journal.count(|counts| counts.disconnects += 1);
        self.provider.connected(user.number, None);
        user.disconnecting();
        let done = timeout(Duration::from_secs(20), process.connections.manager.disconnect(&user.id, &CALLER)).await;
        if matches!(done, Ok(Ok(true))) {
            user.gone();
        }
    }

    /// The person gives the connection its other label, or its own again, through this process.
    pub async fn rename(&self, user: &User, process: &Process, back: bool) -> Option<Renamed> {
        let elsewhere = user.other_id();
        let (from, to) = if back { (&elsewhere, &user.id.account) } else { (&user.id, &elsewhere.account) };
        let done = timeout(Duration::from_secs(60), process.connections.manager.rename(from, to)).await;
        self.journal.step(&process.gate.name, "rename", &(to, &done));
        done.ok()?.ok()
    }

    /// Whether anything stands under the other label, or is on its way there.
    pub fn is_elsewhere(&self, user: &User) -> bool {
        let moves = self.server.record(&user.key).is_some_and(|record| record.under_way().is_some());
        moves || self.server.record(&user.elsewhere).is_some_and(|record| record.stands())
    }
}
