//! Attacks on the connect flow, and input that no page of ours sends (SECURITY S32 to S43d; what is not here is in
//! `consent`, `connections_api` and the unit tests of `consent`, `web` and `oauth`).

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::browser::identified;
use crate::support::authorization_server::http;
use crate::support::html::Form;
use crate::support::{Browser, Config, Page, Rig, Store, jwt};

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// A browser that is signed in to the application: it sends the application's cookie with everything.
fn signed_in(user: &str) -> Browser {
    let mut browser = Browser::new();
    browser.headers.push(("cookie".into(), format!("app={}", jwt::of(user))));
    browser
}

fn button(page: &Page) -> Form {
    page.forms().into_iter().find(|form| form.method == "post").unwrap_or_else(|| panic!("no form: {}", page.text()))
}

#[track_caller]
fn assert_refused(page: &Page, status: u16) {
    assert_eq!(page.answer.status, status, "{}: {}", page.url, page.text());
    page.assert_is_a_safe_page();
}

async fn with_binding(binding: &str) -> Rig {
    Rig::with(Store::Redis, |config, server| {
        let config = identified(config, &server.issuer).set("connect.binding", binding);
        if binding == "session" { config.set("connect.session.cookie", "app") } else { config }
    })
    .await
}

/// S34: possession of a link does not suffice to attach the account of who opens it.
#[tokio::test]
async fn under_session_a_victim_who_follows_an_attackers_link_connects_nothing() {
    let rig = with_binding("session").await;
    let bait = rig.link("mallory", "crm").await;
    // Signed in as somebody else, and signed in as nobody: the page has no button, and names nobody.
    for mut victim in [signed_in("victim"), Browser::new()] {
        let page = victim.open(&bait).await;
        assert_refused(&page, 400);
        assert!(page.forms().is_empty() && !page.text().contains("mallory"), "{}", page.text());
    }
    // The button of the victim's own page, with the attacker's ticket in it.
    let mut victim = signed_in("victim");
    let own = victim.open(&rig.link("victim", "crm").await).await;
    let ticket = url(&bait).query_pairs().find(|(name, _)| name == "ticket").expect("a ticket").1.into_owned();
    assert_refused(&victim.submit(&own, &button(&own), &[("ticket", &ticket)]).await, 400);
    assert_eq!(rig.server.count("authorizations").await, 0);
    rig.get("mallory", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    // The victim's own link works, and so does the attacker's in their own browser.
    victim.connect(&rig.link("victim", "crm").await, "victim").await;
    assert_eq!(rig.get("victim", "/proxy/crm/whoami").await.upstream(200)["sub"], "victim");
    signed_in("mallory").connect(&bait, "mallory").await;
    assert_eq!(rig.get("mallory", "/proxy/crm/whoami").await.upstream(200)["sub"], "mallory");
}

async fn confirm(rig: &Rig, user: &str, code: &str) -> crate::support::Answer {
    rig.post_json(user, "/connections/confirm", &json!({ "code": code })).await
}

/// S34: what the victim granted is unusable until the attacker's application confirms it with the attacker's JWT, and the
/// code for that is shown to the victim alone.
#[tokio::test]
async fn under_confirm_a_victim_who_follows_an_attackers_link_gives_nothing_away() {
    let rig = with_binding("confirm").await;
    let bait = rig.link("mallory", "crm").await;
    let end = Browser::new().connect(&bait, "victim").await;
    let text = end.text();
    let code = text.split_whitespace().find(|word| word.len() == 43).expect("a code").to_owned();
    crate::support::canary::secret("a code to confirm with", &code);
    rig.get("mallory", "/proxy/crm/whoami").await.auth_required("crm", "pending");
    // The victim's application sends it as the victim: that is not whom the link was for.
    confirm(&rig, "victim", &code).await.refusal(404, "not_found");
    confirm(&rig, "mallory", "guessed").await.refusal(404, "not_found");
    let listed = rig.get("mallory", "/connections").await.own();
    assert_eq!(listed["connections"][0]["status"], "pending", "{listed}");
    assert_eq!(listed["connections"].as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(rig.connection("mallory", "crm").await["status"], "pending");
    assert_eq!(rig.get("victim", "/connections").await.own()["connections"], json!([]));
    // Given up, it is revoked at the provider, and the code is worth nothing.
    let gone = rig.send(rig.request("mallory", Method::DELETE, "/connections/crm")).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    assert!(rig.server.count("revocations").await > 0);
    confirm(&rig, "mallory", &code).await.refusal(404, "not_found");
    rig.get("mallory", "/proxy/crm/whoami").await;
    assert_eq!(rig.get("mallory", "/connections").await.own()["connections"], json!([]));
}

#[tokio::test]
async fn under_confirm_the_applications_word_makes_it_a_connection() {
    let rig = with_binding("confirm").await;
    let end = Browser::new().connect(&rig.link("ada", "crm").await, "ada").await;
    let code = end.text().split_whitespace().find(|word| word.len() == 43).expect("a code").to_owned();
    let connection = confirm(&rig, "ada", &code).await.own();
    assert_eq!((&connection["status"], &connection["identity"]), (&json!("active"), &json!("ada@example.com")));
    assert_eq!(rig.get("ada", "/connections").await.own()["connections"].as_array().map(Vec::len), Some(1));
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
    confirm(&rig, "ada", &code).await.refusal(404, "not_found");
}

/// S34: under `link` the page says whose link it is before anything can be granted.
#[tokio::test]
async fn under_link_the_page_names_the_attacker_and_only_the_button_goes_on() {
    let rig = with_binding("link").await;
    let claims = json!({
        "iss": jwt::ISSUER, "aud": jwt::AUDIENCE, "sub": "mallory", "name": "Your bank",
        "iat": jwt::now(), "exp": jwt::now() + 600,
    });
    let request = rig.anonymous(Method::GET, "/proxy/crm/whoami").bearer_auth(jwt::hs256(&claims));
    let bait = rig.send(request).await.auth_required("crm", "not_connected");
    let mut victim = Browser::new();
    for _ in 0..2 {
        let page = victim.open(&bait).await;
        page.assert_is_a_safe_page();
        let text = page.text();
        // A name that the attacker may have chosen never stands alone.
        for word in ["Your bank", "mallory", "Acme Helpdesk", "If somebody else sent you this link"] {
            assert!(text.contains(word), "the page does not say {word}: {text}");
        }
    }
    assert_eq!(rig.server.count("authorizations").await, 0);
    // A page of the attacker's can't press it.
    let page = victim.open(&bait).await;
    let mut foreign = page.clone();
    foreign.url = url("https://evil.example/");
    let target = page.url.join("/connect/crm").expect("a URL");
    let answer = victim.submit(&foreign, &Form { action: target.into(), ..button(&page) }, &[]).await;
    assert_refused(&answer, 403);
    assert_eq!(rig.server.count("authorizations").await, 0);
    rig.get("mallory", "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
}

/// S39: a provider that is known to name itself in every callback must do so.
#[tokio::test]
async fn a_callback_without_the_issuer_is_refused_where_the_provider_always_sends_it() {
    for (always, status) in [(false, 303), (true, 400)] {
        let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.iss_in_response", always)).await;
        let mut browser = Browser::new();
        let started = browser.accept_connect_page(&rig.link("ada", "crm").await).await;
        let callback = browser.consent_at_provider(started, "ada").await;
        let pairs: Vec<_> = callback.query_pairs().into_owned().filter(|(name, _)| name != "iss").collect();
        let mut without = callback.clone();
        without.query_pairs_mut().clear().extend_pairs(pairs);
        let answer = browser.request(Method::GET, without, None, None).await;
        assert_eq!(answer.answer.status, status, "{}", answer.text());
        assert_eq!(rig.server.token_requests("authorization_code").await, u64::from(!always));
    }
}

/// S38: the PKCE verifier stays between Valetkey and the token endpoint.
#[tokio::test]
async fn no_verifier_code_or_state_is_logged_however_much_is() {
    let mut rig = Rig::prepare(Store::Embedded, |config, _| config).await;
    rig.valetkey.environment("RUST_LOG", "trace");
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    let mut browser = Browser::new();
    let started = browser.accept_connect_page(&rig.link("ada", "crm").await).await;
    assert!(!started.location().expect("to the provider").as_str().contains("verifier"));
    let callback = browser.consent_at_provider(started, "ada").await;
    let answer = browser.request(Method::GET, callback, None, None).await;
    assert_eq!(answer.answer.status, 303, "{}", answer.text());
    let logs = rig.logs();
    assert!(logs.contains("connect: completed"), "{logs}");
    assert!(!logs.contains("code_verifier") && !logs.contains("verifier="), "{logs}");
    rig.assert_logs_are_clean();
}

/// S43: what was granted counts, not what was asked for, and a refresh adds nothing.
#[tokio::test]
async fn a_provider_that_grants_less_leaves_a_connection_that_says_so() {
    let rig =
        Rig::with(Store::Embedded, |config, _| config.set("services.crm.scopes", json!(["contacts", "calendar"])))
            .await;
    let (access, refresh) = rig.server.mint("crm-client", "ada", "contacts").await;
    let granted = json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "scope": "contacts", "expires_in": 3600 });
    rig.server.fault(json!({ "status": 200, "body": granted.to_string() })).await;
    let mut browser = Browser::new();
    let page = browser.connect(&rig.link("ada", "crm").await, "ada").await;
    assert!(page.text().contains("Needs more permissions") && page.text().contains("calendar"), "{}", page.text());
    assert_eq!(rig.connection("ada", "crm").await["scopes"], json!(["contacts"]));
    // What it is enough for works; what it is not enough for is asked for before any call goes out.
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    let before = rig.server.count("resource_requests").await;
    let needs = rig.request("ada", Method::GET, "/proxy/crm/whoami").header("valetkey-scopes", "calendar");
    let refused = rig.send(needs).await.refusal(403, "additional_scopes_required");
    assert_eq!(refused["new_scopes"], json!(["calendar"]));
    assert_eq!(rig.server.count("resource_requests").await, before);
    rig.server.revoke("access", "ada").await;
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    assert_eq!(rig.server.token_requests("refresh_token").await, 1);
    assert_eq!(rig.connection("ada", "crm").await["scopes"], json!(["contacts"]));
}

/// Every form of ours, where it is sent, and what a page puts into it beside its token.
fn forms(ticket: &str) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let account = || vec![("service", "crm".to_owned()), ("account", "default".to_owned())];
    let renamed = account().into_iter().chain([("label", "work".to_owned())]).collect();
    vec![
        ("/connect/crm", vec![("ticket", ticket.to_owned())]),
        ("/connect/crm/answer", vec![("choice", "replace".to_owned()), ("code", "x".to_owned())]),
        ("/dashboard/disconnect", account()),
        ("/dashboard/rename", renamed),
        ("/dashboard/sign-out", vec![]),
    ]
}

