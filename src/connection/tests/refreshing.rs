//! Facts of refreshing: whose turn it is to ask a token endpoint that failed, and what an answer that nobody heard means.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{
    rig::{Rig, connect_again, until},
    sim::{gate::Trouble, provider::Scripted},
};
use crate::{
    connection::{
        AfterRejection, Reason, Unusable,
        record::{change::Change, landing::Landed},
    },
    events::CALLER,
    oauth::{Fault, Grant},
    store::Version,
};

/// Too short for the healer to care: only calls renew such tokens.
const SHORT: Duration = Duration::from_secs(50);
const DOWN: Scripted = Scripted::Answer(503, "");
const INVALID_GRANT: Scripted = Scripted::Answer(400, r#"{"error":"invalid_grant"}"#);

/// This many people, whose tokens have expired, and a circuit whose first pause has just ended.
async fn after_a_pause(users: usize) -> Rig {
    let rig = Rig::start(1, users, SHORT).await;
    rig.expire().await;
    rig.script([DOWN, DOWN, DOWN]);
    for user in [0, 1, 0] {
        assert_eq!(rig.resolve(0, user).await.unwrap_err(), Unusable::RefreshFailed);
    }
    assert_eq!(rig.resolve(0, 1).await.unwrap_err(), Unusable::RefreshFailed);
    assert_eq!(rig.asked(), 3, "during the pause nobody asks");
    sleep(Duration::from_millis(500)).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn after_a_circuits_pause_one_asks_and_the_others_wait_for_what_it_hears() {
    let rig = after_a_pause(10).await;
    rig.script([Scripted::Slow(Duration::from_secs(5))]);
    let calls: Vec<_> = (0..10).map(|user| rig.call(0, user)).collect();
    sleep(Duration::from_secs(4)).await;
    assert_eq!(rig.asked(), 4, "one probe");
    for call in join_all(calls).await {
        call.unwrap().expect("the endpoint is well again");
    }
    assert_eq!(rig.asked(), 13);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn after_a_probe_that_fails_the_others_are_refused_without_asking() {
    let rig = after_a_pause(10).await;
    rig.script([Scripted::Answer(503, "")]);
    for call in join_all((0..10).map(|user| rig.call(0, user))).await {
        assert_eq!(call.unwrap().unwrap_err(), Unusable::RefreshFailed);
    }
    assert_eq!(rig.asked(), 4, "one probe");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_one_grant_keeps_nobody_else_from_a_token() {
    for refused in [
        Scripted::Answer(403, r#"{"error":"access_denied"}"#),
        Scripted::Answer(400, r#"{"error":"unauthorized_client"}"#),
        Scripted::Answer(400, r#"{"error":"user_is_gone"}"#),
        Scripted::Answer(429, ""),
    ] {
        let rig = Rig::start(1, 2, SHORT).await;
        rig.expire().await;
        rig.script([refused.clone(), refused.clone(), refused.clone()]);
        for _ in 0..4 {
            assert_eq!(rig.resolve(0, 0).await.unwrap_err(), Unusable::RefreshFailed);
        }
        assert_eq!(rig.asked(), 3, "{refused:?}: that grant is left alone for a while");
        rig.resolve(0, 1).await.unwrap_or_else(|unusable| panic!("{refused:?}: {unusable:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_dies_with_its_answer_lets_others_ask() {
    let rig = after_a_pause(2).await;
    rig.script([Scripted::Lost]);
    assert_eq!(rig.resolve(0, 0).await.unwrap_err(), Unusable::RefreshFailed);
    sleep(Duration::from_secs(1)).await;
    rig.resolve(0, 1).await.expect("the endpoint is well again");
}

/// What somebody is told whose token the provider rotated without that anybody heard the new one: at the first call, and
/// at the next.
async fn told_after(unheard: Scripted) -> (Unusable, Unusable) {
    let rig = Rig::start(1, 1, SHORT).await;
    rig.expire().await;
    rig.script([unheard]);
    let first = rig.resolve(0, 0).await.unwrap_err();
    let second = rig.resolve(0, 0).await.unwrap_err();
    rig.assert_sound();
    (first, second)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_hides_a_rotation_ends_as_refresh_interrupted() {
    let interrupted = (Unusable::RefreshFailed, connect_again(Reason::RefreshInterrupted));
    for unheard in [
        Scripted::Lost,
        Scripted::Slow(Duration::from_secs(11)),
        Scripted::Belied(500, ""),
        Scripted::Belied(502, "<html>Bad gateway</html>"),
        Scripted::Belied(504, r#"{"error":"temporarily_unavailable"}"#),
        Scripted::Belied(200, "<html>Welcome</html>"),
        Scripted::Belied(200, r#"{"access_token":"a"#),
        Scripted::Belied(302, ""),
        Scripted::Belied(400, r#"{"error":"server_error"}"#),
    ] {
        assert_eq!(told_after(unheard.clone()).await, interrupted, "{unheard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_hide_a_rotation_leaves_a_later_refusal_the_persons_doing() {
    for known in [
        Scripted::Answer(429, ""),
        Scripted::Answer(503, ""),
        Scripted::Answer(400, r#"{"error":"slow_down"}"#),
        Scripted::Answer(401, r#"{"error":"invalid_client"}"#),
        Scripted::Answer(400, r#"{"error":"unauthorized_client"}"#),
        Scripted::Fault(Fault::Connect),
    ] {
        let rig = Rig::start(1, 1, SHORT).await;
        rig.expire().await;
        rig.script([known.clone(), INVALID_GRANT]);
        assert_eq!(rig.resolve(0, 0).await.unwrap_err(), Unusable::RefreshFailed);
        assert_eq!(rig.record(0).intent, None, "{known:?}");
        assert_eq!(rig.resolve(0, 0).await.unwrap_err(), connect_again(Reason::Revoked), "{known:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_answer_does_not_make_an_earlier_unknown_one_known() {
    for known in [Scripted::Answer(429, ""), Scripted::Answer(401, r#"{"error":"invalid_client"}"#)] {
        let rig = Rig::start(1, 1, SHORT).await;
        rig.expire().await;
        rig.script([Scripted::Belied(500, ""), known.clone()]);
        for _ in 0..2 {
            assert_eq!(rig.resolve(0, 0).await.unwrap_err(), Unusable::RefreshFailed);
        }
        let told = rig.resolve(0, 0).await.unwrap_err();
        assert_eq!(told, connect_again(Reason::RefreshInterrupted), "{known:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_need_not_wait_where_an_unknown_answer_came() {
    let rig = Rig::start(2, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Answer(500, "")]);
    assert_eq!(rig.resolve(0, 0).await.unwrap_err(), Unusable::RefreshFailed);
    let began = Instant::now();
    rig.resolve(1, 0).await.expect("the token was not spent after all");
    assert_eq!(began.elapsed(), Duration::ZERO);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_refresh_comes_to_light_as_soon_as_its_lease_has_ended() {
    let rig = Rig::start(2, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Slow(Duration::from_secs(5))]);
    let _cut_off = rig.call(0, 0);
    until("the provider was asked", || async { rig.asked() == 1 }).await;
    rig.processes[0].gate.strike(Trouble::Kill);
    let began = Instant::now();
    assert_eq!(rig.resolve(1, 0).await.unwrap_err(), connect_again(Reason::RefreshInterrupted));
    // The lease, and the time that an answer kept in memory would have to land.
    assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_waited_for_the_store_longer_than_a_lease_lands_before_another_process_asks() {
    for later in [0, 50, 900].map(Duration::from_millis) {
        let rig = Rig::start(2, 1, SHORT).await;
        rig.expire().await;
        rig.script([Scripted::Slow(Duration::from_secs(1))]);
        let first = rig.call(0, 0);
        until("the provider was asked", || async { rig.asked() == 1 }).await;
        rig.world.server.outage(Duration::from_secs(16));
        first.await.unwrap().expect("used from memory");
        assert_eq!(rig.processes[0].connections.unsaved(), 1, "the grant waits");
        until("the store is back", || async { !rig.world.server.is_down() }).await;
        // The other process finds the store first.
        rig.processes[0].gate.strike(Trouble::Cut(later));
        rig.resolve(1, 0).await.expect("what the first process has been given");
        assert_eq!(rig.asked(), 1, "asked again before {later:?} had passed");
        rig.assert_nothing_spent_twice();
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_of_those_who_come_after_does_not_restart_the_wait_for_a_mark() {
    let mut rig = Rig::start(1, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Slow(Duration::from_secs(5))]);
    let _cut_off = rig.call(0, 0);
    until("the provider was asked", || async { rig.asked() == 1 }).await;
    rig.processes[0].gate.strike(Trouble::Kill);
    let began = Instant::now();
    // The lease goes with a failover, and the intent does not: only its age tells.
    sleep(Duration::from_secs(3)).await;
    rig.fail_over().await;
    let told = loop {
        let next = rig.add_process();
        let call = rig.call(next, 0);
        // Longer than an answer in memory is given to land, and much shorter than a lease.
        sleep(Duration::from_millis(2_500)).await;
        if call.is_finished() {
            break call.await.unwrap().unwrap_err();
        }
        rig.processes[next].gate.strike(Trouble::Kill);
        rig.fail_over().await;
        assert!(began.elapsed() < Duration::from_secs(60), "it never comes to light");
    };
    assert_eq!(told, connect_again(Reason::RefreshInterrupted));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_loses_the_lease_does_not_make_another_spend_what_is_on_its_way() {
    let rig = Rig::start(2, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Slow(Duration::from_secs(8))]);
    let first = rig.call(0, 0);
    until("the provider was asked", || async { rig.asked() == 1 }).await;
    sleep(Duration::from_secs(3)).await;
    rig.fail_over().await;
    let second = rig.call(1, 0);
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!(first.token_version, second.token_version);
    assert_eq!(rig.asked(), 1);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_a_failover_took_away_is_set_again_where_the_answer_is_lost() {
    let rig = Rig::start(1, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Slow(Duration::from_secs(11))]);
    let unheard = rig.call(0, 0);
    until("the provider was asked", || async { rig.asked() == 1 }).await;
    rig.fail_over().await;
    assert_eq!(rig.record(0).intent, None);
    assert_eq!(unheard.await.unwrap().unwrap_err(), Unusable::RefreshFailed);
    assert!(rig.record(0).intent.is_some_and(|intent| intent.settled));
    assert_eq!(rig.resolve(0, 0).await.unwrap_err(), connect_again(Reason::RefreshInterrupted));
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_token_counts_from_when_it_was_asked_for() {
    let rig = Rig::start(1, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Slow(Duration::from_secs(6))]);
    let before = rig.processes[0].connections.records.now();
    let credential = rig.resolve(0, 0).await.expect("renewed");
    assert_eq!(credential.expires_at, Some(before.plus(SHORT)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_more_where_an_earlier_request_may_have_ended_it() {
    let rig = Rig::start(1, 1, SHORT).await;
    rig.expire().await;
    rig.script([Scripted::Fault(Fault::Timeout)]);
    assert_eq!(rig.resolve(0, 0).await.unwrap_err(), Unusable::RefreshFailed);
    let (connections, want) = (&rig.processes[0].connections, rig.world.want(rig.user(0)));
    let began = connections.records.now();
    let contested = rig.resolve(0, 0).await.expect("renewed");
    rig.world.provider.refuse_for_nothing(contested.headers[0].1.to_str().unwrap().trim_start_matches("Bearer "));
    let AfterRejection::Replay(certain) = connections.resolver.rejected_again(&want, &contested, began, &CALLER).await
    else {
        panic!("the refusal says nothing of the grant")
    };
    assert_ne!(contested.token_version, certain.token_version);
    let AfterRejection::Refuse(told) = connections.resolver.rejected_again(&want, &certain, began, &CALLER).await
    else {
        panic!("nothing explains this refusal but the grant's end")
    };
    assert_eq!(told, connect_again(Reason::RejectedByUpstream));
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn of_two_renewals_of_one_grant_the_one_that_was_asked_for_later_counts() {
    let grant = |token: &str| Grant {
        access_token: token.into(),
        refresh_token: None,
        expires_in: Some(SHORT),
        scopes: None,
        refresh_expires_in: None,
        id_token_subject: None,
    };
    for (theirs, ours, landed, kept) in [(10, 20, Landed::Saved, "ours"), (20, 10, Landed::Outrun, "theirs")] {
        let rig = Rig::start(1, 1, SHORT).await;
        let (connections, key) = (&rig.processes[0].connections, rig.user(0).key);
        let (record, version) = connections.records.read(&key).await.unwrap().unwrap();
        let used = record.grant.as_ref().unwrap().token_version;
        let now = connections.records.now();
        let next = Version(version.0 + 1_000_000);
        let change = Change::Refreshed { grant: grant("ours"), asked: Version(ours), contested: false };
        let own = record.clone().apply(change, now, next).unwrap();
        let change = Change::Refreshed { grant: grant("theirs"), asked: Version(theirs), contested: false };
        connections.records.write(key, record, version, change, None).await.unwrap().expect("it still stands");
        assert_eq!(connections.records.land(key, version, own, used).await.unwrap().0, landed);
        assert_eq!(rig.record(0).grant.unwrap().access_token.expose(), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn no_two_processes_choose_the_same_version_after_the_same_one() {
    let rig = Rig::start(2, 1, SHORT).await;
    let version = |process: usize, ahead: u64| {
        let connections = &rig.processes[process].connections;
        let now = connections.records.now();
        connections.records.version_after(Some(Version(now.micros() + ahead)), now)
    };
    for ahead in [0, 3_600_000_000] {
        assert_ne!(version(0, ahead), version(1, ahead));
    }
}
