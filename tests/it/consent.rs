//! From a connect link to a stored grant, and every way in which that must not work.

use reqwest::Method;
use serde_json::json;
use url::Url;

use crate::support::authorization_server::http;
use crate::support::{Browser, Page, Rig, Store, on_both_stores};

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// Asks for a callback URL with this browser.
async fn call_back(browser: &mut Browser, callback: &Url) -> Page {
    browser.request(Method::GET, callback.clone(), Some(&url("http://127.0.0.1/")), None).await
}

/// The callback URL of a flow that went well so far, not yet asked for.
async fn up_to_the_callback(rig: &Rig, browser: &mut Browser, user: &str) -> Url {
    let link = rig.link(user, "crm").await;
    let started = browser.accept_connect_page(&link).await;
    browser.consent_at_provider(started, user).await
}

fn with_query(callback: &Url, name: &str, value: Option<&str>) -> Url {
    let pairs: Vec<_> = callback.query_pairs().into_owned().filter(|(key, _)| key != name).collect();
    let mut changed = callback.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    if let Some(value) = value {
        changed.query_pairs_mut().append_pair(name, value);
    }
    changed
}

/// A 400 page that says so, and nothing has changed.
#[track_caller]
fn assert_refused(page: &Page) {
    assert_eq!(page.answer.status, 400, "{}: {}", page.url, page.text());
    assert!(
        page.answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
        "{:?}",
        page.answer.headers
    );
    page.assert_is_a_safe_page();
}

