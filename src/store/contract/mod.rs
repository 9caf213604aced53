//! What every store must do, as tests over `&dyn Store`. A backend's tests call [`suite!`](crate::store::contract::suite)
//! with what starts it (each test on a store of its own), or [`run_all`] where starting is expensive.

use std::future::Future;
use std::time::{Duration, Instant};

use super::{Expect, Key, OwnerId, Put, RecordId, Store, Version, Write};

mod counters;
mod leases;
mod lists;
mod log;
mod notices;
mod once;
mod records;

pub(crate) use counters::*;
pub(crate) use leases::*;
pub(crate) use lists::*;
pub(crate) use log::*;
pub(crate) use notices::*;
pub(crate) use once::*;
pub(crate) use records::*;

/// Long enough for anything that does happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn key(owner: u8, record: u8) -> Key {
    // The first byte picks the shard; the last one tells owners of the same shard apart.
    let mut id = [owner; 16];
    id[15] = 0xee;
    Key { owner: OwnerId(id), record: RecordId([record; 16]) }
}

pub(crate) fn version(number: u64) -> Version {
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
    store.put(&key, expect, Write::of(version(number), value)).await.expect("the store answers")
}

pub(crate) async fn stored(store: &dyn Store, key: Key) -> Option<(u64, Vec<u8>)> {
    store.get(&key).await.expect("the store answers").map(|record| (record.version.0, record.value))
}

pub(crate) fn conflict_with(put: Put) -> Option<(u64, Vec<u8>)> {
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
            store.delete(&key, Expect::Any, &[]).await.expect("the store answers");
        }
        if next.is_none() {
            return;
        }
        cursor = next;
    }
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
            due_records_go_on_behind_the_last_one_seen
            a_due_time_goes_with_the_write_and_the_delete
            a_lease_has_one_holder
            only_the_holder_renews_and_releases
            a_lease_ends_by_itself
            a_renewed_lease_outlives_its_first_time
            a_fence_grows_with_each_acquisition
            what_is_written_under_a_lease_needs_it
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
            an_entry_goes_with_the_write_and_with_no_other
            an_entry_goes_with_the_delete_of_what_is_there
            what_is_appended_again_is_there_once
            a_log_is_read_from_either_end_on_behind_what_was_read
            of_many_writers_each_entry_is_there_once_and_in_order
            a_log_keeps_its_newest_entries
            a_log_loses_what_is_too_old
            a_log_is_cut_up_to_an_entry
            what_is_counted_twice_counts_once
            counts_are_read_by_range
            of_many_that_count_at_once_none_is_lost
            counts_and_what_was_counted_end_by_themselves
            a_counter_has_bounds
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
