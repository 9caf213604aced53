//! Facts of revoking: a grant that was let go is revoked at the provider, also after an outage and whatever took its place,
//! and a revocation never goes where it might reach a grant that is alive (RFC 7009 §2.1 lets it take others along).

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    rig::{Rig, until},
    sim::{
        gate::Trouble,
        provider::{Death, Scripted},
        store::Weather,
        world::services,
    },
};
use crate::{
    connection::{Renamed, UnconfirmedGrant},
    events::CALLER,
    events::Kind,
    id::{Account, ConnectionId, ServiceName},
    oauth::Identity,
};

pub const LIFE: Duration = Duration::from_secs(3600);
/// Longer than an outage of these tests and what the healer waits after it.
pub const LATER: Duration = Duration::from_secs(120);

/// What the provider is asked to do, without being asked.
pub struct Consents<'a>(pub &'a Rig);

impl Consents<'_> {
    /// The person connects as this account of theirs, if the provider says as which; what comes back is the grant's family.
    pub async fn connect(&self, process: usize, id: &ConnectionId, who: Option<&str>) -> usize {
        let (family, grant) = self.0.world.provider.consent(0);
        let connected =
            self.0.processes[process].connections.manager.connect(id, grant, identity(who), &[], &CALLER).await;
        connected.expect("the store is there");
        family
    }
}

pub fn identity(who: Option<&str>) -> Option<Identity> {
    who.map(|who| Identity { id: who.into(), label: None })
}

/// A provider, so many processes, and one person who has nothing yet.
pub async fn rig(processes: usize) -> (Rig, ConnectionId) {
    rig_with(processes, LIFE).await
}

/// The same with access tokens of this life.
pub async fn rig_with(processes: usize, life: Duration) -> (Rig, ConnectionId) {
    let rig = Rig::start(processes, 1, life).await;
    let id = rig.user(0).id.clone();
    rig.world.provider.connected(0, None);
    assert!(rig.processes[0].connections.manager.disconnect(&id, &CALLER).await.unwrap());
    rig.world.provider.revocations.lock().clear();
    (rig, id)
}

pub fn of_service(id: &ConnectionId, service: &str) -> ConnectionId {
    ConnectionId { service: ServiceName::parse(service).unwrap(), ..id.clone() }
}

pub fn labelled(id: &ConnectionId, label: &str) -> ConnectionId {
    ConnectionId { account: Account::parse(label).unwrap(), ..id.clone() }
}

impl Rig {
    /// How often the provider was asked to revoke something.
    pub fn revocations(&self) -> usize {
        self.world.provider.revocations.lock().len()
    }

    pub fn death_of(&self, family: usize) -> Option<Death> {
        self.world.provider.death_of(family)
    }

    pub fn records(&self) -> usize {
        self.world.server.count()
    }

    pub async fn disconnect(&self, id: &ConnectionId) {
        assert!(self.processes[0].connections.manager.disconnect(id, &CALLER).await.unwrap());
    }

