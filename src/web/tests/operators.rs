//! Who sees the overview: by a link that opens once, or with a token; and that whoever may only look changes nothing.

use std::time::Duration;

use super::*;
use crate::{config::Admin, secret::SecretString};

const TOKEN: &str = "the token that changes things";
const READ_TOKEN: &str = "the token that only looks";

fn guarded(write: &str, read: Option<&str>) -> Admin {
    Admin { token: SecretString::from(write), read_token: read.map(SecretString::from) }
}

fn site() -> Site {
    Site::with(|config| config.admin = Some(guarded(TOKEN, Some(READ_TOKEN))))
}

/// An operator's browser.
#[derive(Default)]
pub(super) struct Desk {
    cookie: Option<String>,
}

impl Desk {
    async fn send(&mut self, site: &Site, request: http::request::Builder, body: Body) -> Got {
        let mut request = request.body(body).unwrap();
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert(header::COOKIE, format!("valetkey-operator={cookie}").parse().unwrap());
        }
        let got = site.send(request).await;
        for cookie in got.headers.get_all(header::SET_COOKIE) {
            let (value, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            assert!(rest.starts_with(" Path=/admin; HttpOnly; SameSite=Strict; Max-Age="), "{rest}");
            let value = value.strip_prefix("valetkey-operator=").expect("no other cookie");
            self.cookie = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        got
    }

    pub async fn get(&mut self, site: &Site, path: &str) -> Got {
        self.send(site, Request::get(path).header("host", "127.0.0.1:9090"), Body::empty()).await
    }

    pub async fn post(&mut self, site: &Site, path: &str, fields: &[(&str, &str)]) -> Got {
        self.post_from(site, ("http://127.0.0.1:9090", "same-origin"), path, fields).await
    }

    async fn post_from(
        &mut self,
        site: &Site,
        (origin, relation): (&str, &str),
        path: &str,
        fields: &[(&str, &str)],
    ) -> Got {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path)
            .header("host", "127.0.0.1:9090")
            .header("origin", origin)
            .header("content-type", "application/x-www-form-urlencoded");
        // Some browsers don't say.
        let request = if relation.is_empty() { request } else { request.header("sec-fetch-site", relation) };
        self.send(site, request, Body::from(body)).await
    }

    pub async fn signed_in(site: &Site, token: &str) -> Self {
        let mut desk = Self::default();
        let got = desk.post(site, "/admin/sign-in", &[("token", token)]).await;
        assert_eq!((got.status.as_u16(), got.location().path()), (303, "/admin"), "{}", got.body);
        desk
    }
}

/// What a bearer of this token is answered.
async fn as_bearer(site: &Site, token: &str, method: &str, path: &str) -> Got {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    site.send(request.body(Body::empty()).unwrap()).await
}

