//! The dashboard: who sees what, and what its forms need.

use super::*;
use crate::{config::ApiKeyPhase, events::CALLER};

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
    assert!(site.rig.connections.manager.get(&id).await.unwrap().is_some());
    let done = browser.post(&site, "/dashboard/disconnect", &fields).await;
    assert_eq!(done.location().path(), "/dashboard");
    assert!(site.rig.connections.manager.get(&id).await.unwrap().is_none());
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
    let done = browser.come_in(&site, link).await;
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
    // What it said counts for five seconds.
    let later = || site.rig.clock.advance(std::time::Duration::from_secs(5));
    later();
    answer("200 OK", r#"{"issuer":"https://elsewhere.example/","user":"ada"}"#);
    browser.get(&site, "/dashboard").await.assert_page(401);
    later();
    answer("401 Unauthorized", "");
    browser.get(&site, "/dashboard").await.assert_page(401);
    for (status, body) in [("500 Oops", ""), ("200 OK", "<html>"), ("302 Found", "")] {
        later();
        answer(status, body);
        browser.get(&site, "/dashboard").await.assert_page(503);
    }
    let asked = server.fetches();
    Jar::default().get(&site, "/dashboard").await.assert_page(401);
    assert_eq!(server.fetches(), asked, "who has no cookies is nobody's");
}

/// A browser of somebody who is signed in to the application.
fn signed_in(user: &str) -> (impl FnOnce(&mut Config), Jar) {
    let jar = Jar(BTreeMap::from([("app".to_owned(), jwt(user))]));
    (|config| config.connect.session = Some(SessionProof::Cookie("app".into())), jar)
}

#[tokio::test]
async fn an_api_key_is_stored_replaced_and_removed_by_forms_and_never_shown() {
    let (session, mut browser) = signed_in("ada");
    let site = Site::with(session);
    let dashboard = browser.get(&site, "/dashboard").await;
    dashboard.assert_page(200);
    for part in ["Use an API key", "type=\"password\"", "autocomplete=\"off\""] {
        assert!(dashboard.body.contains(part), "{part} is not in {}", dashboard.body);
    }
    assert!(!dashboard.body.contains("Remove the stored key"));
    let token = dashboard.field("form");
    let with = |key: &'static str| {
        [("form", token.clone()), ("service", "crm".into()), ("account", "default".into()), ("api_key", key.to_owned())]
    };
    let fields = with(" sk-very-secret ");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = browser.post(&site, "/dashboard/api-key", &fields).await;
    assert_eq!(done.location().as_str(), "https://connect.example.com/dashboard?key_stored=crm");
    let dashboard = browser.get(&site, "/dashboard?key_stored=crm").await;
    dashboard.assert_page(200);
    for part in ["is saved", "Replace the API key", "Remove the stored key"] {
        assert!(dashboard.body.contains(part), "{part} is not in {}", dashboard.body);
    }
    assert!(!dashboard.body.contains("sk-very"), "{}", dashboard.body);
    let question = browser.get(&site, "/dashboard/api-key/remove?service=crm&account=default").await;
    question.assert_page(200);
    assert!(!question.body.contains("sk-very"), "{}", question.body);
    // Asking removes nothing.
    let id = connection_id("ada", "crm", "default");
    assert!(site.rig.connections.manager.get(&id).await.unwrap().is_some());
    let done = browser.post(&site, "/dashboard/api-key/remove", &fields[..3]).await;
    assert_eq!(done.location().as_str(), "https://connect.example.com/dashboard?key_removed=crm");
    assert!(site.rig.connections.manager.get(&id).await.unwrap().is_none());
    browser.post(&site, "/dashboard/api-key/remove", &fields[..3]).await.assert_page(404);
    browser.get(&site, "/dashboard/api-key/remove?service=crm").await.assert_page(404);
}

