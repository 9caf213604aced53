//! From a link to a grant, and what each mistake leaves as it was.

use super::*;

#[tokio::test]
async fn a_link_opens_for_its_own_service_until_it_expires_and_as_it_was_made() {
    let rig = Rig::new();
    let text = rig.ticket("ada").await;
    assert_eq!(rig.plan(&text, None).await.unwrap().ticket.caller, caller("ada"));
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last character of base64 may hold bits that belong to no byte.
        let refused = rig.plan(&changed, None).await;
        assert_eq!(refused.map(|_| ()), Err(BeginError::Ticket(TicketError::Invalid)), "{at}");
    }
    let elsewhere = rig.consent.plan(&rig.service("calendar"), &text, None, Guest::default(), START).await;
    assert_eq!(elsewhere.map(|_| ()), Err(BeginError::Ticket(TicketError::Invalid)));
    rig.clock.advance(Duration::from_secs(599));
    assert!(rig.plan(&text, None).await.is_ok());
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.plan(&text, None).await.map(|_| ()), Err(BeginError::Ticket(TicketError::Expired)));
}

#[tokio::test]
async fn what_was_sealed_for_another_purpose_is_no_ticket() {
    let rig = Rig::new();
    let root = rig.roots.get().await.unwrap();
    let text = rig.ticket("ada").await;
    let plaintext = root.open(Purpose::Ticket, &text, &[b"crm"]).unwrap();
    for purpose in [Purpose::State, Purpose::Session, Purpose::Record] {
        let forged = root.seal(purpose, plaintext.expose(), &[b"crm"]).unwrap();
        assert_eq!(rig.plan(&forged, None).await.map(|_| ()), Err(BeginError::Ticket(TicketError::Invalid)));
    }
}

#[tokio::test]
async fn a_grant_is_stored_once_and_the_ticket_is_over_then() {
    let rig = Rig::new();
    let (ticket, browser) = (rig.ticket("ada").await, Browser::new().unwrap());
    let url = rig.begin(&ticket, &browser).await.unwrap();
    assert_eq!(parameter(&url, "redirect_uri"), "https://connect.example.com/oauth/callback/crm");
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    assert_eq!(parameter(&url, "state").len(), 43);
    let completed = rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap();
    assert_eq!(completed.caller, caller("ada"));
    assert_eq!(completed.connection.identity.as_deref(), Some("ada@crm.example"));
    assert_eq!(*completed.connection.scopes, ["contacts"]);
    let sent = rig.provider.bodies.lock().join("");
    assert!(sent.contains("code_verifier=") && !url.as_str().contains("code_verifier"), "{sent}");
    // Neither the state nor the ticket can be used again.
    assert!(matches!(rig.call_back("crm", &answer(&url), Some(&browser)).await, Err(CallbackError::Unknown)));
    assert_eq!(rig.plan(&ticket, Some(&browser)).await.map(|_| ()), Err(BeginError::Used));
    assert_eq!(rig.plan(&ticket, None).await.map(|_| ()), Err(BeginError::Used));
    assert_eq!(rig.provider.exchanges(), 1);
}

#[tokio::test]
async fn of_two_callbacks_at_once_one_makes_a_grant() {
    let rig = Rig::new();
    let (ticket, browser) = (rig.ticket("ada").await, Browser::new().unwrap());
    let query = answer(&rig.begin(&ticket, &browser).await.unwrap());
    let (one, two) =
        tokio::join!(rig.call_back("crm", &query, Some(&browser)), rig.call_back("crm", &query, Some(&browser)));
    assert_eq!([one.is_ok(), two.is_ok()].into_iter().filter(|ok| *ok).count(), 1);
    assert_eq!(rig.provider.exchanges(), 1);
}

