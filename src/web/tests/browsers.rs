//! What browsers and mail scanners really send: `HEAD`, an `Origin` that says nothing, callbacks by `POST`, and a "no" in
//! each provider's own words.

use super::*;

impl Jar {
    async fn head(&mut self, site: &Site, url: &str) -> Got {
        let path = url.strip_prefix(OWN).unwrap_or(url);
        self.send(site, Request::head(path).body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn a_browser_that_hides_where_its_form_came_from_is_judged_by_its_cookie_and_the_token() {
    let site = Site::new();
    let link = site.link("ada").await;
    let mut browser = Jar::default();
    let page = browser.get(&site, &link).await;
    let send = async |browser: &mut Jar, token: &str| {
        let fields = [("form", token), ("ticket", &page.field("ticket"))];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post("/connect/crm")
            .header("origin", "null")
            .header("content-type", "application/x-www-form-urlencoded");
        browser.send(&site, request.body(Body::from(body)).unwrap()).await
    };
    let mut other = Jar::default();
    let others = other.get(&site, &link).await.field("form");
    send(&mut browser, &others).await.assert_page(403);
    send(&mut browser, "").await.assert_page(403);
    send(&mut Jar::default(), &page.field("form")).await.assert_page(403);
    assert_eq!(send(&mut browser, &page.field("form")).await.status, 303);
}

#[tokio::test]
async fn head_is_answered_wherever_get_is_and_changes_nothing() {
    for confirm in [true, false] {
        let site = Site::with(|config| config.connect.confirm = confirm);
        site.connect_as_told(&mut Jar::default(), "bob", confirm).await;
        let link = site.link("ada").await;
        let mut browser = Jar::default();
        let head = browser.head(&site, &link).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""), "confirm: {confirm}");
        assert_eq!(head.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
        // Nobody has gone on with it: any other browser may.
        let mut other = Jar::default();
        let callback = callback_of(&site.leave(&mut other, &link, confirm).await);
        let asked = site.rig.provider.exchanges();
        let head = other.head(&site, &callback).await;
        assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
        assert_eq!(other.head(&site, "/oauth/callback/crm").await.status, 400);
        assert_eq!(other.head(&site, "/oauth/callback/none?state=x").await.status, 400);
        assert_eq!(site.rig.provider.exchanges(), asked);
        assert_eq!(other.get(&site, &callback).await.status, 303, "the callback is still its owner's to use");
        let link = site.api("ada", "POST", "/dashboard-links", None).await.json();
        let link = link["dashboard_url"].as_str().unwrap();
        for _ in 0..2 {
            let head = Jar::default().head(&site, link).await;
            assert_eq!((head.status.as_u16(), head.body.as_str()), (200, ""));
            assert!(
                !head
                    .headers
                    .get_all(header::SET_COOKIE)
                    .iter()
                    .any(|set| { set.to_str().unwrap().contains("session") })
            );
        }
    }
}

#[tokio::test]
async fn head_answers_as_get_does_but_for_the_body_on_every_route() {
    let site = Site::with(|config| config.connect.session = Some(SessionProof::Cookie("app".into())));
    site.connect(&mut Jar::default(), &site.link("ada").await).await;
    let mut browser = Jar(BTreeMap::from([("app".to_owned(), jwt("ada"))]));
    let dashboard = browser.get(&site, "/dashboard").await.body;
    let asset = dashboard.split('"').find(|text| text.starts_with("/connect/-/style")).unwrap().to_owned();
    for path in [
        "/",
        "/dashboard",
        "/dashboard/disconnect?service=crm",
        "/dashboard/rename?service=crm",
        "/dashboard/api-key/remove?service=crm",
        "/connect/crm",
        "/connect/calendar?account=work",
        "/connect/none",
        &asset,
        "/connect/-/none",
        "/oauth/callback/crm",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/connections",
        "/connections/crm",
        "/nothing",
    ] {
        let ask = async |browser: &mut Jar, method: &str| {
            let request = Request::builder().method(method).uri(path).header("valetkey-token", jwt("ada"));
            browser.send(&site, request.body(Body::empty()).unwrap()).await
        };
        let (got, head) = (ask(&mut browser, "GET").await, ask(&mut browser, "HEAD").await);
        assert_eq!(head.status, got.status, "{path}");
        assert_eq!(head.headers.get(header::CONTENT_TYPE), got.headers.get(header::CONTENT_TYPE), "{path}");
        assert_eq!(head.headers.get(refusal::STATUS), got.headers.get(refusal::STATUS), "{path}");
        assert_eq!(head.body, "", "{path}");
    }
    // What has no `GET` has no `HEAD`.
    for path in ["/connect-links", "/preflight", "/dashboard/sign-out", "/connect/crm/answer"] {
        assert_eq!(browser.head(&site, path).await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn a_no_in_a_providers_own_words_is_a_no() {
    let site = Site::new();
    let link = format!("{}&return_to=https://app.example.com/after", site.link("ada").await);
    let mut browser = Jar::default();
    for word in [
        "access_denied",
        "user_cancelled_login",
        "user_cancelled_authorize",
        "user_cancelled",
        "user_canceled",
        "USER_DENIED",
        "consent_denied",
        "authorization_declined",
        "access-denied",
    ] {
        let page = browser.get(&site, &link).await;
        let fields: Vec<(&str, String)> =
            ["form", "ticket", "return_to"].into_iter().map(|name| (name, page.field(name))).collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let callback = callback_of(&browser.post(&site, "/connect/crm", &fields).await);
        let no = callback.replace("code=the-code", &format!("error={word}&error_description=The+user+cancelled"));
        let page = browser.get(&site, &no).await;
        page.assert_page(200);
        assert!(page.body.contains("You declined"), "{word}: {}", page.body);
        assert!(page.body.contains("https://app.example.com/after?error=access_denied"), "{word}: {}", page.body);
    }
    // Not everything is.
    for word in ["server_error", "consent_required", "interaction_required", "denied_by_policy_engine"] {
        let callback = callback_of(&browser.go_on(&site, &link).await);
        let failed = browser.get(&site, &callback.replace("code=the-code", &format!("error={word}"))).await;
        failed.assert_page(502);
    }
}

/// A callback by `POST`, as a provider's page sends it: from another site, so without a cookie.
async fn posted(site: &Site, kind: &str, body: String) -> Got {
    let request = Request::post("/oauth/callback/crm")
        .header("content-type", kind)
        .header("origin", "https://appleid.example")
        .header("sec-fetch-site", "cross-site");
    site.send(request.body(Body::from(body)).unwrap()).await
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_callback_by_post_becomes_the_get_that_its_browsers_cookie_comes_with() {
    let site = Site::new();
    let mut browser = Jar::default();
    let callback = callback_of(&browser.go_on(&site, &site.link("ada").await).await);
    let query = callback.split_once('?').unwrap().1;
    for (origin, site_says) in [(None, None), (Some("null"), Some("cross-site")), (Some("https://idp.example"), None)] {
        let mut request = Request::post("/oauth/callback/crm").header("content-type", format!("{FORM}; charset=UTF-8"));
        for (name, value) in [("origin", origin), ("sec-fetch-site", site_says)] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        let got = site.send(request.body(Body::from(query.to_owned())).unwrap()).await;
        assert_eq!((got.status.as_u16(), got.location().path()), (303, "/oauth/callback/crm"), "{}", got.body);
        assert!(!got.headers.contains_key(header::SET_COOKIE));
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(got.headers[header::REFERRER_POLICY], "no-referrer");
    }
    let sent = posted(&site, FORM, query.to_owned()).await.location();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(sent.query_pairs().into_owned().collect::<Vec<_>>(), pairs, "the same parameters");
    assert_eq!(site.rig.provider.exchanges(), 0);
    assert_eq!(browser.get(&site, sent.as_str()).await.status, 303);
    assert_eq!(site.rig.provider.exchanges(), 1);
}

#[tokio::test]
async fn a_callback_by_post_takes_no_persons_data_and_nothing_long_into_the_address() {
    let site = Site::new();
    let user = r#"{"name":{"firstName":"Ada","lastName":"Lovelace"},"email":"ada@example.com"}"#;
    let long = "x".repeat(40_000);
    let body =
        |pairs: &[(&str, &str)]| url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let sent = posted(
        &site,
        FORM,
        body(&[
            ("state", "s"),
            ("code", "c"),
            ("user", user),
            ("id_token", "e.y.x"),
            ("realmId", "7"),
            ("more", &long),
        ]),
    )
    .await;
    assert_eq!(sent.location().query(), Some("state=s&code=c&realmId=7"));
    // Said twice is refused where it arrives, so it has to arrive twice.
    let twice = posted(&site, FORM, body(&[("state", "s"), ("code", "c"), ("code", "d")])).await.location();
    assert_eq!(twice.query(), Some("state=s&code=c&code=d"));
    let mut browser = Jar::default();
    let link = site.link("ada").await;
    let callback = callback_of(&browser.go_on(&site, &link).await);
    let no = callback.split_once('?').unwrap().1.replace("code=the-code", "error=user_cancelled_authorize");
    let sent = posted(&site, FORM, no).await.location();
    let page = browser.get(&site, sent.as_str()).await;
    page.assert_page(200);
    assert!(page.body.contains("You declined"), "{}", page.body);
    // What is no form, or too long for one, or for no service, leads nowhere.
    posted(&site, FORM, body(&[("state", "s"), ("code", &"c".repeat(BODY_LIMIT))])).await.assert_page(413);
    posted(&site, "application/json", r#"{"state":"s","code":"c"}"#.to_owned()).await.assert_page(400);
    posted(&site, FORM, String::new()).await.assert_page(400);
    let nowhere = Request::post("/oauth/callback/none").header("content-type", FORM);
    site.send(nowhere.body(Body::from("state=s&code=c")).unwrap()).await.assert_page(400);
}

impl Site {
    /// From a link to the provider, with or without the page.
    async fn leave(&self, browser: &mut Jar, link: &str, confirm: bool) -> Got {
        if confirm { browser.go_on(self, link).await } else { browser.get(self, link).await }
    }

    async fn connect_as_told(&self, browser: &mut Jar, user: &str, confirm: bool) {
        let away = self.leave(browser, &self.link(user).await, confirm).await;
        assert_eq!(browser.get(self, &callback_of(&away)).await.status, 303);
    }
}
