//! Facts of what a call gets: which of a caller's connections is meant, and what it is good for at this moment.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    rig::{Rig, connect_again},
    sim::gate::Trouble,
};
use crate::{
    connection::{Connections, Decision, Reason, Unavailable, Unusable, Want},
    events::CALLER,
    id::{Account, ConnectionId},
    oauth::Grant,
};

const HOUR: Duration = Duration::from_secs(3600);

fn label(text: &str) -> Account {
    Account::parse(text).unwrap()
}

fn grant(access: &str, refresh: Option<&str>, life: Option<Duration>) -> Grant {
    Grant {
        access_token: access.into(),
        refresh_token: refresh.map(Into::into),
        expires_in: life,
        scopes: Some(vec!["contacts".into()]),
        refresh_expires_in: None,
        id_token_subject: None,
    }
}

/// One process and one person, who has these accounts and no other.
async fn with_accounts(accounts: &[&str]) -> Rig {
    let rig = Rig::start(1, 1, HOUR).await;
    let connections = connections(&rig);
    connections.manager.disconnect(&rig.user(0).id, &CALLER).await.unwrap();
    for account in accounts {
        let id = ConnectionId { account: label(account), ..rig.user(0).id.clone() };
        connections.manager.connect(&id, grant(account, None, Some(HOUR)), None, &[], &CALLER).await.unwrap();
    }
    rig
}

fn connections(rig: &Rig) -> &Connections {
    &rig.processes[0].connections
}

