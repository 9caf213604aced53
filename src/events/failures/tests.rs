//! From what was noted to what is read, on the embedded store.

use tempfile::TempDir;
use tokio::runtime::Handle;

use super::*;
use crate::{
    config::{self, VaultKey},
    secret::Secret,
    store::{EmbeddedStore, Store},
    vault::Vault,
};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);

struct Rig {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    clock: Clock,
    _directory: TempDir,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(directory.path().join("store.redb")).unwrap());
        let keys = vec![VaultKey { id: "a".into(), key: Secret::new([1; 32]) }];
        // The store has a clock of its own, by which it is read no further back than is asked for.
        let clock = Clock::manual(Clock::system().now());
        Self { store, vault: Arc::new(Vault::new(&config::Vault { keys })), clock, _directory: directory }
    }

    /// A process on this store.
    fn process(&self) -> (Failures, Keeper) {
        let failures = Failures::new(self.clock.clone(), Pace::for_window(MINUTE * 60));
        let (store, vault) = (Arc::clone(&self.store), Arc::clone(&self.vault));
        (failures.clone(), Keeper::start(failures, store, vault, &Handle::current()))
    }

    async fn read(&self, hours: u32) -> Vec<(String, String, u64)> {
        let log = FailureLog::new(Arc::clone(&self.store), Arc::clone(&self.vault));
        let services = ["crm", "calendar"].map(service);
        let all = log.failures(&services, hours, self.clock.now()).await.unwrap();
        all.into_iter().map(|failure| (failure.service, failure.error, failure.count)).collect()
    }
}

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn row(service: &str, error: &str, count: u64) -> (String, String, u64) {
    (service.into(), error.into(), count)
}

#[tokio::test]
async fn what_two_processes_met_is_added_up_the_most_frequent_first() {
    let rig = Rig::new();
    let ((one, kept_by_one), (other, kept_by_other)) = (rig.process(), rig.process());
    one.note(&service("crm"), "denied".into(), None);
    one.note(&service("calendar"), "refresh_failed:timeout".into(), None);
    for _ in 0..3 {
        other.note(&service("crm"), "denied".into(), Some(&RequestId::from_number(7)));
    }
    other.note(&service("gone"), "denied".into(), None);
    kept_by_one.drain(MINUTE).await;
    kept_by_other.drain(MINUTE).await;
    assert_eq!(rig.read(24).await, [row("crm", "denied", 4), row("calendar", "refresh_failed:timeout", 1)]);
    kept_by_other.drain(MINUTE).await;
    assert_eq!(rig.read(24).await[0].2, 4, "once");
    let log = FailureLog::new(Arc::clone(&rig.store), Arc::clone(&rig.vault));
    let told = log.failures(&[service("crm")], 24, rig.clock.now()).await.unwrap();
    assert_eq!(told[0].request_id.as_deref(), Some(RequestId::from_number(7).as_str()));
    rig.clock.advance(MINUTE * 61);
    assert_eq!(rig.read(1).await, [], "that was more than an hour ago");
}

#[test]
fn a_batch_is_read_where_it_was_put_and_says_nothing_in_clear() {
    let keys = vec![VaultKey { id: "a".into(), key: Secret::new([1; 32]) }];
    let vault = Vault::new(&config::Vault { keys });
    let batch = Batch::first(&service("crm"), "denied", None, START);
    let entry = batch.entry(&vault).unwrap();
    assert!(!entry.sealed.windows(6).any(|part| part == b"denied"));
    let stream = kept::stream_of(&service("crm"));
    let position = crate::store::Position { at_ms: 1, nth: 0 };
    let logged = crate::store::Logged { position, id: entry.id, sealed: entry.sealed };
    assert_eq!(Batch::open(&vault, &stream, &logged), Some(batch));
    let elsewhere = crate::store::Stream { shard: crate::store::Shard(stream.shard.0.wrapping_add(1)), ..stream };
    assert_eq!(Batch::open(&vault, &elsewhere, &logged), None);
}

#[test]
fn events_count_by_their_class_and_the_providers_word() {
    let failures = Failures::new(Clock::manual(START), Pace::for_window(MINUTE));
    let event = |kind, detail| Event {
        id: crate::events::EventIds::new("p").next(START),
        at: START,
        cause: crate::events::CALLER.clone(),
        connection: crate::id::ConnectionId {
            caller: crate::id::CallerId {
                issuer: crate::id::Issuer::parse("https://i/").unwrap(),
                subject: crate::id::Subject::parse("ada").unwrap(),
            },
            service: service("crm"),
            account: crate::id::Account::default(),
        },
        kind,
        detail,
        token_version: None,
        scopes: Vec::new(),
        provider_error: None,
    };
    for (kind, detail) in [
        (Kind::RefreshFailed, Some("timeout")),
        (Kind::RefreshFailed, None),
        (Kind::ClientRefused, Some("invalid_client")),
        (Kind::Invalidated, Some("revoked")),
        (Kind::RevocationFailed, None),
        (Kind::Connected, None),
        (Kind::Expired, None),
    ] {
        failures.tell(&event(kind, detail));
    }
    let taken = failures.0.gathered.lock().take(START, true);
    let errors: Vec<&str> = taken.iter().map(|batch| batch.error.as_str()).collect();
    let expected = [
        "client_refused:invalid_client",
        "invalidated:revoked",
        "refresh_failed",
        "refresh_failed:timeout",
        "revocation_failed",
    ];
    assert_eq!(errors, expected);
}
