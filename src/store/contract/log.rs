//! The log: with the change or not at all, once, in order, as long as it is kept.

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join_all;

use super::{conflict_with, eventually, key, version};
use crate::store::{Entry, EntryId, Expect, Keep, Key, LogName, Logged, Order, Position, Put, Store, Stream, Write};

const LOG: LogName = LogName::new("contract");
const OTHER: LogName = LogName::new("other");
const NOTHING: Keep = Keep { age: None, entries: Some(0), behind: None };

pub(crate) fn entry(number: u8) -> Entry {
    Entry { log: LOG, id: EntryId([number; 16]), sealed: vec![0, number, 0xff] }
}

/// The part of the log that goes with this record, emptied of what an earlier test left.
async fn stream_of(store: &dyn Store, key: &Key) -> Stream {
    let stream = Stream { log: LOG, shard: key.shard() };
    store.trim(&stream, NOTHING).await.expect("the store answers");
    store.trim(&Stream { log: OTHER, ..stream }, NOTHING).await.expect("the store answers");
    stream
}

async fn read(store: &dyn Store, stream: &Stream, order: Order, limit: usize) -> Vec<Logged> {
    store.read(stream, order, limit).await.expect("the store answers")
}

/// What their entries are numbered, the oldest first.
async fn numbers(store: &dyn Store, stream: &Stream) -> Vec<u8> {
    let all = read(store, stream, Order::Oldest(None), 1000).await;
    assert!(all.iter().all(|logged| logged.sealed == [0, logged.id.0[0], 0xff]), "{all:?}");
    all.iter().map(|logged| logged.id.0[0]).collect()
}

async fn put_with(store: &dyn Store, key: Key, expect: Expect, number: u64, entries: &[Entry]) -> Put {
    store.put(&key, expect, Write { entries, ..Write::of(version(number), b"x") }).await.expect("the store answers")
}

pub(crate) async fn an_entry_goes_with_the_write_and_with_no_other(store: &dyn Store) {
    let key = key(0x31, 1);
    let stream = stream_of(store, &key).await;
    for _ in 0..2 {
        assert_eq!(put_with(store, key, Expect::Absent, 10, &[entry(1), entry(2)]).await, Put::Stored);
    }
    assert_eq!(numbers(store, &stream).await, [1, 2], "repeated, the write appends nothing");
    conflict_with(put_with(store, key, Expect::Absent, 11, &[entry(3)]).await);
    conflict_with(put_with(store, key, Expect::Version(version(9)), 11, &[entry(3)]).await);
    conflict_with(put_with(store, key, Expect::Any, 9, &[entry(3)]).await);
    assert_eq!(numbers(store, &stream).await, [1, 2], "refused, it appends nothing");
    assert_eq!(put_with(store, key, Expect::Version(version(10)), 11, &[]).await, Put::Stored);
    assert_eq!(put_with(store, key, Expect::Any, 12, &[entry(4)]).await, Put::Stored);
    assert_eq!(numbers(store, &stream).await, [1, 2, 4]);
}

pub(crate) async fn an_entry_goes_with_the_delete_of_what_is_there(store: &dyn Store) {
    let key = key(0x32, 1);
    let stream = stream_of(store, &key).await;
    put_with(store, key, Expect::Absent, 10, &[]).await;
    let refused = store.delete(&key, Expect::Version(version(9)), &[entry(1)]).await;
    conflict_with(refused.expect("the store answers"));
    assert!(numbers(store, &stream).await.is_empty(), "refused, it appends nothing");
    for expect in [Expect::Version(version(10)), Expect::Version(version(10)), Expect::Any] {
        assert_eq!(store.delete(&key, expect, &[entry(2)]).await, Ok(Put::Stored));
    }
    assert_eq!(numbers(store, &stream).await, [2], "of an absent record nothing is told");
}

pub(crate) async fn what_is_appended_again_is_there_once(store: &dyn Store) {
    let key = key(0x33, 1);
    let stream = stream_of(store, &key).await;
    for entries in [&[entry(1)][..], &[entry(1), entry(2)], &[entry(2)]] {
        assert_eq!(store.append(stream.shard, entries).await, Ok(()));
    }
    assert_eq!(numbers(store, &stream).await, [1, 2]);
    // Another log, and another shard's part of this one, know nothing of it.
    let other = Entry { log: OTHER, ..entry(1) };
    assert_eq!(store.append(stream.shard, &[other]).await, Ok(()));
    assert_eq!(numbers(store, &Stream { log: OTHER, ..stream }).await, [1]);
    let elsewhere = stream_of(store, &super::key(0x34, 1)).await;
    assert_eq!(store.append(elsewhere.shard, &[entry(1)]).await, Ok(()));
    assert_eq!(numbers(store, &elsewhere).await, [1]);
    assert_eq!(numbers(store, &stream).await, [1, 2]);
}

