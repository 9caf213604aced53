//! Connect page and callback: who may go on, and what each mistake shows.

use super::*;

#[tokio::test]
async fn the_connect_page_says_who_connects_what_for_which_application() {
    let site = Site::new();
    let page = Jar::default().get(&site, &site.link("ada").await).await;
    page.assert_page(200);
    for text in [
        "Acme &#60;Helpdesk&#62;",
        "C&#60;R&#62;M",
        "<strong>ada</strong>",
        "Read your contacts",
        "<code class=\"quiet\">contacts</code>",
    ] {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    let german = Request::get(site.link("ada").await.strip_prefix(OWN).unwrap()).header("accept-language", "de-AT");
    let page = site.send(german.body(Body::empty()).unwrap()).await;
    assert!(page.body.contains("lang=\"de\"") && page.body.contains("Weiter zu"), "{}", page.body);
}

#[tokio::test]
async fn looking_at_a_link_starts_nothing() {
    let site = Site::new();
    let link = site.link("ada").await;
    let path = link.strip_prefix(OWN).unwrap();
    for _ in 0..3 {
        Jar::default().get(&site, &link).await.assert_page(200);
    }
    let head = site.send(Request::head(path).body(Body::empty()).unwrap()).await;
    assert_eq!(head.status, 200);
    assert_eq!(site.connect(&mut Jar::default(), &link).await.status, 303);
}

#[tokio::test]
async fn a_form_that_is_not_our_own_pages_is_not_followed() {
    let site = Site::new();
    let link = site.link("ada").await;
    let mut browser = Jar::default();
    let page = browser.get(&site, &link).await;
    let (token, ticket) = (page.field("form"), page.field("ticket"));
    let good = [("form", token.as_str()), ("ticket", ticket.as_str())];
    // Sent by another site.
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(good).finish();
        let request = Request::post("/connect/crm").header(name, value).body(Body::from(body)).unwrap();
        browser.send(&site, request).await.assert_page(403);
    }
    // Without the token, with another browser's, without the cookie.
    browser.post(&site, "/connect/crm", &[("ticket", &ticket)]).await.assert_page(403);
    let mut other = Jar::default();
    let others = other.get(&site, &link).await.field("form");
    browser.post(&site, "/connect/crm", &[("form", &others), ("ticket", &ticket)]).await.assert_page(403);
    Jar::default().post(&site, "/connect/crm", &good).await.assert_page(403);
    // Too long, or without a ticket.
    let long = "x".repeat(BODY_LIMIT);
    browser.post(&site, "/connect/crm", &[("form", &token), ("ticket", &long)]).await.assert_page(413);
    browser.post(&site, "/connect/crm", &[("form", &token)]).await.assert_page(400);
    assert_eq!(browser.post(&site, "/connect/crm", &good).await.status, 303);
}

#[tokio::test]
async fn each_mistake_with_a_link_has_its_page() {
    let site = Site::new();
    let link = site.link("ada").await;
    let ticket = link.split_once("ticket=").unwrap().1;
    let mut browser = Jar::default();
    for path in [
        "/connect/none?ticket=x".to_owned(),
        "/connect/crm".to_owned(),
        "/connect/crm?ticket=".to_owned(),
        "/connect/crm?ticket=nonsense".to_owned(),
        format!("/connect/crm?ticket={ticket}x"),
        format!("/connect/calendar?ticket={ticket}"),
        format!("/connect/crm?ticket={ticket}&ticket={ticket}"),
        "/connect/%3Cscript%3E?ticket=x".to_owned(),
    ] {
        let page = browser.get(&site, &path).await;
        page.assert_page(400);
        assert_eq!(page.headers[refusal::STATUS], "bad_request");
        assert!(page.body.contains("class=\"button"), "a next step: {}", page.body);
    }
    // In use elsewhere, then used, then expired.
    browser.go_on(&site, &link).await;
    let elsewhere = Jar::default().get(&site, &link).await;
    elsewhere.assert_page(400);
    assert!(elsewhere.body.contains("another browser"), "{}", elsewhere.body);
    site.connect(&mut browser, &link).await;
    let used = browser.get(&site, &link).await;
    used.assert_page(400);
    assert!(used.body.contains("already been used"), "{}", used.body);
    let link = site.link("ada").await;
    site.rig.clock.advance(std::time::Duration::from_secs(600));
    let expired = browser.get(&site, &link).await;
    expired.assert_page(400);
    assert!(expired.body.contains("has expired"), "{}", expired.body);
}

