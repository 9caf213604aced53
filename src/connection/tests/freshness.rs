//! Facts of when what a process knows of a caller may be believed.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    connection::{
        cache::{Held, Rare, Snapshot, SnapshotCache},
        record::{form::Record, view::view},
    },
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    store::OwnerId,
};

const OWNER: OwnerId = OwnerId([7; 16]);
/// Of another counter.
const OTHER: OwnerId = OwnerId([8; 16]);
const EPOCH: Option<u64> = Some(1);
const OFFLINE_MAX: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// What was read of `OWNER` at 1000 seconds.
fn read() -> SnapshotCache {
    let snapshots = SnapshotCache::new(16, OFFLINE_MAX);
    let stamp = snapshots.stamp(&OWNER, EPOCH, 0);
    snapshots.keep(OWNER, stamp, at(1000), vec![], Rare::default());
    snapshots
}

#[test]
fn what_was_read_is_fresh_until_a_change() {
    let snapshots = read();
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_some());
    assert!(!snapshots.changed(&OTHER), "nothing of theirs is held");
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_some());
    assert!(snapshots.changed(&OWNER));
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_none());
}

#[test]
fn a_change_while_the_store_is_read_makes_stale_what_was_read() {
    let snapshots = SnapshotCache::new(16, OFFLINE_MAX);
    let stamp = snapshots.stamp(&OWNER, EPOCH, 0);
    snapshots.changed(&OWNER);
    snapshots.keep(OWNER, stamp, at(1000), vec![], Rare::default());
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_none());
}

#[test]
fn a_broken_channel_and_a_new_one_both_end_freshness() {
    let snapshots = read();
    assert!(snapshots.fresh(&OWNER, None, 0).is_none());
    assert!(snapshots.fresh(&OWNER, Some(2), 0).is_none());
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_some(), "nothing was missed within its own stretch");
}

#[test]
fn missed_notices_end_freshness_for_all() {
    let snapshots = read();
    snapshots.changed_all();
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_none());
}

#[test]
fn offline_it_serves_for_so_long_after_it_was_last_known_to_be_true() {
    let snapshots = read();
    assert!(snapshots.offline(&OWNER, at(1000 + 3599)).is_some());
    assert!(snapshots.offline(&OWNER, at(1000 + 3600)).is_none());
    snapshots.trusted(at(2000));
    assert!(snapshots.offline(&OWNER, at(2000 + 3599)).is_some());
    assert!(snapshots.offline(&OWNER, at(2000 + 3600)).is_none());
}

#[test]
fn what_is_known_to_be_outdated_counts_from_then_on() {
    let snapshots = read();
    snapshots.trusted(at(2000));
    snapshots.changed(&OWNER);
    snapshots.trusted(at(5000));
    assert!(snapshots.offline(&OWNER, at(2000 + 3599)).is_some());
    assert!(snapshots.offline(&OWNER, at(2000 + 3600)).is_none(), "the channel's later health says nothing of it");
}

#[test]
fn who_is_forgotten_is_not_even_served_offline() {
    let snapshots = read();
    snapshots.forget(&OWNER);
    assert!(snapshots.offline(&OWNER, at(1001)).is_none());
}

/// A connection of somebody's, which has been renewed this often.
fn held(renewed: u64) -> Held {
    let caller =
        CallerId { issuer: Issuer::parse("https://app.example/").unwrap(), subject: Subject::parse("ada").unwrap() };
    let id = ConnectionId { caller, service: ServiceName::parse("crm").unwrap(), account: Account::default() };
    let record = Record { refreshed_at: Some(at(renewed)), ..Record::empty(id.clone()) };
    Held::new(Arc::new(id), view(&record, None, at(1000)), Vec::new().into())
}

fn renewed(snapshot: &Snapshot) -> Vec<Option<Timestamp>> {
    snapshot.connections.iter().map(|held| held.connection().refreshed_at).collect()
}

#[test]
fn what_this_process_wrote_itself_is_as_fresh_as_what_it_replaces() {
    let snapshots = SnapshotCache::new(16, OFFLINE_MAX);
    let stamp = snapshots.stamp(&OWNER, EPOCH, 0);
    snapshots.keep(OWNER, stamp, at(1000), vec![held(1)], Rare::default());
    snapshots.wrote(OWNER, held(2));
    assert_eq!(renewed(&snapshots.fresh(&OWNER, EPOCH, 0).expect("nothing else changed")), [Some(at(2))]);
    snapshots.changed(&OWNER);
    snapshots.wrote(OWNER, held(3));
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_none(), "the other change is still unread");
    assert_eq!(renewed(&snapshots.offline(&OWNER, at(1001)).expect("it is held")), [Some(at(3))]);
    snapshots.forget(&OWNER);
    snapshots.wrote(OWNER, held(4));
    assert!(snapshots.held(&OWNER).is_none(), "one of several is not all");
}

#[test]
fn what_was_being_read_while_this_process_wrote_is_not_believed() {
    let snapshots = SnapshotCache::new(16, OFFLINE_MAX);
    let stamp = snapshots.stamp(&OWNER, EPOCH, 0);
    snapshots.keep(OWNER, stamp, at(1000), vec![held(1)], Rare::default());
    let reading = snapshots.stamp(&OWNER, EPOCH, 0);
    snapshots.wrote(OWNER, held(2));
    snapshots.keep(OWNER, reading, at(1001), vec![held(1)], Rare::default());
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_none());
}

#[test]
fn what_was_made_for_other_services_is_not_believed_and_never_takes_a_later_ones_place() {
    let snapshots = SnapshotCache::new(16, OFFLINE_MAX);
    let before = snapshots.stamp(&OWNER, EPOCH, 0);
    snapshots.keep(OWNER, before, at(1000), vec![held(1)], Rare::default());
    assert!(snapshots.fresh(&OWNER, EPOCH, 1).is_none());
    let after = snapshots.stamp(&OWNER, EPOCH, 1);
    snapshots.keep(OWNER, after, at(1001), vec![held(2)], Rare::default());
    // A call that began with the services before has read for itself alone.
    let own = snapshots.keep(OWNER, before, at(1002), vec![held(3)], Rare::default());
    assert_eq!(renewed(&own), [Some(at(3))]);
    assert_eq!(renewed(&snapshots.fresh(&OWNER, EPOCH, 1).expect("it stays")), [Some(at(2))]);
    assert!(snapshots.fresh(&OWNER, EPOCH, 0).is_none());
}
