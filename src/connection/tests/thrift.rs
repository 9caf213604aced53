//! Facts of what calls and refreshes ask of the store: each step is a way there and back that a call waits for.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    rig::{Rig, connect_again, until},
    sim::{provider::Scripted, store::Weather},
};
use crate::{
    connection::{Decision, Reason, UnconfirmedGrant, Unusable, Want},
    events::CALLER,
    id::{Account, ConnectionId},
    oauth::{Fault, Grant},
};

/// Too short for the healer to care: only calls renew such tokens.
const SHORT: Duration = Duration::from_secs(50);
/// By then all notices have come and been answered.
const QUIET: Duration = Duration::from_secs(3);
/// Of a refresh: all that the store is asked.
const REFRESH: [&str; 5] = ["lease", "get", "put", "put", "release"];
/// And a second later, on nobody's way, for the log: the person's key, which is held for a minute, and the event.
const LOGGED: [&str; 2] = ["peek", "append"];

/// What this process has asked the store since it was last looked, but for what the healer asks on its own.
fn asked(rig: &Rig, process: usize) -> Vec<&'static str> {
    let asked = std::mem::take(&mut *rig.processes[process].gate.asked.lock());
    asked.into_iter().filter(|name| *name != "due").collect()
}

/// A token that has expired, of which this many processes know.
async fn expired(processes: usize) -> Rig {
    let rig = Rig::start(processes, 1, SHORT).await;
    for process in 0..processes {
        rig.resolve(process, 0).await.expect("connected");
    }
    rig.expire().await;
    for process in 0..processes {
        asked(&rig, process);
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_the_store_five_times_and_the_calls_after_it_not_at_all() {
    let rig = expired(1).await;
    let renewed = rig.resolve(0, 0).await.expect("renewed");
    until("the lease is given back", async || rig.processes[0].gate.asked.lock().contains(&"release")).await;
    sleep(QUIET).await;
    let again = rig.resolve(0, 0).await.expect("it is at hand");
    assert_eq!(renewed.token_version, again.token_version);
    assert_eq!(renewed.token_version, rig.record(0).grant.expect("it is stored").token_version);
    assert_eq!(asked(&rig, 0), [&REFRESH[..], &LOGGED].concat());
    // What is held after it is as good as what is read: so is the next refresh.
    rig.expire().await;
    rig.resolve(0, 0).await.expect("renewed");
    sleep(QUIET).await;
    let mut again = asked(&rig, 0);
    assert_eq!(again.split_off(REFRESH.len()).last(), LOGGED.last());
    assert_eq!(again, REFRESH);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn what_one_process_renewed_is_read_by_another_as_soon_as_it_hears_of_it() {
    let rig = expired(2).await;
    let renewed = rig.resolve(0, 0).await.expect("renewed");
    sleep(QUIET).await;
    assert!(asked(&rig, 1).contains(&"list"));
    assert_eq!(rig.resolve(1, 0).await.expect("it is at hand").token_version, renewed.token_version);
    assert_eq!(asked(&rig, 1), Vec::<&str>::new());
    assert_eq!(rig.asked(), 1);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn after_a_refresh_that_failed_the_store_is_read_again() {
    let rig = expired(1).await;
    rig.script([Scripted::Fault(Fault::Timeout)]);
    rig.resolve(0, 0).await.expect_err("nobody answers");
    sleep(QUIET).await;
    assert!(asked(&rig, 0).contains(&"list"), "what came of it was written, and that is news");
    rig.resolve(0, 0).await.expect("renewed");
    rig.assert_nothing_spent_twice();
}

/// What memory alone says of a call of this person.
fn from_memory(rig: &Rig, want: &Want<'_>) -> Option<Decision> {
    let connections = &rig.processes[0].connections;
    let owner = connections.resolver.owner(want.caller).expect("the root is known");
    connections.resolver.from_memory(&owner, want, connections.records.now())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_known_to_get_no_credential_is_refused_without_asking_the_store() {
    let rig = Rig::start(1, 1, SHORT).await;
    let (home, work) = (Account::default(), Account::parse("work").unwrap());
    let scopes = ["calendar".to_owned()];
    let connected = rig.world.want(rig.user(0));
    let elsewhere = Want { account: Some(&work), ..connected };
    let wide = Want { scopes: &scopes, ..connected };
    let not_connected = Unusable::AuthRequired { reason: Reason::NotConnected, account: work.clone() };
    let too_narrow = Unusable::MissingScopes { scopes: scopes.to_vec(), account: home };
    let (_, grant) = rig.world.provider.consent(0);
    let grant = Grant { scopes: Some(vec!["contacts".into()]), ..grant };
    let connections = &rig.processes[0].connections;
    connections.manager.connect(&rig.user(0).id, grant, None, &[], &CALLER).await.expect("connected");
    rig.resolve(0, 0).await.expect("connected");
    asked(&rig, 0);
    // Nothing gets through to the store any more, though its notices would.
    rig.world.server.weather(Weather { lost_requests: 1000, ..Weather::default() });
    for (want, expected) in [(elsewhere, not_connected), (wide, too_narrow)] {
        let Some(Decision::Refuse(unusable)) = from_memory(&rig, &want) else { panic!("it is known: {expected}") };
        assert_eq!(unusable, expected);
        assert_eq!(connections.resolver.resolve(&want).await.unwrap_err(), expected);
    }
    assert_eq!(asked(&rig, 0), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn who_has_connected_and_waits_for_the_application_is_told_so_from_memory() {
    let rig = Rig::start(1, 1, SHORT).await;
    let work = Account::parse("work").unwrap();
    let connections = &rig.processes[0].connections;
    let id = ConnectionId { account: work.clone(), ..rig.user(0).id.clone() };
    let (until, (_, grant)) = (connections.records.now().plus(SHORT), rig.world.provider.consent(0));
    let aside = UnconfirmedGrant { id: &id, name: "a", grant, identity: None, requested: &[], shown: true, until };
    connections.unconfirmed.put(aside).await.expect("put aside");
    let want = Want { account: Some(&work), ..rig.world.want(rig.user(0)) };
    let reason = |unusable: &Unusable| match unusable {
        Unusable::AuthRequired { reason, account } if *account == work => Some(*reason),
        _ => None,
    };
    let refused = connections.resolver.resolve(&want).await.expect_err("it waits");
    assert_eq!(reason(&refused), Some(Reason::Pending));
    asked(&rig, 0);
    let Some(Decision::Refuse(refused)) = from_memory(&rig, &want) else { panic!("it is known") };
    assert_eq!(reason(&refused), Some(Reason::Pending));
    assert_eq!(asked(&rig, 0), Vec::<&str>::new());
    let home = rig.resolve(0, 0).await;
    assert!(home.is_ok(), "another label: {home:?}");
    sleep(SHORT).await;
    let refused = connections.resolver.resolve(&want).await.expect_err("nobody confirmed it");
    assert_eq!(reason(&refused), Some(Reason::NotConnected));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nothing_renews_ends_for_a_call_without_asking_the_store() {
    let rig = Rig::start(1, 1, SHORT).await;
    let connections = &rig.processes[0].connections;
    let (_, grant) = rig.world.provider.consent(0);
    let grant = Grant { refresh_token: None, ..grant };
    connections.manager.connect(&rig.user(0).id, grant, None, &[], &CALLER).await.expect("connected");
    rig.resolve(0, 0).await.expect("it lives");
    rig.expire().await;
    asked(&rig, 0);
    let Some(Decision::Expired(_, unusable)) = from_memory(&rig, &rig.world.want(rig.user(0))) else {
        panic!("it is over")
    };
    assert_eq!(unusable, connect_again(Reason::Expired));
    assert_eq!(asked(&rig, 0), Vec::<&str>::new());
}
