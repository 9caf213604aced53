//! Facts of when a connection was last used.

use std::time::Duration;

use tokio::time::sleep;

use super::rig::Rig;
use crate::{
    clock::Timestamp,
    connection::Renamed,
    id::{Account, ConnectionId},
};

const LIFE: Duration = Duration::from_secs(24 * 3600);

/// A call of the first person through the process, which the upstream accepts.
async fn use_it(rig: &Rig, process: usize) -> Timestamp {
    let credential = rig.resolve(process, 0).await.unwrap();
    let connections = &rig.processes[process].connections;
    let now = connections.records.now();
    connections.resolver.accepted(&credential, now);
    now
}

async fn told_by(rig: &Rig, process: usize) -> Option<Timestamp> {
    rig.processes[process].connections.manager.get(&rig.user(0).id).await.unwrap().unwrap().last_used_at
}

#[tokio::test(start_paused = true)]
async fn a_use_is_known_elsewhere_within_a_minute_and_moves_no_version() {
    let rig = Rig::start(2, 1, LIFE).await;
    let before = rig.record(0).grant.unwrap().token_version;
    let used = use_it(&rig, 0).await;
    assert_eq!((told_by(&rig, 0).await, told_by(&rig, 1).await), (Some(used), None));
    let version = rig.world.server.version(&rig.user(0).key);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(told_by(&rig, 1).await, Some(used));
    assert_eq!(rig.world.server.version(&rig.user(0).key), version);
    assert_eq!(rig.record(0).grant.unwrap().token_version, before);
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_constant_use_is_written_once_an_hour() {
    let rig = Rig::start(2, 1, LIFE).await;
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..6 * 60 {
        use_it(&rig, 0).await;
        told.insert(told_by(&rig, 1).await);
        sleep(Duration::from_secs(30)).await;
    }
    assert!((3..=5).contains(&told.len()), "in three hours: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_used_last_is_written_while_draining() {
    let rig = Rig::start(2, 1, LIFE).await;
    use_it(&rig, 0).await;
    sleep(Duration::from_secs(90)).await;
    let used = use_it(&rig, 0).await;
    assert!(rig.processes[0].connections.drain(Duration::from_secs(5)).await);
    assert_eq!(told_by(&rig, 1).await, Some(used));
}

#[tokio::test(start_paused = true)]
async fn the_latest_use_on_any_replica_counts() {
    let rig = Rig::start(2, 1, LIFE).await;
    use_it(&rig, 0).await;
    sleep(Duration::from_secs(5)).await;
    let latest = use_it(&rig, 1).await;
    sleep(Duration::from_secs(70)).await;
    for process in 0..2 {
        assert_eq!(told_by(&rig, process).await, Some(latest));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_costs_no_more_than_the_time_of_use() {
    let rig = Rig::start(2, 1, LIFE).await;
    rig.world.server.outage(Duration::from_secs(100));
    let credential = rig.resolve(0, 0).await;
    let used = rig.processes[0].connections.records.now();
    if let Ok(credential) = credential {
        rig.processes[0].connections.resolver.accepted(&credential, used);
    }
    sleep(Duration::from_secs(200)).await;
    let told = told_by(&rig, 1).await;
    assert!(told.is_none_or(|told| told == used));
    rig.resolve(1, 0).await.expect("the grant is as it was");
}

#[tokio::test(start_paused = true)]
async fn a_use_is_known_after_a_renewal_and_under_another_label() {
    let rig = Rig::start(1, 1, LIFE).await;
    let (connections, user) = (&rig.processes[0].connections, rig.user(0));
    let used = use_it(&rig, 0).await;
    rig.expire().await;
    rig.resolve(0, 0).await.expect("renewed");
    assert_eq!(told_by(&rig, 0).await, Some(used));
    let label = Account::parse("work").unwrap();
    assert_eq!(connections.manager.rename(&user.id, &label).await.unwrap(), Renamed::Done);
    let renamed = ConnectionId { account: label, ..user.id.clone() };
    assert_eq!(connections.manager.get(&renamed).await.unwrap().unwrap().last_used_at, Some(used));
}
