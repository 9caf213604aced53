//! Facts of what the log keeps, and of what it forgets.

use std::{sync::Arc, time::Duration};

use super::{
    entry::{self, may_be_about},
    person::Missing,
    *,
};
use crate::{
    clock::{Clock, Timestamp},
    config::{self, VaultKey},
    events::{Actor, Cause, Event, EventIds, Kind},
    id::{Account, CallerId, ConnectionId, Issuer, RequestId, ServiceName, Subject},
    secret::Secret,
    store::{EmbeddedStore, EntryId, Logged, Order, OwnerId, Position, Shard, Store, Stream, Version},
    vault::{Context, PersonalKey, Purpose, Vault},
};

pub(super) fn vault() -> Arc<Vault> {
    let keys = vec![VaultKey { id: "a".into(), key: Secret::new([1; 32]) }];
    Arc::new(Vault::new(&config::Vault { keys }))
}

pub(super) const ADA: OwnerId = OwnerId([7; 16]);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn event(kind: Kind) -> Event {
    static IDS: std::sync::LazyLock<EventIds> = std::sync::LazyLock::new(|| EventIds::new("p1"));
    let caller = CallerId {
        issuer: Issuer::parse("https://auth.example.com/").unwrap(),
        subject: Subject::parse("ada").unwrap(),
    };
    let (service, account) = (ServiceName::parse("crm").unwrap(), Account::parse("at-home").unwrap());
    let at = Timestamp::from_millis(1_800_000_000_123);
    let request = RequestId::from_number(7);
    Event {
        id: IDS.next(at),
        at,
        cause: Cause::in_request(Actor::Upstream, request, Some([203, 0, 113, 7].into())),
        connection: ConnectionId { caller, service, account },
        kind,
        detail: Some("rejected_by_upstream"),
        token_version: Some(Version(5)),
        scopes: vec!["repo".to_owned()],
        provider_error: Some("token_revoked".to_owned()),
    }
}

pub(super) fn logged(entry: crate::store::Entry) -> Logged {
    Logged { position: Position { at_ms: 1, nth: 0 }, id: entry.id, sealed: entry.sealed }
}

/// A store with a sealer for each of two replicas.
struct World {
    store: Arc<dyn Store>,
    sealers: [Sealer; 2],
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path().join("store.redb")).unwrap());
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let sealers = [(); 2].map(|()| Sealer::new(Arc::clone(&store), vault(), clock.clone(), DAY * 400));
        Self { store, sealers, clock, _folder: folder }
    }

    /// As a reader would show it.
    async fn read(&self, logged: &Logged) -> KeptEvent {
        let opened = Opened::open(&vault(), &STREAM, logged).unwrap();
        let key = self.sealers[0].keys().find(opened.owner().expect("it is about somebody")).await.unwrap();
        opened.with(key.as_ref())
    }

    async fn user(&self, logged: &Logged) -> Option<String> {
        self.read(logged).await.person.map(|person| person.user.as_str().to_owned())
    }
}

const STREAM: Stream = Stream { log: AUDIT, shard: Shard(7) };