#[tokio::test]
async fn each_mistake_on_the_way_back_has_its_page_and_calls_nobody() {
    let site = Site::new();
    let mut browser = Jar::default();
    let callback = callback_of(&browser.go_on(&site, &site.link("ada").await).await);
    let elsewhere = callback.replace("/callback/crm", "/callback/calendar");
    let unknown = callback.replace("/callback/crm", "/callback/none");
    let issuer = callback.replace("iss=https://crm.example", "iss=https://evil.example");
    let twice = format!("{callback}&code=y");
    for path in
        ["/oauth/callback/crm", "/oauth/callback/crm?code=x&state=%3Cscript%3E", &elsewhere, &unknown, &issuer, &twice]
    {
        browser.get(&site, path).await.assert_page(400);
    }
    Jar::default().get(&site, &callback).await.assert_page(400);
    let head = Request::head(&callback).body(Body::empty()).unwrap();
    assert_eq!(browser.send(&site, head).await.status, 200);
    assert_eq!(site.rig.provider.exchanges(), 0);
    assert_eq!(browser.get(&site, &callback).await.status, 303);
    browser.get(&site, &callback).await.assert_page(400);
    assert_eq!(site.rig.provider.exchanges(), 1);
}

#[tokio::test]
async fn a_refusal_at_the_provider_is_a_page_with_both_ways_on() {
    let site = Site::new();
    let mut browser = Jar::default();
    let link = format!("{}&return_to=https://app.example.com/after", site.link("ada").await);
    let page = browser.get(&site, &link).await;
    assert!(page.body.contains("https://app.example.com/after?error=access_denied"), "cancel: {}", page.body);
    let fields =
        [("form", page.field("form")), ("ticket", page.field("ticket")), ("return_to", page.field("return_to"))];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let away = browser.post(&site, "/connect/crm", &fields).await;
    let denied = callback_of(&away).replace("code=the-code", "error=access_denied&error_description=%3Cscript%3E");
    let page = browser.get(&site, &denied).await;
    page.assert_page(200);
    assert!(page.body.contains("/connect/crm?ticket="), "try again: {}", page.body);
    assert!(page.body.contains("https://app.example.com/after?error=access_denied"), "back: {}", page.body);
    assert_eq!(site.connect(&mut browser, &link).await.location().host_str(), Some("connect.example.com"));
}

#[tokio::test]
async fn only_the_pages_own_form_may_lead_away() {
    let site = Site::new();
    let page = Jar::default().get(&site, &site.link("ada").await).await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https:;"), "{policy}");
    let refused = site.get("/connect/crm").await;
    let policy = refused.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("form-action 'self';"), "{policy}");
}

#[tokio::test]
async fn another_account_is_asked_about_before_it_takes_the_place_of_the_first() {
    let site = Site::new();
    let mut browser = Jar::default();
    site.connect(&mut browser, &site.link("ada").await).await;
    site.rig.provider.is("<b>bob");
    let question = site.connect(&mut browser, &site.link("ada").await).await;
    question.assert_page(200);
    assert!(question.body.contains("ada@crm.example") && !question.body.contains("<b>bob"), "{}", question.body);
    let (token, code) = (question.field("form"), question.field("code"));
    let fields = |choice: &'static str, account: &'static str| {
        vec![("form", token.clone()), ("code", code.clone()), ("choice", choice.into()), ("account", account.into())]
    };
    let post = async |browser: &mut Jar, fields: Vec<(&str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post(&site, "/connect/crm/answer", &fields).await
    };
    post(&mut browser, fields("beside", "a b")).await.assert_page(400);
    post(&mut browser, fields("whatever", "work")).await.assert_page(400);
    post(&mut Jar::default(), fields("replace", "")).await.assert_page(403);
    let done = post(&mut browser, fields("beside", "work")).await;
    assert_eq!(done.location().query(), Some("connected=crm"), "{}", done.body);
    post(&mut browser, fields("replace", "")).await.assert_page(400);
    let list = site.api("ada", "GET", "/connections", None).await.json();
    assert_eq!(list["connections"].as_array().unwrap().len(), 2, "{list}");
}