pub(crate) async fn a_log_is_read_from_either_end_on_behind_what_was_read(store: &dyn Store) {
    let key = key(0x35, 1);
    let stream = stream_of(store, &key).await;
    for number in 1..=7 {
        store.append(stream.shard, &[entry(number)]).await.expect("the store answers");
    }
    let page = read(store, &stream, Order::Newest(None), 3).await;
    let ids = |page: &[Logged]| page.iter().map(|logged| logged.id.0[0]).collect::<Vec<_>>();
    assert_eq!(ids(&page), [7, 6, 5]);
    let oldest = read(store, &stream, Order::Oldest(None), 2).await;
    assert_eq!(ids(&oldest), [1, 2]);
    // What comes in meanwhile moves nothing.
    store.append(stream.shard, &[entry(8)]).await.expect("the store answers");
    let before = page.last().map(|logged| logged.position);
    assert_eq!(ids(&read(store, &stream, Order::Newest(before), 9).await), [4, 3, 2, 1]);
    let after = oldest.last().map(|logged| logged.position);
    assert_eq!(ids(&read(store, &stream, Order::Oldest(after), 9).await), [3, 4, 5, 6, 7, 8]);
    let end = Some(Position { at_ms: u64::MAX >> 12, nth: 0 });
    assert_eq!(read(store, &stream, Order::Oldest(end), 9).await, []);
}

pub(crate) async fn of_many_writers_each_entry_is_there_once_and_in_order(store: &dyn Store) {
    let stream = stream_of(store, &key(0x36, 0)).await;
    let writes = (1..=40_u8).map(|number| async move {
        if number % 2 == 0 {
            put_with(store, key(0x36, number), Expect::Absent, 1, &[entry(number)]).await;
        } else {
            let again = (0..3).map(|_| async { store.append(stream.shard, &[entry(number)]).await });
            join_all(again).await.into_iter().for_each(|done| done.expect("the store answers"));
        }
    });
    join_all(writes).await;
    let all = read(store, &stream, Order::Oldest(None), 1000).await;
    assert!(all.is_sorted_by(|one, next| one.position < next.position), "{all:?}");
    let seen: BTreeSet<u8> = all.iter().map(|logged| logged.id.0[0]).collect();
    assert_eq!((all.len(), seen), (40, (1..=40).collect()));
}

pub(crate) async fn a_log_keeps_its_newest_entries(store: &dyn Store) {
    let stream = stream_of(store, &key(0x37, 1)).await;
    for number in 1..=5 {
        store.append(stream.shard, &[entry(number)]).await.expect("the store answers");
    }
    let last = read(store, &stream, Order::Newest(None), 1).await[0].position;
    let long = Keep { age: Some(Duration::from_secs(3600)), entries: Some(5), behind: None };
    assert_eq!(store.trim(&stream, long).await, Ok(0));
    assert_eq!(store.trim(&stream, Keep { age: None, entries: Some(2), behind: None }).await, Ok(3));
    assert_eq!(numbers(store, &stream).await, [4, 5]);
    // What is kept is known still; once all is gone, nothing is.
    store.append(stream.shard, &[entry(4), entry(5)]).await.expect("the store answers");
    assert_eq!(numbers(store, &stream).await, [4, 5]);
    assert_eq!(store.trim(&stream, NOTHING).await, Ok(2));
    store.append(stream.shard, &[entry(5)]).await.expect("the store answers");
    let first = read(store, &stream, Order::Oldest(None), 9).await;
    assert!(first.len() == 1 && first[0].position > last, "no position is given twice: {first:?}");
}

pub(crate) async fn a_log_is_cut_up_to_an_entry(store: &dyn Store) {
    let stream = stream_of(store, &key(0x39, 1)).await;
    for number in 1..=5 {
        store.append(stream.shard, &[entry(number)]).await.expect("the store answers");
    }
    let all = read(store, &stream, Order::Oldest(None), 9).await;
    let behind = |logged: &Logged| Keep { behind: Some(logged.position), ..Keep::default() };
    assert_eq!(store.trim(&stream, behind(&all[1])).await, Ok(2));
    assert_eq!(numbers(store, &stream).await, [3, 4, 5]);
    assert_eq!(store.trim(&stream, behind(&all[1])).await, Ok(0), "once more is no loss");
    assert_eq!(store.trim(&stream, behind(&all[4])).await, Ok(3));
    store.append(stream.shard, &[entry(5)]).await.expect("the store answers");
    assert_eq!(numbers(store, &stream).await, [5]);
}

pub(crate) async fn a_log_loses_what_is_too_old(store: &dyn Store) {
    let stream = stream_of(store, &key(0x38, 1)).await;
    store.append(stream.shard, &[entry(1)]).await.expect("the store answers");
    let brief = Keep { age: Some(Duration::from_millis(40)), entries: None, behind: None };
    eventually("the end of its time", || async {
        (store.trim(&stream, brief).await.expect("the store answers") == 1).then_some(())
    })
    .await;
    assert!(numbers(store, &stream).await.is_empty());
    store.append(stream.shard, &[entry(1)]).await.expect("the store answers");
    assert_eq!(numbers(store, &stream).await, [1]);
}