#[test]
fn an_event_is_read_back_from_its_place_and_from_no_other() {
    let (vault, event, key) = (vault(), event(Kind::Invalidated), PersonalKey::generate().unwrap());
    let entry = entry::seal(&vault, &ADA, &key, &event).unwrap();
    for name in ["ada", "crm", "auth.example.com", "203.0.113.7", "at-home"] {
        assert!(!entry.sealed.windows(name.len()).any(|part| part == name.as_bytes()), "{name} is in clear");
    }
    let logged = logged(entry);
    let read = Opened::open(&vault, &STREAM, &logged).unwrap().with(Some(&key));
    let person = read.person.as_ref().unwrap();
    assert_eq!((person.user.as_str(), person.account.as_str()), ("ada", "at-home"));
    assert_eq!((person.issuer.as_str(), person.address), ("https://auth.example.com/", event.cause.address));
    assert_eq!((read.at, read.kind.as_str(), read.actor.as_str()), (event.at, "invalidated", "upstream"));
    assert_eq!(read.service.as_ref().map(ServiceName::as_str), Some("crm"));
    assert_eq!((read.scopes.as_slice(), read.token_version), (event.scopes.as_slice(), event.token_version));
    assert_eq!((read.detail, read.provider_error), (event.detail.map(str::to_owned), event.provider_error));
    assert_eq!(read.request.as_deref(), event.cause.request.as_ref().map(RequestId::as_str));
    let elsewhere = Stream { shard: Shard(8), ..STREAM };
    assert!(matches!(Opened::open(&vault, &elsewhere, &logged), Err(KeptError::Vault(_))));
    let renamed = Logged { id: EntryId([1; 16]), ..logged.clone() };
    assert!(matches!(Opened::open(&vault, &STREAM, &renamed), Err(KeptError::Vault(_))));
    let mut tagged = logged;
    tagged.sealed[1] ^= 1;
    assert!(matches!(Opened::open(&vault, &STREAM, &tagged), Err(KeptError::Vault(_))), "nor under another tag");
}

#[test]
fn without_the_persons_key_everything_else_is_shown_and_the_person_is_not() {
    let (vault, event, key) = (vault(), event(Kind::Invalidated), PersonalKey::generate().unwrap());
    let logged = logged(entry::seal(&vault, &ADA, &key, &event).unwrap());
    for other in [None, Some(PersonalKey::generate().unwrap())] {
        let read = Opened::open(&vault, &STREAM, &logged).unwrap().with(other.as_ref());
        assert_eq!((read.person, read.kind.as_str(), read.at), (None, "invalidated", event.at));
    }
    let [ours, theirs] = [&key, &PersonalKey::generate().unwrap()].map(PersonalKey::tag);
    assert!(may_be_about(&logged, Some(ours)) && !may_be_about(&logged, Some(theirs)) && !may_be_about(&logged, None));
}

#[test]
fn what_versions_before_wrote_is_read_still() {
    let (vault, id) = (vault(), EntryId([3; 16]));
    let plain = br#"{"t":1800000000123,"i":"https://i/","u":"ada","s":"crm","a":"work","k":"connected","b":"caller","p":"203.0.113.7"}"#;
    let context = Context { purpose: Purpose::Event, parts: &[b"audit", &[7], &id.0] };
    let sealed = vault.seal(&context, plain).unwrap();
    let logged = Logged { position: Position { at_ms: 1, nth: 0 }, id, sealed };
    let opened = Opened::open(&vault, &STREAM, &logged).unwrap();
    assert!(opened.owner().is_none() && may_be_about(&logged, None));
    let event = opened.with(None);
    let person = event.person.unwrap();
    assert_eq!((event.kind.as_str(), person.user.as_str(), person.account.as_str()), ("connected", "ada", "work"));
}

#[tokio::test]
async fn two_replicas_that_make_a_key_at_the_same_time_agree_on_it() {
    let world = World::new();
    let [one, other] = &world.sealers;
    let (one, other) =
        tokio::join!(one.keys().to_seal(&ADA, Missing::Make), other.keys().to_seal(&ADA, Missing::Begin));
    assert_eq!(one.unwrap().tag(), other.unwrap().tag());
}

