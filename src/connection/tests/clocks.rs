//! Facts of clocks that differ: a replica's wrong clock decides for its own calls at most, and ends nothing for others.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    rig::{Rig, connect_again},
    sim::world::Process,
};
use crate::{
    clock::Timestamp,
    connection::{AuthKind, Reason, Status, UnconfirmedGrant},
    events::CALLER,
    id::{ConnectionId, ServiceName},
    oauth::Grant,
};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// One process whose clock is right, one person who is connected, and a process whose clock is an hour ahead.
async fn an_hour_apart() -> (Rig, Arc<Process>) {
    let rig = Rig::start(1, 1, HOUR * 8).await;
    let ahead = rig.world.start("ahead", HOUR);
    (rig, ahead)
}

fn grant(life: Duration) -> Grant {
    Grant {
        access_token: "lasting".into(),
        refresh_token: None,
        expires_in: Some(life),
        scopes: None,
        refresh_expires_in: None,
        id_token_subject: None,
    }
}

fn now(rig: &Rig) -> Timestamp {
    rig.processes[0].connections.records.now()
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_ends_no_token_for_others() {
    let (rig, ahead) = an_hour_apart().await;
    let connections = &rig.processes[0].connections;
    connections.manager.connect(&rig.user(0).id, grant(MINUTE * 30), None, &[], &CALLER).await.unwrap();
    let want = rig.world.want(rig.user(0));
    assert_eq!(ahead.connections.resolver.resolve(&want).await.unwrap_err(), connect_again(Reason::Expired));
    assert_eq!(rig.record(0).invalid, None);
    connections.resolver.resolve(&want).await.expect("it lives for half an hour");
    let listed = connections.manager.list(want.caller).await.unwrap();
    assert_eq!((listed[0].status, listed[0].invalid_reason), (Status::Active, None));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ended_is_told_by_lists_as_by_calls() {
    let (rig, _) = an_hour_apart().await;
    let connections = &rig.processes[0].connections;
    connections.manager.connect(&rig.user(0).id, grant(MINUTE), None, &[], &CALLER).await.unwrap();
    let want = rig.world.want(rig.user(0));
    connections.resolver.resolve(&want).await.expect("it lives");
    sleep(MINUTE).await;
    let listed = connections.manager.list(want.caller).await.unwrap();
    assert_eq!((listed[0].status, listed[0].invalid_reason), (Status::Invalid, Some(Reason::Expired)));
    assert_eq!(listed[0].invalidated_at, listed[0].expires_at);
    assert_eq!(connections.resolver.resolve(&want).await.unwrap_err(), connect_again(Reason::Expired));
}

#[tokio::test(start_paused = true)]
async fn the_key_beside_a_token_that_ended_is_used_at_once() {
    let (rig, _) = an_hour_apart().await;
    let connections = &rig.processes[0].connections;
    connections.manager.connect(&rig.user(0).id, grant(MINUTE), None, &[], &CALLER).await.unwrap();
    connections.api_keys.store(&rig.user(0).id, &"key".into(), &CALLER).await.unwrap();
    let want = rig.world.want(rig.user(0));
    assert_eq!(connections.resolver.resolve(&want).await.unwrap().kind, AuthKind::OAuth);
    sleep(MINUTE).await;
    let listed = connections.manager.list(want.caller).await.unwrap();
    assert_eq!((listed[0].status, listed[0].auth_kind), (Status::Active, AuthKind::ApiKey));
    assert_eq!(connections.resolver.resolve(&want).await.unwrap().kind, AuthKind::ApiKey);
    assert_eq!(rig.record(0).invalid, None);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_gives_up_no_grant_that_waits() {
    let (rig, _ahead) = an_hour_apart().await;
    let connections = &rig.processes[0].connections;
    let (family, grant) = rig.world.provider.consent(0);
    // With a client of its own: beside what is in use under the same one it would only be forgotten.
    let id = &ConnectionId { service: ServiceName::parse("elsewhere").unwrap(), ..rig.user(0).id.clone() };
    let until = now(&rig).plus(MINUTE * 10);
    let aside = UnconfirmedGrant { id, name: "one", grant, identity: None, requested: &[], shown: true, until };
    connections.unconfirmed.put(aside).await.unwrap();
    sleep(MINUTE * 9).await;
    assert_eq!(rig.world.provider.death_of(family), None);
    sleep(MINUTE * 2).await;
    assert!(rig.world.provider.death_of(family).is_some(), "nobody spoke for it in time");
}
