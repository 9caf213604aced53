//! A store with a record in each state that a version leaves, written by its binary as applications and browsers make it do.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use url::Url;

use super::people::{ADA, BOB, CYD, DAN, EVE, FAY, GUS, HAL, IVY, JON};
use super::provider::{KEY, Provider};
use super::{Left, Place};
use crate::support::config::VAULT_KEY;
use crate::support::{Browser, Page, Store, Valetkey, canary, jwt, wait};

/// Keys without an end, so that they are still there when the dump is read; and no lease, which somebody would wait for.
const KEEP: &str = "for _, k in ipairs(redis.call('KEYS', '*')) do \
    if string.find(k, ':l:', 1, true) then redis.call('DEL', k) else redis.call('PERSIST', k) end end return 'OK'";

/// Has `binary` write, and kills it.
pub(super) async fn write(binary: &Path, store: Store) -> Left {
    let mut place = Place::new(store, None).await;
    let mut valetkey = Valetkey::prepare(&place.config());
    valetkey.program(binary);
    valetkey.run().await;
    valetkey.ready().await;

    for user in [ADA, BOB, EVE, FAY, GUS, HAL] {
        connect(&valetkey, user).await;
    }
    assert_eq!(valetkey.get(ADA, "/proxy/crm/whoami").await.upstream(200)["number"], 1);
    put_key(&valetkey).await;
    let code = walk(&valetkey, DAN).await;
    place.provider.mood(|mood| mood.revokes_nothing = true);
    let gone = valetkey.send(valetkey.request(EVE, Method::DELETE, "/connections/crm")).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    rename(&valetkey, FAY).await;
    place.provider.mood(|mood| mood.refuses_gus = true);
    wait::until("the refusal is met", || async {
        let answer = valetkey.get(GUS, "/proxy/crm/whoami").await;
        (answer.status == 401).then(|| answer.auth_required("crm", "revoked"))
    })
    .await;
    let link = link(&valetkey, IVY).await;
    let (on_the_way, jar) = set_out(&valetkey, JON).await;
    let dashboard = valetkey.post_json(ADA, "/dashboard-links", &json!({})).await.own()["dashboard_url"].clone();

    interrupt(&mut valetkey, &place.provider).await;
    let facts = json!({
        "note": "Keys, tokens, links and codes of tests: they open nothing but the file beside this one.",
        "vault_key": VAULT_KEY, "at": jwt::now(), "code": code, "link": query_of(&link), "dashboard": query_of(dashboard.as_str().expect("a URL")),
        "on_the_way": on_the_way, "jar": jar,
    });
    let file = match &mut place.redis {
        Some(redis) => {
            redis.say(&["EVAL", KEEP, "0"]).await;
            redis.say(&["SAVE"]).await;
            std::fs::read(redis.dump_file())
        }
        None => std::fs::read(place.embedded()),
    };
    Left { facts, file: file.expect("it is there") }
}

/// What comes behind the host, which is another's when it is opened.
fn query_of(url: &str) -> String {
    let url = Url::parse(url).expect("a URL");
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// The link that a call without a connection is answered with.
pub(super) async fn link(valetkey: &Valetkey, user: &str) -> String {
    valetkey.get(user, "/proxy/crm/whoami").await.auth_required("crm", "not_connected")
}

/// Goes to the provider: the state that is taken along, and the browser's cookies.
async fn set_out(valetkey: &Valetkey, user: &str) -> (String, Vec<[String; 4]>) {
    let mut browser = Browser::new();
    let link = link(valetkey, user).await;
    let started = browser.accept_connect_page(&link).await;
    let to = started.location().expect("to the provider");
    let state = to.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    (state, browser.jar())
}

/// Comes back from the provider: the code that the application is to confirm with.
pub(super) async fn come_back(valetkey: &Valetkey, mut browser: Browser, user: &str, state: &str) -> String {
    let mut callback = Url::parse(&format!("{}/oauth/callback/crm", valetkey.url)).expect("a URL");
    callback.query_pairs_mut().append_pair("code", &format!("code-of-{user}")).append_pair("state", state);
    let page = browser.open(callback).await;
    assert_eq!(page.answer.status, 200, "{}: {}", page.url, page.text());
    code_on(&page)
}

fn code_on(page: &Page) -> String {
    let text = page.text();
    let code = text.split_whitespace().find(|word| word.len() == 43).unwrap_or_else(|| panic!("no code: {text}"));
    canary::secret("a code to confirm with", code)
}

/// From a link to the code.
async fn walk(valetkey: &Valetkey, user: &str) -> String {
    let (state, jar) = set_out(valetkey, user).await;
    come_back(valetkey, Browser::with_jar(jar), user, &state).await
}

/// From a link to a connection.
pub(super) async fn connect(valetkey: &Valetkey, user: &str) {
    let code = walk(valetkey, user).await;
    valetkey.post_json(user, "/connections/confirm", &json!({ "code": code })).await.own();
}

async fn put_key(valetkey: &Valetkey) {
    canary::secret("an API key", KEY);
    let request = valetkey.request(CYD, Method::PUT, "/connections/mail/api-key");
    let request = request.header("content-type", "application/json").body(json!({ "api_key": KEY }).to_string());
    assert_eq!(valetkey.send(request).await.status, 204);
    assert_eq!(valetkey.get(CYD, "/proxy/mail/whoami").await.upstream(200)["key"], true);
}

async fn rename(valetkey: &Valetkey, user: &str) {
    let mut browser = Browser::new();
    browser.headers.push(("valetkey-token".into(), jwt::of(user)));
    let page = browser.open(format!("{}/dashboard/rename?service=crm&account=default", valetkey.url)).await;
    let form = page.forms().into_iter().find(|form| form.action.ends_with("rename")).expect("a form");
    let done = browser.submit(&page, &form, &[("label", "work")]).await;
    assert_eq!(done.answer.status, 303, "{}", done.text());
    assert_eq!(valetkey.get(user, "/proxy/crm@work/whoami").await.upstream(200)["sub"], user);
}

/// The process is killed while the provider still has a renewal of Hal's.
async fn interrupt(valetkey: &mut Valetkey, provider: &Provider) {
    provider.mood(|mood| mood.hangs_for_hal = true);
    wait::until("the provider is asked", || async {
        // While the token lives the call is served; then it waits, and nobody waits for it.
        let call = valetkey.request(HAL, Method::GET, "/proxy/crm/whoami").send();
        drop(tokio::time::timeout(Duration::from_millis(200), call).await);
        provider.mood(|mood| mood.renewed.iter().any(|token| token.contains(HAL))).then_some(())
    })
    .await;
    valetkey.kill();
}
