//! The way from API keys to OAuth, with the clock turned by hand over all of it, on two replicas of one store.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::{
    clock::{Clock, Timestamp},
    config,
    connection::{AuthKind, Connections, Credential, Parts, Reason, Roots, Standing, Status, Unusable, Want},
    events::CALLER,
    events::{Event, Events, Kind, Sink},
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth::{self, Fault, Transport, TransportError},
    provider::{Live, Loaded, Services},
    store::{EmbeddedStore, Store},
    vault::Vault,
};

const DAY: Duration = Duration::from_secs(86_400);

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2027-01-01T09:00:00Z").unwrap()
}

fn end() -> Timestamp {
    Timestamp::parse_date("2027-03-01").unwrap()
}

/// Two services with an OAuth client; `fields` are further ones of `crm`.
fn configuration(fields: &str) -> String {
    let client = "client_id: c, client_secret: s, scopes: [all], authorize_url: https://p.example/authorize, \
                  token_url: https://p.example/token";
    format!(
        "public_url: https://connect.example.com\nlisteners: [{{address: '127.0.0.1:8080', serves: [proxy]}}]\n\
         callers: [{{issuer: 'https://app.example/', audience: v, secret: a secret of thirty-two bytes or so, algorithms: [HS256]}}]\n\
         store: {{embedded: {{path: ./unused.redb}}}}\n\
         vault: {{keys: [{{id: one, key: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='}}]}}\n\
         services:\n  crm: {{base_url: https://crm.example, {client}, {fields}}}\n  \
         crm-files: {{base_url: https://files.example, connection: crm}}\n"
    )
}

/// Nobody is asked in these tests.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn call(&self, _: http::Request<Vec<u8>>, _: bool) -> Result<http::Response<Vec<u8>>, TransportError> {
        Err(TransportError { kind: Fault::Timeout })
    }
}

#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Event>>>);

impl Sink for Told {
    fn tell(&self, event: &Event) {
        self.0.lock().push(event.clone());
    }
}

impl Told {
    /// Who was told what since the last time.
    pub fn take(&self) -> Vec<(String, &'static str)> {
        let mut told: Vec<(String, &'static str)> = std::mem::take(&mut *self.0.lock())
            .into_iter()
            .map(|event| (event.connection.caller.subject.as_str().to_owned(), event.kind.name()))
            .collect();
        told.sort_unstable();
        told
    }
}

/// Two replicas of one store, with the clock turned by hand.
pub struct World {
    pub replicas: [Connections; 2],
    services: Arc<Services>,
    pub clock: Clock,
    pub told: Told,
    _directory: TempDir,
}

impl World {
    fn new(api_keys: &str) -> Self {
        Self::with(&format!("api_keys: {api_keys}"))
    }

    /// With these fields of `crm`.
    pub fn with(fields: &str) -> Self {
        let draft = config::parse(&configuration(fields), Path::new("."), &|_| None);
        let (config, services) = match Loaded::settle(draft) {
            Ok(loaded) => (loaded.config, loaded.services),
            Err(problems) => panic!("{problems:?}"),
        };
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(directory.path().join("store.redb")).unwrap());
        let (clock, told) = (Clock::manual(start()), Told::default());
        let replica = || {
            let vault = Arc::new(Vault::new(&config.vault));
            Connections::new(Parts {
                store: Arc::clone(&store),
                roots: Roots::new(Arc::clone(&store), Arc::clone(&vault)),
                vault,
                live: Live::new(Arc::clone(&services)),
                oauth: Arc::new(oauth::Client::new(Arc::new(Nowhere))),
                metrics: Arc::default(),
                events: Events::new(vec![Box::new(told.clone())]),
                clock: clock.clone(),
                calls: Handle::current(),
                handle: Handle::current(),
                cache: config.cache,
                refresh: config.refresh,
                log_kept: config.audit.retention,
                public_url: config.public_url.clone(),
            })
        };
        let replicas = [replica(), replica()];
        Self { replicas, services, clock, told, _directory: directory }
    }

    pub async fn key(&self, user: &str) {
        self.replicas[0].api_keys.store(&id(user), &"sk-secret".into(), &CALLER).await.unwrap();
    }

    pub async fn grant(&self, user: &str) {
        self.grant_for(user, None).await;
    }

    /// A grant whose access token has this life, and that nothing renews.
    pub async fn grant_for(&self, user: &str, life: Option<Duration>) {
        let grant = oauth::Grant {
            access_token: format!("at-{user}").into(),
            refresh_token: None,
            expires_in: life,
            scopes: None,
            refresh_expires_in: None,
            id_token_subject: None,
        };
        self.replicas[0].manager.connect(&id(user), grant, None, &[], &CALLER).await.unwrap();
    }