async fn assert_nothing_stored(rig: &Rig, user: &str) {
    rig.get(user, "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
}

async fn exchanges(rig: &Rig) -> u64 {
    rig.server.token_requests("authorization_code").await
}

on_both_stores! {
    async fn a_person_who_follows_the_link_and_consents_can_call_the_service(store) {
        let rig = Rig::start(store).await;
        let link = rig.link("ada", "crm").await;
        let mut browser = Browser::new();

        let page = browser.open(&link).await;
        page.assert_is_a_safe_page();
        let text = page.text();
        for word in ["CRM", "Acme Helpdesk", "ada"] {
            assert!(text.contains(word), "the page does not say {word}: {text}");
        }
        let form = page.forms().into_iter().find(|form| form.method == "post").expect("a form");
        let started = browser.submit(&page, &form, &[]).await;
        assert_eq!(started.answer.status, 303);
        let authorize = started.location().expect("to the provider");
        assert!(authorize.as_str().starts_with(&format!("{}/auth?", rig.server.issuer)), "{authorize}");
        let asked: std::collections::HashMap<_, _> = authorize.query_pairs().into_owned().collect();
        assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
        assert_eq!(asked["redirect_uri"], format!("{}/oauth/callback/crm", rig.url));
        assert_eq!(asked["scope"], "contacts");
        assert!(asked["state"].len() >= 32 && asked["code_challenge"].len() == 43, "{asked:?}");

        let callback = browser.consent_at_provider(started, "ada").await;
        let answer = call_back(&mut browser, &callback).await;
        assert_eq!(answer.answer.status, 303, "{}", answer.text());
        let done = answer.location().expect("on to the dashboard");
        assert_eq!((done.path(), done.query()), ("/dashboard", Some("connected=crm")));
        let dashboard = browser.follow(answer, |_| false).await;
        assert_eq!(dashboard.answer.status, 200, "{}", dashboard.text());
        dashboard.assert_is_a_safe_page();
        assert!(dashboard.text().contains("CRM"), "{}", dashboard.text());

        assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
        assert_eq!(exchanges(&rig).await, 1);
        rig.server.assert_sound().await;
    }

    async fn a_state_is_spent_by_its_callback(store) {
        let rig = Rig::start(store).await;
        let mut browser = Browser::new();
        let callback = up_to_the_callback(&rig, &mut browser, "ada").await;
        assert_eq!(call_back(&mut browser, &callback).await.answer.status, 303);
        assert_refused(&call_back(&mut browser, &callback).await);
        assert_eq!(exchanges(&rig).await, 1);
        rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    }

    async fn two_callbacks_at_once_make_one_grant(store) {
        let rig = Rig::start(store).await;
        let mut browser = Browser::new();
        let callback = up_to_the_callback(&rig, &mut browser, "ada").await;
        let mut twin = browser.clone();
        let (one, two) = tokio::join!(call_back(&mut browser, &callback), call_back(&mut twin, &callback));
        let mut statuses = [one.answer.status, two.answer.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [303, 400]);
        assert_eq!(exchanges(&rig).await, 1);
        rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    }

    async fn a_ticket_is_over_once_a_grant_is_stored(store) {
        let rig = Rig::start(store).await;
        let link = rig.link("ada", "crm").await;
        let mut browser = Browser::new();
        browser.connect(&link, "ada").await;
        assert_refused(&browser.get(&link).await);
        assert_refused(&Browser::new().get(&link).await);
        assert_eq!(exchanges(&rig).await, 1);
    }
}

#[tokio::test]
async fn looking_at_a_link_spends_nothing_and_starts_nothing() {
    let rig = Rig::start(Store::Redis).await;
    let link = rig.link("ada", "crm").await;
    for _ in 0..3 {
        let page = Browser::new().get(&link).await;
        assert_eq!(page.answer.status, 200, "{}", page.text());
    }
    let head = rig.send(http().request(Method::HEAD, &link)).await;
    assert!(head.status < 500, "{}", head.status);
    assert_eq!(rig.server.count("authorizations").await, 0);
    rig.walk(&link, "ada").await;
}

#[tokio::test]
async fn a_link_belongs_to_the_first_browser_that_presses_the_button_which_may_try_again() {
    let rig = Rig::start(Store::Redis).await;
    let link = rig.link("ada", "crm").await;
    let (mut first, mut second) = (Browser::new(), Browser::new());
    let page_of_second = second.open(&link).await;
    let form = page_of_second.forms().into_iter().find(|form| form.method == "post").expect("a form");
    first.accept_connect_page(&link).await;
    assert_refused(&second.submit(&page_of_second, &form, &[]).await);
    // The first may press it again, and go through.
    let page = first.connect(&link, "ada").await;
    assert!(page.query("connected").is_some(), "{}", page.url);
}

#[tokio::test]
async fn a_changed_foreign_or_missing_ticket_is_refused() {
    let rig = Rig::start(Store::Redis).await;
    let link = url(&rig.link("ada", "crm").await);
    let ticket = link.query_pairs().find(|(name, _)| name == "ticket").expect("a ticket").1.into_owned();
    let flip = |at: usize| {
        let mut bytes = ticket.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).expect("ASCII")
    };
    let mut bad =
        vec![String::new(), "nonsense".to_owned(), format!("{ticket}x"), ticket[..ticket.len() - 4].to_owned()];
    for at in [0, ticket.len() / 4, ticket.len() / 2, ticket.len() - 6] {
        bad.push(flip(at));
    }
    for ticket in bad {
        let page = Browser::new().get(with_query(&link, "ticket", Some(&ticket))).await;
        assert_refused(&page);
        assert!(!page.text().contains("ada"), "{}", page.text());
    }
    // For another service, an unknown one, and through the POST itself.
    let elsewhere = link.as_str().replace("/connect/crm", "/connect/calendar");
    assert_refused(&Browser::new().get(&elsewhere).await);
    let unknown = link.as_str().replace("/connect/crm", "/connect/none");
    assert_refused(&Browser::new().get(&unknown).await);
    let mut browser = Browser::new();
    let page = browser.open(&link).await;
    let form = page.forms().into_iter().find(|form| form.method == "post").expect("a form");
    let forged =
        crate::support::html::Form { action: form.action.replace("/connect/crm", "/connect/calendar"), ..form };
    assert_refused(&browser.submit(&page, &forged, &[]).await);
    assert_eq!(rig.server.count("authorizations").await, 0);
    rig.walk(link.as_str(), "ada").await;
}