    /// A refresh of this connection is under way at the provider, and will bring a token after this time.
    pub async fn refresh_slowly(&self, id: &ConnectionId, time: Duration) -> tokio::task::JoinHandle<()> {
        let connections = self.processes[0].connections.clone();
        let key = connections.records.roots().key(id).await.unwrap();
        let token_version = self.world.server.record(&key).unwrap().grant.unwrap().token_version;
        let (id, before) = (id.clone(), self.asked());
        self.script([Scripted::Slow(time)]);
        let refresh = tokio::spawn(async move { connections.refresher.refresh(&id, token_version).await.unwrap() });
        until("the provider was asked", || async { self.asked() > before }).await;
        refresh
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_reconnect_overtook_revokes_nothing_of_the_same_account() {
    for who in [Some("ada"), None] {
        let (rig, id) = rig(1).await;
        Consents(&rig).connect(0, &id, who).await;
        let refresh = rig.refresh_slowly(&id, Duration::from_secs(4)).await;
        Consents(&rig).connect(0, &id, who).await;
        refresh.await.unwrap();
        sleep(LATER).await;
        assert_eq!(rig.revocations(), 0, "{who:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_another_account_overtook_is_revoked() {
    let (rig, id) = rig(1).await;
    let first = Consents(&rig).connect(0, &id, Some("ada")).await;
    let refresh = rig.refresh_slowly(&id, Duration::from_secs(4)).await;
    let second = Consents(&rig).connect(0, &id, Some("bob")).await;
    refresh.await.unwrap();
    sleep(LATER).await;
    assert_eq!((rig.death_of(first), rig.death_of(second)), (Some(Death::Client), None));
    assert_eq!(rig.records(), 1, "nothing is left of the first");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_only_a_cut_off_process_has_is_not_revoked_once_the_person_connected_anew() {
    let (rig, id) = rig(2).await;
    Consents(&rig).connect(1, &id, Some("ada")).await;
    let refresh = rig.refresh_slowly(&id, Duration::from_secs(4)).await;
    rig.processes[0].gate.strike(Trouble::Cut(Duration::from_secs(60)));
    refresh.await.unwrap();
    assert_eq!(rig.processes[0].connections.unsaved(), 1);
    Consents(&rig).connect(1, &id, Some("ada")).await;
    sleep(LATER).await;
    assert_eq!((rig.processes[0].connections.unsaved(), rig.revocations()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_grant_comes_in_guarded_though_the_store_fails_for_a_moment_and_unguarded_where_it_is_away() {
    let (rig, id) = rig(1).await;
    let arrival = async || rig.processes[0].connections.revoker.arrival(&id.caller, &rig.user(0).service).await;
    rig.world.server.outage(Duration::from_secs(1));
    assert!(arrival().await.is_held());
    rig.world.server.outage(Duration::from_secs(60));
    let began = Instant::now();
    assert!(!arrival().await.is_held());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_grant_comes_in_guarded_though_the_store_fails_after_another_was_long_waited_for() {
    let (rig, id) = rig(2).await;
    let arrival = async |process: usize| {
        rig.processes[process].connections.revoker.arrival(&id.caller, &rig.user(0).service).await
    };
    let first = arrival(0).await;
    let (second, ()) = tokio::join!(arrival(1), async {
        sleep(Duration::from_secs(8)).await;
        rig.world.server.outage(Duration::from_secs(1));
        sleep(Duration::from_secs(2)).await;
        first.end();
    });
    assert!(second.is_held());
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_while_speaking_for_a_grant_stores_nothing_that_was_given_up_meanwhile() {
    let mut seen = 0;
    for step in 0..24_usize {
        let (rig, id) = rig(2).await;
        let connections = rig.processes[0].connections.clone();
        let (family, grant) = rig.world.provider.consent(0);
        let until = connections.records.now().plus(Duration::from_secs(30));
        let (aside, who) = (grant.clone(), identity(Some("ada")));
        let aside =
            UnconfirmedGrant { id: &id, name: "one", grant: aside, identity: who, requested: &[], shown: true, until };
        connections.unconfirmed.put(aside).await.unwrap();
        let gate = Arc::clone(&rig.processes[0].gate);
        let asked = gate.asked.lock().len();
        // Stopped until after the other process has given it up.
        gate.arm(step as u64, Trouble::Stop(Duration::from_secs(60)));
        let (from, who) = ((&id, "one", 1), identity(Some("ada")));
        let kept = connections.unconfirmed.keep(from, &id, grant, who, &[], &CALLER).await;
        let stored = rig.world.server.record(&rig.user(0).key).is_some_and(|record| record.grant.is_some());
        // What is on its way already, nobody can hold back.
        let on_its_way = step.is_multiple_of(2) && gate.asked.lock().get(asked + step / 2) == Some(&"put");
        assert!(
            !stored || on_its_way || rig.death_of(family).is_none(),
            "stopped at {step}, it stored what was revoked: {kept:?}"
        );
        seen += usize::from(rig.death_of(family).is_some());
    }
    assert!(seen > 0, "it was never stopped in time");
}

#[tokio::test(start_paused = true)]
async fn who_connects_again_before_a_revocation_is_through_is_not_reached_by_its_rest() {
    let (rig, id) = rig(1).await;
    Consents(&rig).connect(0, &id, Some("ada")).await;
    // The refresh token is revoked, slowly; the access token's turn would come after the new grant.
    rig.script([Scripted::Slow(Duration::from_secs(8))]);
    rig.disconnect(&id).await;
    assert_eq!(rig.revocations(), 1);
    Consents(&rig).connect(0, &id, Some("ada")).await;
    sleep(LATER).await;
    assert_eq!(rig.revocations(), 1);
    assert_eq!(rig.records(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_revocation_does_not_reach_who_connected_again() {
    let (rig, id) = rig(2).await;
    Consents(&rig).connect(0, &id, Some("ada")).await;
    rig.world.provider.outage(Duration::from_secs(20));
    rig.disconnect(&id).await;
    let asked = rig.revocations();
    Consents(&rig).connect(0, &id, Some("ada")).await;
    sleep(LATER).await;
    assert_eq!(rig.revocations(), asked);
    assert_eq!(rig.records(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_takes_the_label_of_a_disconnected_grant_does_not_make_its_revocation_forgotten() {
    for takes in ["another account", "a key", "a rename"] {
        let (rig, id) = rig(2).await;
        let connections = rig.processes[0].connections.clone();
        let work = labelled(&id, "work");
        let other = Consents(&rig).connect(0, &work, Some("bob")).await;
        let first = Consents(&rig).connect(0, &id, Some("ada")).await;
        rig.world.provider.outage(Duration::from_secs(20));
        rig.disconnect(&id).await;
        match takes {
            "a key" => connections.api_keys.store(&id, &"key".into(), &CALLER).await.unwrap(),
            "a rename" => assert_eq!(connections.manager.rename(&work, &id.account).await, Ok(Renamed::Done)),
            _ => drop(Consents(&rig).connect(0, &id, Some("eve")).await),
        }
        assert_eq!(rig.death_of(first), None);
        sleep(LATER).await;
        assert_eq!(rig.death_of(first), Some(Death::Client), "{takes}");
        assert_eq!(rig.death_of(other), None, "{takes}");
        let left = connections.manager.list(&id.caller).await.unwrap().len();
        assert_eq!(rig.records(), left, "{takes}: nothing else is left");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_revoked_while_a_record_still_holds_it_is_kept_until_that_lets_it_go() {
    let (rig, id) = rig(1).await;
    let revoker = Arc::clone(&rig.processes[0].connections.revoker);
    let first = Consents(&rig).connect(0, &id, Some("ada")).await;
    let grave = revoker.bury(&id, &rig.record(0).to_revoke().unwrap()).await.unwrap();
    revoker.finish(grave).await;
    assert_eq!((rig.revocations(), rig.records()), (0, 2), "it is asked for again");
    Consents(&rig).connect(0, &id, Some("bob")).await;
    sleep(LATER).await;
    assert_eq!((rig.death_of(first), rig.records()), (Some(Death::Client), 1));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_another_replaces_is_revoked_and_one_that_is_renewed_is_not() {
    let (rig, id) = rig(1).await;
    let first = Consents(&rig).connect(0, &id, Some("ada")).await;
    let second = Consents(&rig).connect(0, &id, Some("ada")).await;
    sleep(LATER).await;
    assert_eq!((rig.death_of(first), rig.death_of(second), rig.revocations()), (None, None, 0));
    let third = Consents(&rig).connect(0, &id, Some("bob")).await;
    sleep(LATER).await;
    assert_eq!((rig.death_of(second), rig.death_of(third)), (Some(Death::Client), None));
    assert_eq!(rig.records(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_that_never_succeeds_is_told_in_the_end() {
    let (rig, id) = rig(1).await;
    let family = Consents(&rig).connect(0, &id, Some("ada")).await;
    rig.world.provider.outage(Duration::from_secs(24 * 3600));
    rig.disconnect(&id).await;
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!((rig.death_of(family), rig.records()), (None, 0), "it is given up");
    assert_eq!(rig.world.told.count(Kind::RevocationFailed), 1);
}

#[tokio::test(start_paused = true)]
async fn no_revocation_is_sent_between_an_exchange_and_the_grants_arrival() {
    let (rig, id) = rig(2).await;
    Consents(&rig).connect(0, &id, Some("ada")).await;
    let (connections, service) = (&rig.processes[1].connections, services().get("crm").unwrap());
    let arrival = connections.revoker.arrival(&id.caller, service).await;
    rig.disconnect(&id).await;
    assert_eq!(rig.revocations(), 0);
    Consents(&rig).connect(1, &id, Some("ada")).await;
    arrival.end();
    sleep(LATER).await;
    assert_eq!((rig.revocations(), rig.records()), (0, 1));
    // Who comes after a revocation that is under way waits for its end.
    rig.script([Scripted::Slow(Duration::from_secs(5)), Scripted::Slow(Duration::from_secs(5))]);
    rig.disconnect(&id).await;
    let began = Instant::now();
    connections.revoker.arrival(&id.caller, service).await.end();
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(rig.revocations(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_longer_than_its_lease_sends_no_revocation_while_a_grant_comes_in() {
    let mut revoked = 0;
    for step in (1..24).step_by(2) {
        let (rig, id) = rig(2).await;
        let family = Consents(&rig).connect(0, &id, Some("ada")).await;
        // Stopped after the store has answered, or the provider.
        rig.processes[0].gate.arm(step, Trouble::Stop(Duration::from_secs(60)));
        let disconnecting = {
            let (manager, id) = (Arc::clone(&rig.processes[0].connections.manager), id.clone());
            tokio::spawn(async move { manager.disconnect(&id, &CALLER).await })
        };
        sleep(Duration::from_secs(20)).await;
        let arrival = rig.processes[1].connections.revoker.arrival(&id.caller, &rig.user(0).service).await;
        assert!(arrival.is_held());
        let sent = rig.revocations();
        sleep(LATER).await;
        assert_eq!(rig.revocations(), sent, "stopped at {step}, it sent what it had decided on before");
        arrival.end();
        disconnecting.await.unwrap().unwrap();
        sleep(LATER).await;
        revoked += usize::from(rig.death_of(family) == Some(Death::Client));
    }
    assert_eq!(revoked, 12, "in the end each is revoked");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_the_store_stores_after_its_sender_gave_up_is_not_revoked_meanwhile() {
    let (rig, id) = rig(2).await;
    let (family, grant) = rig.world.provider.consent(0);
    let connections = rig.processes[0].connections.clone();
    let (aside, who) = (grant.clone(), identity(Some("ada")));
    let until_then = connections.records.now().plus(LIFE);
    let aside = UnconfirmedGrant {
        id: &id,
        name: "one",
        grant: aside,
        identity: who,
        requested: &[],
        shown: true,
        until: until_then,
    };
    connections.unconfirmed.put(aside).await.unwrap();
    let (gate, server) = (&rig.processes[0].gate, &rig.world.server);
    gate.asked.lock().clear();
    let asked = |what: &str| gate.asked.lock().iter().filter(|asked| **asked == what).count();
    server.weather(Weather { delay: 100, ..Weather::default() });
    let keeping = {
        let id = id.clone();
        tokio::spawn(async move {
            let from = (&id, "one", 1);
            connections.unconfirmed.keep(from, &id, grant, identity(Some("ada")), &[], &CALLER).await.is_ok()
        })
    };
    // What it waits in is read, and what is connected so far.
    until("it is about to be stored", || async { asked("get") == 2 }).await;
    server.weather(Weather { late: 1000, ..Weather::default() });
    until("it is on its way", || async { asked("put") == 1 }).await;
    server.weather(Weather::default());
    assert!(!keeping.await.unwrap(), "nobody heard of it");
    assert!(server.record(&rig.user(0).key).is_none(), "it is not stored yet");
    assert!(rig.processes[1].connections.unconfirmed.discard(&id).await.unwrap());
    sleep(LATER).await;
    assert!(rig.record(0).grant.is_some(), "it was never stored");
    assert_eq!(rig.death_of(family), None);
}
