//! What a version makes of a store that another has written, at the time when that was.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::people::{ADA, BOB, CYD, DAN, EVE, FAY, GUS, HAL, IVY, JON};
use super::writing::come_back;
use super::{Left, Place};
use crate::support::clock::set_clock_by;
use crate::support::html::Form;
use crate::support::{Answer, Browser, Page, Store, Valetkey, jwt, wait};

/// How much later it is read.
const LATER: i64 = 60;

/// Valetkey in the past, and callers there.
struct Past {
    valetkey: Valetkey,
    at: i64,
}

impl Past {
    fn jwt(&self, user: &str) -> String {
        let mut claims = jwt::claims(user);
        claims["iat"] = json!(self.at);
        claims["exp"] = json!(self.at + 3600);
        jwt::hs256(&claims)
    }

    async fn send(&self, user: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.valetkey.anonymous(method, path).bearer_auth(self.jwt(user));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.valetkey.send(request).await
    }

    async fn get(&self, user: &str, path: &str) -> Answer {
        self.send(user, Method::GET, path, None).await
    }

    /// Whose tokens a call of theirs carries, and the how-manieth.
    async fn served(&self, user: &str, path: &str) -> u64 {
        let answer = self.get(user, path).await.upstream(200);
        assert_eq!(answer["sub"], user);
        answer["number"].as_u64().expect("a number")
    }

    async fn confirm(&self, user: &str, code: &str) {
        let confirmed = self.send(user, Method::POST, "/connections/confirm", Some(json!({ "code": code }))).await;
        assert_eq!(confirmed.own()["status"], "active");
    }
}

fn text<'f>(facts: &'f Value, name: &str) -> &'f str {
    facts[name].as_str().expect("a text")
}

fn button(page: &Page) -> Form {
    page.forms().into_iter().find(|form| form.method == "post").unwrap_or_else(|| panic!("no form: {}", page.text()))
}

/// Has `binary` read it, use it and write on.
pub(super) async fn read(binary: &Path, store: Store, left: &Left) {
    let Left { facts, .. } = left;
    let place = Place::new(store, Some(left)).await;
    let config = place.config().set("vault.keys.0.key", facts["vault_key"].clone());
    let mut valetkey = Valetkey::prepare(&config);
    let at = facts["at"].as_i64().expect("seconds") + LATER;
    let clock = valetkey.config_file().with_file_name("clock");
    std::fs::write(&clock, format!("{:+}s", at - jwt::now())).expect("written");
    set_clock_by(&mut valetkey, &clock);
    valetkey.program(binary);
    valetkey.run().await;
    valetkey.ready().await;
    let past = Past { valetkey, at };

    served(&past, &place).await;
    unfinished(&past, &place, facts).await;
    browsers(&past, facts).await;

    // And it writes.
    let gone = past.send(ADA, Method::DELETE, "/connections/crm", None).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    past.get(ADA, "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    assert_eq!(place.provider.mood(|mood| std::mem::take(&mut mood.amiss)), Vec::<String>::new());
    assert!(!past.valetkey.logs().contains("can't be used"), "{}", past.valetkey.logs());
}

/// Calls by what was connected.
async fn served(past: &Past, place: &Place) {
    assert_eq!(past.served(ADA, "/proxy/crm/whoami").await, 1, "the token that was written");
    let connection = past.get(ADA, "/connections/crm").await.own();
    assert_eq!(
        (&connection["status"], &connection["scopes"]),
        (&json!("active"), &json!(["contacts"])),
        "{connection}"
    );
    assert!(connection["connected_at"].is_string() && connection["last_used_at"].is_string(), "{connection}");
    assert_eq!(past.served(BOB, "/proxy/crm/whoami").await, 2, "renewed");
    assert!(place.provider.mood(|mood| mood.renewed.iter().any(|token| token.contains(BOB))));
    assert_eq!(past.get(CYD, "/proxy/mail/whoami").await.upstream(200)["key"], true);
    assert_eq!(past.get(CYD, "/connections/mail").await.own()["auth_kind"], "api_key");
    assert_eq!(past.served(FAY, "/proxy/crm@work/whoami").await, 1);
    past.get(FAY, "/proxy/crm@default/whoami").await.auth_required("crm", "not_connected");
    past.get(GUS, "/proxy/crm/whoami").await.auth_required("crm", "revoked");
    assert_eq!(past.get(GUS, "/connections/crm").await.own()["invalid_reason"], "revoked");
}

/// What was begun, and not done.
async fn unfinished(past: &Past, place: &Place, facts: &Value) {
    past.get(EVE, "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
    wait::until("what was given up is revoked", || async {
        place.provider.mood(|mood| mood.revoked.iter().any(|token| token.contains(EVE))).then_some(())
    })
    .await;
    past.get(DAN, "/proxy/crm/whoami").await.auth_required("crm", "pending");
    past.confirm(DAN, text(facts, "code")).await;
    assert_eq!(past.served(DAN, "/proxy/crm/whoami").await, 1);
    // The provider never carried it out, and nobody could know: it is tried once.
    assert_eq!(past.served(HAL, "/proxy/crm/whoami").await, 2);
}

/// Links that were given out, and a browser that comes back from the provider.
async fn browsers(past: &Past, facts: &Value) {
    let valetkey = &past.valetkey;
    let jar = serde_json::from_value(facts["jar"].clone()).expect("cookies");
    let code = come_back(valetkey, Browser::with_jar(jar), JON, text(facts, "on_the_way")).await;
    past.confirm(JON, &code).await;
    assert_eq!(past.served(JON, "/proxy/crm/whoami").await, 1);

    let mut browser = Browser::new();
    let started = browser.accept_connect_page(&format!("{}{}", valetkey.url, text(facts, "link"))).await;
    let to = started.location().expect("to the provider");
    let state = to.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    let code = come_back(valetkey, browser, IVY, &state).await;
    past.confirm(IVY, &code).await;
    assert_eq!(past.served(IVY, "/proxy/crm/whoami").await, 1);

    let mut browser = Browser::new();
    let page = browser.open(format!("{}{}", valetkey.url, text(facts, "dashboard"))).await;
    let inside = browser.submit(&page, &button(&page), &[]).await;
    assert_eq!(inside.answer.status, 303, "{}", inside.text());
    let page = browser.follow(inside, |_| false).await;
    assert!(page.answer.status == 200 && page.text().contains("CRM"), "{}", page.text());
}