#[tokio::test]
async fn an_expired_ticket_is_refused() {
    let rig = Rig::with(Store::Redis, |config, _| config.set("connect.ticket_ttl", "1s")).await;
    let link = rig.link("ada", "crm").await;
    crate::support::wait::until("the ticket is over", || async {
        let page = Browser::new().get(&link).await;
        if page.answer.status == 200 {
            return None;
        }
        assert_refused(&page);
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_button_pressed_on_another_site_does_nothing() {
    let rig = Rig::start(Store::Redis).await;
    let link = rig.link("ada", "crm").await;
    let mut browser = Browser::new();
    let page = browser.open(&link).await;
    let form = page.forms().into_iter().find(|form| form.method == "post").expect("a form");
    let mut foreign = page.clone();
    foreign.url = url("https://evil.example/page");
    let target = page.url.join(&form.action).expect("a URL");
    let absolute = crate::support::html::Form { action: target.into(), ..form };
    let answer = browser.submit(&foreign, &absolute, &[]).await;
    assert!(matches!(answer.answer.status, 400 | 403), "{}", answer.answer.status);
    assert_eq!(rig.server.count("authorizations").await, 0);
}

#[tokio::test]
async fn a_callback_in_another_browser_is_refused_before_the_code_is_used_and_the_owners_still_works() {
    let rig = Rig::start(Store::Redis).await;
    let mut owner = Browser::new();
    let callback = up_to_the_callback(&rig, &mut owner, "mallory").await;
    // The victim's browser, with a flow of its own or without any cookie.
    let mut victim = Browser::new();
    assert_refused(&call_back(&mut victim, &callback).await);
    let link = rig.link("ada", "crm").await;
    victim.accept_connect_page(&link).await;
    assert_refused(&call_back(&mut victim, &callback).await);
    assert_eq!(exchanges(&rig).await, 0, "the code was never sent");
    assert_nothing_stored(&rig, "ada").await;
    assert_eq!(call_back(&mut owner, &callback).await.answer.status, 303);
    assert_eq!(rig.get("mallory", "/proxy/crm/whoami").await.upstream(200)["sub"], "mallory");
}

#[tokio::test]
async fn a_callback_for_another_service_with_a_wrong_issuer_or_state_calls_no_token_endpoint() {
    let rig = Rig::start(Store::Redis).await;
    let mut browser = Browser::new();
    let callback = up_to_the_callback(&rig, &mut browser, "ada").await;
    let elsewhere = url(&callback.as_str().replace("/callback/crm", "/callback/calendar"));
    let unknown = url(&callback.as_str().replace("/callback/crm", "/callback/none"));
    let state = callback.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    let double = url(&format!("{callback}&state={state}"));
    let wrong = [
        elsewhere,
        unknown,
        with_query(&callback, "iss", Some("https://evil.example")),
        with_query(&callback, "state", None),
        with_query(&callback, "state", Some("nonsense")),
        with_query(&callback, "state", Some(&format!("{state}x"))),
        with_query(&callback, "code", None),
        double,
    ];
    for callback in wrong {
        // A code that is missing may cost the flow (RFC 6749 knows no such answer); it comes last but one.
        if callback.query_pairs().any(|(name, _)| name == "code") {
            assert_refused(&call_back(&mut browser, &callback).await);
        }
    }
    assert_eq!(exchanges(&rig).await, 0);
    // The state is left to its owner.
    assert_eq!(call_back(&mut browser, &callback).await.answer.status, 303);
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
}

on_both_stores! {
    async fn a_refusal_at_the_provider_is_a_page_with_a_way_to_try_again(store) {
        let rig = Rig::start(store).await;
        let link = rig.link("ada", "crm").await;
        let mut browser = Browser::new();
        let started = browser.accept_connect_page(&link).await;
        let callback = browser.deny_at_provider(started).await;
        let first = call_back(&mut browser, &callback).await;
        let page = browser.follow(first, |_| false).await;
        assert_eq!(page.answer.status, 200, "{}", page.text());
        page.assert_is_a_safe_page();
        let retry = crate::support::html::links(&page.answer.text()).into_iter().any(|link| link.contains("/connect/crm"))
            || page.forms().iter().any(|form| form.action.contains("/connect/crm"));
        assert!(retry, "no way to try again: {}", page.answer.text());
        assert_nothing_stored(&rig, "ada").await;
        // The state is spent, the ticket is not.
        assert_refused(&call_back(&mut browser, &callback).await);
        let page = browser.connect(&link, "ada").await;
        assert!(page.query("connected").is_some(), "{}", page.url);
    }
}

#[tokio::test]
async fn what_a_provider_says_in_a_callback_is_never_shown_as_markup() {
    let rig = Rig::start(Store::Redis).await;
    let mut browser = Browser::new();
    let link = rig.link("ada", "crm").await;
    let started = browser.accept_connect_page(&link).await;
    let callback = browser.consent_at_provider(started, "ada").await;
    let attack = "<script>alert(1)</script>";
    let mut forged = with_query(&callback, "code", None);
    forged.query_pairs_mut().append_pair("error", "server_error").append_pair("error_description", attack);
    let first = call_back(&mut browser, &forged).await;
    let page = browser.follow(first, |_| false).await;
    assert!(!page.answer.text().contains("<script>alert"), "{}", page.answer.text());
    assert_nothing_stored(&rig, "ada").await;
}

#[tokio::test]
async fn return_to_is_followed_only_where_it_is_allowed() {
    let rig = Rig::start(Store::Redis).await;
    let allowed = "https://app.example.com/after?tab=1";
    let link = rig.post_json("ada", "/connect-links", &json!({ "service": "crm", "return_to": allowed })).await.own();
    let page = Browser::new().connect(link["auth_url"].as_str().expect("a link"), "ada").await;
    let target = page.location().expect("back to the application");
    assert_eq!(target.origin().ascii_serialization(), "https://app.example.com");
    let pairs: Vec<_> = target.query_pairs().into_owned().collect();
    assert_eq!(target.path(), "/after");
    assert!(
        pairs.contains(&("tab".into(), "1".into())) && pairs.contains(&("connected".into(), "crm".into())),
        "{target}"
    );

    let foreign = [
        "https://evil.example/",
        "https://app.example.com.evil.example/",
        "https://app.example.com@evil.example/",
        "http://app.example.com/",
        "//evil.example/",
        "javascript:alert(1)",
        "https://app.example.com:444/",
        "/\\evil.example",
    ];
    for target in foreign {
        let answer = rig.post_json("bob", "/connect-links", &json!({ "service": "crm", "return_to": target })).await;
        answer.refusal(400, "bad_request");
        // In the link itself: refused, or simply not followed.
        let link = rig.link("bob", "crm").await;
        let mut with = url(&link);
        with.query_pairs_mut().append_pair("return_to", target);
        let page = Browser::new().get(&with).await;
        if page.answer.status != 400 {
            let end = Browser::new().connect(with.as_str(), "bob").await;
            assert_eq!(end.url.host_str(), Some("127.0.0.1"), "sent to {target}: {}", end.url);
            assert_eq!(end.location(), None);
            rig.send(rig.request("bob", Method::DELETE, "/connections/crm")).await;
        }
    }
}

#[tokio::test]
async fn a_refusal_goes_back_to_the_application_too() {
    let rig = Rig::start(Store::Redis).await;
    let link = rig.link("ada", "crm").await;
    let mut with = url(&link);
    with.query_pairs_mut().append_pair("return_to", "https://app.example.com/after");
    let mut browser = Browser::new();
    let started = browser.accept_connect_page(with.as_str()).await;
    let callback = browser.deny_at_provider(started).await;
    let page = call_back(&mut browser, &callback).await;
    // Either at once, or by the page's own link.
    let target = match page.location() {
        Some(target) => target,
        None => {
            let links = crate::support::html::links(&page.answer.text());
            url(links
                .iter()
                .find(|link| link.starts_with("https://app.example.com/"))
                .unwrap_or_else(|| panic!("{links:?}")))
        }
    };
    assert_eq!(target.host_str(), Some("app.example.com"));
    assert!(target.query_pairs().any(|(name, value)| name == "error" && value == "access_denied"), "{target}");
}

#[tokio::test]
async fn without_a_confirm_page_the_link_leads_straight_to_the_provider() {
    let rig = Rig::with(Store::Redis, |config, _| config.set("connect.confirm", false)).await;
    let link = rig.link("ada", "crm").await;
    let mut browser = Browser::new();
    let started = browser.get(&link).await;
    assert!(matches!(started.answer.status, 302 | 303), "{}", started.answer.status);
    let callback = browser.consent_at_provider(started, "ada").await;
    assert_eq!(call_back(&mut browser, &callback).await.answer.status, 303);
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
}

#[tokio::test]
async fn the_redirect_uri_never_comes_from_the_host_header() {
    let rig = Rig::start(Store::Redis).await;
    let link = rig.link("ada", "crm").await;
    let mut browser = Browser::new();
    browser.headers.push(("x-forwarded-host".into(), "evil.example".into()));
    browser.headers.push(("forwarded".into(), "host=evil.example;proto=https".into()));
    let started = browser.accept_connect_page(&link).await;
    let authorize = started.location().expect("to the provider");
    let redirect =
        authorize.query_pairs().find(|(name, _)| name == "redirect_uri").expect("it is there").1.into_owned();
    assert_eq!(redirect, format!("{}/oauth/callback/crm", rig.url));
    let by_other_host = rig.request("ada", Method::GET, "/proxy/crm/whoami").header("host", "evil.example");
    let link = rig
        .send(rig.request("bob", Method::GET, "/proxy/crm/whoami").header("host", "evil.example"))
        .await
        .auth_required("crm", "not_connected");
    assert!(link.starts_with(&format!("{}/connect/crm?", rig.url)), "{link}");
    drop(by_other_host);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_stores_nothing_and_says_so_without_its_words() {
    let rig = Rig::start(Store::Redis).await;
    let faults = [
        json!({ "status": 500, "body": "{\"error\":\"INSIDE-WORDS\"}" }),
        json!({ "status": 200, "headers": { "content-type": "text/html" }, "body": "<h1>INSIDE-WORDS</h1>" }),
        json!({ "status": 200, "body": "{\"error\":\"bad_verification_code\",\"error_description\":\"INSIDE-WORDS\"}" }),
        json!({ "status": 200, "body": "{\"access_token\":\"\",\"token_type\":\"Bearer\"}" }),
        json!({ "status": 200, "body": "{\"access_token\":\"a\\r\\nX: y\",\"token_type\":\"Bearer\"}" }),
        json!({ "status": 200, "body": "" }),
        json!({ "status": 302, "headers": { "location": "https://evil.example/" }, "body": "" }),
        json!({ "reset": true }),
    ];
    for fault in faults {
        let link = rig.link("ada", "crm").await;
        rig.server.fault(fault.clone()).await;
        let mut browser = Browser::new();
        let started = browser.accept_connect_page(&link).await;
        let callback = browser.consent_at_provider(started, "ada").await;
        let first = call_back(&mut browser, &callback).await;
        let page = browser.follow(first, |_| false).await;
        assert!(page.query("connected").is_none(), "{fault}: {}", page.url);
        assert!(page.answer.status >= 200 && !page.answer.text().contains("INSIDE-WORDS"), "{fault}: {}", page.text());
        page.assert_is_a_safe_page();
        assert_nothing_stored(&rig, "ada").await;
        rig.server.heal().await;
    }
    rig.connect("ada").await;
}

#[tokio::test]
async fn a_reconnect_replaces_the_grant_and_two_callers_never_mix() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    rig.connect("bob").await;
    let link = rig.post_json("ada", "/connect-links", &json!({ "service": "crm" })).await.own();
    rig.walk(link["auth_url"].as_str().expect("a link"), "ada").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    assert_eq!(rig.get("bob", "/proxy/crm/whoami").await.upstream(200)["sub"], "bob");
}

#[tokio::test]
async fn the_dashboard_is_closed_to_strangers_and_open_to_the_callers_jwt() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    let mut stranger = Browser::new();
    let page = stranger.get(format!("{}/dashboard", rig.url)).await;
    assert_eq!(page.answer.status, 401);
    page.assert_is_a_safe_page();
    let forged = stranger.get(format!("{}/dashboard?connected=crm", rig.url)).await;
    assert_eq!(forged.answer.status, 401);

    let mut known = Browser::new();
    known.headers.push(("authorization".into(), format!("Bearer {}", crate::support::jwt::of("ada"))));
    let page = known.get(format!("{}/dashboard", rig.url)).await;
    assert_eq!(page.answer.status, 200, "{}", page.text());
    page.assert_is_a_safe_page();
    let text = page.text();
    assert!(text.contains("CRM") && text.contains("Calendar"), "{text}");
}

#[tokio::test]
async fn one_link_serves_any_replica_that_shares_store_and_keys() {
    let rig = Rig::start(Store::Redis).await;
    // The sidecar that refuses the call is another process than the one at `public_url`.
    let sidecar = rig.replica().await;
    let link = sidecar.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    assert!(link.starts_with(&rig.url), "{link}");
    rig.walk(&link, "ada").await;
    assert_eq!(sidecar.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
}

#[tokio::test]
async fn nothing_readable_lies_in_redis() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada-lovelace").await;
    rig.get("ada-lovelace", "/proxy/crm/whoami").await.upstream(200);
    rig.link("charles-babbage", "crm").await;
    let dump = rig.redis.as_ref().expect("Redis").dump().await;
    assert!(dump.len() > 100, "the dump is empty: {dump}");
    assert_eq!(crate::support::canary::found_in(&dump), Vec::<String>::new());
    for name in ["ada-lovelace", "charles-babbage", crate::support::jwt::ISSUER] {
        assert!(!dump.contains(name), "{name} is readable: {dump}");
    }
}

#[tokio::test]
async fn nothing_readable_lies_in_the_embedded_file() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada-lovelace").await;
    let file = std::fs::read(rig.data().join("valetkey.redb")).expect("the file");
    let text = String::from_utf8_lossy(&file);
    assert_eq!(crate::support::canary::found_in(&text), Vec::<String>::new());
    assert!(!text.contains("ada-lovelace"));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(rig.data().join("valetkey.redb")).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o077, 0, "others may read it: {mode:o}");
}
