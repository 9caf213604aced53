//! What one browser may make us keep, count, or ask of others.

use std::time::Duration;

use super::*;

fn asks(url: Url) -> impl FnOnce(&mut Config) {
    |config| config.connect.session = Some(SessionProof::CheckUrl(url))
}

fn answer(server: &JwksServer, status: &str, body: &str) {
    let length = body.len();
    server.answer_with(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"));
}

const ADA: &str = r#"{"issuer":"https://auth.example.com/","user":"ada"}"#;

#[tokio::test]
async fn of_many_attempts_with_one_ticket_the_last_five_can_come_back() {
    let site = Site::new();
    let link = site.link("ada").await;
    let mut browser = Jar::default();
    let mut callbacks = vec![];
    for _ in 0..8 {
        callbacks.push(callback_of(&browser.go_on(&site, &link).await));
    }
    for old in &callbacks[..3] {
        browser.get(&site, old).await.assert_page(400);
    }
    assert_eq!(site.rig.provider.exchanges(), 0);
    for denied in &callbacks[3..7] {
        browser.get(&site, &denied.replace("code=the-code", "error=access_denied")).await.assert_page(200);
    }
    // Also where attempts came to an end in between.
    for _ in 0..5 {
        browser.go_on(&site, &link).await;
    }
    browser.get(&site, &callbacks[7]).await.assert_page(400);
    let last = callback_of(&browser.go_on(&site, &link).await);
    assert_eq!(browser.get(&site, &last).await.status, 303);
}

#[tokio::test]
async fn an_attempt_is_counted_as_begun_once_however_often_the_button_is_pressed() {
    let site = Site::new();
    let link = site.link("ada").await;
    let mut browser = Jar::default();
    let begun = async || {
        let metrics = site.get("/metrics").await.body;
        let line = metrics.lines().find(|line| line.contains("outcome=\"initiated\"} ") && line.contains("\"crm\""));
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
    };
    let first = callback_of(&browser.go_on(&site, &link).await);
    browser.go_on(&site, &link).await;
    assert_eq!(begun().await, 1);
    browser.get(&site, &first.replace("code=the-code", "error=access_denied")).await.assert_page(200);
    browser.go_on(&site, &link).await;
    assert_eq!(begun().await, 2, "another try is another attempt");
    // One that nobody came back from is over with its states.
    site.connect(&mut Jar::default(), &site.link("bob").await).await;
    assert_eq!(begun().await, 3);
}

#[tokio::test]
async fn the_application_is_asked_once_about_a_browser_that_asks_for_many_pages() {
    let server = JwksServer::start("").await;
    let site = Site::with(asks(server.url.clone()));
    answer(&server, "200 OK", ADA);
    let mut ada = Jar(BTreeMap::from([("sid".to_owned(), "ada".to_owned())]));
    let mut twin = ada.clone();
    let (one, two) = tokio::join!(ada.get(&site, "/dashboard"), twin.get(&site, "/dashboard"));
    one.assert_page(200);
    two.assert_page(200);
    for _ in 0..5 {
        ada.get(&site, "/dashboard").await.assert_page(200);
    }
    assert_eq!(server.fetches(), 1);
    // About another browser it is asked by itself.
    answer(&server, "401 Unauthorized", "");
    let mut eve = Jar(BTreeMap::from([("sid".to_owned(), "eve".to_owned())]));
    for _ in 0..5 {
        eve.get(&site, "/dashboard").await.assert_page(401);
    }
    assert_eq!(server.fetches(), 2);
    // Its word is good for some seconds, not for longer.
    site.rig.clock.advance(Duration::from_secs(5));
    ada.get(&site, "/dashboard").await.assert_page(401);
    assert_eq!(server.fetches(), 3);
}

#[tokio::test]
async fn an_application_that_fails_shuts_nobody_out_who_comes_with_a_ticket_or_a_session() {
    let server = JwksServer::start("").await;
    let site = Site::with(asks(server.url.clone()));
    answer(&server, "500 Oops", "");
    let mut browser = Jar(BTreeMap::from([("sid".to_owned(), "1".to_owned())]));
    browser.get(&site, "/dashboard").await.assert_page(503);
    let done = site.connect(&mut browser, &site.link("ada").await).await;
    assert_eq!(done.status, 303, "{}", done.body);
    browser.get(&site, "/dashboard?connected=crm").await.assert_page(200);
    browser.get(&site, "/connect/crm?account=default").await.assert_page(200);
    // It is not asked again and again while it fails.
    let asked = server.fetches();
    browser.get(&site, "/dashboard").await.assert_page(200);
    assert_eq!(server.fetches(), asked);
    // Who must be the caller can't go on without its word.
    let bound = Site::with(|config| {
        asks(server.url.clone())(config);
        config.connect.binding = crate::config::Binding::Session;
    });
    let mut browser = Jar(BTreeMap::from([("sid".to_owned(), "1".to_owned())]));
    browser.get(&bound, &bound.link("ada").await).await.assert_page(503);
}
