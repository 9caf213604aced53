//! Facts of erasing a whole user.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    rig::{Rig, connect_again, until},
    sim::{
        provider::{Death, Scripted},
        store::Weather,
    },
};
use crate::{
    connection::{Erased, Reason, Unavailable},
    events::CALLER,
    id::Account,
};

const LIFE: Duration = Duration::from_secs(3600);

/// Two people, and two processes that both hold the first one's credential.
async fn rig() -> (Rig, usize) {
    let rig = Rig::start(2, 2, LIFE).await;
    for process in 0..2 {
        rig.resolve(process, 0).await.unwrap();
    }
    let family = rig.user(0).family().unwrap();
    rig.world.provider.connected(0, None);
    (rig, family)
}

async fn erase(rig: &Rig, process: usize) -> Result<Erased, Unavailable> {
    rig.processes[process].connections.manager.erase(&rig.user(0).id.caller, &CALLER).await
}

#[tokio::test(start_paused = true)]
async fn who_is_erased_is_revoked_deleted_and_felt_on_all_replicas() {
    let (rig, family) = rig().await;
    assert_eq!(erase(&rig, 0).await, Ok(Erased { connections: 1, revocation_pending: 0 }));
    assert_eq!(rig.world.provider.death_of(family), Some(Death::Client));
    assert!(rig.world.server.record(&rig.user(0).key).is_none());
    sleep(Duration::from_secs(1)).await;
    for process in 0..2 {
        assert_eq!(rig.resolve(process, 0).await.unwrap_err(), connect_again(Reason::NotConnected));
        rig.resolve(process, 1).await.expect("the other person keeps what they have");
    }
    rig.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn erasing_twice_is_erasing_once() {
    let (rig, _) = rig().await;
    erase(&rig, 0).await.unwrap();
    assert_eq!(erase(&rig, 1).await, Ok(Erased::default()));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_is_asked_to_revoke_later() {
    let (rig, family) = rig().await;
    rig.world.provider.outage(Duration::from_secs(30));
    assert_eq!(erase(&rig, 0).await, Ok(Erased { connections: 1, revocation_pending: 1 }));
    sleep(Duration::from_secs(1)).await;
    for process in 0..2 {
        assert_eq!(rig.resolve(process, 0).await.unwrap_err(), connect_again(Reason::NotConnected));
    }
    assert_eq!(erase(&rig, 1).await, Ok(Erased { connections: 0, revocation_pending: 1 }));
    sleep(Duration::from_secs(120)).await;
    assert_eq!(rig.world.provider.death_of(family), Some(Death::Client));
    assert!(rig.world.server.record(&rig.user(0).key).is_none());
    assert_eq!(erase(&rig, 0).await, Ok(Erased::default()));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_on_its_way_does_not_bring_an_erased_user_back() {
    let (rig, family) = rig().await;
    rig.world.provider.drop_access(family);
    rig.script([Scripted::Slow(Duration::from_secs(4))]);
    let connections = rig.processes[1].connections.clone();
    let id = rig.user(0).id.clone();
    let token_version = rig.record(0).grant.unwrap().token_version;
    let refresh = tokio::spawn(async move { connections.refresher.refresh(&id, token_version).await });
    until("the provider was asked", || async { rig.asked() == 1 }).await;
    erase(&rig, 0).await.unwrap();
    refresh.await.unwrap().unwrap();
    sleep(Duration::from_secs(60)).await;
    assert!(rig.world.server.record(&rig.user(0).key).is_none());
    assert_eq!(rig.world.provider.death_of(family), Some(Death::Client));
    assert_eq!(rig.resolve(1, 0).await.unwrap_err(), connect_again(Reason::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_nobody_is_told_that_a_user_is_erased() {
    let (rig, family) = rig().await;
    rig.world.server.outage(Duration::from_secs(60));
    assert_eq!(erase(&rig, 0).await, Err(Unavailable::Store));
    assert_eq!(rig.world.provider.death_of(family), None);
}

#[tokio::test(start_paused = true)]
async fn a_rename_on_its_way_does_not_save_a_connection_from_being_erased() {
    for moment in 0..60 {
        let rig = Rig::start(2, 1, LIFE).await;
        rig.world.provider.connected(0, None);
        rig.world.server.weather(Weather { delay: 3, ..Weather::default() });
        let (connections, id) = (rig.processes[1].connections.clone(), rig.user(0).id.clone());
        let work = Account::parse("work").unwrap();
        let rename = tokio::spawn(async move { connections.manager.rename(&id, &work).await });
        sleep(Duration::from_millis(moment / 2)).await;
        let erased = erase(&rig, 0).await.unwrap();
        let _ = rename.await.unwrap();
        sleep(Duration::from_secs(200)).await;
        assert_eq!(rig.world.server.count(), 0, "{moment}: {erased:?}");
    }
}
