//! Notices between a real store and a real endpoint, without the rest of the program.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};
use url::Url;

use super::{
    About, CALLER, Contacts, Event, EventIds, Inbox, Kind, Link, Notifier, Parts, Sink, Surroundings, notice::Judge,
};
use crate::{
    clock::{Clock, Timestamp},
    config::{self, NoticeKind, Notifications, VaultKey, Webhook},
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    outbound::{Outbound, OutboundOptions},
    secret::Secret,
    store::{EmbeddedStore, Store},
    telemetry::Metrics,
    vault::{Root, Vault},
};

const SOON: Duration = Duration::from_millis(5);

/// What an endpoint got: the id and the body.
type Got = Arc<Mutex<Vec<(String, Value)>>>;

/// An endpoint that answers with these statuses in turn, then with the last of them.
async fn endpoint(statuses: &[u16]) -> (Url, Got) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/hook", listener.local_addr().unwrap())).unwrap();
    let (got, statuses) = (Got::default(), statuses.to_vec());
    let seen = Arc::clone(&got);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let (head, body) = loop {
                socket.read_buf(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let head = head.to_lowercase();
                let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                if field("content-length:").unwrap().parse::<usize>().unwrap() == body.len() {
                    break (field("webhook-id:").unwrap().to_owned(), serde_json::from_str(body).unwrap());
                }
            };
            let status = {
                let mut got = seen.lock();
                got.push((head, body));
                *statuses.get(got.len() - 1).or(statuses.last()).unwrap()
            };
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, got)
}

struct World {
    store: Arc<dyn Store>,
    surroundings: Arc<Around>,
    vault: Arc<Vault>,
    _folder: TempDir,
}

struct Around {
    root: Arc<Root>,
    away: AtomicBool,
}

#[async_trait]
impl Surroundings for Around {
    async fn root(&self) -> Option<Arc<Root>> {
        (!self.away.load(Ordering::SeqCst)).then(|| Arc::clone(&self.root))
    }

    async fn about(&self, _: &ConnectionId, _: &[String], _: Option<&str>) -> Option<About> {
        let link = Link { url: "https://connect.example.com/x".into(), expires_at: None };
        Some(About { application: "Acme".into(), service: "CRM".into(), link: Some(link) })
    }
}

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(EmbeddedStore::open(folder.path().join("v.redb")).unwrap());
        let root = Arc::new(Root::from_bytes([7; 32]));
        let keys = vec![VaultKey { id: "a".into(), key: Secret::new([1; 32]) }];
        Self {
            store,
            surroundings: Arc::new(Around { root, away: AtomicBool::new(false) }),
            vault: Arc::new(Vault::new(&config::Vault { keys })),
            _folder: folder,
        }
    }

    /// A process that tells these endpoints everything.
    fn replica(&self, endpoints: &[&Url], retries: &[Duration]) -> Replica {
        let webhooks = endpoints
            .iter()
            .map(|url| Webhook {
                url: Url::clone(url),
                secrets: vec![Secret::new(vec![3; 32])],
                events: NoticeKind::ALL.to_vec(),
                allow_plain_http: false,
            })
            .collect();
        let metrics = Arc::new(Metrics::new());
        let inbox = Inbox::new(Clock::system(), Arc::clone(&metrics));
        let handle = Handle::current();
        let around = Arc::clone(&self.surroundings);
        let parts = Parts {
            store: Arc::clone(&self.store),
            vault: Arc::clone(&self.vault),
            surroundings: Arc::clone(&around) as _,
            contacts: Contacts::new(&[], 1, Arc::clone(&self.store), around, Clock::system(), handle.clone()),
            outbound: Outbound::new(OutboundOptions::default(), handle.clone()).unwrap(),
            settings: Notifications { webhooks, email: None, retries: retries.to_vec(), before_end: vec![] },
            handle,
        };
        Replica { notifier: Notifier::start(inbox.clone(), parts).unwrap(), inbox, metrics }
    }
}

struct Replica {
    inbox: Inbox,
    notifier: Notifier,
    metrics: Arc<Metrics>,
}

