//! Everything that a connect flow needs, on an embedded store, with a provider that answers as it is told: for the tests
//! of this module and of the pages above it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Handle;

mod brittle;

pub(crate) use brittle::{Break, Brittle};

use super::{Consent, Funnel, Settings};
use crate::{
    clock::{Clock, Timestamp},
    config::{self, Config},
    connection::{self, Connection, Connections, Roots, Status},
    events::{
        Events,
        failures::{Failures, Pace},
    },
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth::{self, Fault, Transport, TransportError},
    provider::{Live, Loaded, Services},
    store::{EmbeddedStore, Store},
    telemetry::Metrics,
    vault::Vault,
};

/// Now, as these tests begin: that of the tests of `caller`, so that their tokens are good.
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

const CONFIG: &str = r#"
public_url: https://connect.example.com
application: { name: "Acme <Helpdesk>" }
listeners: [ { address: "127.0.0.1:8080", serves: [proxy, connect, admin] } ]
callers:
  - issuer: https://auth.example.com/
    audience: valetkey
    secret: a secret of thirty-two bytes, ok
    algorithms: [HS256]
connect: { return_to: ["https://app.example.com/"] }
store: { embedded: { path: ./unused.redb } }
vault: { keys: [ { id: one, key: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } ] }
services:
  crm:
    title: "C<R>M"
    base_url: https://crm.example/api
    authorize_url: https://crm.example/authorize
    token_url: https://crm.example/token
    revoke_url: https://crm.example/revoke
    userinfo_url: https://crm.example/me
    issuer: https://crm.example
    client_id: crm-client
    client_secret: crm-secret
    scopes: [contacts]
    scope_titles: { contacts: "Read your contacts" }
  calendar:
    base_url: https://calendar.example/api
    authorize_url: https://calendar.example/authorize
    token_url: https://calendar.example/token
    client_id: calendar-client
    client_secret: calendar-secret
    scopes: [events]
  crm-files:
    base_url: https://files.crm.example
    connection: crm
"#;

/// A provider that answers every call to a token endpoint in the same way, and counts them.
pub(crate) struct Provider {
    answer: Mutex<Result<(u16, String), Fault>>,
    person: Mutex<String>,
    address: Mutex<Option<String>>,
    revocations: AtomicUsize,
    /// Calls to token endpoints.
    pub exchanges: AtomicUsize,
    /// The bodies of those calls.
    pub bodies: Mutex<Vec<String>>,
}

impl Provider {
    /// Answers like this from now on.
    pub fn answer(&self, status: u16, body: &str) {
        *self.answer.lock() = Ok((status, body.to_owned()));
    }

    /// Is used by this person from now on.
    pub fn is(&self, person: &str) {
        *self.person.lock() = person.to_owned();
    }

    /// Gives this address for whoever it is, from now on.
    pub fn calls_itself(&self, address: Option<&str>) {
        *self.address.lock() = address.map(str::to_owned);
    }

    /// How many tokens it was asked to revoke.
    pub fn revoked(&self) -> usize {
        self.revocations.load(Ordering::SeqCst)
    }

