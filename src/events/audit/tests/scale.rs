//! How long a question takes in a log of a million entries, in a real Redis. Slow: `cargo nextest run --release --lib --run-ignored
//! only -E 'test(/a_million_entries/)' --no-capture`; `VALETKEY_AUDIT_ENTRIES` is how many.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::*;
use crate::store::{RedisStore, redis::testing::Server};

/// How many people they are about.
const PEOPLE: usize = 10_000;
const QUESTIONS: usize = 200;

fn person(number: usize) -> (OwnerId, Event) {
    let mut owner = [0; 16];
    // Over all shards, as hashes are.
    owner[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let mut event = event(if number.is_multiple_of(10) { Kind::Connected } else { Kind::Refreshed });
    event.connection.caller.subject = Subject::parse(&format!("user-{number}")).unwrap();
    (OwnerId(owner), event)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute in a release build"]
#[expect(clippy::disallowed_methods, reason = "how many may be said from outside")]
async fn a_million_entries_are_asked_by_user_in_a_moment() {
    let entries = std::env::var("VALETKEY_AUDIT_ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let server = Server::start();
    let store: Arc<dyn Store> =
        Arc::new(RedisStore::connect(&server.options(), &Handle::current(), &Handle::current()).unwrap());
    let sealer = Sealer::new(Arc::clone(&store), vault(), Clock::system(), DAY * 400);
    let ids = EventIds::new("scale");
    let mut waiting = vec![Vec::new(); 256];
    for number in 0..entries {
        let (owner, mut event) = person(number % PEOPLE);
        event.at = Timestamp::from_millis(1_800_000_000_000 + number as u64);
        event.id = ids.next(event.at);
        let shard = usize::from(owner.0[0]);
        waiting[shard].push(sealer.entry(&owner, &event).await.unwrap());
        if waiting[shard].len() == 100 || number + 1 == entries {
            store.append(Shard(owner.0[0]), &std::mem::take(&mut waiting[shard])).await.unwrap();
        }
    }
    let reader = AuditReader::new(Arc::clone(&store), vault());
    let mut took: Vec<Duration> = Vec::new();
    for question in 0..QUESTIONS {
        let (owner, event) = person(question * (PEOPLE / QUESTIONS) + 1);
        let user = Some(event.connection.caller.subject);
        let filter = Filter { owners: Some(vec![owner]), user, ..Filter::default() };
        let began = Instant::now();
        let page = reader.page(&filter, None, 50).await.unwrap();
        took.push(began.elapsed());
        assert!(!page.events.is_empty());
    }
    took.sort_unstable();
    let memory = server.admin(&["INFO", "memory"]).join(" ");
    let memory =
        memory.split_whitespace().find(|word| word.starts_with("used_memory_human")).unwrap_or_default().to_owned();
    let began = Instant::now();
    let newest = reader.page(&Filter::default(), None, 50).await.unwrap();
    println!(
        "{entries} entries, {memory}: 50 events of a user in {:?} (half), {:?} (99 of 100), {:?} (all); the newest {} of everybody in {:?}",
        took[QUESTIONS / 2],
        took[QUESTIONS * 99 / 100],
        took[QUESTIONS - 1],
        newest.events.len(),
        began.elapsed()
    );
    if !cfg!(debug_assertions) {
        assert!(took[QUESTIONS * 99 / 100] < Duration::from_millis(50), "{took:?}");
    }
}
