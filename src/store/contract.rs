//! What every store must do, as tests over `&dyn Store`. A backend's tests call [`suite!`](crate::store::contract::suite)
//! with what starts it (each test on a store of its own), or [`run_all`] where starting is expensive.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Change, Claim, Error, Expect, Key, OwnerId, Put, RecordId, Store, Taken, Version};

/// Long enough for anything that does happen.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn key(owner: u8, record: u8) -> Key {
    // The first byte picks the shard; the last one tells owners of the same shard apart.
    let mut id = [owner; 16];
    id[15] = 0xee;
    Key { owner: OwnerId(id), record: RecordId([record; 16]) }
}

fn version(number: u64) -> Version {
    Version(number)
}

/// Waits until `attempt` yields something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn put(store: &dyn Store, key: Key, expect: Expect, number: u64, value: &[u8]) -> Put {
    store.put(&key, expect, version(number), value, None).await.expect("the store answers")
}

async fn stored(store: &dyn Store, key: Key) -> Option<(u64, Vec<u8>)> {
    store.get(&key).await.expect("the store answers").map(|record| (record.version.0, record.value))
}

fn conflict_with(put: Put) -> Option<(u64, Vec<u8>)> {
    match put {
        Put::Stored => panic!("the write should have been refused"),
        Put::Conflict(there) => there.map(|there| (there.version.0, there.value)),
    }
}

/// Removes what a test left, for stores that serve several tests.
pub(crate) async fn clear(store: &dyn Store) {
    let mut cursor = None;
    loop {
        let (page, next) = store.scan(cursor, 100).await.expect("the store answers");
        for (key, _) in page {
            store.delete(&key, Expect::Any).await.expect("the store answers");
        }
        if next.is_none() {
            return;
        }
        cursor = next;
    }
}

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
    assert_eq!(store.delete(&key, Expect::Any).await, Ok(Put::Stored));
    assert_eq!(conflict_with(put(store, key, Expect::Version(version(10)), 11, b"late").await), None);
    assert_eq!(stored(store, key).await, None);
}

pub(crate) async fn a_delete_keeps_to_what_it_expects(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 10, b"one").await;
    for expect in [Expect::Absent, Expect::Version(version(9))] {
        let there = conflict_with(store.delete(&key, expect).await.expect("the store answers"));
        assert_eq!(there, Some((10, b"one".to_vec())));
    }
    assert_eq!(store.delete(&key, Expect::Version(version(10))).await, Ok(Put::Stored));
    assert_eq!(stored(store, key).await, None);
    for expect in [Expect::Absent, Expect::Version(version(10)), Expect::Any] {
        assert_eq!(store.delete(&key, expect).await, Ok(Put::Stored), "absent is as good as deleted");
    }
}

pub(crate) async fn due_records_come_oldest_first_until_the_time_and_limit_given(store: &dyn Store) {
    let times = [(3, 300), (200, 100), (77, 200), (9, 400)];
    for (owner, at) in times {
        store.put(&key(owner, 1), Expect::Absent, version(1), b"x", Some(at)).await.expect("the store answers");
    }
    store.put(&key(50, 1), Expect::Absent, version(1), b"x", None).await.expect("the store answers");
    let due = |until, limit| async move { store.due(until, limit).await.expect("the store answers") };
    assert_eq!(due(99, 10).await, []);
    assert_eq!(due(300, 10).await, [(key(200, 1), 100), (key(77, 1), 200), (key(3, 1), 300)]);
    assert_eq!(due(u64::MAX >> 12, 2).await, [(key(200, 1), 100), (key(77, 1), 200)]);
}