#[tokio::test]
async fn under_binding_confirm_the_application_has_the_last_word() {
    let site = Site::with(|config| config.connect.binding = crate::config::Binding::Confirm);
    let mut browser = Jar::default();
    let page = site.connect(&mut browser, &site.link("ada").await).await;
    page.assert_page(200);
    let (_, rest) = page.body.split_once("<p class=\"code\"><code>").unwrap();
    let code = rest.split_once('<').unwrap().0.to_owned();
    assert!(!page.headers.contains_key(header::SET_COOKIE), "nobody is signed in by a link alone");
    let ahead = Some(json!({"services": [{"service": "crm"}]}));
    let ahead = site.api("ada", "POST", "/preflight", ahead).await.json();
    assert_eq!(ahead["services"][0]["reason"], "pending");
    let body = Some(json!({ "code": code }));
    site.api("eve", "POST", "/connections/confirm", body.clone()).await.refusal(404, "not_found");
    let confirmed = site.api("ada", "POST", "/connections/confirm", body.clone()).await;
    assert_eq!((confirmed.status.as_u16(), confirmed.json()["status"].as_str()), (200, Some("active")));
    site.api("ada", "POST", "/connections/confirm", body).await.refusal(404, "not_found");
    site.api("ada", "POST", "/connections/confirm", Some(json!({"code": 7}))).await.refusal(400, "bad_request");
    // With a way back, the code goes along.
    let link = format!("{}&return_to=https://app.example.com/after", site.link("ada").await);
    let page = browser.get(&site, &link).await;
    let fields =
        [("form", page.field("form")), ("ticket", page.field("ticket")), ("return_to", page.field("return_to"))];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let away = browser.post(&site, "/connect/crm", &fields).await;
    let back = browser.get(&site, &callback_of(&away)).await.location();
    let names: Vec<String> = back.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!((back.host_str(), names), (Some("app.example.com"), vec!["connected".to_owned(), "code".to_owned()]));
}

#[tokio::test]
async fn under_binding_session_a_link_works_only_for_the_signed_in_caller() {
    let site = Site::with(|config| {
        config.connect.binding = crate::config::Binding::Session;
        config.connect.session = Some(SessionProof::Cookie("app".into()));
    });
    // Mallory's link in Ada's browser.
    let link = site.link("mallory").await;
    let mut ada = Jar(BTreeMap::from([("app".to_owned(), jwt("ada"))]));
    ada.get(&site, &link).await.assert_page(400);
    Jar::default().get(&site, &link).await.assert_page(400);
    let mut mallory = Jar(BTreeMap::from([("app".to_owned(), jwt("mallory"))]));
    assert_eq!(site.connect(&mut mallory, &link).await.status, 303);
}

#[tokio::test]
async fn attempts_are_counted_once_at_each_stage() {
    let site = Site::new();
    let mut browser = Jar::default();
    let link = site.link("ada").await;
    let away = browser.go_on(&site, &link).await;
    let denied = callback_of(&away).replace("code=the-code", "error=access_denied");
    browser.get(&site, &denied).await.assert_page(200);
    browser.get(&site, &denied).await.assert_page(400);
    site.connect(&mut browser, &link).await;
    let metrics = site.get("/metrics").await.body;
    for (stage, count) in [("initiated", 2), ("authorized", 1), ("completed", 1), ("failed", 1)] {
        let line = format!(r#"valetkey_connect_total{{service="crm",outcome="{stage}"}} {count}"#);
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}
