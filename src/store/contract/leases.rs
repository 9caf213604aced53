//! Leases: one holder, an end, a growing fence.

use std::time::Duration;

use futures_util::future::join_all;

use super::{eventually, key, stored, version};
use crate::store::{Error, Expect, Held, Key, Put, Store, Taken, Write};

pub(super) const LONG: Duration = Duration::from_secs(60);
pub(super) const SHORT: Duration = Duration::from_millis(80);

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

pub(crate) async fn what_is_written_under_a_lease_needs_it(store: &dyn Store) {
    let (lease, record) = (key(1, 1), key(1, 2));
    let write = async |holder: &str, expect, number| {
        let under = Some(Held { key: &lease, holder });
        store.put(&record, expect, Write { under, ..Write::of(version(number), b"x") }).await
    };
    assert_eq!(write("a", Expect::Absent, 1).await, Err(Error::LeaseLost), "nobody has it");
    fence(store, &lease, "a", LONG).await.expect("it is free");
    assert_eq!(write("a", Expect::Absent, 1).await, Ok(Put::Stored));
    store.release(&lease, "a").await.expect("the store answers");
    fence(store, &lease, "b", LONG).await.expect("it is free");
    let expect = Expect::Version(version(1));
    assert_eq!(write("a", expect, 2).await, Err(Error::LeaseLost), "somebody else has it");
    assert_eq!(write("a", Expect::Absent, 1).await, Ok(Put::Stored), "it was written while it was held");
    assert_eq!(stored(store, record).await, Some((1, b"x".to_vec())));
    assert_eq!(write("b", expect, 2).await, Ok(Put::Stored));
    store.release(&lease, "b").await.expect("the store answers");
}