pub(crate) async fn a_due_time_goes_with_the_write_and_the_delete(store: &dyn Store) {
    let key = key(1, 1);
    let all = || async { store.due(1 << 50, 10).await.expect("the store answers") };
    store.put(&key, Expect::Absent, version(1), b"x", Some(100)).await.expect("the store answers");
    store.put(&key, Expect::Any, version(2), b"x", Some(200)).await.expect("the store answers");
    assert_eq!(all().await, [(key, 200)]);
    store.put(&key, Expect::Any, version(1), b"stale", Some(50)).await.expect("the store answers");
    assert_eq!(all().await, [(key, 200)], "a refused write moves nothing");
    store.put(&key, Expect::Any, version(3), b"x", None).await.expect("the store answers");
    assert_eq!(all().await, []);
    store.put(&key, Expect::Any, version(4), b"x", Some(300)).await.expect("the store answers");
    store.delete(&key, Expect::Any).await.expect("the store answers");
    assert_eq!(all().await, []);
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(80);

async fn fence(store: &dyn Store, key: &Key, holder: &str, ttl: Duration) -> Option<u64> {
    match store.lease(key, holder, ttl).await.expect("the store answers") {
        Taken::Mine { fence } => Some(fence),
        Taken::Theirs { remaining } => {
            assert!(remaining <= LONG, "{remaining:?}");
            None
        }
    }
}

pub(crate) async fn a_lease_has_one_holder(store: &dyn Store) {
    let first = fence(store, &key(1, 1), "a", LONG).await.expect("it is free");
    assert_eq!(fence(store, &key(1, 1), "b", LONG).await, None);
    assert_eq!(fence(store, &key(1, 1), "a", LONG).await, Some(first), "asking again changes nothing");
    assert!(fence(store, &key(1, 2), "b", LONG).await.is_some(), "another record has its own lease");
    store.release(&key(1, 1), "a").await.expect("the store answers");
    store.release(&key(1, 2), "b").await.expect("the store answers");
}

pub(crate) async fn only_the_holder_renews_and_releases(store: &dyn Store) {
    let key = key(1, 1);
    assert_eq!(store.renew(&key, "a", LONG).await, Ok(false), "nobody has it");
    fence(store, &key, "a", LONG).await.expect("it is free");
    assert_eq!(store.renew(&key, "b", LONG).await, Ok(false));
    store.release(&key, "b").await.expect("the store answers");
    assert_eq!(fence(store, &key, "b", LONG).await, None, "a stranger's release does nothing");
    assert_eq!(store.renew(&key, "a", LONG).await, Ok(true));
    store.release(&key, "a").await.expect("the store answers");
    assert!(fence(store, &key, "b", LONG).await.is_some());
    store.release(&key, "b").await.expect("the store answers");
}

pub(crate) async fn a_lease_ends_by_itself(store: &dyn Store) {
    let key = key(1, 1);
    let first = fence(store, &key, "a", SHORT).await.expect("it is free");
    let second = eventually("the end of the lease", || fence(store, &key, "b", LONG)).await;
    assert!(second > first);
    assert_eq!(store.renew(&key, "a", LONG).await, Ok(false), "too late");
    store.release(&key, "a").await.expect("the store answers");
    assert_eq!(fence(store, &key, "c", LONG).await, None, "the late holder's release does nothing");
    store.release(&key, "b").await.expect("the store answers");
}

pub(crate) async fn a_renewed_lease_outlives_its_first_time(store: &dyn Store) {
    let (renewed, other) = (key(1, 1), key(1, 2));
    fence(store, &renewed, "a", Duration::from_millis(500)).await.expect("it is free");
    assert_eq!(store.renew(&renewed, "a", LONG).await, Ok(true));
    fence(store, &other, "a", Duration::from_millis(600)).await.expect("it is free");
    // The other lease, of a longer first time and begun later, marks that the first one's is over.
    eventually("the end of the other lease", || fence(store, &other, "b", LONG)).await;
    assert_eq!(fence(store, &renewed, "b", LONG).await, None);
    store.release(&renewed, "a").await.expect("the store answers");
    store.release(&other, "b").await.expect("the store answers");
}

pub(crate) async fn a_fence_grows_with_each_acquisition(store: &dyn Store) {
    let key = key(1, 1);
    let mut last = 0;
    for _ in 0..20 {
        let fence = fence(store, &key, "a", LONG).await.expect("it is free");
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        store.release(&key, "a").await.expect("the store answers");
    }
}

pub(crate) async fn of_many_who_want_a_lease_one_gets_it(store: &dyn Store) {
    let key = key(1, 1);
    let holders: Vec<String> = (0..50).map(|number| format!("holder-{number}")).collect();
    let got = join_all(holders.iter().map(|holder| fence(store, &key, holder, LONG))).await;
    assert_eq!(got.iter().flatten().count(), 1);
    for holder in &holders {
        store.release(&key, holder).await.expect("the store answers");
    }
}

pub(crate) async fn of_many_takers_one_gets_the_value(store: &dyn Store) {
    assert_eq!(store.put_once("taken", b"state", Some(LONG)).await, Ok(Claim::Mine));
    assert_eq!(store.peek("taken").await, Ok(Some(b"state".to_vec())));
    let taken = join_all((0..50).map(|_| store.take("taken"))).await;
    let got: Vec<_> = taken.into_iter().filter_map(|taken| taken.expect("the store answers")).collect();
    assert_eq!(got, [b"state".to_vec()]);
    assert_eq!(store.peek("taken").await, Ok(None));
}

pub(crate) async fn of_many_who_claim_a_name_one_has_it(store: &dyn Store) {
    // The same value from all of them: who won can't be told by it.
    let claims = join_all((0..50).map(|_| store.put_once("claimed", b"spent", Some(LONG)))).await;
    let mine = claims.iter().filter(|claim| **claim == Ok(Claim::Mine)).count();
    let theirs = claims.iter().filter(|claim| **claim == Ok(Claim::Theirs(b"spent".to_vec()))).count();
    assert_eq!((mine, theirs), (1, 49));
}

pub(crate) async fn a_one_time_value_ends_by_itself(store: &dyn Store) {
    assert_eq!(store.put_once("brief", b"one", Some(SHORT)).await, Ok(Claim::Mine));
    assert_eq!(store.put_once("lasting", b"kept", None).await, Ok(Claim::Mine));
    eventually("the end of the value", || async {
        let gone = store.peek("brief").await.expect("the store answers").is_none();
        gone.then_some(())
    })
    .await;
    assert_eq!(store.take("brief").await, Ok(None));
    assert_eq!(store.replace("brief", b"one", b"two", None).await, Ok(false));
    assert_eq!(store.put_once("brief", b"two", Some(LONG)).await, Ok(Claim::Mine));
    assert_eq!(store.peek("lasting").await, Ok(Some(b"kept".to_vec())));
}

pub(crate) async fn a_one_time_value_is_replaced_only_over_what_is_expected(store: &dyn Store) {
    assert_eq!(store.replace("swapped", b"", b"two", None).await, Ok(false), "there is nothing");
    store.put_once("swapped", b"one", Some(LONG)).await.expect("the store answers");
    assert_eq!(store.replace("swapped", b"other", b"two", None).await, Ok(false));
    let swapped = join_all((0..20).map(|_| store.replace("swapped", b"one", b"two", Some(LONG)))).await;
    assert_eq!(swapped.iter().filter(|swapped| **swapped == Ok(true)).count(), 1);
    assert_eq!(store.take("swapped").await, Ok(Some(b"two".to_vec())));
}

pub(crate) async fn a_replaced_value_keeps_its_time_or_gets_a_new_one(store: &dyn Store) {
    for id in ["kept-time", "new-time"] {
        store.put_once(id, b"one", Some(Duration::from_millis(600))).await.expect("the store answers");
    }
    assert_eq!(store.replace("kept-time", b"one", b"two", None).await, Ok(true));
    assert_eq!(store.replace("new-time", b"one", b"two", Some(LONG)).await, Ok(true));
    eventually("the end of the value", || async {
        let gone = store.peek("kept-time").await.expect("the store answers").is_none();
        gone.then_some(())
    })
    .await;
    assert_eq!(store.peek("new-time").await, Ok(Some(b"two".to_vec())));
}

pub(crate) async fn a_one_time_name_has_bounds(store: &dyn Store) {
    let longest = "n".repeat(64);
    assert_eq!(store.put_once(&longest, b"x", Some(LONG)).await, Ok(Claim::Mine));
    for id in ["", &"n".repeat(65)] {
        assert!(matches!(store.put_once(id, b"x", None).await, Err(Error::Refused { passing: false, .. })));
        assert!(matches!(store.take(id).await, Err(Error::Refused { .. })));
    }
}

pub(crate) async fn a_list_holds_an_owners_records_and_no_others(store: &dyn Store) {
    // All in one shard, with the neighbours that a careless range would include.
    let owner = key(7, 0).owner;
    let mut neighbour = owner;
    neighbour.0[15] = 0xef;
    for record in [0, 1, 0xff] {
        put(store, key(7, record), Expect::Absent, 1, &[record]).await;
        put(store, Key { owner: neighbour, record: RecordId([record; 16]) }, Expect::Absent, 1, b"theirs").await;
        put(store, key(6, record), Expect::Absent, 1, b"theirs").await;
    }
    let mut listed = store.list(&owner).await.expect("the store answers");
    listed.sort_by_key(|(record, _)| *record);
    let seen: Vec<_> = listed.iter().map(|(record, found)| (record.0[0], found.version.0, found.value.clone())).collect();
    assert_eq!(seen, [(0, 1, vec![0]), (1, 1, vec![1]), (0xff, 1, vec![0xff])]);
    assert_eq!(store.list(&OwnerId([0x55; 16])).await, Ok(Vec::new()));
}

pub(crate) async fn no_increment_of_a_hundred_is_lost(store: &dyn Store) {
    let key = key(1, 1);
    put(store, key, Expect::Absent, 1, &0_u64.to_be_bytes()).await;
    let increments = (0..100).map(|_| async {
        loop {
            let there = store.get(&key).await.expect("the store answers").expect("nobody deletes it");
            let count = u64::from_be_bytes(there.value.as_slice().try_into().expect("it is a number"));
            let next = (count + 1).to_be_bytes();
            let wrote = store.put(&key, Expect::Version(there.version), Version::next(Some(there.version), 0), &next, None).await;
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
        let wrote = join_all(values.iter().map(|value| put(store, key, Expect::Version(version(round)), round + 1, value.as_bytes()))).await;
        let winners: Vec<_> = wrote.iter().zip(&values).filter(|(put, _)| **put == Put::Stored).map(|(_, value)| value).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(stored(store, key).await, Some((round + 1, winners[0].clone().into_bytes())));
    }
}

/// Waits until notices are trusted.
pub(crate) async fn trusted(store: &dyn Store) {
    eventually("the channel of notices", || async { store.channel_up().then_some(()) }).await;
}

/// The next notice about a record.
pub(crate) async fn next_record(listener: &mut tokio::sync::broadcast::Receiver<Change>) -> Key {
    loop {
        match tokio::time::timeout(PATIENCE, listener.recv()).await.expect("a notice arrives").expect("the store lives") {
            Change::Record(key) => return key,
            Change::Gap => {}
        }
    }
}

pub(crate) async fn changes_are_told_and_refused_ones_are_not(store: &dyn Store) {
    trusted(store).await;
    let mut listener = store.changes();
    let (first, second, last) = (key(1, 1), key(2, 2), key(3, 3));
    put(store, first, Expect::Absent, 1, b"x").await;
    conflict_with(put(store, second, Expect::Version(version(1)), 2, b"x").await);
    store.delete(&second, Expect::Any).await.expect("the store answers");
    put(store, last, Expect::Absent, 1, b"x").await;
    store.delete(&first, Expect::Any).await.expect("the store answers");
    let told = [next_record(&mut listener).await, next_record(&mut listener).await, next_record(&mut listener).await];
    assert_eq!(told, [first, last, first]);
}

pub(crate) async fn a_notice_comes_after_the_write(store: &dyn Store) {
    trusted(store).await;
    let mut listener = store.changes();
    for number in 1..=50_u64 {
        let value = number.to_be_bytes();
        let write = put(store, key(1, 1), Expect::Any, number, &value);
        let seen = async {
            next_record(&mut listener).await;
            stored(store, key(1, 1)).await.expect("it was written").0
        };
        let (_, seen) = tokio::join!(write, seen);
        assert_eq!(seen, number);
    }
}

pub(crate) async fn a_large_value_is_carried_whole(store: &dyn Store) {
    let value: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    assert_eq!(put(store, key(1, 1), Expect::Absent, 1, &value).await, Put::Stored);
    assert_eq!(stored(store, key(1, 1)).await, Some((1, value)));
}

pub(crate) async fn a_scan_sees_everything_and_count_agrees(store: &dyn Store) {
    let mut expected = BTreeMap::new();
    for number in 0..300_u16 {
        let [high, low] = number.wrapping_mul(7919).to_be_bytes();
        let key = key(low, high);
        let value = number.to_be_bytes();
        put(store, key, Expect::Absent, 1, &value).await;
        expected.insert(key, value.to_vec());
    }
    let mut seen = BTreeMap::new();
    let mut cursor = None;
    for _ in 0..1000 {
        let (page, next) = store.scan(cursor, 20).await.expect("the store answers");
        seen.extend(page.into_iter().map(|(key, record)| (key, record.value)));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(cursor, None);
    assert_eq!(seen, expected);
    assert_eq!(store.count().await, Ok(expected.len() as u64));
    assert!(store.scan(Some("nonsense".into()), 1).await.is_err());
}

pub(crate) async fn deleted_records_are_not_counted(store: &dyn Store) {
    for record in 0..5 {
        put(store, key(1, record), Expect::Absent, 1, b"x").await;
    }
    for record in 1..5 {
        store.delete(&key(1, record), Expect::Any).await.expect("the store answers");
    }
    assert_eq!(store.count().await, Ok(1));
    store.delete(&key(1, 0), Expect::Any).await.expect("the store answers");
    assert_eq!(store.count().await, Ok(0));
    assert_eq!(store.scan(None, 10).await, Ok((Vec::new(), None)));
}

pub(crate) async fn it_answers_a_ping(store: &dyn Store) {
    assert_eq!(store.ping().await, Ok(()));
}

/// Each test of the contract, for whoever wants to do something with all of them.
macro_rules! each {
    ($with:ident!($($more:tt)*)) => {
        $crate::store::contract::$with! {
            [$($more)*]
            what_is_put_is_read_back
            a_stale_version_is_refused_with_what_stands_there
            absent_is_expected_only_of_what_is_absent
            a_version_only_grows
            the_same_write_again_is_stored
            a_late_write_loses_against_a_delete
            a_delete_keeps_to_what_it_expects
            due_records_come_oldest_first_until_the_time_and_limit_given
            a_due_time_goes_with_the_write_and_the_delete
            a_lease_has_one_holder
            only_the_holder_renews_and_releases
            a_lease_ends_by_itself
            a_renewed_lease_outlives_its_first_time
            a_fence_grows_with_each_acquisition
            of_many_who_want_a_lease_one_gets_it
            of_many_takers_one_gets_the_value
            of_many_who_claim_a_name_one_has_it
            a_one_time_value_ends_by_itself
            a_one_time_value_is_replaced_only_over_what_is_expected
            a_replaced_value_keeps_its_time_or_gets_a_new_one
            a_one_time_name_has_bounds
            a_list_holds_an_owners_records_and_no_others
            no_increment_of_a_hundred_is_lost
            of_many_writers_of_a_version_one_wins
            changes_are_told_and_refused_ones_are_not
            a_notice_comes_after_the_write
            a_large_value_is_carried_whole
            a_scan_sees_everything_and_count_agrees
            deleted_records_are_not_counted
            it_answers_a_ping
        }
    };
}

/// A test per fact, each on what `$start` starts: a future of the store and of what must live as long.
macro_rules! as_tests {
    ([$start:path] $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _guard) = $start().await;
                $crate::store::contract::$name(&store).await;
                $crate::store::Store::close(&store).await;
            }
        )*
    };
}

/// One after the other on the same store.
macro_rules! in_turn {
    ([$store:ident] $($name:ident)*) => {
        $(
            tracing::info!(test = stringify!($name));
            $name($store).await;
            clear($store).await;
        )*
    };
}

/// The contract as tests of the module it stands in.
macro_rules! suite {
    ($start:path) => {
        $crate::store::contract::each!(as_tests!($start));
    };
}

pub(crate) use {as_tests, each, in_turn, suite};

/// The whole contract, one fact after the other, on a store that nobody else uses.
pub(crate) async fn run_all(store: &dyn Store) {
    each!(in_turn!(store));
}

/// A store that several tasks of a test share.
pub(crate) fn shared(store: impl Store) -> Arc<dyn Store> {
    Arc::new(store)
}
