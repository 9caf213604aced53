//! The dashboard: who sees what, and what its forms need.

use super::*;

#[tokio::test]
async fn who_goes_on_is_connected_and_sees_that_connection_and_no_other() {
    let site = Site::new();
    let mut browser = Jar::default();
    let done = site.connect(&mut browser, &site.link("ada").await).await;
    assert_eq!(done.status, 303, "{}", done.body);
    assert_eq!(done.location().as_str(), "https://connect.example.com/dashboard?connected=crm");
    let dashboard = browser.get(&site, "/dashboard?connected=crm").await;
    dashboard.assert_page(200);
    for text in ["is connected", "ada@crm.example", "service-crm"] {
        assert!(dashboard.body.contains(text), "{text} is not in {}", dashboard.body);
    }
    assert!(!dashboard.body.contains("calendar"), "{}", dashboard.body);
    // Another connection is not this browser's to manage.
    browser.get(&site, "/connect/calendar").await.assert_page(403);
    browser.get(&site, "/dashboard/disconnect?service=calendar").await.assert_page(403);
    // Its own it may connect again, also without a link.
    browser.get(&site, "/connect/crm?account=default").await.assert_page(200);
    // Whoever has not connected here sees nothing.
    Jar::default().get(&site, "/dashboard").await.assert_page(401);
    site.rig.clock.advance(std::time::Duration::from_secs(1800));
    browser.get(&site, "/dashboard").await.assert_page(401);
}

#[tokio::test]
async fn the_dashboard_is_for_the_callers_jwt_too_and_disconnects_only_by_its_own_form() {
    let site = Site::with(|config| config.connect.session = Some(SessionProof::Cookie("app".into())));
    site.connect(&mut Jar::default(), &site.link("ada").await).await;
    let mut browser = Jar(BTreeMap::from([("app".to_owned(), jwt("ada"))]));
    let dashboard = browser.get(&site, "/dashboard").await;
    dashboard.assert_page(200);
    assert!(dashboard.body.contains("service-calendar"), "{}", dashboard.body);
    let question = browser.get(&site, "/dashboard/disconnect?service=crm&account=default").await;
    question.assert_page(200);
    let token = question.field("form");
    let fields = [("form", token.as_str()), ("service", "crm"), ("account", "default")];
    browser.post(&site, "/dashboard/disconnect", &fields[1..]).await.assert_page(403);
    let mut stranger = Jar(BTreeMap::from([("app".to_owned(), jwt("eve"))]));
    stranger.get(&site, "/dashboard/disconnect?service=crm").await.assert_page(404);
    let id = connection_id("ada", "crm", "default");
    assert!(site.rig.connections.get(&id).await.unwrap().is_some());
    let done = browser.post(&site, "/dashboard/disconnect", &fields).await;
    assert_eq!(done.location().path(), "/dashboard");
    assert!(site.rig.connections.get(&id).await.unwrap().is_none());
    browser.post(&site, "/dashboard/disconnect", &fields).await.assert_page(404);
    // A token that isn't believed is as good as none.
    Jar(BTreeMap::from([("app".to_owned(), "a.b.c".to_owned())])).get(&site, "/dashboard").await.assert_page(401);
}

#[tokio::test]
async fn a_session_of_the_browser_itself_is_never_taken_over_and_ends_by_signing_out() {
    let site = Site::new();
    let name = "__Host-valetkey-session".to_owned();
    let mut browser = Jar(BTreeMap::from([(name.clone(), "fixed-by-somebody".to_owned())]));
    site.connect(&mut browser, &site.link("ada").await).await;
    assert_ne!(browser.0[&name], "fixed-by-somebody");
    let mut thief = browser.clone();
    let token = browser.get(&site, "/dashboard").await.field("form");
    browser.post(&site, "/dashboard/sign-out", &[("form", &token)]).await.assert_page(200);
    assert!(!browser.0.contains_key(&name));
    thief.get(&site, "/dashboard").await.assert_page(401);
}

#[tokio::test]
async fn a_dashboard_link_lets_one_browser_see_everything() {
    let site = Site::new();
    let answer = site.api("ada", "POST", "/dashboard-links", None).await.json();
    assert_eq!(answer["expires_in"], 600);
    let link = answer["dashboard_url"].as_str().unwrap();
    let mut browser = Jar::default();
    let done = browser.get(&site, link).await;
    assert_eq!(done.location().as_str(), "https://connect.example.com/dashboard");
    let dashboard = browser.get(&site, "/dashboard").await;
    dashboard.assert_page(200);
    for service in ["service-crm", "service-calendar"] {
        assert!(dashboard.body.contains(service), "{}", dashboard.body);
    }
    browser.get(&site, "/connect/calendar?account=work").await.assert_page(200);
    browser.get(&site, "/connect/calendar?account=a%20b").await.assert_page(400);
    let again = Jar::default().get(&site, link).await;
    again.assert_page(400);
    assert!(!again.headers.contains_key(header::SET_COOKIE));
    let head = Request::head("/dashboard?link=x").body(Body::empty()).unwrap();
    assert_eq!(site.send(head).await.status, 405);
}

#[tokio::test]
async fn the_applications_word_shows_whose_browser_this_is() {
    let server = JwksServer::start("").await;
    let url = server.url.clone();
    let site = Site::with(|config| config.connect.session = Some(SessionProof::CheckUrl(url)));
    let answer = |status: &str, body: &str| {
        let length = body.len();
        server
            .answer_with(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"));
    };
    let mut browser = Jar(BTreeMap::from([("sid".to_owned(), "1".to_owned())]));
    answer("200 OK", r#"{"issuer":"https://auth.example.com/","user":"ada"}"#);
    let dashboard = browser.get(&site, "/dashboard").await;
    dashboard.assert_page(200);
    assert!(dashboard.body.contains("ada"), "{}", dashboard.body);
    answer("200 OK", r#"{"issuer":"https://elsewhere.example/","user":"ada"}"#);
    browser.get(&site, "/dashboard").await.assert_page(401);
    answer("401 Unauthorized", "");
    browser.get(&site, "/dashboard").await.assert_page(401);
    for (status, body) in [("500 Oops", ""), ("200 OK", "<html>"), ("302 Found", "")] {
        answer(status, body);
        browser.get(&site, "/dashboard").await.assert_page(503);
    }
    let asked = server.fetches();
    Jar::default().get(&site, "/dashboard").await.assert_page(401);
    assert_eq!(server.fetches(), asked, "who has no cookies is nobody's");
}