#[tokio::test]
async fn who_is_erased_is_forgotten_by_entries_that_stay() {
    let world = World::new();
    let connected = logged(world.sealers[0].entry(&ADA, &event(Kind::Connected)).await.unwrap());
    let erased = logged(world.sealers[0].entry(&ADA, &event(Kind::Erased)).await.unwrap());
    assert_eq!(world.user(&erased).await.as_deref(), Some("ada"));
    world.sealers[0].keys().destroy(&ADA).await.unwrap();
    for logged in [&connected, &erased] {
        assert_eq!(world.user(logged).await, None);
    }
    // What is still to be written of them says nothing more, whoever writes it.
    world.sealers[1].keys().changed(&ADA);
    for sealer in &world.sealers {
        for kind in [Kind::Refreshed, Kind::RevocationFailed, Kind::Erased] {
            let late = logged(sealer.entry(&ADA, &event(kind)).await.unwrap());
            assert_eq!(world.user(&late).await, None, "{kind:?}");
        }
    }
    // Once they are back, they are there anew, and what was before stays forgotten.
    let again = logged(world.sealers[1].entry(&ADA, &event(Kind::Connected)).await.unwrap());
    let later = logged(world.sealers[0].entry(&ADA, &event(Kind::Refreshed)).await.unwrap());
    assert_eq!(world.user(&again).await.as_deref(), Some("ada"));
    assert_eq!(world.user(&later).await.as_deref(), Some("ada"));
    assert_eq!(world.user(&connected).await, None);
}

#[tokio::test]
async fn a_key_is_written_again_in_time_and_what_it_sealed_is_read_by_it() {
    let world = World::new();
    let name = format!("audit-key-{ADA}");
    let first = logged(world.sealers[0].entry(&ADA, &event(Kind::Connected)).await.unwrap());
    let written = world.store.peek(&name).await.unwrap();
    world.clock.advance(DAY * 20);
    world.sealers[0].entry(&ADA, &event(Kind::Refreshed)).await.unwrap();
    assert_eq!(world.store.peek(&name).await.unwrap(), written);
    world.clock.advance(DAY * 11);
    world.sealers[0].entry(&ADA, &event(Kind::Refreshed)).await.unwrap();
    assert_ne!(world.store.peek(&name).await.unwrap(), written);
    assert_eq!(world.user(&first).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_damaged_key_stops_what_needs_it_and_no_erasure() {
    let world = World::new();
    world.store.put_once(&format!("audit-key-{ADA}"), b"garbage", None).await.unwrap();
    let keys = world.sealers[0].keys();
    assert!(matches!(keys.to_seal(&ADA, Missing::Make).await, Err(KeyError::Vault(_))));
    assert!(keys.to_seal(&ADA, Missing::Anonymous).await.is_ok());
    keys.destroy(&ADA).await.unwrap();
    assert!(keys.to_seal(&ADA, Missing::Begin).await.is_ok());
}

#[tokio::test]
async fn what_is_gathered_is_appended_once_and_what_is_lost_is_counted() {
    let world = World::new();
    let sealer = || Arc::new(Sealer::new(Arc::clone(&world.store), vault(), world.clock.clone(), DAY));
    let gathered = Gathered::new(sealer(), Arc::clone(&world.store), Arc::default(), world.clock.clone(), "p1");
    let first = event(Kind::Refreshed);
    gathered.add(ADA, &first);
    gathered.add(ADA, &first);
    gathered.write().await.unwrap();
    let all = world.store.read(&STREAM, Order::Oldest(None), 10).await.unwrap();
    assert_eq!(all.len(), 1, "the same event is there once");
    for _ in 0..10_007 {
        gathered.add(ADA, &event(Kind::Refreshed));
    }
    gathered.write().await.unwrap();
    let all = world.store.read(&STREAM, Order::Oldest(None), 20_000).await.unwrap();
    assert_eq!(all.len(), 10_001);
    let mut told = Vec::new();
    for shard in Shard::all().filter(|shard| *shard != STREAM.shard) {
        let stream = Stream { shard, ..STREAM };
        for logged in world.store.read(&stream, Order::Oldest(None), 10).await.unwrap() {
            told.push(Opened::open(&vault(), &stream, &logged).unwrap().with(None));
        }
    }
    // Its shard is anybody's, and may be the very same.
    if let [lost] = told.as_slice() {
        assert_eq!((lost.kind.as_str(), lost.count, &lost.person), ("events_dropped", Some(7), &None));
    } else {
        assert_eq!(all.len(), 10_002);
    }
}
