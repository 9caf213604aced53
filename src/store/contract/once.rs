//! One-time values: one claimant, one taker, an end.

use std::time::Duration;

use futures_util::future::join_all;

use super::eventually;
use super::leases::{LONG, SHORT};
use crate::store::{Claim, Error, Store};

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
