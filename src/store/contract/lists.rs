//! Several records at once: by owner, by due time, all of them.

use std::collections::BTreeMap;

use super::{key, put, version};
use crate::store::{Expect, Key, OwnerId, RecordId, Store, Write};

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
    let seen: Vec<_> =
        listed.iter().map(|(record, found)| (record.0[0], found.version.0, found.value.clone())).collect();
    assert_eq!(seen, [(0, 1, vec![0]), (1, 1, vec![1]), (0xff, 1, vec![0xff])]);
    assert_eq!(store.list(&OwnerId([0x55; 16])).await, Ok(Vec::new()));
}

pub(crate) async fn due_records_come_oldest_first_until_the_time_and_limit_given(store: &dyn Store) {
    let times = [(3, 300), (200, 100), (77, 200), (9, 400)];
    for (owner, at) in times {
        store
            .put(&key(owner, 1), Expect::Absent, Write::of(version(1), b"x").due(Some(at)))
            .await
            .expect("the store answers");
    }
    store.put(&key(50, 1), Expect::Absent, Write::of(version(1), b"x")).await.expect("the store answers");
    let due = |until, limit| async move { store.due(until, None, limit).await.expect("the store answers") };
    assert_eq!(due(99, 10).await, []);
    assert_eq!(due(300, 10).await, [(key(200, 1), 100), (key(77, 1), 200), (key(3, 1), 300)]);
    assert_eq!(due(u64::MAX >> 12, 2).await, [(key(200, 1), 100), (key(77, 1), 200)]);
}

pub(crate) async fn due_records_go_on_behind_the_last_one_seen(store: &dyn Store) {
    // Several at the same time, in one shard and in others.
    let times = [(3, 300), (200, 100), (77, 200), (78, 200), (79, 200), (9, 400)];
    for (owner, at) in times {
        for record in [1, 2] {
            let key = key(owner, record);
            store
                .put(&key, Expect::Absent, Write::of(version(1), b"x").due(Some(at)))
                .await
                .expect("the store answers");
        }
    }
    let mut expected: Vec<_> =
        times.iter().flat_map(|(owner, at)| [1, 2].map(|record| (key(*owner, record), *at))).collect();
    expected.sort_by_key(|(key, at)| (*at, *key));
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.due(350, after, 3).await.expect("the store answers");
        let Some(last) = page.last() else { break };
        after = Some(*last);
        seen.extend(page);
    }
    expected.retain(|(_, at)| *at <= 350);
    assert_eq!(seen, expected);
    assert_eq!(store.due(150, after, 3).await, Ok(Vec::new()), "none that was due before the one seen");
}

pub(crate) async fn a_due_time_goes_with_the_write_and_the_delete(store: &dyn Store) {
    let key = key(1, 1);
    let all = || async { store.due(1 << 50, None, 10).await.expect("the store answers") };
    store.put(&key, Expect::Absent, Write::of(version(1), b"x").due(Some(100))).await.expect("the store answers");
    store.put(&key, Expect::Any, Write::of(version(2), b"x").due(Some(200))).await.expect("the store answers");
    assert_eq!(all().await, [(key, 200)]);
    store.put(&key, Expect::Any, Write::of(version(1), b"stale").due(Some(50))).await.expect("the store answers");
    assert_eq!(all().await, [(key, 200)], "a refused write moves nothing");
    store.put(&key, Expect::Any, Write::of(version(3), b"x")).await.expect("the store answers");
    assert_eq!(all().await, []);
    store.put(&key, Expect::Any, Write::of(version(4), b"x").due(Some(300))).await.expect("the store answers");
    store.delete(&key, Expect::Any, &[]).await.expect("the store answers");
    assert_eq!(all().await, []);
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
        store.delete(&key(1, record), Expect::Any, &[]).await.expect("the store answers");
    }
    assert_eq!(store.count().await, Ok(1));
    store.delete(&key(1, 0), Expect::Any, &[]).await.expect("the store answers");
    assert_eq!(store.count().await, Ok(0));
    assert_eq!(store.scan(None, 10).await, Ok((Vec::new(), None)));
}