/// S37, S42: a form is followed only from our own page in the same browser, and only as that page sends it.
#[tokio::test]
async fn forms_without_their_token_of_another_type_or_too_long_change_nothing() {
    let rig = with_binding("link").await;
    rig.connect("ada").await;
    let mut browser = Browser::new();
    browser.headers.push(("valetkey-token".into(), jwt::of("ada")));
    let page = browser.open(format!("{}/dashboard/rename?service=crm&account=default", rig.url)).await;
    let token = button(&page).fields.into_iter().find(|(name, _)| name == "form").expect("a token").1;
    // Another browser's token is no better than none.
    let mut other = Browser::new();
    other.headers.push(("valetkey-token".into(), jwt::of("ada")));
    let foreign_page = other.open(format!("{}/dashboard/rename?service=crm&account=default", rig.url)).await;
    let foreign = button(&foreign_page).fields.into_iter().find(|(name, _)| name == "form").expect("a token").1;
    let ticket = url(&rig.link("bob", "crm").await)
        .query_pairs()
        .find(|(name, _)| name == "ticket")
        .expect("a ticket")
        .1
        .into_owned();
    for (path, fields) in forms(&ticket) {
        let form = |token: Option<&str>, more: &[(&str, &str)]| Form {
            action: path.to_owned(),
            method: "post".to_owned(),
            fields: (fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
                .chain(token.map(|token| ("form".to_owned(), token.to_owned())))
                .chain(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
                .collect(),
            button: String::new(),
        };
        for bad in [
            form(None, &[]),
            form(Some(""), &[]),
            form(Some("x"), &[]),
            form(Some(&foreign), &[]),
            form(Some(&token), &[("form", &token)]),
        ] {
            assert_refused(&browser.submit(&page, &bad, &[]).await, 403);
        }
        let padding = "x".repeat(100_000);
        assert_refused(&browser.submit(&page, &form(Some(&token), &[("padding", &padding)]), &[]).await, 413);
        for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
            let target = page.url.join(path).expect("a URL");
            let answer = browser.raw_post(target, &page.url, kind, format!("form={token}")).await;
            assert_refused(&answer, 400);
        }
    }
    // Fields that are missing or there twice, with everything else in order.
    for (path, fields) in [
        ("/connect/crm", vec![]),
        ("/connect/crm/answer", vec![("choice", "replace")]),
        ("/connect/crm/answer", vec![("choice", "beside"), ("code", "x"), ("account", "a b")]),
        ("/dashboard/disconnect", vec![("service", "none"), ("account", "default")]),
        ("/dashboard/disconnect", vec![("service", "crm"), ("account", "../x")]),
        ("/dashboard/rename", vec![("service", "crm"), ("account", "default")]),
        ("/dashboard/rename", vec![("service", "crm"), ("account", "default"), ("label", "a"), ("label", "b")]),
    ] {
        let fields = fields.into_iter().chain([("form", token.as_str())]);
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let form = Form { action: path.to_owned(), method: "post".to_owned(), fields, button: String::new() };
        assert_refused(&browser.submit(&page, &form, &[]).await, 400);
    }
    // Nothing has happened to the connection.
    assert_eq!(rig.connection("ada", "crm").await["account"], "default");
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.upstream(200)["sub"], "ada");
}

