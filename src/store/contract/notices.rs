//! Change notices: told after the write, not for what was refused.

use super::{PATIENCE, conflict_with, eventually, key, put, stored, version};
use crate::store::{Change, Expect, Key, Store};

/// Waits until notices are trusted.
pub(crate) async fn trusted(store: &dyn Store) {
    eventually("the channel of notices", || async { store.channel_up().then_some(()) }).await;
}

/// The next notice about one of these records.
pub(crate) async fn next_among(listener: &mut tokio::sync::broadcast::Receiver<Change>, keys: &[Key]) -> Key {
    loop {
        match tokio::time::timeout(PATIENCE, listener.recv()).await.expect("a notice arrives").expect("the store lives")
        {
            Change::Record(key, _) if keys.contains(&key) => return key,
            Change::Record(..) | Change::Gap => {}
        }
    }
}

pub(crate) async fn changes_are_told_and_refused_ones_are_not(store: &dyn Store) {
    trusted(store).await;
    let mut listener = store.changes();
    let keys = [key(0xa1, 1), key(0xa2, 2), key(0xa3, 3)];
    let [first, second, last] = keys;
    put(store, first, Expect::Absent, 1, b"x").await;
    conflict_with(put(store, second, Expect::Version(version(1)), 2, b"x").await);
    store.delete(&second, Expect::Any, &[]).await.expect("the store answers");
    put(store, last, Expect::Absent, 1, b"x").await;
    store.delete(&first, Expect::Any, &[]).await.expect("the store answers");
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(next_among(&mut listener, &keys).await);
    }
    // Notices of different shards come from different nodes of a cluster, in any order.
    told.sort();
    assert_eq!(told, [first, first, last]);
}

pub(crate) async fn a_notice_comes_after_the_write(store: &dyn Store) {
    trusted(store).await;
    let mut listener = store.changes();
    let key = key(0xa4, 1);
    for number in 1..=50_u64 {
        let value = number.to_be_bytes();
        let write = put(store, key, Expect::Any, number, &value);
        let seen = async {
            next_among(&mut listener, &[key]).await;
            stored(store, key).await.expect("it was written").0
        };
        let (_, seen) = tokio::join!(write, seen);
        assert_eq!(seen, number);
    }
}
