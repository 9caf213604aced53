//! Who granted access, and what is made of not knowing it: a connection never shows one account's name over another's grant.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::{connection::Connection, events::CALLER, oauth::Grant};

/// Goes all the way to `service` as Ada's browser; the provider's answers are set before.
async fn granted(rig: &Rig, service: &str, browser: &Browser) -> Outcome {
    let (caller, service) = (caller("ada"), rig.service(service));
    let wish = Wish {
        caller: &caller,
        name: None,
        application: None,
        service: &service,
        account: &Account::default(),
        scopes: &[],
        return_to: None,
    };
    let ticket = rig.consent.links.ticket(&wish, rig.clock.now()).await.unwrap();
    let guest = Guest { browser: Some(browser), ..Guest::default() };
    let plan = rig.consent.plan(&service, &ticket, None, guest, rig.clock.now()).await.unwrap();
    let url = rig.leave(&service, plan, browser).await.unwrap();
    let query = format!("code=the-code&state={}", parameter(&url, "state"));
    rig.outcome(service.name.as_str(), &query, Some(browser)).await.unwrap()
}

async fn found(rig: &Rig, service: &str) -> Connection {
    rig.connections.manager.get(&connection_id("ada", service, "default")).await.unwrap().unwrap()
}

/// Token answers with an ID token about this subject.
fn id_token(rig: &Rig, subject: &str) {
    let payload = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{subject}"}}"#));
    let body =
        format!(r#"{{"access_token":"at","token_type":"Bearer","expires_in":3600,"id_token":"e30.{payload}.x"}}"#);
    rig.provider.answer(200, &body);
}

/// From now on the provider doesn't say who granted access.
fn says_nothing(rig: &Rig) {
    rig.provider.is("");
}

#[tokio::test]
async fn a_grant_of_an_unknown_account_takes_a_known_ones_place_only_where_the_person_says_so() {
    let rig = Rig::new();
    let (browser, service) = (Browser::new().unwrap(), rig.service("crm"));
    assert!(matches!(granted(&rig, "crm", &browser).await, Outcome::Stored(_)));
    says_nothing(&rig);
    let Outcome::Question(question) = granted(&rig, "crm", &browser).await else { panic!("nobody was asked") };
    assert_eq!((question.before.as_str(), question.account.as_str()), ("ada@crm.example", "default"));
    assert_eq!(found(&rig, "crm").await.identity.as_deref(), Some("ada@crm.example"));
    let replaced = rig
        .consent
        .answer(&service, &question.code, Choice::Replace, &browser, &CALLER, rig.clock.now())
        .await
        .unwrap();
    assert!(matches!(replaced, Outcome::Stored(_)));
    let now = found(&rig, "crm").await;
    assert_eq!((now.identity, now.identity_id), (None, None), "whose it is isn't known any more");
    // Between two that nobody knows there is nothing to ask, nor where the first name is learnt.
    assert!(matches!(granted(&rig, "crm", &browser).await, Outcome::Stored(_)));
    rig.provider.is("ada");
    assert!(matches!(granted(&rig, "crm", &browser).await, Outcome::Stored(_)));
    assert_eq!(found(&rig, "crm").await.identity.as_deref(), Some("ada@crm.example"));
}

#[tokio::test]
async fn an_id_tokens_subject_says_who_granted_access_where_nothing_else_does() {
    let rig = Rig::new();
    let browser = Browser::new().unwrap();
    granted(&rig, "crm", &browser).await;
    // The endpoint is silent, the token answer is not: the same account is renewed and keeps its name.
    says_nothing(&rig);
    id_token(&rig, "ada");
    assert!(matches!(granted(&rig, "crm", &browser).await, Outcome::Stored(_)));
    assert_eq!(found(&rig, "crm").await.identity.as_deref(), Some("ada@crm.example"));
    id_token(&rig, "bob");
    let Outcome::Question(question) = granted(&rig, "crm", &browser).await else { panic!("nobody was asked") };
    assert_eq!(question.before, "ada@crm.example");
    // A service without such an endpoint tells accounts apart by it, too.
    id_token(&rig, "ada");
    assert!(matches!(granted(&rig, "calendar", &browser).await, Outcome::Stored(_)));
    assert_eq!(found(&rig, "calendar").await.identity_id.as_deref(), Some("ada"));
    assert!(matches!(granted(&rig, "calendar", &browser).await, Outcome::Stored(_)));
    id_token(&rig, "bob");
    assert!(matches!(granted(&rig, "calendar", &browser).await, Outcome::Question(_)));
}

#[tokio::test]
async fn what_an_endpoint_says_of_somebody_else_than_the_id_token_counts_for_nothing() {
    let rig = Rig::new();
    let browser = Browser::new().unwrap();
    rig.provider.is("mallory");
    id_token(&rig, "ada");
    granted(&rig, "crm", &browser).await;
    let connection = found(&rig, "crm").await;
    assert_eq!(connection.identity_id.as_deref(), Some("ada"));
    assert_eq!(connection.identity.as_deref(), Some("ada"), "not mallory's address");
}

#[tokio::test]
async fn a_grant_that_is_put_over_another_without_a_name_has_none() {
    let rig = Rig::new();
    granted(&rig, "crm", &Browser::new().unwrap()).await;
    // As `import --overwrite` does.
    let grant = Grant {
        access_token: "imported".into(),
        refresh_token: None,
        expires_in: None,
        scopes: None,
        refresh_expires_in: None,
        id_token_subject: None,
    };
    let id = connection_id("ada", "crm", "default");
    let connection = rig.connections.manager.connect(&id, grant, None, &[], &CALLER).await.unwrap();
    assert_eq!((connection.identity, connection.identity_id), (None, None));
}
