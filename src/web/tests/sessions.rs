//! What lets a browser into a dashboard, for how long, and to what.

use std::time::Duration;

use super::*;

const SESSION: &str = "__Host-valetkey-session";

async fn dashboard_link(site: &Site, user: &str) -> String {
    let answer = site.api(user, "POST", "/dashboard-links", None).await.json();
    answer["dashboard_url"].as_str().unwrap().to_owned()
}

/// Once more all the way to the provider and back, by the browser's own session.
async fn reconnect(site: &Site, browser: &mut Jar) -> Got {
    let page = browser.get(site, "/connect/crm?account=default").await;
    page.assert_page(200);
    let fields = [("form", page.field("form")), ("ticket", page.field("ticket"))];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let away = browser.post(site, "/connect/crm", &fields).await;
    browser.get(site, &callback_of(&away)).await
}

#[tokio::test]
async fn a_dashboard_link_says_whose_dashboard_it_opens_before_it_signs_anybody_in() {
    let site = Site::new();
    let eves = dashboard_link(&site, "eve").await;
    let mut ada = Jar::default();
    ada.come_in(&site, &dashboard_link(&site, "ada").await).await;
    let session = ada.0[SESSION].clone();
    // However often it is looked at, nobody is signed in or out, and the link is as good as before.
    for _ in 0..3 {
        let page = ada.get(&site, &eves).await;
        page.assert_page(200);
        for text in ["Open the connections of eve?", "<strong>eve</strong>", "Are you eve?"] {
            assert!(page.body.contains(text), "{text} is not in {}", page.body);
        }
        assert_eq!(ada.0[SESSION], session);
        Jar::default().get(&site, &eves).await.assert_page(200);
    }
    let german = Request::get(eves.strip_prefix(OWN).unwrap()).header("accept-language", "de");
    let page = site.send(german.body(Body::empty()).unwrap()).await;
    assert!(page.body.contains("Verbindungen von eve öffnen?"), "{}", page.body);
    // Only the page's own button opens it, in the browser that was shown it, once.
    let page = ada.get(&site, &eves).await;
    let (token, link) = (page.field("form"), page.field("link"));
    ada.post(&site, "/dashboard", &[("link", &link)]).await.assert_page(403);
    ada.post(&site, "/dashboard", &[("form", &token)]).await.assert_page(400);
    Jar::default().post(&site, "/dashboard", &[("form", &token), ("link", &link)]).await.assert_page(403);
    assert_eq!(ada.0[SESSION], session);
    let mut eve = Jar::default();
    assert_eq!(eve.come_in(&site, &eves).await.status, 303);
    assert!(eve.get(&site, "/dashboard").await.body.contains("eve"));
    let late = ada.post(&site, "/dashboard", &[("form", &token), ("link", &link)]).await;
    late.assert_page(400);
    assert_eq!(ada.0[SESSION], session);
    ada.get(&site, &eves).await.assert_page(400);
}

#[tokio::test]
async fn a_session_of_one_connection_cannot_renew_itself() {
    let site = Site::new();
    let mut browser = Jar::default();
    site.connect(&mut browser, &site.link("ada").await).await;
    site.rig.clock.advance(Duration::from_secs(1200));
    // It may connect its own again, and has no more time for that.
    assert_eq!(reconnect(&site, &mut browser).await.status, 303);
    browser.get(&site, "/dashboard").await.assert_page(200);
    // Nor by another label.
    let page = browser.get(&site, "/dashboard/rename?service=crm&account=default").await;
    let token = page.field("form");
    let rename = async |browser: &mut Jar, from: &str, to: &str| {
        let fields = [("form", token.as_str()), ("service", "crm"), ("account", from), ("label", to)];
        assert_eq!(browser.post(&site, "/dashboard/rename", &fields).await.status, 303);
    };
    rename(&mut browser, "default", "work").await;
    rename(&mut browser, "work", "default").await;
    browser.get(&site, "/dashboard/disconnect?service=crm&account=default").await.assert_page(200);
    // A link that it gave itself ends with it.
    let page = browser.get(&site, "/connect/crm?account=default").await;
    let (token, ticket) = (page.field("form"), page.field("ticket"));
    site.rig.clock.advance(Duration::from_secs(599));
    let away = browser.post(&site, "/connect/crm", &[("form", &token), ("ticket", &ticket)]).await;
    assert_eq!(away.status, 303, "{}", away.body);
    site.rig.clock.advance(Duration::from_secs(1));
    browser.post(&site, "/connect/crm", &[("form", &token), ("ticket", &ticket)]).await.assert_page(400);
    // What was under way is stored, but lets nobody in any more.
    assert_eq!(browser.get(&site, &callback_of(&away)).await.status, 303);
    browser.get(&site, "/dashboard").await.assert_page(401);
    browser.get(&site, "/connect/crm?account=default").await.assert_page(400);
    // The application's own link does.
    site.connect(&mut browser, &site.link("ada").await).await;
    site.rig.clock.advance(Duration::from_secs(1700));
    browser.get(&site, "/dashboard").await.assert_page(200);
}

