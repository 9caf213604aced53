//! Another label, and the operator's brand.

use super::*;
use crate::config;
use crate::events::CALLER;

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
    site.rig.connections.api_keys.store(&taken, &"key".into(), &CALLER).await.unwrap();
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
    assert!(site.rig.connections.manager.get(&connection_id("ada", "crm", "default")).await.unwrap().is_none());
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