#[tokio::test]
async fn a_ticket_belongs_to_the_first_browser_that_goes_on_with_it() {
    let rig = Rig::new();
    let ticket = rig.ticket("ada").await;
    let (first, second) = (Browser::new().unwrap(), Browser::new().unwrap());
    // Looking binds nothing.
    assert!(rig.plan(&ticket, Some(&second)).await.is_ok());
    rig.begin(&ticket, &first).await.unwrap();
    assert_eq!(rig.begin(&ticket, &second).await.map(|_| ()), Err(BeginError::OtherBrowser));
    assert_eq!(rig.plan(&ticket, None).await.map(|_| ()), Err(BeginError::OtherBrowser));
    let again = rig.begin(&ticket, &first).await.unwrap();
    assert!(rig.call_back("crm", &answer(&again), Some(&first)).await.is_ok());
}

#[tokio::test]
async fn a_callback_that_is_not_its_owners_calls_nobody_and_leaves_the_state() {
    let rig = Rig::new();
    let (ticket, browser) = (rig.ticket("mallory").await, Browser::new().unwrap());
    let url = rig.begin(&ticket, &browser).await.unwrap();
    let state = parameter(&url, "state");
    let query = answer(&url);
    let victim = Browser::new().unwrap();
    let owner = Some(&browser);
    assert!(matches!(rig.call_back("crm", &query, Some(&victim)).await, Err(CallbackError::OtherBrowser)));
    assert!(matches!(rig.call_back("crm", &query, None).await, Err(CallbackError::OtherBrowser)));
    assert!(matches!(rig.call_back("calendar", &query, owner).await, Err(CallbackError::OtherService)));
    let mixed = format!("code=x&state={state}&iss=https://evil.example");
    assert!(matches!(rig.call_back("crm", &mixed, owner).await, Err(CallbackError::OtherIssuer)));
    let denied_elsewhere = format!("error=access_denied&state={state}");
    assert!(matches!(rig.call_back("crm", &denied_elsewhere, None).await, Err(CallbackError::OtherBrowser)));
    for malformed in ["code=x".to_owned(), format!("{query}&state={state}"), format!("{query}&code=y"), "state=".into()]
    {
        assert!(matches!(rig.call_back("crm", &malformed, owner).await, Err(CallbackError::Malformed)), "{malformed}");
    }
    for unknown in ["code=x&state=nonsense".to_owned(), format!("code=x&state={state}x")] {
        assert!(matches!(rig.call_back("crm", &unknown, owner).await, Err(CallbackError::Unknown)), "{unknown}");
    }
    assert_eq!(rig.provider.exchanges(), 0);
    assert!(!rig.is_connected("mallory").await);
    assert!(rig.call_back("crm", &query, owner).await.is_ok());
}

