//! Facts of the healer: ahead of time, once, at a measured pace, and whatever a replica that died left behind.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    rig::{Rig, until},
    sim::{
        gate::Trouble,
        provider::{Death, Scripted},
    },
};
use crate::connection::Reason;
use crate::events::CALLER;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

/// The moments at which the token endpoint was asked, since then.
fn asked_since(rig: &Rig, since: Instant) -> Vec<Duration> {
    rig.world.provider.requests.lock().iter().map(|(at, _)| at.duration_since(since)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_hours_token_is_renewed_in_its_last_quarter_without_any_call() {
    let rig = Rig::start(1, 20, HOUR).await;
    let began = Instant::now();
    sleep(HOUR).await;
    let asked = asked_since(&rig, began);
    assert_eq!(asked.len(), 20);
    assert!(asked.iter().all(|at| *at >= HOUR * 3 / 4 && *at < HOUR), "{asked:?}");
    let moments: HashSet<u64> = asked.iter().map(Duration::as_secs).collect();
    assert!(moments.len() > 5, "tokens issued together are not renewed together: {moments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_days_is_renewed_within_a_day_of_its_end() {
    let rig = Rig::start(1, 3, DAY * 3).await;
    let began = Instant::now();
    sleep(DAY * 3).await;
    let asked = asked_since(&rig, began);
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|at| *at >= DAY * 2 && *at < DAY * 3), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn tokens_of_less_than_a_minute_are_left_to_their_calls() {
    let rig = Rig::start(1, 3, Duration::from_secs(59)).await;
    sleep(HOUR).await;
    assert_eq!(rig.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn three_replicas_renew_each_grant_once() {
    let rig = Rig::start(3, 60, HOUR).await;
    sleep(HOUR - MINUTE).await;
    assert_eq!(rig.asked(), 60);
    rig.assert_nothing_spent_twice();
    for user in 0..60 {
        rig.resolve(user % 3, user).await.expect("renewed");
    }
    assert_eq!(rig.asked(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_connection_is_never_looked_at_again() {
    let rig = Rig::start(2, 1, HOUR).await;
    rig.world.provider.revoke_by_person(rig.user(0).family().unwrap());
    sleep(HOUR).await;
    assert_eq!((rig.asked(), rig.record(0).invalid), (1, Some(Reason::Revoked)));
    sleep(DAY).await;
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_dead_replica_left_is_finished_within_a_minute() {
    let mut rig = Rig::start(1, 1, HOUR).await;
    rig.script([Scripted::Slow(Duration::from_secs(5))]);
    until("the provider was asked", || async {
        sleep(Duration::from_secs(1)).await;
        rig.asked() == 1
    })
    .await;
    rig.processes[0].gate.strike(Trouble::Kill);
    rig.add_process();
    sleep(MINUTE).await;
    // The provider forgives nothing: the only end is the honest one.
    assert_eq!((rig.asked(), rig.record(0).invalid), (2, Some(Reason::RefreshInterrupted)));
    rig.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_cut_off_before_it_was_sent_heals_within_a_minute() {
    let mut rig = Rig::start(1, 1, HOUR).await;
    // Killed as it crosses to the provider: the intent is written, the token is not sent.
    until("the intent is written", || async {
        sleep(Duration::from_millis(100)).await;
        rig.processes[0].gate.arm(0, Trouble::Kill);
        true
    })
    .await;
    sleep(HOUR - MINUTE).await;
    assert!(rig.processes[0].gate.is_killed());
    rig.add_process();
    sleep(MINUTE).await;
    assert_eq!((rig.asked(), rig.record(0).invalid), (1, None));
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_a_dead_replica_left_is_done_within_a_minute() {
    let mut rig = Rig::start(1, 1, HOUR).await;
    let family = rig.user(0).family().unwrap();
    rig.world.provider.connected(0, None);
    rig.script([Scripted::Fault(crate::oauth::Fault::Timeout), Scripted::Fault(crate::oauth::Fault::Timeout)]);
    rig.processes[0].connections.manager.disconnect(&rig.user(0).id, &CALLER).await.unwrap();
    rig.processes[0].gate.strike(Trouble::Kill);
    assert!(rig.record(0).pending_revocation().is_some());
    rig.add_process();
    sleep(MINUTE).await;
    assert_eq!(rig.world.provider.death_of(family), Some(Death::Client));
    assert!(rig.world.server.record(&rig.user(0).key).is_none());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_are_due_at_once_are_asked_for_at_a_measured_pace_and_once_each() {
    const PEOPLE: usize = 10_000;
    let rig = Rig::start(1, PEOPLE, HOUR).await;
    // While the store is away all of them become due.
    sleep(HOUR * 3 / 4 - MINUTE).await;
    rig.world.server.outage(MINUTE * 5);
    sleep(MINUTE * 5).await;
    let began = Instant::now();
    sleep(MINUTE * 9).await;
    let asked = asked_since(&rig, began);
    assert_eq!(asked.len(), PEOPLE);
    let tokens: HashSet<String> = rig.world.provider.requests.lock().iter().map(|(_, token)| token.clone()).collect();
    assert_eq!(tokens.len(), PEOPLE, "each once");
    let mut seconds = vec![0; 600];
    for at in &asked {
        seconds[at.as_secs() as usize] += 1;
    }
    let most = seconds.iter().max().unwrap();
    assert!(*most <= 51, "{most} in a second");
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_cannot_be_healed_hold_nobody_up_for_a_minute() {
    let rig = Rig::start(1, 3, HOUR).await;
    rig.world.server.litter(10_000);
    let began = Instant::now();
    sleep(HOUR).await;
    let asked = asked_since(&rig, began);
    assert_eq!(asked.len(), 3);
    // The latest that the jitter allows, and a minute.
    assert!(asked.iter().all(|at| *at <= HOUR * 13 / 16 + MINUTE), "{asked:?}");
}