/// What a call for this account gets: the token, or why there is none.
async fn asked(rig: &Rig, account: Option<&str>, scopes: &[String]) -> Result<String, Unusable> {
    let account = account.map(label);
    let want = Want { account: account.as_ref(), scopes, ..rig.world.want(rig.user(0)) };
    let credential = connections(rig).resolver.resolve(&want).await?;
    let owner = connections(rig).resolver.owner(want.caller).unwrap();
    let next = connections(rig).resolver.from_memory(&owner, &want, connections(rig).records.now());
    let from_memory = matches!(&next, Some(Decision::Use(cached)) if cached.token_version == credential.token_version);
    assert!(from_memory, "the next call gets {next:?}");
    Ok(credential.headers[0].1.to_str().unwrap().trim_start_matches("Bearer ").to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_only_account_is_meant_whatever_its_label() {
    let rig = with_accounts(&["work"]).await;
    assert_eq!(asked(&rig, None, &[]).await, Ok("work".into()));
    let other = Unusable::AuthRequired { reason: Reason::NotConnected, account: label("home") };
    assert_eq!(asked(&rig, Some("home"), &[]).await, Err(other));
}

#[tokio::test(start_paused = true)]
async fn of_several_accounts_the_default_one_is_meant() {
    let rig = with_accounts(&["aaa", "default", "work"]).await;
    assert_eq!(asked(&rig, None, &[]).await, Ok("default".into()));
    assert_eq!(asked(&rig, Some("work"), &[]).await, Ok("work".into()));
}

#[tokio::test(start_paused = true)]
async fn of_several_accounts_without_a_default_one_must_be_named() {
    let rig = with_accounts(&["work", "home"]).await;
    let accounts = vec![label("home"), label("work")];
    assert_eq!(asked(&rig, None, &[]).await, Err(Unusable::AccountRequired { accounts }));
}

#[tokio::test(start_paused = true)]
async fn who_never_connected_or_gave_up_is_not_connected() {
    let rig = with_accounts(&[]).await;
    assert_eq!(asked(&rig, None, &[]).await, Err(connect_again(Reason::NotConnected)));
}

#[tokio::test(start_paused = true)]
async fn scopes_that_are_missing_are_named() {
    let rig = with_accounts(&["default"]).await;
    let wanted = ["contacts".to_owned(), "calendar".to_owned()];
    let missing = Unusable::MissingScopes { scopes: vec!["calendar".into()], account: Account::default() };
    assert_eq!(asked(&rig, None, &wanted).await, Err(missing));
    assert_eq!(asked(&rig, None, &wanted[..1]).await, Ok("default".into()));
}

#[tokio::test(start_paused = true)]
async fn scopes_that_were_asked_for_and_come_back_under_other_names_or_none_are_for_the_upstream_to_judge() {
    let rig = with_accounts(&[]).await;
    let asked_for = ["offline_access", "https://graph.microsoft.com/Mail.Read", "odd.one"].map(str::to_owned);
    let granted = Grant { scopes: Some(vec!["mail.read".into()]), ..grant("a", Some("r"), Some(HOUR)) };
    connections(&rig).manager.connect(&rig.user(0).id, granted.clone(), None, &asked_for, &CALLER).await.unwrap();
    assert_eq!(asked(&rig, None, &asked_for).await, Ok("a".into()));
    // Never asked for: the refresh token itself tells of the one, and the spelling of another.
    connections(&rig).manager.connect(&rig.user(0).id, granted, None, &[], &CALLER).await.unwrap();
    assert_eq!(asked(&rig, None, &asked_for[..2]).await, Ok("a".into()));
    let missing = Unusable::MissingScopes { scopes: vec!["odd.one".into()], account: Account::default() };
    assert_eq!(asked(&rig, None, &asked_for).await, Err(missing));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_over_and_cannot_be_renewed_has_expired() {
    let rig = with_accounts(&["default"]).await;
    sleep(HOUR - Duration::from_secs(1)).await;
    assert_eq!(asked(&rig, None, &[]).await, Ok("default".into()), "the last second is its own");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(asked(&rig, None, &[]).await, Err(connect_again(Reason::Expired)));
    assert_eq!(rig.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_end_is_unknown_is_used_until_it_is_refused() {
    let rig = with_accounts(&[]).await;
    connections(&rig).manager.connect(&rig.user(0).id, grant("lasting", None, None), None, &[], &CALLER).await.unwrap();
    sleep(HOUR * 24).await;
    assert_eq!(asked(&rig, None, &[]).await, Ok("lasting".into()));
}

#[tokio::test(start_paused = true)]
async fn a_call_inside_the_window_uses_the_old_token_and_starts_the_renewal() {
    let life = Duration::from_secs(50);
    let rig = Rig::start(1, 1, life).await;
    let old = rig.resolve(0, 0).await.unwrap();
    sleep(life - Duration::from_secs(5)).await;
    assert_eq!(rig.resolve(0, 0).await.unwrap().token_version, old.token_version, "nobody waits");
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.asked(), 1);
    assert!(rig.resolve(0, 0).await.unwrap().token_version > old.token_version);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_nobody_is_sent_away_for_what_may_have_changed() {
    let rig = with_accounts(&["default"]).await;
    asked(&rig, None, &[]).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    rig.world.server.outage(HOUR);
    let want = rig.world.want(rig.user(0));
    connections(&rig).resolver.resolve(&want).await.expect("what is cached serves");
    let elsewhere = label("elsewhere");
    let unknown = connections(&rig).resolver.resolve(&Want { account: Some(&elsewhere), ..want }).await;
    assert!(matches!(unknown, Err(Unusable::Unavailable(_))), "{unknown:?}");
}

#[tokio::test(start_paused = true)]
async fn while_no_notices_come_nobody_is_sent_away_for_what_was_read_before_their_call() {
    let rig = Rig::start(3, 2, HOUR).await;
    rig.world.disconnect(rig.user(0), &rig.processes[1]).await;
    rig.resolve(2, 1).await.expect("somebody else is connected");
    let gate = &rig.processes[2].gate;
    // Right after it has read the list.
    gate.arm(1, Trouble::Stop(Duration::from_secs(20)));
    let before = rig.call(2, 0);
    sleep(Duration::from_secs(1)).await;
    rig.world.connect(rig.user(0), &rig.processes[1]).await;
    let after = rig.call(2, 0);
    sleep(Duration::from_secs(1)).await;
    gate.strike(Trouble::Cut(Duration::from_secs(30)));
    assert_eq!(before.await.unwrap().unwrap_err(), connect_again(Reason::NotConnected));
    assert_eq!(after.await.unwrap().unwrap_err(), Unavailable::Store.into());
}
