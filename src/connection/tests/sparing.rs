//! Facts of sparing: a revocation is not sent where a grant that is alive might be meant by it, too: of the same OAuth client,
//! under another service or label, and of the same account or an unknown one.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    parting::{Consents, LATER, LIFE, identity, labelled, of_service, rig},
    rig::Rig,
    sim::{provider::Death, world::written},
};
use crate::{clock::Timestamp, connection::UnconfirmedGrant, id::ConnectionId, oauth::Grant, provider::testing};

#[tokio::test(start_paused = true)]
async fn a_service_with_the_same_client_keeps_its_grant_when_its_neighbour_is_disconnected() {
    for who in [Some("ada"), None] {
        let (rig, id) = rig(1).await;
        let mail = of_service(&id, "crm-mail");
        Consents(&rig).connect(0, &id, who).await;
        Consents(&rig).connect(0, &mail, who).await;
        rig.disconnect(&mail).await;
        sleep(LATER).await;
        assert_eq!((rig.revocations(), rig.records()), (0, 1), "{who:?}");
        // The last one takes all along.
        rig.disconnect(&id).await;
        assert!(rig.revocations() > 0);
    }
}

/// Another configuration is in force, without these services.
fn reload_without(rig: &Rig, gone: &[&str]) {
    let mut left = written();
    for service in gone {
        left.as_object_mut().unwrap().remove(*service);
    }
    let live = &rig.processes[0].live;
    live.replace(Arc::new(testing::resolve(left).unwrap().in_place_of(&live.services())));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_taken_out_for_a_while_does_not_make_its_revocations_forgotten() {
    let (rig, id) = rig(1).await;
    let given = Consents(&rig).connect(0, &id, Some("ada")).await;
    reload_without(&rig, &["crm", "crm-files"]);
    rig.disconnect(&id).await;
    assert_eq!((rig.death_of(given), rig.records()), (None, 1));
    reload_without(&rig, &[]);
    sleep(LATER).await;
    assert_eq!((rig.death_of(given), rig.records()), (Some(Death::Client), 0));
}

#[tokio::test(start_paused = true)]
async fn a_grant_of_a_service_that_is_taken_out_is_alive_when_its_neighbour_is_disconnected() {
    let (rig, id) = rig(1).await;
    let mail = of_service(&id, "crm-mail");
    Consents(&rig).connect(0, &id, Some("ada")).await;
    Consents(&rig).connect(0, &mail, Some("ada")).await;
    reload_without(&rig, &["crm", "crm-files"]);
    rig.disconnect(&mail).await;
    sleep(LATER).await;
    assert_eq!((rig.revocations(), rig.records()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn another_account_or_client_is_no_reason_to_spare_a_grant() {
    let (rig, id) = rig(1).await;
    Consents(&rig).connect(0, &of_service(&id, "elsewhere"), Some("ada")).await;
    Consents(&rig).connect(0, &of_service(&id, "crm-mail"), Some("bob")).await;
    let family = Consents(&rig).connect(0, &id, Some("ada")).await;
    rig.disconnect(&id).await;
    assert_eq!(rig.death_of(family), Some(Death::Client));
}

/// Ada's grant, until somebody speaks for it.
fn aside(id: &ConnectionId, grant: Grant, until: Timestamp) -> UnconfirmedGrant<'_> {
    UnconfirmedGrant { id, name: "one", grant, identity: identity(Some("ada")), requested: &[], shown: true, until }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_nobody_confirmed_is_only_forgotten_beside_a_service_with_the_same_client() {
    for (service, revoked) in [("crm-mail", false), ("elsewhere", true)] {
        let (rig, id) = rig(1).await;
        Consents(&rig).connect(0, &of_service(&id, service), Some("ada")).await;
        let connections = &rig.processes[0].connections;
        let (family, grant) = rig.world.provider.consent(0);
        let until = connections.records.now().plus(Duration::from_secs(30));
        connections.unconfirmed.put(aside(&id, grant, until)).await.unwrap();
        sleep(LATER).await;
        assert_eq!(rig.death_of(family).is_some(), revoked, "{service}");
        assert_eq!(rig.records(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_waits_for_a_word_is_alive_too() {
    let (rig, id) = rig(1).await;
    Consents(&rig).connect(0, &id, Some("ada")).await;
    let connections = &rig.processes[0].connections;
    let (family, grant) = rig.world.provider.consent(0);
    let until = connections.records.now().plus(LIFE / 2);
    let waiting = labelled(&id, "work");
    connections.unconfirmed.put(aside(&waiting, grant, until)).await.unwrap();
    rig.disconnect(&id).await;
    sleep(LATER).await;
    assert_eq!((rig.revocations(), rig.death_of(family)), (0, None));
}
