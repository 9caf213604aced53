//! A grant that waits is stored before anything lets go of it, wherever that breaks off.

use super::{
    held::{granted, identity},
    testing::Break,
    *,
};
use crate::connection::Status;
use crate::events::CALLER;

/// At each operation of the store, and in each way.
fn breaks() -> impl Iterator<Item = (usize, Break)> {
    (1..24).flat_map(|operations| [Break::Before, Break::After].map(|how| (operations, how)))
}

/// What the person has, and that nothing else is kept of it.
async fn assert_has(rig: &Rig, expected: &[&str], when: &str) {
    let all = rig.connections.manager.list(&caller("ada")).await.unwrap();
    let mut found: Vec<String> = all.iter().map(|one| format!("{} {:?}", one.account, one.identity)).collect();
    found.sort();
    let expected: Vec<String> = expected.iter().map(|one| (*one).to_owned()).collect();
    assert_eq!(found, expected, "{when}");
    assert!(all.iter().all(|one| one.status == Status::Active), "{when}");
    assert_eq!(rig.store.count().await.unwrap(), expected.len() as u64, "{when}");
    assert_eq!(rig.provider.revoked(), 0, "{when}");
}

#[tokio::test]
async fn a_confirmation_that_breaks_off_anywhere_can_be_repeated() {
    let mut broken = 0;
    for (operations, how) in breaks() {
        let when = format!("{how:?} {operations}");
        let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
        let browser = Browser::new().unwrap();
        let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
        rig.brittle.break_after(operations, how);
        let (ada, code) = (caller("ada"), pending.code.as_str());
        let first = rig.consent.confirm(&ada, code, &CALLER, rig.clock.now()).await;
        broken += usize::from(rig.brittle.mend());
        let again = rig.consent.confirm(&ada, code, &CALLER, rig.clock.now()).await;
        assert!(first.is_ok() || again.is_ok(), "{when}: {first:?} {again:?}");
        assert_has(&rig, &["default Some(\"ada@crm.example\")"], &when).await;
        assert!(!rig.is_pending(&connection_id("ada", "crm", "default")).await, "{when}");
    }
    assert!(broken > 8, "the breaks missed the steps: {broken}");
}

#[tokio::test]
async fn an_answer_to_the_question_that_breaks_off_anywhere_can_be_repeated() {
    let mut broken = 0;
    for (operations, how) in breaks() {
        for beside in [false, true] {
            let when = format!("{how:?} {operations} {beside}");
            let rig = Rig::new();
            let (browser, service) = (Browser::new().unwrap(), rig.service("crm"));
            granted(&rig, "ada", "default", &browser).await.unwrap();
            let Ok(Outcome::Question(question)) = granted(&rig, "bob", "default", &browser).await else { panic!() };
            let choice = if beside { Choice::Beside(Account::parse("work").unwrap()) } else { Choice::Replace };
            rig.brittle.break_after(operations, how);
            let answer =
                || rig.consent.answer(&service, &question.code, choice.clone(), &browser, &CALLER, rig.clock.now());
            let first = answer().await;
            broken += usize::from(rig.brittle.mend());
            let again = answer().await;
            assert!(first.is_ok() || again.is_ok(), "{when}: {first:?} {again:?}");
            let has = identity(&rig, if beside { "work" } else { "default" }).await;
            assert_eq!(has.as_deref(), Some("bob@crm.example"), "{when}");
        }
    }
    assert!(broken > 8, "the breaks missed the steps: {broken}");
}

#[tokio::test]
async fn two_confirmations_at_once_store_the_grant_once() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let browser = Browser::new().unwrap();
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    let (ada, now) = (caller("ada"), rig.clock.now());
    let confirm = || rig.consent.confirm(&ada, &pending.code, &CALLER, now);
    let (one, two) = tokio::join!(confirm(), confirm());
    assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    assert_has(&rig, &["default Some(\"ada@crm.example\")"], "at once").await;
}

