//! Grants that wait for the person or the application.

use super::*;
use crate::connection::Status;

/// Goes all the way as this provider account.
pub(super) async fn granted(rig: &Rig, who: &str, account: &str, browser: &Browser) -> Result<Outcome, CallbackError> {
    rig.provider.is(who);
    let (caller, service) = (caller("ada"), rig.service("crm"));
    let wish = Wish {
        caller: &caller,
        name: None,
        application: None,
        service: &service,
        account: &Account::parse(account).unwrap(),
        scopes: &[],
        return_to: None,
    };
    let ticket = rig.consent.links.ticket(&wish, rig.clock.now()).await.unwrap();
    let url = rig.begin(&ticket, browser).await.unwrap();
    rig.outcome("crm", &answer(&url), Some(browser)).await
}

pub(super) async fn identity(rig: &Rig, account: &str) -> Option<Box<str>> {
    rig.connections.manager.get(&connection_id("ada", "crm", account)).await.unwrap().and_then(|found| found.identity)
}

#[tokio::test]
async fn another_account_takes_the_place_of_the_first_only_where_the_person_says_so() {
    let rig = Rig::new();
    let (browser, service) = (Browser::new().unwrap(), rig.service("crm"));
    assert!(matches!(granted(&rig, "ada", "default", &browser).await, Ok(Outcome::Stored(_))));
    // The same again is no question.
    assert!(matches!(granted(&rig, "ada", "default", &browser).await, Ok(Outcome::Stored(_))));
    let Ok(Outcome::Question(question)) = granted(&rig, "bob", "default", &browser).await else { panic!() };
    assert_eq!((question.before.as_str(), question.after.as_deref()), ("ada@crm.example", Some("bob@crm.example")));
    assert_eq!(identity(&rig, "default").await.as_deref(), Some("ada@crm.example"));
    // Not another browser's to answer, not for another service, not by the application.
    let (now, code, stranger) = (rig.clock.now(), question.code.as_str(), Browser::new().unwrap());
    for (service, browser) in [(&service, &stranger), (&rig.service("calendar"), &browser)] {
        let refused = rig.consent.answer(service, code, Choice::Replace, browser, now).await;
        assert_eq!(refused.map(|_| ()).unwrap_err(), HeldError::Unknown);
    }
    assert_eq!(rig.consent.confirm(&caller("ada"), code, now).await.map(|_| ()).unwrap_err(), HeldError::Unknown);
    // Beside the first, under a label of its own; the code serves once.
    let work = Choice::Beside(Account::parse("work").unwrap());
    assert!(matches!(rig.consent.answer(&service, code, work.clone(), &browser, now).await, Ok(Outcome::Stored(_))));
    assert_eq!(identity(&rig, "default").await.as_deref(), Some("ada@crm.example"));
    assert_eq!(identity(&rig, "work").await.as_deref(), Some("bob@crm.example"));
    assert!(rig.consent.answer(&service, code, work.clone(), &browser, now).await.is_err());
    // A label that is taken is asked about, too; and in its place after all.
    let Ok(Outcome::Question(third)) = granted(&rig, "eve", "default", &browser).await else { panic!() };
    let Ok(Outcome::Question(again)) = rig.consent.answer(&service, &third.code, work, &browser, now).await else {
        panic!()
    };
    assert_eq!(again.before, "bob@crm.example");
    let replaced = rig.consent.answer(&service, &again.code, Choice::Replace, &browser, now).await;
    assert!(matches!(replaced, Ok(Outcome::Stored(_))));
    assert_eq!(identity(&rig, "work").await.as_deref(), Some("eve@crm.example"));
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_over_after_ten_minutes() {
    let rig = Rig::new();
    let browser = Browser::new().unwrap();
    granted(&rig, "ada", "default", &browser).await.unwrap();
    let Ok(Outcome::Question(question)) = granted(&rig, "bob", "default", &browser).await else { panic!() };
    rig.clock.advance(STATE_TTL);
    let late =
        rig.consent.answer(&rig.service("crm"), &question.code, Choice::Replace, &browser, rig.clock.now()).await;
    assert_eq!(late.map(|_| ()).unwrap_err(), HeldError::Unknown);
    assert_eq!(identity(&rig, "default").await.as_deref(), Some("ada@crm.example"));
}

#[tokio::test]
async fn under_binding_confirm_nothing_is_connected_before_the_application_says_so() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let (browser, id) = (Browser::new().unwrap(), connection_id("ada", "crm", "default"));
    assert!(!rig.is_pending(&id).await);
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    assert!(!rig.is_connected("ada").await);
    assert!(rig.is_pending(&id).await);
    let (code, now) = (pending.code.as_str(), rig.clock.now());
    // Another caller's application learns nothing and spoils nothing; nor does the browser.
    assert_eq!(rig.consent.confirm(&caller("eve"), code, now).await.map(|_| ()).unwrap_err(), HeldError::Unknown);
    assert_eq!(rig.consent.confirm(&caller("ada"), "x", now).await.map(|_| ()).unwrap_err(), HeldError::Unknown);
    let by_browser = rig.consent.answer(&rig.service("crm"), code, Choice::Replace, &browser, now).await;
    assert_eq!(by_browser.map(|_| ()).unwrap_err(), HeldError::Unknown);
    rig.clock.advance(Duration::from_secs(60));
    let connection = rig.consent.confirm(&caller("ada"), code, rig.clock.now()).await.unwrap();
    assert_eq!(connection.identity.as_deref(), Some("ada@crm.example"));
    // The token was good for an hour when it came, a minute ago.
    assert_eq!(connection.expires_at, Some(START.plus(Duration::from_secs(3600))));
    assert!(rig.is_connected("ada").await && !rig.is_pending(&id).await);
    assert!(rig.consent.confirm(&caller("ada"), code, rig.clock.now()).await.is_err());
    // One that is not confirmed is over after ten minutes.
    let Ok(Outcome::Pending(late)) = granted(&rig, "ada", "work", &browser).await else { panic!() };
    rig.clock.advance(STATE_TTL);
    assert!(rig.consent.confirm(&caller("ada"), &late.code, rig.clock.now()).await.is_err());
}