#[tokio::test]
async fn the_owners_callback_spends_the_state_also_with_an_error_and_the_ticket_lives() {
    let rig = Rig::new();
    let (ticket, browser) = (rig.ticket("ada").await, Browser::new().unwrap());
    let url = rig.begin(&ticket, &browser).await.unwrap();
    let query = format!("error=access_denied&error_description=no&state={}", parameter(&url, "state"));
    match rig.call_back("crm", &query, Some(&browser)).await {
        Err(CallbackError::Ended { why: Ended::Denied, retry, .. }) => {
            assert_eq!(retry.again.unwrap(), format!("https://connect.example.com/connect/crm?ticket={ticket}"));
            assert_eq!(retry.back, None);
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(rig.call_back("crm", &answer(&url), Some(&browser)).await, Err(CallbackError::Unknown)));
    assert_eq!(rig.provider.exchanges(), 0);
    let again = rig.begin(&ticket, &browser).await.unwrap();
    assert!(rig.call_back("crm", &answer(&again), Some(&browser)).await.is_ok());
}

#[tokio::test]
async fn a_state_expires_after_ten_minutes_whatever_the_ticket_does() {
    let rig = Rig::with(|config| config.connect.ticket_ttl = Duration::from_secs(86_400));
    let (ticket, browser) = (rig.ticket("ada").await, Browser::new().unwrap());
    let url = rig.begin(&ticket, &browser).await.unwrap();
    rig.clock.advance(STATE_TTL);
    assert!(matches!(rig.call_back("crm", &answer(&url), Some(&browser)).await, Err(CallbackError::Unknown)));
    assert_eq!(rig.provider.exchanges(), 0);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_stores_nothing_and_the_person_may_try_again() {
    let rig = Rig::new();
    let (ticket, browser) = (rig.ticket("ada").await, Browser::new().unwrap());
    let script: [(&dyn Fn(), Ended); 4] = [
        (&|| rig.provider.fail(Fault::Timeout), Ended::ExchangeFailed),
        (&|| rig.provider.answer(500, "<h1>oops</h1>"), Ended::ExchangeFailed),
        (&|| rig.provider.answer(400, r#"{"error":"invalid_grant"}"#), Ended::ExchangeRefused),
        (&|| rig.provider.answer(401, r#"{"error":"invalid_client"}"#), Ended::ExchangeRefused),
    ];
    for (set, expected) in script {
        set();
        let url = rig.begin(&ticket, &browser).await.unwrap();
        match rig.call_back("crm", &answer(&url), Some(&browser)).await {
            Err(CallbackError::Ended { why, retry, .. }) => {
                assert_eq!(why, expected);
                assert!(retry.again.is_some());
            }
            other => panic!("{other:?}"),
        }
        assert!(!rig.is_connected("ada").await);
    }
}

#[tokio::test]
async fn return_to_is_told_what_happened_and_is_checked_when_it_is_used() {
    let rig = Rig::new();
    let back = rig.consent.links.return_to("https://app.example.com/after?tab=1").unwrap();
    let (caller, service) = (caller("ada"), rig.service("crm"));
    let wish = Wish {
        caller: &caller,
        name: Some("Ada"),
        application: None,
        service: &service,
        account: &Account::default(),
        scopes: &["calendar".into()],
        return_to: Some(&back),
    };
    let ticket = rig.consent.links.ticket(&wish, START).await.unwrap();
    let browser = Browser::new().unwrap();
    let url = rig.begin(&ticket, &browser).await.unwrap();
    assert_eq!(parameter(&url, "scope"), "contacts calendar");
    let query = format!("error=server_error&state={}", parameter(&url, "state"));
    match rig.call_back("crm", &query, Some(&browser)).await {
        Err(CallbackError::Ended { why: Ended::ProviderError, retry, .. }) => {
            assert_eq!(retry.back.unwrap().as_str(), "https://app.example.com/after?tab=1&error=server_error");
        }
        other => panic!("{other:?}"),
    }
    let url = rig.begin(&ticket, &browser).await.unwrap();
    let completed = rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap();
    assert_eq!(completed.return_to.unwrap().as_str(), "https://app.example.com/after?tab=1&connected=crm");
    // One that is not on the list is passed over.
    let ticket = rig.ticket("ada").await;
    let foreign = Some("https://evil.example/");
    let guest = Guest { browser: Some(&browser), ..Guest::default() };
    let plan = rig.consent.plan(&service, &ticket, foreign, guest, START).await.unwrap();
    assert_eq!(plan.return_to, None);
}

#[tokio::test]
async fn what_was_granted_is_asked_for_again() {
    let rig = Rig::new();
    rig.provider.answer(200, r#"{"access_token":"a","token_type":"Bearer","scope":"contacts files"}"#);
    let browser = Browser::new().unwrap();
    let url = rig.begin(&rig.ticket("ada").await, &browser).await.unwrap();
    rig.call_back("crm", &answer(&url), Some(&browser)).await.unwrap();
    let plan = rig.plan(&rig.ticket("ada").await, None).await.unwrap();
    assert_eq!(plan.scopes, ["contacts", "files"]);
    assert_eq!(plan.existing.unwrap().identity.as_deref(), Some("ada@crm.example"));
}

#[tokio::test]
async fn under_binding_session_only_the_callers_own_browser_goes_on() {
    let rig = Rig::with(|config| config.connect.binding = config::Binding::Session);
    let (ticket, service) = (rig.ticket("mallory").await, rig.service("crm"));
    for (proven, allowed) in [(None, false), (Some(caller("ada")), false), (Some(caller("mallory")), true)] {
        let guest = Guest { proven: proven.as_ref(), ..Guest::default() };
        let plan = rig.consent.plan(&service, &ticket, None, guest, START).await;
        assert_eq!(plan.is_ok(), allowed, "{proven:?}");
    }
}