#[tokio::test]
async fn a_confirmation_that_is_repeated_later_does_not_store_the_old_grant_again() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let (browser, id) = (Browser::new().unwrap(), connection_id("ada", "crm", "default"));
    let mut repeated = 0;
    for (operations, how) in breaks() {
        let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
        rig.brittle.break_after(operations, how);
        let first = rig.consent.confirm(&id.caller, &pending.code, &CALLER, rig.clock.now()).await;
        rig.brittle.mend();
        rig.clock.advance(Duration::from_secs(20));
        let Ok(connected) = first else {
            rig.connections.manager.disconnect(&id, &CALLER).await.unwrap();
            continue;
        };
        if let Ok(again) = rig.consent.confirm(&id.caller, &pending.code, &CALLER, rig.clock.now()).await {
            assert_eq!(again.connected_at, connected.connected_at, "{how:?} {operations}");
            repeated += 1;
        }
        rig.connections.manager.disconnect(&id, &CALLER).await.unwrap();
        // A grant that was given up meanwhile is not connected again.
        assert!(rig.consent.confirm(&id.caller, &pending.code, &CALLER, rig.clock.now()).await.is_err());
        assert!(!rig.is_connected("ada").await);
    }
    assert!(repeated > 0, "no break left the code behind");
}

#[tokio::test]
async fn the_longest_tokens_can_be_confirmed() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let [access, refresh] = ["a", "r"].map(|letter| letter.repeat(16 * 1024));
    let tokens = format!(r#"{{"access_token":"{access}","refresh_token":"{refresh}","token_type":"Bearer"}}"#);
    rig.provider.answer(200, &tokens);
    let browser = Browser::new().unwrap();
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    rig.consent.confirm(&caller("ada"), &pending.code, &CALLER, rig.clock.now()).await.unwrap();
    assert!(rig.is_connected("ada").await);
}

#[tokio::test]
async fn a_grant_that_the_callback_could_not_store_is_revoked_once_the_store_is_back() {
    for operations in 1.. {
        let rig = Rig::new();
        let browser = Browser::new().unwrap();
        let ticket = rig.ticket("ada").await;
        let url = rig.begin(&ticket, &browser).await.unwrap();
        rig.brittle.break_after(operations, Break::Before);
        let ended = rig.outcome("crm", &answer(&url), Some(&browser)).await;
        let exchanged = rig.provider.exchanges() == 1;
        if exchanged {
            assert!(matches!(ended, Err(CallbackError::Ended { why: Ended::NotStored, .. })), "{ended:?}");
            assert_eq!(rig.provider.revoked(), 0);
            rig.brittle.mend();
            rig.provider.until_revoked(1).await;
            break;
        }
        assert!(ended.is_err(), "the breaks missed the step");
    }
}

#[tokio::test]
async fn a_label_waits_for_as_long_as_any_grant_of_it_does() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let (browser, id) = (Browser::new().unwrap(), connection_id("ada", "crm", "default"));
    let Ok(Outcome::Pending(first)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    rig.clock.advance(STATE_TTL - Duration::from_secs(60));
    let Ok(Outcome::Pending(_)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    rig.consent.confirm(&id.caller, &first.code, &CALLER, rig.clock.now()).await.unwrap();
    assert!(rig.is_pending(&id).await, "the second grant's");
    rig.clock.advance(STATE_TTL - Duration::from_secs(1));
    assert!(rig.is_pending(&id).await, "to the end of the second one");
}

#[tokio::test]
async fn under_a_new_label_all_is_asked_for_that_the_account_may_have_granted_already() {
    let rig = Rig::new();
    let browser = Browser::new().unwrap();
    let (id, now) = (connection_id("ada", "crm", "work"), rig.clock.now());
    let grant = |scopes: &[&str]| crate::oauth::Grant {
        access_token: "at".into(),
        refresh_token: None,
        expires_in: None,
        scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        refresh_expires_in: None,
        id_token_subject: None,
    };
    rig.connections.manager.connect(&id, grant(&["contacts", "notes"]), None, &[], &CALLER).await.unwrap();
    let ticket = rig.ticket("ada").await;
    let guest = Guest { browser: Some(&browser), ..Guest::default() };
    let plan = async || rig.consent.plan(&rig.service("crm"), &ticket, None, guest, now).await.unwrap();
    assert_eq!(plan().await.scopes, ["contacts", "notes"]);
    // One that is there under this label tells what is asked for.
    rig.connections
        .manager
        .connect(&connection_id("ada", "crm", "default"), grant(&["contacts"]), None, &[], &CALLER)
        .await
        .unwrap();
    assert_eq!(plan().await.scopes, ["contacts"]);
}
