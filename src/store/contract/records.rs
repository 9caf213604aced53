//! Single records: versions, expectations, deletes, many writers at once.

use futures_util::future::join_all;

use super::{conflict_with, key, put, stored, version};
use crate::store::{Expect, Put, Store, Version, Write};

pub(crate) async fn what_is_put_is_read_back(store: &dyn Store) {
    let key = key(1, 1);
    assert_eq!(stored(store, key).await, None);
    assert_eq!(put(store, key, Expect::Absent, 10, b"\x00sealed\xff").await, Put::Stored);
    assert_eq!(stored(store, key).await, Some((10, b"\x00sealed\xff".to_vec())));
    assert_eq!(put(store, key, Expect::Version(version(10)), 11, b"").await, Put::Stored);
    assert_eq!(stored(store, key).await, Some((11, Vec::new())));
}

pub(crate) async fn a_stale_version_is_refused_with_what_stands_there(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 10, b"one").await;
    put(store, key, Expect::Version(version(10)), 11, b"two").await;
    let there = conflict_with(put(store, key, Expect::Version(version(10)), 12, b"three").await);
    assert_eq!(there, Some((11, b"two".to_vec())));
    assert_eq!(stored(store, key).await, Some((11, b"two".to_vec())));
}

pub(crate) async fn absent_is_expected_only_of_what_is_absent(store: &dyn Store) {
    let key = key(1, 1);
    assert_eq!(conflict_with(put(store, key, Expect::Version(version(9)), 10, b"x").await), None);
    assert_eq!(put(store, key, Expect::Absent, 10, b"one").await, Put::Stored);
    let there = conflict_with(put(store, key, Expect::Absent, 11, b"two").await);
    assert_eq!(there, Some((10, b"one".to_vec())));
}

pub(crate) async fn a_version_only_grows(store: &dyn Store) {
    // Neighbours that a floating-point number can't tell apart, and one that is negative as a signed one.
    let large = 1 << 60;
    let key = key(1, 1);
    put(store, key, Expect::Absent, large + 1, b"one").await;
    for refused in [5, large, large + 1] {
        conflict_with(put(store, key, Expect::Any, refused, b"older").await);
        conflict_with(put(store, key, Expect::Version(version(large + 1)), refused, b"older").await);
    }
    assert_eq!(put(store, key, Expect::Any, large + 2, b"newer").await, Put::Stored);
    assert_eq!(put(store, key, Expect::Version(version(large + 2)), u64::MAX - 1, b"newest").await, Put::Stored);
    conflict_with(put(store, key, Expect::Any, large + 3, b"older").await);
    assert_eq!(stored(store, key).await, Some((u64::MAX - 1, b"newest".to_vec())));
}

pub(crate) async fn the_same_write_again_is_stored(store: &dyn Store) {
    let key = key(1, 1);
    for _ in 0..2 {
        assert_eq!(put(store, key, Expect::Absent, 10, b"one").await, Put::Stored);
    }
    for _ in 0..2 {
        assert_eq!(put(store, key, Expect::Version(version(10)), 11, b"two").await, Put::Stored);
    }
    conflict_with(put(store, key, Expect::Version(version(10)), 11, b"another").await);
}

pub(crate) async fn a_late_write_loses_against_a_delete(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 10, b"one").await;
    assert_eq!(store.delete(&key, Expect::Any, &[]).await, Ok(Put::Stored));
    assert_eq!(conflict_with(put(store, key, Expect::Version(version(10)), 11, b"late").await), None);
    assert_eq!(stored(store, key).await, None);
}

pub(crate) async fn a_delete_keeps_to_what_it_expects(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 10, b"one").await;
    for expect in [Expect::Absent, Expect::Version(version(9))] {
        let there = conflict_with(store.delete(&key, expect, &[]).await.expect("the store answers"));
        assert_eq!(there, Some((10, b"one".to_vec())));
    }
    assert_eq!(store.delete(&key, Expect::Version(version(10)), &[]).await, Ok(Put::Stored));
    assert_eq!(stored(store, key).await, None);
    for expect in [Expect::Absent, Expect::Version(version(10)), Expect::Any] {
        assert_eq!(store.delete(&key, expect, &[]).await, Ok(Put::Stored), "absent is as good as deleted");
    }
}

pub(crate) async fn no_increment_of_a_hundred_is_lost(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 1, &0_u64.to_be_bytes()).await;
    let increments = (0..100).map(|_| async {
        loop {
            let there = store.get(&key).await.expect("the store answers").expect("nobody deletes it");
            let count = u64::from_be_bytes(there.value.as_slice().try_into().expect("it is a number"));
            let next = (count + 1).to_be_bytes();
            let wrote = store
                .put(&key, Expect::Version(there.version), Write::of(Version::next(Some(there.version), 0), &next))
                .await;
            if wrote.expect("the store answers") == Put::Stored {
                return;
            }
        }
    });
    join_all(increments).await;
    // The same bytes under the same version are the same write, so two could both be "stored": count by version too.
    let (version, value) = stored(store, key).await.expect("nobody deletes it");
    assert_eq!(version, 1 + u64::from_be_bytes(value.try_into().expect("it is a number")));
}

pub(crate) async fn of_many_writers_of_a_version_one_wins(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 1, b"first").await;
    for round in 1..=20_u64 {
        let values: Vec<String> = (0..10).map(|writer| format!("{round} {writer}")).collect();
        let wrote = join_all(
            values.iter().map(|value| put(store, key, Expect::Version(version(round)), round + 1, value.as_bytes())),
        )
        .await;
        let winners: Vec<_> =
            wrote.iter().zip(&values).filter(|(put, _)| **put == Put::Stored).map(|(_, value)| value).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(stored(store, key).await, Some((round + 1, winners[0].clone().into_bytes())));
    }
}

pub(crate) async fn a_large_value_is_carried_whole(store: &dyn Store) {
    let value: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    assert_eq!(put(store, key(1, 1), Expect::Absent, 1, &value).await, Put::Stored);
    assert_eq!(stored(store, key(1, 1)).await, Some((1, value)));
}