#[tokio::test]
async fn an_account_that_is_connected_already_is_renewed_under_its_label_and_not_doubled() {
    let rig = Rig::new();
    let (browser, service) = (Browser::new().unwrap(), rig.service("crm"));
    granted(&rig, "ada", "default", &browser).await.unwrap();
    let Ok(Outcome::Stored(renewed)) = granted(&rig, "ada", "work", &browser).await else { panic!() };
    assert_eq!((renewed.asked.as_str(), renewed.connection.account.as_str()), ("work", "default"));
    assert_eq!(identity(&rig, "work").await, None);
    assert_eq!(rig.connections.manager.list(&caller("ada")).await.unwrap().len(), 1);
    // Nor where the person keeps both of two that turn out to be one.
    let Ok(Outcome::Question(question)) = granted(&rig, "bob", "default", &browser).await else { panic!() };
    let (now, bob) = (rig.clock.now(), Choice::Beside(Account::parse("bob").unwrap()));
    rig.consent.answer(&service, &question.code, bob, &browser, now).await.unwrap();
    let Ok(Outcome::Stored(again)) = granted(&rig, "bob", "default", &browser).await else { panic!() };
    assert_eq!(again.connection.account.as_str(), "bob");
}

#[tokio::test]
async fn accounts_are_told_apart_by_their_id_and_not_by_what_they_call_themselves() {
    let rig = Rig::new();
    let browser = Browser::new().unwrap();
    granted(&rig, "ada", "default", &browser).await.unwrap();
    // The same account under a new address is no question; another one under the first one's address is.
    rig.provider.calls_itself(Some("countess@crm.example"));
    let Ok(Outcome::Stored(_)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    assert_eq!(identity(&rig, "default").await.as_deref(), Some("countess@crm.example"));
    assert!(matches!(granted(&rig, "eve", "default", &browser).await, Ok(Outcome::Question(_))));
}

#[tokio::test]
async fn what_waits_for_the_application_is_listed_and_revoked_when_nobody_confirms_it() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let browser = Browser::new().unwrap();
    let Ok(Outcome::Pending(first)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    let Ok(Outcome::Pending(_)) = granted(&rig, "bob", "work", &browser).await else { panic!() };
    let listed = async || {
        let mut all = rig.connections.manager.list(&caller("ada")).await.unwrap();
        all.sort_by(|a, b| a.account.as_str().cmp(b.account.as_str()));
        all.into_iter().map(|found| (found.account.to_string(), found.status)).collect::<Vec<_>>()
    };
    let (default, work) = ("default".to_owned(), "work".to_owned());
    assert_eq!(listed().await, [(default.clone(), Status::Pending), (work.clone(), Status::Pending)]);
    let crm = rig.service("crm");
    let found =
        rig.connections.manager.find(&caller("ada"), &crm, Some(&Account::parse("work").unwrap())).await.unwrap();
    assert_eq!(found.map(|found| found.status), Some(Status::Pending));
    rig.consent.confirm(&caller("ada"), &first.code, rig.clock.now()).await.unwrap();
    assert_eq!(listed().await, [(default.clone(), Status::Active), (work.clone(), Status::Pending)]);
    assert_eq!(rig.provider.revoked(), 0);
    // The other one is over, and whichever process looks next revokes it.
    rig.clock.advance(STATE_TTL);
    assert_eq!(listed().await, [(default.clone(), Status::Active)]);
    rig.provider.until_revoked(1).await;
    assert!(rig.is_connected("ada").await);
}

#[tokio::test]
async fn a_grant_that_waits_can_be_given_up_at_once() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Confirm);
    let browser = Browser::new().unwrap();
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    assert!(rig.connections.manager.disconnect(&connection_id("ada", "crm", "default")).await.unwrap());
    assert_eq!(rig.connections.manager.list(&caller("ada")).await.unwrap().len(), 0);
    rig.provider.until_revoked(1).await;
    let late = rig.consent.confirm(&caller("ada"), &pending.code, rig.clock.now()).await;
    assert_eq!(late.map(|_| ()).unwrap_err(), HeldError::Unknown);
    assert!(!rig.connections.manager.disconnect(&connection_id("ada", "crm", "default")).await.unwrap());
}