async fn link(site: &Site, token: &str, rights: &str) -> String {
    let answer = as_bearer(site, token, "POST", &format!("/admin/links?rights={rights}")).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let answer = answer.json();
    assert_eq!((&answer["rights"], &answer["expires_in"]), (&json!(rights), &json!(600)));
    answer["path"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_is_shown_to_nobody_who_has_not_signed_in() {
    let site = site();
    let mut desk = Desk::default();
    let page = desk.get(&site, "/admin").await;
    page.assert_page(401);
    assert!(page.body.contains("Admin token") && !page.body.contains("What is wrong now"), "{}", page.body);
    for wrong in ["", "the token that changes thing", "the token that changes things and more"] {
        let page = desk.post(&site, "/admin/sign-in", &[("token", wrong)]).await;
        page.assert_page(401);
        assert!(page.body.contains("not an admin token") && !page.body.contains("changes thing"), "{}", page.body);
        assert_eq!(desk.cookie, None);
    }
    desk.cookie = Some("A".repeat(43));
    desk.get(&site, "/admin").await.assert_page(401);
    let without = Site::with(|config| config.admin = None);
    for path in ["/admin", "/admin/sign-in"] {
        assert_eq!(desk.get(&without, path).await.status, 404, "{path}");
    }
    for path in ["/admin/sign-in", "/admin/sign-out", "/admin/unused"] {
        assert_eq!(desk.post(&without, path, &[("token", TOKEN)]).await.status, 404, "{path}");
    }
    assert_eq!(desk.get(&site, "/admin/").await.location().path(), "/admin");
}

#[tokio::test]
async fn a_token_signs_a_browser_in_for_an_hour() {
    let site = site();
    for (token, says) in [(TOKEN, "You may change things"), (READ_TOKEN, "You may look")] {
        let mut desk = Desk::signed_in(&site, token).await;
        let page = desk.get(&site, "/admin").await;
        page.assert_page(200);
        assert!(page.body.contains(says), "{}", page.body);
        assert!(!page.body.contains(token), "a page has the token");
        site.rig.clock.advance(Duration::from_secs(3590));
        assert_eq!(desk.get(&site, "/admin").await.status, 200);
        site.rig.clock.advance(Duration::from_secs(10));
        desk.get(&site, "/admin").await.assert_page(401);
    }
}

#[tokio::test]
async fn a_link_lets_one_browser_in_and_is_not_spent_by_a_preview() {
    let site = site();
    let link = link(&site, TOKEN, "read").await;
    for _ in 0..3 {
        let page = Desk::default().get(&site, &link).await;
        page.assert_page(200);
        assert!(page.body.contains("to look and change nothing"), "{}", page.body);
    }
    let head = Request::head(link.as_str()).header("host", "127.0.0.1:9090").body(Body::empty()).unwrap();
    assert_eq!(site.send(head).await.status, 200);
    let mut desk = Desk::default();
    let page = desk.get(&site, &link).await;
    let secret = page.field("link");
    assert_eq!(desk.post(&site, "/admin/sign-in", &[("link", &secret)]).await.status, 303);
    assert!(desk.get(&site, "/admin").await.body.contains("You may look"));
    let mut second = Desk::default();
    let page = second.post(&site, "/admin/sign-in", &[("link", &secret)]).await;
    page.assert_page(400);
    assert!(page.body.contains("valetkey admin-link") && second.cookie.is_none(), "{}", page.body);
    second.get(&site, &link).await.assert_page(400);
}

#[tokio::test]
async fn a_link_is_good_for_ten_minutes() {
    let site = site();
    let link = link(&site, TOKEN, "write").await;
    site.rig.clock.advance(Duration::from_secs(599));
    Desk::default().get(&site, &link).await.assert_page(200);
    site.rig.clock.advance(Duration::from_secs(1));
    Desk::default().get(&site, &link).await.assert_page(400);
}

#[tokio::test]
async fn nobody_gives_more_rights_than_they_have() {
    let site = site();
    as_bearer(&site, READ_TOKEN, "POST", "/admin/links?rights=write").await.refusal(403, "forbidden");
    link(&site, READ_TOKEN, "read").await;
    as_bearer(&site, "another", "POST", "/admin/links").await.refusal(401, "unauthenticated");
    as_bearer(&site, TOKEN, "POST", "/admin/links?rights=all").await.refusal(400, "bad_request");
}

#[tokio::test]
async fn the_token_that_only_looks_reads_everything_and_changes_nothing() {
    let site = site();
    for path in ["/admin/audit", "/admin/funnel", "/admin/failures", "/admin/connections"] {
        assert_eq!(as_bearer(&site, READ_TOKEN, "GET", path).await.status, 200, "{path}");
        assert_eq!(as_bearer(&site, TOKEN, "GET", path).await.status, 200, "{path}");
    }
    for (method, path) in [("DELETE", "/admin/users/ada"), ("POST", "/admin/connections/disconnect")] {
        let refused = as_bearer(&site, READ_TOKEN, method, path).await;
        let told = refused.refusal(403, "forbidden");
        assert!(told["message"].as_str().unwrap().contains("only reads"), "{told}");
    }
    assert_eq!(as_bearer(&site, TOKEN, "DELETE", "/admin/users/ada").await.status, 204);
    for (token, says) in [(TOKEN, "You may change things"), (READ_TOKEN, "You may look")] {
        let page = as_bearer(&site, token, "GET", "/admin").await;
        page.assert_page(200);
        assert!(page.body.contains(says), "{}", page.body);
    }
    let mut desk = Desk::signed_in(&site, READ_TOKEN).await;
    assert!(!desk.get(&site, "/admin").await.body.contains("Disconnect what nobody uses"));
    desk.post(&site, "/admin/unused", &[("days", "1")]).await.assert_page(403);
    let mut stranger = Desk::default();
    stranger.post(&site, "/admin/unused", &[("days", "1")]).await.assert_page(401);
}

#[tokio::test]
async fn what_another_site_sends_signs_nobody_in_or_out() {
    let site = site();
    let mut desk = Desk::signed_in(&site, TOKEN).await;
    let (cookie, link) = (desk.cookie.clone(), link(&site, TOKEN, "read").await);
    let secret = link.split_once("link=").unwrap().1.to_owned();
    for from in [
        ("https://evil.example", "cross-site"),
        ("http://127.0.0.1:8080", "same-site"),
        ("null", "cross-site"),
        ("null", ""),
    ] {
        for (path, fields) in [
            ("/admin/sign-in", vec![("link", secret.as_str())]),
            ("/admin/sign-out", vec![]),
            ("/admin/unused", vec![("days", "1")]),
        ] {
            desk.post_from(&site, from, path, &fields).await.assert_page(403);
            assert_eq!(desk.cookie, cookie, "{path}");
        }
    }
    assert_eq!(desk.get(&site, "/admin").await.status, 200);
}

#[tokio::test]
async fn a_form_that_says_a_thing_twice_spends_no_link() {
    let site = site();
    let (mut desk, link) = (Desk::default(), link(&site, TOKEN, "read").await);
    let secret = link.split_once("link=").unwrap().1;
    for fields in [[("link", secret), ("link", secret)], [("token", TOKEN), ("token", "another")]] {
        desk.post(&site, "/admin/sign-in", &fields).await.assert_page(400);
        assert_eq!(desk.cookie, None);
    }
    assert_eq!(desk.post(&site, "/admin/sign-in", &[("link", secret)]).await.status, 303);
}

#[tokio::test]
async fn nothing_is_asked_for_or_spent_where_it_could_be_read_on_the_way() {
    let site = site();
    let link = link(&site, TOKEN, "read").await;
    let secret = link.split_once("link=").unwrap().1;
    let far = |method: &str, path: &str| {
        Request::builder().method(method).uri(path).header("host", "10.0.0.5:9090").header("origin", "null")
    };
    let form = |text: String| Body::from(text);
    for (method, path, body) in [
        ("GET", link.as_str(), String::new()),
        ("GET", "/admin/sign-in?link=x", String::new()),
        ("POST", "/admin/sign-in", format!("link={secret}")),
        ("POST", "/admin/sign-in", format!("token={TOKEN}")),
    ] {
        let request = far(method, path).header("content-type", "application/x-www-form-urlencoded");
        let got = site.send(request.body(form(body)).unwrap()).await;
        got.assert_page(400);
        assert!(got.body.contains("port-forward") && !got.body.contains("<form"), "{}", got.body);
        assert!(!got.headers.contains_key(header::SET_COOKIE));
    }
    for path in ["/admin", "/admin/sign-in"] {
        let page = site.send(far("GET", path).body(Body::empty()).unwrap()).await;
        page.assert_page(if path == "/admin" { 401 } else { 400 });
        assert!(page.body.contains("port-forward") && !page.body.contains("<form"), "{}", page.body);
    }
    // By TLS, as a browser says, it is another matter.
    let request = far("GET", &link).header("sec-fetch-site", "none");
    site.send(request.body(Body::empty()).unwrap()).await.assert_page(200);
}

#[tokio::test]
async fn a_browser_that_signs_in_again_is_no_longer_who_it_was() {
    let site = site();
    let mut desk = Desk::signed_in(&site, TOKEN).await;
    let mut copy = Desk { cookie: desk.cookie.clone() };
    assert_eq!(desk.post(&site, "/admin/sign-in", &[("token", READ_TOKEN)]).await.status, 303);
    assert!(desk.get(&site, "/admin").await.body.contains("You may look"));
    copy.get(&site, "/admin").await.assert_page(401);
}

#[tokio::test]
async fn who_signs_out_is_out_and_so_is_whoever_has_the_cookie() {
    let site = site();
    let mut desk = Desk::signed_in(&site, TOKEN).await;
    let mut copy = Desk { cookie: desk.cookie.clone() };
    assert_eq!(desk.post(&site, "/admin/sign-out", &[]).await.status, 303);
    assert_eq!(desk.cookie, None);
    copy.get(&site, "/admin").await.assert_page(401);
}

#[tokio::test]
async fn a_session_ends_with_the_token_that_began_it() {
    let site = site();
    let operators = |site: &Site| Operators::new(site.rig.roots.clone(), Arc::clone(&site.rig.store));
    let desk = Desk::signed_in(&site, READ_TOKEN).await;
    let (cookie, now) = (desk.cookie.unwrap(), site.rig.clock.now());
    let rights = async |write: &str, read: Option<&str>| {
        operators(&site).rights(&guarded(write, read), &cookie, now).await.unwrap()
    };
    assert_eq!(rights(TOKEN, Some(READ_TOKEN)).await, Some(Rights::Read));
    assert_eq!(rights("another", Some(READ_TOKEN)).await, Some(Rights::Read), "it isn't the other token's");
    assert_eq!(rights(TOKEN, Some("another")).await, None);
    assert_eq!(rights(TOKEN, None).await, None);
    assert_eq!(rights(READ_TOKEN, None).await, Some(Rights::Read), "a token that gained rights lends it none");
    // What was let in by the other token's link ends with that, though it may only look.
    let made = link(&site, TOKEN, "read").await;
    let secret = made.split_once("link=").unwrap().1;
    let valid =
        async |write: &str| operators(&site).behind_link(&guarded(write, Some(READ_TOKEN)), secret, now).await.unwrap();
    assert_eq!((valid(TOKEN).await, valid("another").await), (Some(Rights::Read), None));
}

#[tokio::test]
async fn a_store_that_is_away_is_nobodys_fault() {
    let site = site();
    let mut desk = Desk::signed_in(&site, TOKEN).await;
    let link = link(&site, TOKEN, "read").await;
    site.rig.brittle.break_after(0, Break::Before);
    desk.get(&site, "/admin").await.assert_page(503);
    desk.get(&site, &link).await.assert_page(503);
    desk.post(&site, "/admin/sign-in", &[("token", TOKEN)]).await.assert_page(503);
    as_bearer(&site, TOKEN, "POST", "/admin/links").await.refusal(503, "unavailable");
    assert!(site.rig.brittle.mend());
    assert_eq!(desk.get(&site, "/admin").await.status, 200, "nobody was signed out");
}