    /// What a call of `user` to `service` goes out with.
    pub async fn call(&self, user: &str, service: &str) -> Result<AuthKind, Reason> {
        match self.resolve(user, service).await {
            Ok(credential) => Ok(credential.kind),
            Err(Unusable::AuthRequired { reason, .. }) => Err(reason),
            Err(other) => panic!("{other}"),
        }
    }

    async fn resolve(&self, user: &str, service: &str) -> Result<Arc<Credential>, Unusable> {
        let service = self.services.get(service).unwrap();
        let caller = id(user).caller;
        let want = Want {
            caller: &caller,
            services: &self.services,
            service,
            account: None,
            scopes: &[],
            operation: None,
            waited: None,
        };
        self.replicas[1].resolver.resolve(&want).await
    }

    /// A call of `user` through the second replica, which the upstream accepts.
    pub async fn used_by(&self, user: &str) {
        let credential = self.resolve(user, "crm").await.unwrap();
        self.replicas[1].resolver.accepted(&credential, self.clock.now());
        self.replicas[1].last_use.write_all(DAY).await;
    }

    /// Both replicas do the day's work at the same time; at most one did it.
    async fn day(&self) {
        let (a, b) = tokio::join!(self.replicas[0].api_keys.day(), self.replicas[1].api_keys.day());
        assert!(!(a.unwrap() && b.unwrap()), "both did the day's work");
    }

    /// Turns the clock to so many days before the end, in the middle of the day.
    fn turn_to(&self, days_ahead: u32) {
        let to = end().before(DAY * days_ahead).plus(DAY / 2);
        self.clock.advance(to.since(self.clock.now()));
    }
}

pub fn id(user: &str) -> ConnectionId {
    let issuer = Issuer::parse("https://app.example/").unwrap();
    ConnectionId {
        caller: CallerId { issuer, subject: Subject::parse(user).unwrap() },
        service: ServiceName::parse("crm").unwrap(),
        account: Account::default(),
    }
}

#[tokio::test]
async fn from_the_notice_to_the_clean_up_everything_happens_on_its_day_and_once() {
    let world = World::new("{phase: deprecated, retire_on: 2027-03-01, delete_after: 90d}");
    world.key("ada").await;
    world.key("bob").await;
    world.grant("bob").await;
    world.grant("eve").await;
    world.told.take();
    let mut told = Vec::new();
    for ahead in (1..=40).rev() {
        world.turn_to(ahead);
        world.day().await;
        world.day().await;
        assert_eq!(world.call("ada", "crm").await, Ok(AuthKind::ApiKey), "{ahead} days ahead");
        told.extend(world.told.take().into_iter().map(|(user, kind)| (ahead, user, kind)));
    }
    let ada = |ahead, kind| (ahead, "ada".to_owned(), kind);
    let reminder = "api_key_reminder";
    let expected = [ada(30, "api_key_deprecated"), ada(14, reminder), ada(7, reminder), ada(1, reminder)];
    assert_eq!(told, expected);

    // What is held in memory retires by the clock alone.
    world.clock.advance(end().since(world.clock.now()));
    for service in ["crm", "crm-files"] {
        assert_eq!(world.call("ada", service).await, Err(Reason::ApiKeyRetired));
        assert_eq!(world.call("bob", service).await, Ok(AuthKind::OAuth));
    }
    let seen = world.replicas[1].manager.get(&id("ada")).await.unwrap().unwrap();
    assert_eq!((seen.status, seen.invalid_reason), (Status::Invalid, Some(Reason::ApiKeyRetired)));

    let mut removed = Vec::new();
    for day in 0..=92_u32 {
        world.day().await;
        removed.extend(world.told.take().into_iter().map(|(user, kind)| (day, user, kind)));
        world.clock.advance(DAY);
    }
    let gone = |user: &str| (91, user.to_owned(), "api_key_removed");
    assert_eq!(removed, [gone("ada"), gone("bob")], "the log says it on day 90, they go on day 91");
    assert!(world.replicas[1].manager.get(&id("ada")).await.unwrap().is_none(), "nothing else was there");
    let bob = world.replicas[1].manager.get(&id("bob")).await.unwrap().unwrap();
    assert_eq!((bob.status, bob.api_key), (Status::Active, None));
    assert_eq!(world.call("bob", "crm").await, Ok(AuthKind::OAuth));
}

#[tokio::test]
async fn whoever_comes_late_gets_the_notice_first_and_no_reminder_twice() {
    let world = World::new("{phase: deprecated, retire_on: 2027-03-01}");
    world.turn_to(10);
    world.key("late").await;
    world.told.take();
    world.day().await;
    assert_eq!(world.told.take(), [("late".to_owned(), "api_key_deprecated")]);
    world.turn_to(9);
    world.day().await;
    assert_eq!(world.told.take(), []);
    world.turn_to(7);
    world.day().await;
    assert_eq!(world.told.take(), [("late".to_owned(), "api_key_reminder")]);
    // Connected by now: no more of it.
    world.grant("late").await;
    world.told.take();
    world.turn_to(1);
    world.day().await;
    assert_eq!(world.told.take(), []);
}