impl Replica {
    fn count(&self, channel: &str, outcome: &str) -> u64 {
        let name = format!("valetkey_notifications_total{{channel=\"{channel}\",outcome=\"{outcome}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    async fn until(&self, channel: &str, outcome: &str, count: u64) {
        until(|| self.count(channel, outcome) >= count).await;
    }
}

async fn until(mut fact: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes true");
}

fn connection(user: &str) -> ConnectionId {
    ConnectionId {
        caller: CallerId { issuer: Issuer::parse("https://i/").unwrap(), subject: Subject::parse(user).unwrap() },
        service: ServiceName::parse("crm").unwrap(),
        account: Account::default(),
    }
}

fn event(kind: Kind, user: &str, token_version: u64) -> Event {
    static IDS: LazyLock<EventIds> = LazyLock::new(|| EventIds::new("tests"));
    let at = Clock::system().now();
    Event {
        id: IDS.next(at),
        at,
        cause: CALLER.clone(),
        connection: connection(user),
        kind,
        detail: Some("revoked"),
        token_version: Some(crate::store::Version(token_version)),
        scopes: Vec::new(),
        provider_error: None,
    }
}

#[tokio::test]
async fn a_loss_that_three_replicas_meet_many_times_is_told_once() {
    let (url, got) = endpoint(&[204]).await;
    let world = World::new();
    let replicas = [(); 3].map(|()| world.replica(&[&url], &[SOON]));
    for replica in &replicas {
        for _ in 0..10 {
            replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
        }
    }
    until(|| replicas.iter().map(|replica| replica.count("none", "duplicate")).sum::<u64>() == 29).await;
    until(|| got.lock().len() == 1).await;
    let (id, body) = got.lock()[0].clone();
    assert!(id.starts_with("msg_"), "{id}");
    assert_eq!(body["type"], "connection.invalid");
    for (name, value) in [
        ("issuer", "https://i/"),
        ("user", "ada"),
        ("service", "crm"),
        ("account", "default"),
        ("reason", "revoked"),
        ("link", "https://connect.example.com/x"),
    ] {
        assert_eq!(body["data"][name], value);
    }
    // It is counted once the answer to it is read.
    until(|| replicas.iter().map(|replica| replica.count("webhook", "delivered")).sum::<u64>() == 1).await;
}

#[tokio::test]
async fn a_connection_that_was_made_again_and_lost_again_is_told_again() {
    let (url, got) = endpoint(&[200]).await;
    let replica = World::new().replica(&[&url], &[SOON]);
    for token_version in [1, 1, 2, 2] {
        replica.inbox.tell(&event(Kind::Invalidated, "ada", token_version));
    }
    replica.until("none", "duplicate", 2).await;
    until(|| got.lock().len() == 2).await;
    let got = got.lock();
    assert_ne!(got[0].0, got[1].0);
}

#[tokio::test]
async fn a_restart_tells_nothing_again() {
    let (url, got) = endpoint(&[200]).await;
    let world = World::new();
    for _ in 0..2 {
        let replica = world.replica(&[&url], &[SOON]);
        replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
        replica.notifier.drain(Duration::from_secs(5)).await;
    }
    assert_eq!(got.lock().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_fails_is_asked_again_under_the_same_id() {
    let (url, got) = endpoint(&[500, 302, 200]).await;
    let replica = World::new().replica(&[&url], &[SOON, SOON, SOON]);
    replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
    replica.until("webhook", "delivered", 1).await;
    assert_eq!(replica.count("webhook", "retried"), 2);
    let got = got.lock();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|message| *message == got[0]));
}

#[tokio::test]
async fn a_message_is_dead_when_its_schedule_is_over() {
    let (url, got) = endpoint(&[500]).await;
    let replica = World::new().replica(&[&url], &[SOON, SOON]);
    replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
    replica.until("webhook", "dead", 1).await;
    assert_eq!((got.lock().len(), replica.count("webhook", "delivered")), (3, 0));
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_left_alone_and_the_others_are_not() {
    let ((gone, of_gone), (fine, of_fine)) = (endpoint(&[410]).await, endpoint(&[200]).await);
    let replica = World::new().replica(&[&gone, &fine], &[SOON; 5]);
    replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
    replica.until("webhook", "dead", 1).await;
    replica.inbox.tell(&event(Kind::Invalidated, "bob", 1));
    replica.until("webhook", "delivered", 2).await;
    assert_eq!((of_gone.lock().len(), of_fine.lock().len()), (1, 2));
}

#[tokio::test]
async fn a_notice_waits_for_store_and_keys_that_are_away() {
    let (url, got) = endpoint(&[200]).await;
    let world = World::new();
    world.surroundings.away.store(true, Ordering::SeqCst);
    let replica = world.replica(&[&url], &[SOON]);
    replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
    tokio::task::yield_now().await;
    assert_eq!(got.lock().len(), 0);
    world.surroundings.away.store(false, Ordering::SeqCst);
    until(|| got.lock().len() == 1).await;
}

#[tokio::test]
async fn what_could_not_be_delivered_before_the_end_is_delivered_by_another_replica() {
    let (url, got) = endpoint(&[500, 200]).await;
    let world = World::new();
    let first = world.replica(&[&url], &[Duration::from_millis(300)]);
    first.inbox.tell(&event(Kind::Invalidated, "ada", 1));
    first.until("webhook", "retried", 1).await;
    first.notifier.drain(Duration::from_secs(5)).await;
    assert_eq!(first.count("webhook", "dead"), 0);
    let second = world.replica(&[&url], &[SOON]);
    second.until("webhook", "delivered", 1).await;
    let got = got.lock();
    assert_eq!((got.len(), &got[0]), (2, &got[1]));
}

#[tokio::test]
async fn what_can_not_be_left_for_others_is_a_dead_letter() {
    let (url, _) = endpoint(&[500]).await;
    let world = World::new();
    let replica = world.replica(&[&url], &[Duration::from_secs(600)]);
    replica.inbox.tell(&event(Kind::Invalidated, "ada", 1));
    replica.until("webhook", "retried", 1).await;
    world.store.close().await;
    replica.notifier.drain(Duration::from_secs(5)).await;
    assert_eq!(replica.count("webhook", "dead"), 1);
}

#[test]
fn failures_to_renew_are_worth_one_word_an_outage() {
    let judge = Judge::new();
    let noticed = |token_version| {
        let notice = judge.notice(&event(Kind::RefreshFailed, "ada", token_version), Timestamp::from_seconds(1));
        notice.map(|notice| notice.kind)
    };
    let first: Vec<_> = (0..10).map(|_| noticed(1)).collect();
    assert_eq!(first.iter().flatten().collect::<Vec<_>>(), [&NoticeKind::HealingFailed]);
    assert_eq!(first[2], Some(NoticeKind::HealingFailed));
    // Renewed meanwhile, then the next outage.
    assert_eq!([noticed(2), noticed(2), noticed(2)], [None, None, Some(NoticeKind::HealingFailed)]);
}

#[test]
fn notices_are_the_same_only_where_connection_cause_and_occasion_are() {
    let root = Root::from_bytes([7; 32]);
    let judge = Judge::new();
    let at = |day: u64| Timestamp::from_seconds(1_795_446_000 + day * 86_400);
    let identity = |event: &Event, day| judge.notice(event, at(day)).unwrap().identity(&root);
    let lost = event(Kind::Invalidated, "ada", 1);
    assert_eq!(identity(&lost, 0), identity(&lost, 3));
    // It is a name at rest: another version has to find it.
    assert_eq!(HEXLOWER.encode(&identity(&lost, 0)), "cb0ae3e7e7ffffc5dd11ec000a6e7770");
    assert_ne!(identity(&lost, 0), identity(&event(Kind::Invalidated, "bob", 1), 0));
    assert_ne!(identity(&lost, 0), identity(&event(Kind::Invalidated, "ada", 2), 0));
    let lacking = |scopes: &[&str]| Event {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..event(Kind::ScopesMissing, "ada", 1)
    };
    // An hour, whatever the call named.
    let moment = |event: &Event, seconds: u64| {
        judge.notice(event, Timestamp::from_seconds(1_795_446_000 + seconds)).unwrap().identity(&root)
    };
    let of_one_hour: BTreeSet<_> = (0..50).map(|n| moment(&lacking(&[&format!("s{n}")]), n * 60)).collect();
    assert_eq!(of_one_hour.len(), 1);
    assert_ne!(moment(&lacking(&["a"]), 0), moment(&lacking(&["a"]), 3600));
    // A client is the service's, whoever's connection met the refusal.
    let refused = event(Kind::ClientRefused, "ada", 1);
    assert_eq!(identity(&refused, 0), identity(&event(Kind::ClientRefused, "bob", 7), 0));
    assert_ne!(identity(&refused, 0), identity(&refused, 1));
    let mut elsewhere = refused.clone();
    elsewhere.connection.service = ServiceName::parse("mail").unwrap();
    assert_ne!(identity(&refused, 0), identity(&elsewhere, 0));
    let end = |day: u64| Timestamp::from_seconds(1_798_070_400 + day * 86_400);
    let deprecated = |day| event(Kind::ApiKeyDeprecated { retire_on: end(day) }, "ada", 0);
    let reminder = event(Kind::ApiKeyReminder { retire_on: end(0) }, "ada", 0);
    assert_eq!(identity(&deprecated(0), 0), identity(&deprecated(0), 9));
    assert_ne!(identity(&deprecated(0), 0), identity(&deprecated(30), 0));
    assert_eq!(identity(&reminder, 0), identity(&reminder, 0));
    assert_ne!(identity(&reminder, 0), identity(&reminder, 7));
    let ending = |day| event(Kind::Ending { at: end(day) }, "ada", 0);
    assert_eq!(identity(&ending(0), 0), identity(&ending(0), 0));
    assert_ne!(identity(&ending(0), 0), identity(&ending(0), 11), "each configured day is a notice of its own");
    assert_ne!(identity(&ending(0), 0), identity(&ending(1), 0), "and each end");
}

#[test]
fn what_recurs_with_every_call_is_told_to_the_sinks_once() {
    #[derive(Clone, Default)]
    struct Count(Arc<Mutex<usize>>);
    impl Sink for Count {
        fn tell(&self, _: &Event) {
            *self.0.lock() += 1;
        }
    }
    let count = Count::default();
    let events = super::Events::new(vec![Box::new(count.clone())]);
    for token_version in [1, 1, 1, 2, 2] {
        events.tell_once(&event(Kind::ScopesMissing, "ada", token_version));
    }
    assert_eq!(*count.0.lock(), 2);
}
