//! What a process alone knows: a grant that the store doesn't have yet, what it gave up itself, what it once wrote.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    rig::Rig,
    sim::{gate::Trouble, provider::Scripted, store::Weather},
};
use crate::{
    connection::Renamed,
    events::CALLER,
    id::{Account, ConnectionId},
};

/// Too short to be healed ahead of time.
const LIFE: Duration = Duration::from_secs(50);

#[tokio::test(start_paused = true)]
async fn who_connects_anew_while_a_renewed_grant_waits_in_memory_is_connected() {
    let rig = Rig::start(1, 1, LIFE).await;
    rig.expire().await;
    rig.script([Scripted::Slow(Duration::from_millis(100))]);
    let call = rig.call(0, 0);
    sleep(Duration::from_millis(50)).await;
    rig.world.server.weather(Weather { lost_requests: 1000, ..Weather::default() });
    let _ = call.await.unwrap();
    assert_eq!(rig.processes[0].connections.unsaved(), 1, "the grant waits");
    rig.world.server.weather(Weather::default());
    let (family, grant) = rig.world.provider.consent(0);
    let connected = rig.processes[0].connections.manager.connect(&rig.user(0).id, grant, None, &[], &CALLER).await;
    assert!(connected.is_ok(), "{connected:?}");
    let token = rig.record(0).grant.unwrap().refresh_token.unwrap();
    assert_eq!(rig.world.provider.family_of(token.expose()), Some(family));
}

#[tokio::test(start_paused = true)]
async fn what_a_process_disconnected_itself_is_not_served_while_the_store_is_away() {
    let mut seen = 0;
    for step in 0..24 {
        let rig = Rig::start(1, 1, LIFE).await;
        rig.resolve(0, 0).await.unwrap();
        let process = &rig.processes[0];
        rig.world.provider.connected(0, None);
        process.gate.arm(step, Trouble::Cut(Duration::from_secs(100)));
        let gone = process.connections.manager.disconnect(&rig.user(0).id, &CALLER).await;
        if gone == Ok(true) && process.gate.is_cut() {
            seen += 1;
            let served = rig.resolve(0, 0).await;
            assert!(served.is_err(), "cut off at {step}, it served what was disconnected");
        }
    }
    assert!(seen > 0, "the store never went away in time");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_away_under_another_label_is_not_put_back_to_what_it_was() {
    let rig = Rig::start(1, 1, LIFE).await;
    let ahead = rig.world.start("ahead", Duration::from_secs(5));
    let (id, work) = (rig.user(0).id.clone(), Account::parse("work").unwrap());
    rig.expire().await;
    // It writes a renewed grant, under a number by its clock.
    rig.world.call_in_calm(rig.user(0), &ahead).await;
    let own = &rig.processes[0].connections;
    assert_eq!(own.manager.rename(&id, &work).await, Ok(Renamed::Done));
    rig.world.provider.drop_access(0);
    rig.world.call_in_calm(rig.user(0), &rig.processes[0]).await;
    assert_eq!(rig.asked(), 2);
    let there = ConnectionId { account: work, ..id.clone() };
    assert_eq!(own.manager.rename(&there, &id.account).await, Ok(Renamed::Done));
    let newest = rig.record(0).grant.unwrap().refresh_token.unwrap();
    sleep(Duration::from_secs(1)).await;
    ahead.connections.manager.list(&id.caller).await.unwrap();
    assert_eq!(rig.record(0).grant.unwrap().refresh_token.unwrap().expose(), newest.expose());
    rig.expire().await;
    rig.world.call_in_calm(rig.user(0), &ahead).await;
    rig.assert_nothing_spent_twice();
}