#[tokio::test]
async fn events_say_until_when() {
    let world = World::new("{phase: deprecated, retire_on: 2027-03-01}");
    world.key("ada").await;
    world.turn_to(20);
    world.told.take();
    world.day().await;
    let kinds: Vec<Kind> = world.told.0.lock().iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::ApiKeyDeprecated { retire_on: end() }]);
}

#[tokio::test]
async fn keys_that_are_allowed_encouraged_or_kept_make_no_work() {
    for api_keys in ["{}", "{phase: encouraged}", "{phase: retired, retire_on: 2026-01-01}"] {
        let world = World::new(api_keys);
        world.key("ada").await;
        world.told.take();
        for _ in 0..40 {
            world.day().await;
            world.clock.advance(DAY);
        }
        assert_eq!(world.told.take(), [], "{api_keys}");
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_told_once_a_day_by_whichever_replica() {
    let world = World::new("{}");
    world.key("ada").await;
    world.told.take();
    let caller = id("ada").caller;
    let service = world.services.get("crm").unwrap();
    let want = Want {
        caller: &caller,
        services: &world.services,
        service,
        account: None,
        scopes: &[],
        operation: None,
        waited: None,
    };
    let credential = world.replicas[0].resolver.resolve(&want).await.unwrap();
    world.replicas[0].resolver.accepted(&credential, start());
    // It is noted behind the call's back.
    while world.told.0.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.told.take(), [("ada".to_owned(), "api_key_used")]);
    let id = id("ada");
    let claim = |replica: usize, at| world.replicas[replica].api_keys.claim_use(&id, at);
    let tomorrow = start().plus(DAY);
    assert!(!claim(1, start().plus(DAY / 4)).await.unwrap(), "another replica, the same day");
    assert_eq!(world.replicas[1].api_keys.last_used(&id).await.unwrap(), Some(start()));
    assert!(claim(1, tomorrow).await.unwrap());
    assert!(!claim(0, tomorrow.plus(DAY / 4)).await.unwrap());
    assert!(!claim(0, start()).await.unwrap(), "a clock that lags behind");
    assert_eq!(world.replicas[0].api_keys.last_used(&id).await.unwrap(), Some(tomorrow));
}

#[tokio::test]
async fn a_lost_grant_falls_back_to_the_key_until_keys_retire() {
    let world = World::new("{phase: deprecated, retire_on: 2027-03-01}");
    world.key("ada").await;
    world.grant("ada").await;
    assert_eq!(world.call("ada", "crm").await, Ok(AuthKind::OAuth));
    let caller = id("ada").caller;
    let service = world.services.get("crm").unwrap();
    let want = Want {
        caller: &caller,
        services: &world.services,
        service,
        account: None,
        scopes: &[],
        operation: None,
        waited: None,
    };
    let credential = world.replicas[1].resolver.resolve(&want).await.unwrap();
    let began = world.clock.now();
    let after = world.replicas[1].resolver.rejected(&want, &credential, began, &CALLER).await;
    let crate::connection::AfterRejection::Replay(next) = after else { panic!("{after:?}") };
    assert_eq!(next.kind, AuthKind::ApiKey, "in the same call");
    world.clock.advance(end().since(world.clock.now()));
    assert_eq!(world.call("ada", "crm").await, Err(Reason::RejectedByUpstream));
    let seen = world.replicas[0].manager.get(&id("ada")).await.unwrap().unwrap();
    assert_eq!((seen.status, seen.auth_kind), (Status::Invalid, AuthKind::OAuth));
}

#[tokio::test]
async fn the_census_tells_who_rests_on_what() {
    let world = World::new("{phase: encouraged}");
    world.key("ada").await;
    world.key("bob").await;
    world.grant("bob").await;
    world.grant("eve").await;
    let page = world.replicas[0].api_keys.holders(None).await.unwrap();
    let mut standing: Vec<_> = page
        .holders
        .iter()
        .map(|holder| (holder.id.caller.subject.as_str().to_owned(), holder.standing, holder.since))
        .collect();
    standing.sort_unstable();
    let at = Some(start());
    let expected = [("ada", Standing::OnKey), ("bob", Standing::Both), ("eve", Standing::OAuth)];
    assert_eq!(standing, expected.map(|(user, standing)| (user.to_owned(), standing, at)));
    assert_eq!((page.records, page.unreadable, page.next), (3, 0, None));
}
