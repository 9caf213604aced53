//! Sessions of browsers, and what callers are called.

use super::*;
use crate::events::CALLER;

#[tokio::test]
async fn a_dashboard_link_lets_one_browser_in() {
    let rig = Rig::new();
    let link = rig.consent.sessions.link(caller("ada"), None, None, START).await.unwrap();
    let value = link.url.strip_prefix("https://connect.example.com/dashboard?link=").unwrap();
    let cookie = rig.consent.sessions.follow_link(value, START).await.unwrap().unwrap();
    assert_eq!(rig.consent.sessions.get(&cookie, START).await.unwrap().unwrap().reach, Reach::All);
    assert_eq!(rig.consent.sessions.follow_link(value, START).await.unwrap(), None);
    assert_eq!(rig.consent.sessions.get(value, START).await.unwrap(), None);
    let late = rig.consent.sessions.link(caller("ada"), None, None, START).await.unwrap();
    rig.clock.advance(Duration::from_secs(late.expires_in));
    let value = late.url.rsplit_once('=').unwrap().1;
    assert_eq!(rig.consent.sessions.follow_link(value, rig.clock.now()).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_lives_for_half_an_hour_or_until_it_is_ended() {
    let rig = Rig::new();
    let sign_in = || rig.consent.sessions.sign_in(caller("ada"), None, None, Reach::All, rig.clock.now());
    let (one, two) = (sign_in().await.unwrap(), sign_in().await.unwrap());
    assert_ne!(one, two);
    assert_eq!(rig.consent.sessions.get(&one, rig.clock.now()).await.unwrap().unwrap().caller, caller("ada"));
    rig.consent.sessions.sign_out(&one).await.unwrap();
    assert_eq!(rig.consent.sessions.get(&one, rig.clock.now()).await.unwrap(), None);
    rig.clock.advance(SESSION_TTL);
    assert_eq!(rig.consent.sessions.get(&two, rig.clock.now()).await.unwrap(), None);
    assert_eq!(rig.consent.sessions.get("nonsense", rig.clock.now()).await.unwrap(), None);
}

#[tokio::test]
async fn an_erased_persons_sessions_and_links_end_and_new_ones_begin() {
    let rig = Rig::new();
    let (ada, eve) = (caller("ada"), caller("eve"));
    let sign_in = |who| rig.consent.sessions.sign_in(who, None, None, Reach::All, rig.clock.now());
    let (old, other) = (sign_in(ada.clone()).await.unwrap(), sign_in(eve).await.unwrap());
    let link = rig.consent.sessions.link(ada.clone(), None, None, rig.clock.now()).await.unwrap();
    rig.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        rig.consent.erasures.note(&ada, rig.clock.now()).await.unwrap();
    }
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.consent.sessions.get(&old, rig.clock.now()).await.unwrap(), None);
    let link = link.url.rsplit_once('=').unwrap().1;
    assert_eq!(rig.consent.sessions.follow_link(link, rig.clock.now()).await.unwrap(), None);
    assert!(rig.consent.sessions.get(&other, rig.clock.now()).await.unwrap().is_some());
    let new = sign_in(ada).await.unwrap();
    assert!(rig.consent.sessions.get(&new, rig.clock.now()).await.unwrap().is_some());
}

#[tokio::test]
async fn who_is_erased_while_a_browser_is_at_the_provider_is_not_connected_by_coming_back() {
    let rig = Rig::new();
    let browser = Browser::new().unwrap();
    let url = rig.begin(&rig.ticket("ada").await, &browser).await.unwrap();
    rig.clock.advance(Duration::from_secs(60));
    rig.consent.erasures.note(&caller("ada"), rig.clock.now()).await.unwrap();
    rig.connections.manager.erase(&caller("ada"), &CALLER).await.unwrap();
    let back = rig.outcome("crm", &answer(&url), Some(&browser)).await;
    assert!(matches!(back, Err(CallbackError::Ended { why: Ended::Used, .. })), "{back:?}");
    assert!(!rig.is_connected("ada").await);
    assert_eq!((rig.store.count().await.unwrap(), rig.provider.revoked()), (0, 1));
}

#[test]
fn names_come_from_claims_that_are_fit_to_show() {
    let name = |claims: serde_json::Value| shown_name(claims.as_object().unwrap());
    use serde_json::json;
    assert_eq!(name(json!({})), None);
    assert_eq!(name(json!({"name": "Ada", "email": "ada@x.example"})).as_deref(), Some("Ada (ada@x.example)"));
    assert_eq!(name(json!({"preferred_username": "ada"})).as_deref(), Some("ada"));
    assert_eq!(name(json!({"name": "Ada\u{202e}moc"})), None);
    assert_eq!(name(json!({"name": "\u{0}", "email": 7})), None);
    assert_eq!(name(json!({"email": "x".repeat(200)})), None);
}
