//! Everything that a run is made of: people, processes, the calls that are made, and whether their answers have a cause.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};
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
    connection::{AfterRejection, Connections, Credential, Parts, Roots, Unusable, Want, rename},
    events::{Event, Events, Kind, Sink},
    id::ConnectionId,
    oauth,
    provider::{Service, Services, testing},
    secret::Secret,
    vault::{Context, Purpose, Root, Vault},
};

mod user;

pub use user::User;
use user::other_label;

pub const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The services of all runs: `crm`, one that shares its connections, one that only shares its OAuth client, and one with a
/// client of its own at the same provider.
pub fn services() -> &'static Arc<Services> {
    static SERVICES: OnceLock<Arc<Services>> = OnceLock::new();
    SERVICES.get_or_init(|| {
        let services = testing::resolve(serde_json::json!({
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
        }));
        Arc::new(services.unwrap())
    })
}

fn vault() -> Arc<Vault> {
    let key = VaultKey { id: "one".into(), key: Secret::new([7; 32]) };
    Arc::new(Vault::new(&config::Vault { keys: vec![key] }))
}

pub struct Process {
    pub gate: Arc<Gate>,
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
    service: Arc<Service>,
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
    pub fn new(journal: Arc<Journal>, nature: Nature, users: usize) -> Arc<Self> {
        let vault = vault();
        let server = Server::new(Arc::clone(&journal), Arc::clone(&vault));
        let Nature { mode, life, one_at_a_time, skewed } = nature;
        let provider = Provider::new(Arc::clone(&journal), mode, life, one_at_a_time, skewed);
        server.watched_by(Arc::clone(&provider));
        let secret = [3; 32];
        let context = Context { purpose: Purpose::Root, parts: &[b"valetkey root secret"] };
        server.preset("root", vault.seal(&context, &secret).unwrap());
        let root = Root::from_bytes(secret);
        let users = (0..users).map(|number| User::new(number, &root)).collect();
        let service = Arc::clone(services().get("crm").unwrap());
        Arc::new(Self { journal, server, provider, users, told: Arc::default(), vault, service })
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
        let parts = Parts {
            store: Arc::clone(&store) as _,
            vault: Arc::clone(&self.vault),
            roots: Roots::new(store, Arc::clone(&self.vault)),
            services: Arc::clone(services()),
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
        Arc::new(Process { gate, connections, open: AtomicU64::new(0) })
    }

    pub fn want<'a>(&'a self, user: &'a User) -> Want<'a> {
        let (caller, service) = (&user.id.caller, self.service.as_ref());
        Want { caller, service, account: None, scopes: &[], method: "GET", path: "/" }
    }

    /// The person connects through this process.
    pub async fn connect(&self, user: &User, process: &Process) {
        let (family, grant) = self.provider.consent(user.number);
        self.journal.step(&process.gate.name, "connect", &family);
        user.connecting(family);
        self.provider.connected(user.number, None);
        let done =
            tokio::time::timeout(Duration::from_secs(20), process.connections.connect(&user.id, grant, None, &[]));
        let done = matches!(done.await, Ok(Ok(_)));
        if user.connected(family, done) {
            self.provider.connected(user.number, Some(family));
        }
    }

    /// The person disconnects through this process.
    pub async fn disconnect(&self, user: &User, process: &Process) {
        self.journal.step(&process.gate.name, "disconnect", &user.number);
        self.journal.count(|counts| counts.disconnects += 1);
        self.provider.connected(user.number, None);
        user.known.lock().disconnecting = true;
        let done = tokio::time::timeout(Duration::from_secs(20), process.connections.disconnect(&user.id)).await;
        if matches!(done, Ok(Ok(true))) {
            let mut known = user.known.lock();
            known.disconnecting = false;
            known.gone_since = Some(Instant::now());
        }
    }

    /// The person gives the connection its other label, or its own again, through this process.
    pub async fn rename(&self, user: &User, process: &Process, back: bool) {
        let elsewhere = ConnectionId { account: other_label(), ..user.id.clone() };
        let (from, to) = if back { (&elsewhere, &user.id.account) } else { (&user.id, &elsewhere.account) };
        let done = tokio::time::timeout(Duration::from_secs(60), process.connections.rename(from, to)).await;
        self.journal.step(&process.gate.name, "rename", &(to, done));
    }

    /// Whether anything stands under the other label, or is on its way there.
    pub fn is_elsewhere(&self, user: &User) -> bool {
        let moves = self.server.record(&user.key).is_some_and(|record| record.moving.is_some());
        moves || self.server.record(&user.elsewhere).is_some_and(|record| rename::stands(&record))
    }

    /// One call, as the proxy makes it. `spite`: the API refuses the first token for nothing.
    pub async fn call(&self, user: &User, process: &Process, spite: bool) {
        // The dead answer nobody, whatever is left in their memory.
        if process.gate.is_killed() {
            return;
        }
        process.open.fetch_add(1, Ordering::Relaxed);
        self.journal.count(|counts| counts.calls += 1);
        let (want, began) = (self.want(user), Instant::now());
        let outcome = self.attempt(&want, user, process, began, spite).await;
        process.open.fetch_sub(1, Ordering::Relaxed);
        if process.gate.is_killed() {
            return;
        }
        self.journal.step(&process.gate.name, "call", &outcome);
        if let Err(unusable) = outcome
            && !user.explains(self, &unusable, began)
        {
            self.journal.violated(format!("a call through {} got {unusable:?} without cause", process.gate.name));
        }
    }

    /// As [`World::call`], but only success or a refusal with a cause will do.
    pub async fn call_in_calm(&self, user: &User, process: &Process) {
        let (want, began) = (self.want(user), Instant::now());
        let outcome = self.attempt(&want, user, process, began, false).await;
        self.journal.step(&process.gate.name, "calm call", &outcome);
        match outcome {
            Ok(()) => {}
            Err(unusable @ Unusable::AuthRequired { .. }) if user.explains(self, &unusable, began) => {}
            Err(unusable) => self.journal.violated(format!("at peace, {} got {unusable:?}", process.gate.name)),
        }
    }

    async fn attempt(
        &self,
        want: &Want<'_>,
        user: &User,
        process: &Process,
        began: Instant,
        spite: bool,
    ) -> Result<(), Unusable> {
        let connections = &process.connections;
        let now = || connections.now();
        let start = now();
        let mut credential = connections.resolve(want).await?;
        let mut renewed = false;
        for attempt in 0..4 {
            if self.serves(&credential, user, process, began, spite && attempt == 0) {
                connections.accepted(&credential, start);
                return Ok(());
            }
            let refused = now();
            let verdict = if renewed {
                {
                    let mut known = user.known.lock();
                    known.refused_twice = true;
                    known.late |= process.gate.troubled(began, Instant::now());
                }
                connections.rejected_again(want, &credential, start).await
            } else {
                connections.rejected(want, &credential, start).await
            };
            match verdict {
                AfterRejection::Replay(next) => {
                    // As the proxy tells a renewed credential from one that was only replaced.
                    renewed = attempt > 0 || next.issued_at.is_some_and(|issued| issued >= refused);
                    credential = next;
                }
                AfterRejection::PassOn => return Ok(()),
                AfterRejection::Refuse(unusable) => return Err(unusable),
            }
        }
        Ok(())
    }

    /// Whether the API takes the credential. It must be this person's, and none that was given up.
    fn serves(&self, credential: &Credential, user: &User, process: &Process, began: Instant, spite: bool) -> bool {
        let token = credential.value.to_str().unwrap().trim_start_matches("Bearer ");
        let (accepted, whose) = self.provider.accepts(token);
        if whose != user.number {
            self.journal.violated(format!("{token} was used for {}", user.number));
        }
        let known = user.known.lock();
        if let Some(gone) = known.gone_since.filter(|_| !known.connecting && !known.forgotten) {
            let blind = process.gate.troubled(gone, Instant::now()) || self.server.was_down(gone, Instant::now());
            if began > gone + self.server.felt_within() && !blind {
                self.journal.violated(format!("{token} was used after it was disconnected"));
            }
        }
        if spite && accepted {
            self.provider.refuse_for_nothing(token);
        }
        let answer = if spite {
            "refused for nothing"
        } else if accepted {
            "served"
        } else {
            "refused"
        };
        self.journal.step(&process.gate.name, token, &answer);
        accepted && !spite
    }
}