#[tokio::test]
async fn a_session_of_one_connection_covers_that_one_and_not_what_takes_its_label() {
    let site = Site::new();
    let mut stranger = Jar::default();
    site.connect(&mut stranger, &site.link("ada").await).await;
    stranger.get(&site, "/dashboard/rename?service=crm&account=default").await.assert_page(200);
    let mut ada = Jar::default();
    ada.come_in(&site, &dashboard_link(&site, "ada").await).await;
    let token = ada.get(&site, "/dashboard/rename?service=crm&account=default").await.field("form");
    let fields = [("form", token.as_str()), ("service", "crm"), ("account", "default"), ("label", "old")];
    assert_eq!(ada.post(&site, "/dashboard/rename", &fields).await.status, 303);
    let shut = async |browser: &mut Jar| {
        let page = browser.get(&site, "/dashboard").await;
        page.assert_page(200);
        assert!(!page.body.contains("service-crm") && page.body.contains("no longer there"), "{}", page.body);
        for path in [
            "/connect/crm?account=default",
            "/dashboard/disconnect?service=crm&account=default",
            "/dashboard/rename?service=crm&account=default",
        ] {
            browser.get(&site, path).await.assert_page(403);
        }
        let fields = [
            ("form", page.field("form")),
            ("service", "crm".into()),
            ("account", "default".into()),
            ("api_key", "k".into()),
        ];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post(&site, "/dashboard/api-key", &fields).await.assert_page(403);
    };
    // The label is free, and then another account's.
    shut(&mut stranger).await;
    site.rig.clock.advance(Duration::from_secs(1));
    site.rig.provider.is("bob");
    site.connect(&mut Jar::default(), &site.link("ada").await).await;
    shut(&mut stranger).await;
}

#[tokio::test]
async fn what_a_session_does_to_its_one_connection_it_may_undo() {
    let site = Site::new();
    let mut browser = Jar::default();
    site.connect(&mut browser, &site.link("ada").await).await;
    let token = browser.get(&site, "/dashboard/disconnect?service=crm").await.field("form");
    let about = [("form", token.as_str()), ("service", "crm"), ("account", "default")];
    assert_eq!(browser.post(&site, "/dashboard/disconnect", &about).await.status, 303);
    let page = browser.get(&site, "/dashboard").await;
    page.assert_page(200);
    assert!(page.body.contains("service-crm"), "{}", page.body);
    let key = [("form", token.as_str()), ("service", "crm"), ("account", "default"), ("api_key", "sk-1")];
    assert_eq!(browser.post(&site, "/dashboard/api-key", &key).await.status, 303);
    browser.get(&site, "/dashboard/api-key/remove?service=crm").await.assert_page(200);
    assert_eq!(browser.post(&site, "/dashboard/api-key/remove", &about).await.status, 303);
    site.rig.clock.advance(Duration::from_secs(1));
    assert_eq!(reconnect(&site, &mut browser).await.status, 303);
    browser.get(&site, "/dashboard/disconnect?service=crm").await.assert_page(200);
    // What somebody else disconnects is gone for it.
    site.api("ada", "DELETE", "/connections/crm", None).await;
    browser.get(&site, "/connect/crm?account=default").await.assert_page(403);
}
