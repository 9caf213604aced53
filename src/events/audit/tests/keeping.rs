//! Facts of signing and cutting, on a store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    super::{
        chain::{Anchor, HEADS_NAME, Head, Heads, head_name, signed, signer},
        verify,
    },
    *,
};
use crate::{
    config,
    events::{About, Surroundings},
    store::Entry,
    vault::Root,
};

struct Fixed;

#[async_trait]
impl Surroundings for Fixed {
    async fn root(&self) -> Option<Arc<Root>> {
        Some(Arc::new(Root::from_bytes([7; 32])))
    }

    async fn about(&self, _: &ConnectionId, _: &[String], _: Option<&str>) -> Option<About> {
        None
    }
}

/// A moment after everything.
const LATER: Timestamp = Timestamp::from_seconds(9_000_000_000);

struct Log {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    _folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(folder.path().join("store.redb")).unwrap());
        Self { store, vault: vault(), _folder: folder }
    }

    fn keeper(&self, retention: Duration, max_entries: Option<u64>) -> Keeper {
        let settings = config::Audit { retention, max_entries, file: None };
        Keeper::new(Arc::clone(&self.store), Arc::new(Fixed), Clock::system(), &settings, None)
    }

    async fn append(&self, shard: u8, count: usize) {
        let key = PersonalKey::from_bytes([1; 32]);
        let entries: Vec<Entry> = (0..count)
            .map(|_| entry::seal(&self.vault, &OwnerId([shard; 16]), &key, &event(Kind::Refreshed)).unwrap())
            .collect();
        for some in entries.chunks(100) {
            self.store.append(Shard(shard), some).await.unwrap();
        }
    }

    async fn count(&self, shard: u8) -> usize {
        self.store.read(&Stream { log: AUDIT, shard: Shard(shard) }, Order::Oldest(None), 10_000).await.unwrap().len()
    }

    async fn findings(&self, lines: &str) -> Vec<String> {
        let reader = AuditReader::new(Arc::clone(&self.store), Arc::clone(&self.vault));
        let report = verify(&reader, &Root::from_bytes([7; 32]), lines, |_| (), |_| ()).await.unwrap();
        report.findings.iter().map(ToString::to_string).collect()
    }

    async fn signed(&self) -> Heads {
        let bytes = self.store.peek(HEADS_NAME).await.unwrap().unwrap();
        signed(&signer(&Root::from_bytes([7; 32])).public_key(), &bytes).unwrap()
    }
}

#[tokio::test]
async fn what_came_is_signed_and_holds_and_what_has_not_settled_waits() {
    let (log, root) = (Log::new(), Root::from_bytes([7; 32]));
    let keeper = log.keeper(DAY * 400, None);
    assert_eq!(keeper.keep(LATER).await.unwrap(), None, "nothing came");
    log.append(3, 5).await;
    log.append(200, 700).await;
    assert_eq!(keeper.keep(Timestamp::from_seconds(1)).await.unwrap(), None, "nothing has settled");
    let anchor = keeper.keep(LATER).await.unwrap().unwrap();
    let moved: Vec<_> = anchor.shards.iter().map(|(shard, count, _)| (shard.0, *count)).collect();
    assert_eq!((anchor.sequence, moved), (1, vec![(3, 5), (200, 700)]));
    assert_eq!(keeper.keep(LATER).await.unwrap(), None, "nothing more came");
    log.append(3, 1).await;
    let next = keeper.keep(LATER).await.unwrap().unwrap();
    assert_eq!((next.sequence, next.shards.len(), next.shards[0].1), (2, 1, 6));
    let line = next.sign(&signer(&root));
    assert_eq!(Anchor::find(&signer(&root).public_key(), &line), Ok(Some(next)));
    assert_eq!(log.findings(&line).await, Vec::<String>::new());
    assert_eq!(log.signed().await.entries(), 706);
}