const MARKUP: &str = "<img src=x onerror=alert(1)>\"'&";

/// Fails where somebody's words became markup of ours.
#[track_caller]
fn assert_escaped(page: &Page, words: &str) {
    let html = page.answer.text();
    for bad in ["<img src=x", "<script", "onerror=alert(1)>\"", "<b>"] {
        assert!(!html.contains(bad), "{bad} on {}: {html}", page.url);
    }
    assert!(page.text().contains(words), "{words} is not on {}: {}", page.url, page.text());
}

fn with_markup(config: Config) -> Config {
    config
        .set("application.name", format!("Acme {MARKUP}"))
        .set("services.crm.title", format!("CRM {MARKUP}"))
        .set("services.crm.scope_titles", json!({ "contacts": format!("Contacts {MARKUP}") }))
}

/// S42: names, titles, labels and what a provider says are text on every page.
#[tokio::test]
async fn markup_in_names_labels_and_provider_answers_is_shown_as_it_was_written() {
    let rig = Rig::with(Store::Embedded, |config, server| with_markup(identified(config, &server.issuer))).await;
    let user = format!("ada{MARKUP}");
    let link = rig.link(&user, "crm").await;
    let mut browser = Browser::new();
    let page = browser.open(&link).await;
    for words in [&format!("Acme {MARKUP}"), &format!("CRM {MARKUP}"), &format!("Contacts {MARKUP}"), &user] {
        assert_escaped(&page, words);
    }
    // The provider's answer: an address that holds markup.
    let dashboard = browser.connect(&link, "<b>eve</b>").await;
    assert_eq!(dashboard.answer.status, 200, "{}", dashboard.text());
    assert_escaped(&dashboard, "<b>eve</b>@example.com");
    // Labels from addresses and forms; and from the API.
    browser.headers.push(("valetkey-token".into(), jwt::of(&user)));
    for path in
        ["connect/crm?account=", "dashboard/rename?service=crm&account=", "dashboard/disconnect?service=crm&account="]
    {
        let mut at = format!("{}/{path}", rig.url);
        at.extend(url::form_urlencoded::byte_serialize(MARKUP.as_bytes()));
        let page = browser.get(&at).await;
        assert_refused(&page, 400);
        assert_escaped(&page, "label");
    }
    let page = browser.open(format!("{}/dashboard/rename?service=crm&account=default", rig.url)).await;
    let again = browser.submit(&page, &button(&page), &[("label", MARKUP)]).await;
    assert_refused(&again, 400);
    assert_escaped(&again, "1 to 64 letters");
    assert_eq!(
        button(&again).fields.iter().find(|(name, _)| name == "label").map(|(_, value)| value.as_str()),
        Some(MARKUP)
    );
    let asked: Value = json!({ "service": "crm", "account": MARKUP });
    rig.post_json(&user, "/connect-links", &asked).await.refusal(400, "bad_request");
    // Another account, whose name is asked about.
    let link = rig.post_json(&user, "/connect-links", &json!({ "service": "crm" })).await.own();
    let mut second = Browser::new();
    let question = second.connect(link["auth_url"].as_str().expect("a link"), "<b>bob</b>").await;
    assert_escaped(&question, "<b>bob</b>@example.com");
    // Parameters that pages read back.
    for query in ["connected", "renamed", "disconnected", "renewed"] {
        let page = browser.get(format!("{}/dashboard?connected=crm&{query}=%3Cb%3Ex", rig.url)).await;
        assert_escaped(&page, "CRM");
    }
    let raw = rig.send(http().get(format!("{}/connect/%3Cb%3E?ticket=%3Cb%3E", rig.url))).await;
    assert_eq!(raw.status, 400);
    assert!(!raw.text().contains("<b>"), "{}", raw.text());
}
