//! Grants that wait for the person or the application.

use super::*;

/// Goes all the way as this provider account.
async fn granted(rig: &Rig, who: &str, account: &str, browser: &Browser) -> Result<Outcome, CallbackError> {
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
    let ticket = rig.consent.ticket(&wish, rig.clock.now()).await.unwrap();
    let url = rig.begin(&ticket, browser).await.unwrap();
    rig.outcome("crm", &answer(&url), Some(browser)).await
}

async fn identity(rig: &Rig, account: &str) -> Option<String> {
    rig.connections.get(&connection_id("ada", "crm", account)).await.unwrap().and_then(|found| found.identity)
}

#[tokio::test]
async fn another_account_takes_the_place_of_the_first_only_where_the_person_says_so() {
    let rig = Rig::new();
    let (browser, service) = (Browser::new().unwrap(), rig.service("crm"));
    assert!(matches!(granted(&rig, "ada", "default", &browser).await, Ok(Outcome::Stored(_))));
    // The same again is no question.
    assert!(matches!(granted(&rig, "ada", "default", &browser).await, Ok(Outcome::Stored(_))));
    let Ok(Outcome::Question(question)) = granted(&rig, "bob", "default", &browser).await else { panic!() };
    assert_eq!((question.before.as_str(), question.after.as_str()), ("ada@crm.example", "bob@crm.example"));
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
    assert!(!rig.consent.is_pending(&id).await);
    let Ok(Outcome::Pending(pending)) = granted(&rig, "ada", "default", &browser).await else { panic!() };
    assert!(!rig.is_connected("ada").await);
    assert!(rig.consent.is_pending(&id).await);
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
    assert!(rig.is_connected("ada").await && !rig.consent.is_pending(&id).await);
    assert!(rig.consent.confirm(&caller("ada"), code, rig.clock.now()).await.is_err());
    // One that is not confirmed is over after ten minutes.
    let Ok(Outcome::Pending(late)) = granted(&rig, "ada", "work", &browser).await else { panic!() };
    rig.clock.advance(STATE_TTL);
    assert!(rig.consent.confirm(&caller("ada"), &late.code, rig.clock.now()).await.is_err());
}