#[tokio::test]
async fn two_replicas_that_sign_at_the_same_time_harm_nothing() {
    let log = Log::new();
    let keepers = [log.keeper(DAY * 400, None), log.keeper(DAY * 400, None)];
    for _ in 0..5 {
        log.append(3, 20).await;
        let (one, other) = tokio::join!(keepers[0].keep(LATER), keepers[1].keep(LATER));
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        let _ = keepers[0].keep(LATER).await;
        assert_eq!(log.findings("").await, Vec::<String>::new());
    }
    assert_eq!(log.signed().await.entries(), 100);
}

#[tokio::test]
async fn where_there_is_too_much_the_fullest_shard_gives_and_what_is_left_holds() {
    let log = Log::new();
    log.append(3, 10).await;
    log.append(9, 1300).await;
    log.keeper(DAY * 400, None).keep(LATER).await.unwrap();
    log.append(9, 50).await;
    log.keeper(DAY * 400, Some(700)).keep(LATER).await.unwrap();
    log.keeper(DAY * 400, Some(700)).keep(LATER).await.unwrap();
    assert_eq!((log.count(3).await, log.count(9).await), (10, 690));
    assert_eq!(log.findings("").await, Vec::<String>::new());
    assert_eq!(log.signed().await.entries(), 700);
}

#[tokio::test]
async fn what_is_too_old_goes_and_the_chain_goes_on() {
    let log = Log::new();
    log.append(3, 40).await;
    // All shards have their turn.
    let keep = async |until: Timestamp, retention| {
        let keeper = log.keeper(retention, None);
        keeper.keep_in_turn(until, 3).await.unwrap()
    };
    keep(LATER, DAY * 400).await;
    assert_eq!(log.count(3).await, 40);
    log.append(3, 2).await;
    keep(LATER, Duration::ZERO).await;
    assert_eq!(log.count(3).await, 0);
    assert_eq!(log.findings("").await, Vec::<String>::new());
    log.append(3, 2).await;
    keep(LATER, DAY * 400).await;
    assert_eq!(log.signed().await.shards[0].head.count, 44);
    assert_eq!(log.findings("").await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_signs_on_top_of_what_was_changed() {
    for name in [head_name(Shard(3)), HEADS_NAME.to_owned()] {
        let log = Log::new();
        let keeper = log.keeper(DAY * 400, None);
        log.append(3, 5).await;
        keeper.keep(LATER).await.unwrap();
        let before = log.store.take(&name).await.unwrap().unwrap();
        let mut changed = before.clone();
        changed[12] ^= 1;
        log.store.put_once(&name, &changed, None).await.unwrap();
        log.append(3, 5).await;
        let kept = keeper.keep(LATER).await;
        assert!(!matches!(kept, Ok(Some(_))), "{kept:?}");
        assert_eq!(log.store.peek(&name).await.unwrap(), Some(changed), "it stays as it is");
        assert_ne!(log.findings("").await, Vec::<String>::new());
    }
    // And where it is gone, it isn't begun anew.
    let log = Log::new();
    let keeper = log.keeper(DAY * 400, None);
    log.append(3, 5).await;
    keeper.keep(LATER).await.unwrap();
    log.store.take(&head_name(Shard(3))).await.unwrap();
    log.append(3, 5).await;
    keeper.keep(LATER).await.unwrap();
    assert_eq!(log.store.peek(&head_name(Shard(3))).await.unwrap(), None);
    assert_eq!(log.findings("").await, ["shard 03: what is signed of it is missing"]);
}

#[test]
fn marks_stay_few_and_keep_floor_and_head() {
    let mut head = Head::beginning(Shard(1));
    let (mut mark, logged) = (head.head(), logged(entry(1)));
    for _ in 0..1000 {
        mark = mark.then(&logged);
        head.extend(mark);
        assert!(head.marks().len() <= 48);
        assert!(head.marks().is_sorted_by(|one, next| one.count < next.count));
        assert_eq!((head.floor().count, head.head()), (0, mark));
    }
    head.cut(mark);
    assert_eq!(head.marks(), [mark]);
}

fn entry(number: u8) -> Entry {
    Entry { log: AUDIT, id: EntryId([number; 16]), sealed: vec![number; 20] }
}