    /// Waits until so many tokens were revoked: healers come round every ten seconds.
    pub async fn until_revoked(&self, count: usize) {
        for _ in 0..3_000 {
            if self.revoked() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("nobody revoked anything");
    }

    /// Is away from now on.
    pub fn fail(&self, fault: Fault) {
        *self.answer.lock() = Err(fault);
    }

    /// How many codes were sent to it.
    pub fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Transport for Provider {
    async fn call(&self, request: http::Request<Vec<u8>>, _: bool) -> Result<http::Response<Vec<u8>>, TransportError> {
        let json = |status: u16, body: &str| {
            let builder = http::Response::builder().status(status).header("content-type", "application/json");
            Ok(builder.body(body.as_bytes().to_vec()).unwrap())
        };
        if request.uri().path() == "/revoke" {
            self.revocations.fetch_add(1, Ordering::SeqCst);
            return json(200, "");
        }
        if request.uri().path() != "/token" {
            let person = self.person.lock().clone();
            if let Some(address) = &*self.address.lock() {
                return json(200, &format!(r#"{{"sub":"{person}","email":"{address}"}}"#));
            }
            return json(200, &format!(r#"{{"sub":"{person}","email":"{person}@crm.example"}}"#));
        }
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        self.bodies.lock().push(String::from_utf8(request.into_body()).unwrap());
        match &*self.answer.lock() {
            Ok((status, body)) => json(*status, body),
            Err(kind) => Err(TransportError { kind: *kind }),
        }
    }
}

/// The parts, wired.
pub(crate) struct Rig {
    pub consent: Arc<Consent>,
    pub connections: Connections,
    pub services: Arc<Services>,
    pub roots: Roots,
    pub store: Arc<dyn Store>,
    /// The same, to be broken.
    pub brittle: Arc<Brittle>,
    pub provider: Arc<Provider>,
    pub clock: Clock,
    /// What the flow counts.
    pub metrics: Arc<Metrics>,
    /// What it says of failures.
    pub failures: Failures,
    pub config: Config,
    _directory: TempDir,
}

impl Rig {
    /// With the configuration above.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// With another one. Runs inside a tokio runtime.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::writing(&[], change)
    }

    /// With another one, and these lines in services. Runs inside a tokio runtime.
    pub fn writing(lines: &[(&str, String)], change: impl FnOnce(&mut Config)) -> Self {
        let mut text = CONFIG.to_owned();
        for (service, line) in lines {
            let begin = format!("\n  {service}:\n");
            assert!(text.contains(&begin), "{service}");
            text = text.replace(&begin, &format!("{begin}    {line}\n"));
        }
        Self::configured(&text, change)
    }

    /// With this configuration, changed. Runs inside a tokio runtime.
    pub fn configured(text: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (mut config, services) = match Loaded::settle(config::parse(text, Path::new("."), &|_| None)) {
            Ok(loaded) => (loaded.config, loaded.services),
            Err(problems) => panic!("{problems:?}"),
        };
        change(&mut config);
        let directory = tempfile::tempdir().unwrap();
        let brittle = Arc::new(Brittle::new(EmbeddedStore::open(directory.path().join("store.redb")).unwrap()));
        let store: Arc<dyn Store> = Arc::clone(&brittle) as _;
        let clock = Clock::manual(START);
        let vault = Arc::new(Vault::new(&config.vault));
        let roots = Roots::new(Arc::clone(&store), Arc::clone(&vault));
        let provider = Arc::new(Provider {
            answer: Mutex::new(Ok((200, r#"{"access_token":"at","token_type":"Bearer","expires_in":3600}"#.into()))),
            person: Mutex::new("ada".into()),
            address: Mutex::default(),
            revocations: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            bodies: Mutex::default(),
        });
        let oauth = Arc::new(oauth::Client::new(Arc::clone(&provider) as Arc<dyn Transport>));
        let connections = Connections::new(connection::Parts {
            store: Arc::clone(&store),
            vault,
            roots: roots.clone(),
            live: Live::new(Arc::clone(&services)),
            oauth: Arc::clone(&oauth),
            events: Events::new(vec![]),
            metrics: Arc::default(),
            clock: clock.clone(),
            calls: Handle::current(),
            handle: Handle::current(),
            cache: config.cache,
            refresh: config.refresh,
            log_kept: config.audit.retention,
            public_url: config.public_url.clone(),
        });
        let metrics = Arc::new(Metrics::new());
        let failures = Failures::new(clock.clone(), Pace::for_window(config.alerts.window));
        let (counted, failing) = (Arc::clone(&metrics), failures.clone());
        let funnel = Funnel::new(roots.clone(), Arc::clone(&store), counted, failing, Handle::current());
        let settings = Settings { public_url: config.public_url.clone(), connect: config.connect.clone() };
        let consent = Consent::new(roots.clone(), Arc::clone(&store), oauth, connections.clone(), funnel, settings);
        Self {
            consent: Arc::new(consent),
            connections,
            services,
            roots,
            store,
            brittle,
            provider,
            clock,
            metrics,
            failures,
            config,
            _directory: directory,
        }
    }
}

impl Rig {
    /// Whether a grant for this connection waits for the application.
    pub async fn is_pending(&self, id: &ConnectionId) -> bool {
        let all = self.connections.manager.list(&id.caller).await.unwrap();
        let of_label = |found: &&Connection| found.service == id.service && found.account == id.account;
        all.iter().filter(of_label).any(|found| found.status == Status::Pending)
    }
}

/// A caller of the issuer that is believed.
pub(crate) fn caller(subject: &str) -> CallerId {
    CallerId { issuer: Issuer::parse("https://auth.example.com/").unwrap(), subject: Subject::parse(subject).unwrap() }
}

/// A caller's connection to a service.
pub(crate) fn connection_id(subject: &str, service: &str, account: &str) -> ConnectionId {
    ConnectionId {
        caller: caller(subject),
        service: ServiceName::parse(service).unwrap(),
        account: Account::parse(account).unwrap(),
    }
}
