//! Facts of consents that bring no refresh token, as some providers give one with the first consent only: what renews the
//! grant is kept, and is lost neither to a renewal that is on its way meanwhile nor to a failover.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    parting::{Consents, LATER, LIFE, rig_with},
    rig::{Rig, until},
    sim::{
        gate::Trouble,
        provider::{Brings, Habits},
    },
};
use crate::{connection::AfterRejection, events::CALLER, id::ConnectionId};

/// A person who has connected once, with a refresh token, and won't get another one by connecting again; and the grant's family.
async fn connected_once(processes: usize, life: Duration) -> (Rig, ConnectionId, usize) {
    let (rig, id) = rig_with(processes, life).await;
    rig.world.provider.adopt(Habits { refresh: Brings::First, ..Habits::default() });
    let family = Consents(&rig).connect(0, &id, Some("ada")).await;
    (rig, id, family)
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_consent_without_a_refresh_token_overtook_leaves_what_renews_the_grant() {
    let (rig, id, first) = connected_once(1, LIFE).await;
    let refresh = rig.refresh_slowly(&id, Duration::from_secs(4)).await;
    let again = Consents(&rig).connect(0, &id, Some("ada")).await;
    assert_eq!(first, again, "the second consent continues the first");
    refresh.await.unwrap();
    sleep(LATER).await;
    assert!(rig.world.provider.can_renew(&rig.record(0)), "the token that is kept was spent");
    let access = rig.record(0).grant.unwrap().access_token.expose().clone();
    assert!(rig.world.provider.accepts(&access).0, "{access}");
    rig.expire().await;
    rig.resolve(0, 0).await.unwrap();
    assert_eq!((rig.death_of(first), rig.world.journal.counts().inherent), (None, 0), "a spent token came again");
}

#[tokio::test(start_paused = true)]
async fn a_consents_token_that_a_renewal_on_its_way_may_have_ended_is_renewed_when_it_is_refused() {
    let (rig, id, _) = connected_once(1, LIFE).await;
    let (connections, want) = (&rig.processes[0].connections, rig.world.want(rig.user(0)));
    let began = connections.records.now();
    let refresh = rig.refresh_slowly(&id, Duration::from_secs(4)).await;
    Consents(&rig).connect(0, &id, Some("ada")).await;
    refresh.await.unwrap();
    let consented = rig.resolve(0, 0).await.unwrap();
    rig.world.provider.refuse_for_nothing(consented.headers[0].1.to_str().unwrap().trim_start_matches("Bearer "));
    let AfterRejection::Replay(renewed) = connections.resolver.rejected_again(&want, &consented, began, &CALLER).await
    else {
        panic!("the refusal says nothing of the grant")
    };
    assert_ne!(renewed.token_version, consented.token_version);
    assert_eq!(rig.record(0).invalid, None);
}

#[tokio::test(start_paused = true)]
async fn a_consents_own_token_is_used_until_its_end_and_renewed_once_by_what_a_renewal_brought_meanwhile() {
    let (rig, id, _) = connected_once(2, Duration::from_secs(10)).await;
    let (connections, gate) = (&rig.processes[0].connections, Arc::clone(&rig.processes[0].gate));
    sleep(Duration::from_secs(9)).await;
    // It is stopped once its intent is written.
    let asked = gate.asked.lock().len();
    gate.arm(5, Trouble::Stop(Duration::from_secs(9)));
    let token_version = rig.record(0).grant.unwrap().token_version;
    let refresh = {
        let (refresher, id) = (Arc::clone(&connections.refresher), id.clone());
        tokio::spawn(async move { refresher.refresh(&id, token_version).await.unwrap() })
    };
    sleep(Duration::from_millis(500)).await;
    assert_eq!(gate.asked.lock()[asked..], ["lease", "get", "put"]);
    Consents(&rig).connect(1, &id, Some("ada")).await;
    let consented = rig.record(0).grant.unwrap().access_token.expose().clone();
    refresh.await.unwrap();
    assert_eq!((rig.asked(), rig.record(0).grant.unwrap().access_token.expose()), (1, &consented));
    rig.resolve(1, 0).await.unwrap();
    until("it is renewed", || async { rig.asked() > 1 }).await;
    sleep(Duration::from_secs(1)).await;
    rig.resolve(1, 0).await.unwrap();
    assert_eq!(rig.asked(), 2);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn a_consent_that_keeps_a_token_which_a_failover_made_unspent_gets_what_that_had_paid_for() {
    let (rig, id, family) = connected_once(2, LIFE).await;
    let refresh = rig.refresh_slowly(&id, Duration::ZERO).await;
    refresh.await.unwrap();
    let renewed = rig.record(0).grant.unwrap().refresh_token.unwrap();
    // Who renewed it comes to see what is lost only after another has read it, and written upon it.
    rig.processes[0].gate.strike(Trouble::Cut(Duration::from_secs(10)));
    rig.fail_over().await;
    assert_eq!(Consents(&rig).connect(1, &id, Some("ada")).await, family, "it continues the first");
    let record = rig.record(0);
    assert_ne!(record.grant.unwrap().refresh_token.unwrap().expose(), renewed.expose(), "the renewal is forgotten");
    sleep(LATER).await;
    assert_eq!(rig.record(0).grant.unwrap().refresh_token.unwrap().expose(), renewed.expose());
    assert_eq!(rig.record(0).connected_at, record.connected_at, "all else is the later consent's");
    rig.expire().await;
    rig.resolve(1, 0).await.unwrap();
    assert_eq!((rig.death_of(family), rig.world.journal.counts().inherent), (None, 0), "a spent token came again");
}
