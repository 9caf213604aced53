//! The dashboard: who sees what, and what its forms need.

use super::*;
use crate::config;

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

#[tokio::test]
async fn another_label_is_given_by_its_own_form_and_the_browsers_session_goes_along() {
    let site = Site::new();
    let mut browser = Jar::default();
    site.connect(&mut browser, &site.link("ada").await).await;
    let page = browser.get(&site, "/dashboard/rename?service=crm&account=default").await;
    page.assert_page(200);
    let token = page.field("form");
    let form = |label| [("form", token.as_str()), ("service", "crm"), ("account", "default"), ("label", label)];
    browser.post(&site, "/dashboard/rename", &form("work")[1..]).await.assert_page(403);
    for bad in ["", "a b", "<b>", "é"] {
        let refused = browser.post(&site, "/dashboard/rename", &form(bad)).await;
        refused.assert_page(400);
        assert!(refused.body.contains("1 to 64 letters") && !refused.body.contains("<b>"), "{}", refused.body);
    }
    let taken = connection_id("ada", "crm", "taken");
    site.rig.connections.store_api_key(&taken, &"key".into()).await.unwrap();
    let refused = browser.post(&site, "/dashboard/rename", &form("taken")).await;
    refused.assert_page(409);
    assert!(refused.body.contains("another C&#60;R&#62;M account"), "{}", refused.body);
    let done = browser.post(&site, "/dashboard/rename", &form("work")).await;
    assert_eq!((done.status.as_u16(), done.location().query()), (303, Some("renamed=crm")));
    // The session reaches the connection under its new label, and nothing else.
    let dashboard = browser.get(&site, "/dashboard?renamed=crm").await;
    for text in ["has its new label", "ada@crm.example", "account=work"] {
        assert!(dashboard.body.contains(text), "{text} is not in {}", dashboard.body);
    }
    browser.post(&site, "/dashboard/rename", &form("third")).await.assert_page(403);
    browser.get(&site, "/dashboard/rename?service=crm&account=default").await.assert_page(403);
    assert!(site.rig.connections.get(&connection_id("ada", "crm", "default")).await.unwrap().is_none());
    let mut stranger = Jar::default();
    stranger.get(&site, "/dashboard/rename?service=crm&account=work").await.assert_page(401);
}

#[tokio::test]
async fn pages_bear_the_operators_brand_from_files_that_can_do_nothing() {
    let logo = br##"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"##;
    let site = Site::with(|config| {
        config.brand = config::Brand {
            color: config::brand::Color::parse("#ffd34e"),
            logo: Some(config::brand::Logo { format: config::brand::LogoFormat::Svg, bytes: logo.to_vec() }),
            support_url: Some(Url::parse("https://help.example.com/").unwrap()),
        };
    });
    let page = Jar::default().get(&site, "/dashboard").await;
    page.assert_page(401);
    assert!(page.body.contains(r#"href="https://help.example.com/""#), "{}", page.body);
    for (stem, kind) in [("/connect/-/brand.", "text/css; charset=utf-8"), ("/connect/-/logo.", "image/svg+xml")] {
        let at = page.body.find(stem).unwrap_or_else(|| panic!("no {stem} in {}", page.body));
        let path = page.body[at..].split('"').next().unwrap();
        let file = site.get(path).await;
        assert_eq!((file.status.as_u16(), file.headers[header::CONTENT_TYPE].to_str().unwrap()), (200, kind));
        assert_eq!(file.headers[header::CONTENT_SECURITY_POLICY], "default-src 'none'; sandbox");
        assert_eq!(file.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(file.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
    let plain = Site::new().get("/dashboard").await;
    assert!(!plain.body.contains("/connect/-/brand.") && !plain.body.contains("/connect/-/logo."), "{}", plain.body);
}