#[tokio::test]
async fn a_bad_key_or_form_is_answered_clearly_and_stores_nothing() {
    let (session, mut browser) = signed_in("ada");
    let site = Site::with(session);
    let token = browser.get(&site, "/dashboard").await.field("form");
    let id = connection_id("ada", "crm", "default");
    let long = "x".repeat(4097);
    let huge = "x".repeat(70_000);
    for (service, account, key, status) in [
        ("crm", "default", "", 400),
        ("crm", "default", "   ", 400),
        ("crm", "default", "a\nb", 400),
        ("crm", "default", "a\u{1}b", 400),
        ("crm", "default", "schlüssel", 400),
        ("crm", "default", long.as_str(), 400),
        ("crm", "default", huge.as_str(), 413),
        ("none", "default", "sk-fine", 400),
        ("<b>crm</b>", "default", "sk-fine", 400),
        ("crm", "<b>x</b>", "sk-fine", 400),
    ] {
        let fields = [("form", token.as_str()), ("service", service), ("account", account), ("api_key", key)];
        let got = browser.post(&site, "/dashboard/api-key", &fields).await;
        got.assert_page(status);
        assert!(!got.body.contains("sk-fine") && !got.body.contains("<b>"), "{}", got.body);
    }
    let fields = [("service", "crm"), ("account", "default"), ("api_key", "sk-fine")];
    browser.post(&site, "/dashboard/api-key", &fields).await.assert_page(403);
    // JSON is no form of ours; another site's form isn't either.
    let body = format!(r#"{{"form":"{token}","service":"crm","api_key":"sk-fine"}}"#);
    let json = Request::post("/dashboard/api-key").header("content-type", "application/json");
    browser.send(&site, json.body(Body::from(body)).unwrap()).await.assert_page(400);
    let body = format!("form={token}&service=crm&account=default&api_key=sk-fine");
    let foreign = Request::post("/dashboard/api-key").header("origin", "https://evil.example");
    browser.send(&site, foreign.body(Body::from(body)).unwrap()).await.assert_page(403);
    Jar::default().post(&site, "/dashboard/api-key", &fields).await.assert_page(401);
    assert_eq!(browser.get(&site, "/dashboard/api-key").await.status, 405);
    assert!(site.rig.connections.manager.get(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn who_came_by_a_link_stores_no_key_for_another_service() {
    let site = Site::new();
    let mut browser = Jar::default();
    site.connect(&mut browser, &site.link("ada").await).await;
    let token = browser.get(&site, "/dashboard").await.field("form");
    let fields = [("form", token.as_str()), ("service", "calendar"), ("account", "default"), ("api_key", "sk-fine")];
    browser.post(&site, "/dashboard/api-key", &fields).await.assert_page(403);
}

#[tokio::test]
async fn the_prompt_to_connect_comes_with_its_phase_and_ends_with_the_key() {
    let end = crate::consent::testing::START.plus(std::time::Duration::from_secs(10 * 86_400)).date();
    for (welcome, written, prompted) in [
        (ApiKeyPhase::Allowed, "phase: allowed".to_owned(), false),
        (ApiKeyPhase::Encouraged, "phase: encouraged".to_owned(), true),
        (ApiKeyPhase::Deprecated, format!("phase: deprecated, retire_on: {end}"), true),
        (ApiKeyPhase::Retired, "phase: retired".to_owned(), false),
    ] {
        let (session, mut browser) = signed_in("ada");
        let site = Site::writing(&[("crm", format!("api_keys: {{ {written} }}"))], session);
        let id = connection_id("ada", "crm", "default");
        site.rig.connections.api_keys.store(&id, &"sk-very-secret".into(), &CALLER).await.unwrap();
        let page = browser.get(&site, "/dashboard").await;
        page.assert_page(200);
        assert_eq!(page.body.contains("account instead of a key"), prompted, "{welcome:?} {}", page.body);
        assert_eq!(page.body.contains("No key to copy"), prompted, "{welcome:?}");
        assert_eq!(
            page.body.contains("are no longer used."),
            welcome == ApiKeyPhase::Deprecated || welcome == ApiKeyPhase::Retired
        );
        assert_eq!(page.body.contains("Replace the API key"), welcome != ApiKeyPhase::Retired, "{welcome:?}");
        let german = Request::get("/dashboard").header("accept-language", "de").body(Body::empty()).unwrap();
        assert_eq!(browser.send(&site, german).await.body.contains("statt eines Schlüssels"), prompted, "{welcome:?}");
        if welcome == ApiKeyPhase::Retired {
            let token = page.field("form");
            let fields = [("form", token.as_str()), ("service", "crm"), ("account", "default"), ("api_key", "sk-fine")];
            browser.post(&site, "/dashboard/api-key", &fields).await.assert_page(403);
            site.api("ada", "PUT", "/connections/crm/api-key", Some(json!({"api_key": "k"})))
                .await
                .refusal(403, "forbidden");
            assert_eq!(site.api("ada", "DELETE", "/connections/crm/api-key", None).await.status, 204);
            continue;
        }
        // Connected: the prompt is gone, and the key can go.
        site.connect(&mut Jar::default(), &site.link("ada").await).await;
        let page = browser.get(&site, "/dashboard").await;
        assert!(!page.body.contains("account instead of a key"), "{}", page.body);
        assert!(page.body.contains("no longer needed") && page.body.contains("Remove the stored key"), "{}", page.body);
    }
}

#[tokio::test]
async fn the_operators_own_benefits_are_shown_escaped() {
    let (session, mut browser) = signed_in("ada");
    let written = "api_keys: { phase: encouraged, benefits: [Faster <b>search</b>] }";
    let site = Site::writing(&[("crm", written.into())], session);
    let id = connection_id("ada", "crm", "default");
    site.rig.connections.api_keys.store(&id, &"sk-very-secret".into(), &CALLER).await.unwrap();
    let page = browser.get(&site, "/dashboard").await;
    page.assert_page(200);
    assert!(
        page.body.contains("Faster &#60;b&#62;search") || page.body.contains("Faster &lt;b&gt;search"),
        "{}",
        page.body
    );
    assert!(!page.body.contains("No key to copy"), "{}", page.body);
}
