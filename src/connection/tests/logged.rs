//! What the log says of changes: who made them, by which request, and nothing less or more when their process dies between
//! two steps.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    rig::Rig,
    sim::{
        gate::Trouble,
        journal::Journal,
        provider::Mode,
        world::{Nature, World},
    },
};
use crate::{
    events::{Actor, CALLER, Cause, KeptEvent},
    id::RequestId,
    oauth,
    secret::SecretString,
};

const LIFE: Duration = Duration::from_secs(300);

fn said(log: &[KeptEvent]) -> Vec<(String, String)> {
    log.iter().map(|event| (event.kind.to_string(), event.actor.to_string())).collect()
}

fn facts(facts: &[(&str, &str)]) -> Vec<(String, String)> {
    facts.iter().map(|(kind, actor)| ((*kind).to_owned(), (*actor).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_change_is_in_the_log_with_who_made_it_and_by_which_request() {
    let rig = Rig::start(1, 1, LIFE).await;
    let (connections, id) = (&rig.processes[0].connections, &rig.user(0).id);
    let cause = Cause::in_request(Actor::Caller, RequestId::from_number(7), Some([203, 0, 113, 7].into()));
    let key = SecretString::new("key".to_owned());
    connections.api_keys.store(id, &key, &cause).await.unwrap();
    connections.api_keys.remove_retired(id, &Cause::of(Actor::Command)).await.unwrap();
    assert!(
        !connections.api_keys.remove(id, &cause).await.unwrap(),
        "there is none: nothing happens, and nothing is said"
    );
    rig.world.provider.connected(0, None);
    assert!(connections.manager.disconnect(id, &cause).await.unwrap());
    assert!(!connections.manager.disconnect(id, &cause).await.unwrap());
    connections.api_keys.store(id, &key, &Cause::of(Actor::Command)).await.unwrap();
    connections.manager.erase(&id.caller, &Cause::of(Actor::Operator)).await.unwrap();
    let log = rig.world.server.log();
    let expected = [
        ("connected", "caller"),
        ("api_key_stored", "caller"),
        ("api_key_removed", "command"),
        ("revoked", "caller"),
        ("api_key_stored", "command"),
        ("erased", "operator"),
    ];
    assert_eq!(said(&log), facts(&expected));
    let revoked = &log[3];
    assert_eq!(revoked.request.as_deref(), cause.request.as_ref().map(RequestId::as_str));
    let person = revoked.person.as_ref().unwrap();
    assert_eq!((person.address, log[0].request.as_deref()), (cause.address, None));
    assert_eq!((&person.user, revoked.service.as_ref().unwrap().as_str()), (&id.caller.subject, "crm"));
    assert_eq!(log[2].detail.as_deref(), Some("retired"));
    assert!(log.is_sorted_by_key(|event| event.at));
    rig.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_refused_is_the_providers_doing() {
    let rig = Rig::start(1, 1, LIFE).await;
    let family = rig.user(0).family().unwrap();
    rig.world.provider.revoke_by_person(family);
    rig.expire().await;
    rig.resolve(0, 0).await.unwrap_err();
    let log = rig.world.server.log();
    assert_eq!(said(&log), facts(&[("connected", "caller"), ("invalidated", "provider")]));
    assert_eq!(log[1].detail.as_deref(), Some("revoked"));
    assert_eq!(log[1].provider_error.as_deref(), Some("invalid_grant"));
    rig.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn that_a_token_has_ended_is_said_once_whoever_notices() {
    let rig = Rig::start(2, 1, LIFE).await;
    let bare = oauth::Grant { refresh_token: None, ..rig.world.provider.consent_as(0, rig.user(0).holder(0)).1 };
    rig.processes[0].connections.manager.connect(&rig.user(0).id, bare, None, &[], &CALLER).await.unwrap();
    sleep(LIFE * 2).await;
    // Once the store is back it is said, and by one of them only.
    rig.world.server.outage(Duration::from_millis(1));
    for process in [0, 1, 0, 1] {
        sleep(Duration::from_secs(3)).await;
        rig.resolve(process, 0).await.unwrap_err();
    }
    sleep(Duration::from_secs(60)).await;
    let log = rig.world.server.log();
    assert_eq!(said(&log), facts(&[("connected", "caller"), ("connected", "caller"), ("expired", "nobody")]));
}

/// Has a process killed at each of its steps while it does something, and looks at the log once another has seen to what it
/// left.
fn killed_at_each_step(does: impl AsyncFn(&Arc<World>, &super::sim::world::Process)) {
    for step in 0..24 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let journal = Arc::new(Journal::new(step, false));
            let nature = Nature { mode: Mode::Strict, life: LIFE, one_at_a_time: false, skewed: false };
            let world = World::new(journal, nature, 1);
            let (dying, _other) = (world.start("p0", Duration::ZERO), world.start("p1", Duration::ZERO));
            world.connect(&world.users[0], &dying).await;
            dying.gate.arm(step, Trouble::Kill);
            does(&world, &dying).await;
            sleep(Duration::from_secs(60)).await;
            assert_eq!(world.server.differences_of_log(), Vec::<String>::new(), "killed at {step}");
        });
    }
}

#[test]
fn whoever_dies_while_something_changes_leaves_no_change_unsaid_and_says_nothing_that_was_not() {
    killed_at_each_step(async |world, process| world.connect(&world.users[0], process).await);
    killed_at_each_step(async |world, process| world.disconnect(&world.users[0], process).await);
    killed_at_each_step(async |world, process| {
        let key = SecretString::new("key".to_owned());
        let (api_keys, id) = (&process.connections.api_keys, &world.users[0].id);
        let both = async {
            api_keys.store(id, &key, &CALLER).await?;
            api_keys.remove(id, &CALLER).await
        };
        let _ = tokio::time::timeout(Duration::from_secs(20), both).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_says_nothing_twice() {
    let rig = Rig::start(1, 1, LIFE).await;
    let (connections, id) = (&rig.processes[0].connections, &rig.user(0).id);
    let lossy = super::sim::store::Weather { lost_answers: 300, ..Default::default() };
    rig.world.server.weather(lossy);
    let key = SecretString::new("key".to_owned());
    for _ in 0..40 {
        let _ = connections.api_keys.store(id, &key, &CALLER).await;
        let _ = connections.api_keys.remove(id, &CALLER).await;
    }
    rig.world.server.weather(super::sim::store::Weather::default());
    assert!(rig.world.server.log().len() > 20);
    rig.assert_sound();
}
