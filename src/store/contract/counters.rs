//! Counters: each thing once, nothing lost, an end.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    eventually,
    leases::{LONG, SHORT},
};
use crate::store::{Error, Store, Tally};

/// A counter that no test before used.
fn fresh() -> String {
    format!("{:032x}", getrandom::u64().expect("the system has randomness"))
}

fn tally<'a>(name: &'a str, bucket: u64, id: &'a str) -> Tally<'a> {
    Tally { name, bucket, id, n: 1, known_for: LONG, kept_for: LONG }
}

async fn counts(store: &dyn Store, name: &str) -> Vec<(u64, u64)> {
    store.counts(name, 0..=999).await.expect("the store answers")
}

pub(crate) async fn what_is_counted_twice_counts_once(store: &dyn Store) {
    let name = fresh();
    for bucket in [7, 7, 8] {
        assert_eq!(store.count_up(&tally(&name, bucket, "one")).await, Ok(()));
    }
    assert_eq!(counts(store, &name).await, [(7, 1)], "also when it is told in a later bucket");
    store.count_up(&Tally { n: 40, ..tally(&name, 7, "more") }).await.expect("the store answers");
    store.count_up(&tally(&name, 8, "two")).await.expect("the store answers");
    store.count_up(&tally(&fresh(), 8, "one")).await.expect("the store answers");
    assert_eq!(counts(store, &name).await, [(7, 41), (8, 1)], "another counter has its own");
}

pub(crate) async fn counts_are_read_by_range(store: &dyn Store) {
    let name = fresh();
    for bucket in [500_000, 3, 9, 10] {
        store.count_up(&tally(&name, bucket, &bucket.to_string())).await.expect("the store answers");
    }
    assert_eq!(store.counts(&name, 3..=9).await, Ok(vec![(3, 1), (9, 1)]));
    assert_eq!(store.counts(&name, 499_990..=500_010).await, Ok(vec![(500_000, 1)]));
    assert_eq!(store.counts(&name, 4..=8).await, Ok(Vec::new()));
    assert_eq!(store.counts(&name, 1..=10_000).await.map(|counts| counts.len()), Ok(3));
    assert!(matches!(store.counts(&name, 0..=10_000).await, Err(Error::Refused { passing: false, .. })));
}

pub(crate) async fn of_many_that_count_at_once_none_is_lost(store: &dyn Store) {
    let name = fresh();
    let ids: Vec<String> = (0..100).map(|number| (number / 2).to_string()).collect();
    let counted = join_all(ids.iter().map(|id| async { store.count_up(&tally(&name, 1, id)).await })).await;
    assert!(counted.iter().all(Result::is_ok), "{counted:?}");
    assert_eq!(counts(store, &name).await, [(1, 50)]);
}

pub(crate) async fn counts_and_what_was_counted_end_by_themselves(store: &dyn Store) {
    let name = fresh();
    let brief = Duration::from_millis(600);
    store.count_up(&Tally { kept_for: brief, ..tally(&name, 1, "one") }).await.expect("the store answers");
    store.count_up(&Tally { known_for: SHORT, ..tally(&name, 2, "two") }).await.expect("the store answers");
    eventually("the end of what was counted", || async {
        store.count_up(&tally(&name, 3, "two")).await.expect("the store answers");
        (counts(store, &name).await.last() == Some(&(3, 1))).then_some(())
    })
    .await;
    eventually("the end of the bucket", || async { (counts(store, &name).await == [(2, 1), (3, 1)]).then_some(()) })
        .await;
}

pub(crate) async fn a_counter_has_bounds(store: &dyn Store) {
    let (long, longest) = ("n".repeat(65), "n".repeat(64));
    for (name, id) in [("", "a"), ("a", ""), (long.as_str(), "a"), ("a", long.as_str())] {
        assert!(matches!(store.count_up(&tally(name, 1, id)).await, Err(Error::Refused { passing: false, .. })));
    }
    assert!(matches!(store.counts("", 1..=2).await, Err(Error::Refused { .. })));
    assert_eq!(store.count_up(&tally(&longest, 1, &longest)).await, Ok(()));
}
