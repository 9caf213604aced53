//! Facts of what a process serves while other services take the place of those in force.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    rig::{Rig, connect_again},
    sim::world::{services, written},
};
use crate::{
    connection::{Decision, Reason, Unavailable, Unusable, Want},
    provider::{Services, testing},
};

const LIFE: Duration = Duration::from_secs(3600);

/// Other services, and nothing else, in force in the rig's only process.
fn replaced(rig: &Rig, change: impl FnOnce(&mut Value)) -> Arc<Services> {
    let mut changed = written();
    change(&mut changed);
    let before = rig.processes[0].live.services();
    let after = Arc::new(testing::resolve(changed).unwrap().in_place_of(&before));
    rig.processes[0].live.replace(Arc::clone(&after));
    after
}

/// What a call to this service of these goes out with: the header's name.
async fn header(rig: &Rig, services: &Arc<Services>, service: &str) -> Result<String, Unusable> {
    let want = want(rig, services, service);
    let credential = rig.processes[0].connections.resolver.resolve(&want).await?;
    Ok(credential.headers[0].0.to_string())
}

fn want<'a>(rig: &'a Rig, services: &'a Arc<Services>, service: &str) -> Want<'a> {
    let service = services.get(service).unwrap();
    Want { services, service, ..rig.world.want(rig.user(0)) }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_out_with_the_header_of_the_very_service_it_began_with() {
    let rig = Rig::start(1, 1, LIFE).await;
    assert_eq!(header(&rig, services(), "crm").await.unwrap(), "authorization");
    let after =
        replaced(&rig, |services| services["crm"]["inject"] = json!({"header": "x-key", "template": "{token}"}));
    // Without a pause, and without anybody being told.
    let resolver = &rig.processes[0].connections.resolver;
    let (owner, now) = (resolver.owner(&rig.user(0).id.caller).unwrap(), crate::clock::Timestamp::default());
    let at_hand = || matches!(resolver.from_memory(&owner, &want(&rig, &after, "crm"), now), Some(Decision::Use(_)));
    assert!(!at_hand(), "nothing old is at hand for it");
    assert_eq!(header(&rig, &after, "crm").await.unwrap(), "x-key");
    assert_eq!(header(&rig, &after, "crm-files").await.unwrap(), "x-key", "which is built on it");
    // One that began before, and had no credential yet.
    assert_eq!(header(&rig, services(), "crm").await.unwrap(), "authorization");
    assert!(at_hand(), "what is new stays at hand");
}

#[tokio::test(start_paused = true)]
async fn what_this_process_renews_meanwhile_is_for_the_services_in_force() {
    let rig = Rig::start(1, 1, LIFE).await;
    assert_eq!(header(&rig, services(), "crm").await.unwrap(), "authorization");
    let after =
        replaced(&rig, |services| services["crm"]["inject"] = json!({"header": "x-key", "template": "{token}"}));
    // It is over for a call of either kind: the grant lands in what is held for the services before.
    rig.expire().await;
    assert_eq!(header(&rig, services(), "crm").await.unwrap(), "authorization");
    assert_eq!(header(&rig, &after, "crm").await.unwrap(), "x-key");
    assert_eq!(rig.asked(), 1);
    rig.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_what_did_not_change_serves_on_and_what_did_waits_for_it() {
    let rig = Rig::start(1, 1, LIFE).await;
    assert_eq!(header(&rig, services(), "crm").await.unwrap(), "authorization");
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.world.server.outage(Duration::from_secs(60));
    let elsewhere = replaced(&rig, |services| services["elsewhere"]["base_url"] = json!("https://other.example"));
    assert_eq!(header(&rig, &elsewhere, "crm").await.unwrap(), "authorization");
    let after =
        replaced(&rig, |services| services["crm"]["inject"] = json!({"header": "x-key", "template": "{token}"}));
    assert_eq!(header(&rig, &after, "crm").await.unwrap_err(), Unavailable::Store.into());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_sent_by_its_own_client_alone_and_a_mistaken_client_loses_nothing() {
    let rig = Rig::start(1, 1, LIFE).await;
    let mistaken = replaced(&rig, |services| services["crm"]["client_id"] = json!("somebody-elses"));
    assert_eq!(
        header(&rig, &mistaken, "crm").await.unwrap(),
        "authorization",
        "the access token is good as long as it was"
    );
    rig.expire().await;
    let expired = connect_again(Reason::Expired);
    assert_eq!(
        header(&rig, &mistaken, "crm").await.unwrap_err(),
        expired,
        "the person may connect with the new client"
    );
    // The healer has had its rounds, too.
    tokio::time::sleep(LIFE).await;
    assert_eq!(rig.asked(), 0, "what the provider would take for a theft");
    rig.processes[0].live.replace(Arc::clone(services()));
    assert_eq!(header(&rig, services(), "crm").await.unwrap(), "authorization");
    assert_eq!(rig.asked(), 1);
    rig.assert_sound();
}
