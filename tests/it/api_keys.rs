//! API keys beside OAuth, and the way from one to the other: phases, headers, the dashboard's forms, reports, clean-up.

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::valetkey::{printed, run};
use crate::support::{Alone, Answer, Browser, Config, Rig, Script, Store, Upstream, Valetkey, canary, jwt, wait};

const DAY: i64 = 86_400;

/// The day so many days from now, as `YYYY-MM-DD`.
fn day(from_now: i64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(jwt::now() + from_now * DAY).expect("a time");
    at.date().to_string()
}

/// The phase with what it needs; `deprecated` ends in ten days.
fn phase(name: &str) -> Value {
    match name {
        "deprecated" => json!({ "phase": name, "retire_on": day(10) }),
        _ => json!({ "phase": name }),
    }
}

/// Takes this key and no other credential; `/gone` says itself that it ends.
async fn upstream(key: &'static str) -> Upstream {
    Upstream::start(move |request| {
        if request.all("authorization") != [format!("Bearer {key}")] {
            return Script::answer(401, &[("WWW-Authenticate", "Bearer error=\"invalid_token\"")], "{}");
        }
        if request.target().ends_with("/gone") {
            let own =
                [("Deprecation", "@1"), ("Sunset", "Thu, 01 Jan 2099 00:00:00 GMT"), ("Valetkey-Notice", "forged")];
            return Script::answer(200, &own, "{}");
        }
        Script::answer(200, &[("Content-Type", "application/json")], "{}")
    })
    .await
}

async fn put_key(valetkey: &Valetkey, user: &str, key: &str) -> Answer {
    canary::secret("an API key", key);
    let request = valetkey.request(user, Method::PUT, "/connections/crm/api-key");
    let body = json!({ "api_key": key }).to_string();
    valetkey.send(request.header("content-type", "application/json").body(body)).await
}

/// Another run of the same installation with this `api_keys`.
async fn restart(alone: &mut Alone, api_keys: Value) {
    alone.valetkey.kill();
    alone.valetkey = Valetkey::start(&alone.config.clone().set("services.crm.api_keys", api_keys)).await;
}

/// Runs a subcommand on a configuration.
pub(crate) async fn command(config: &Config, words: &[&str]) -> Output {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("valetkey.yaml");
    std::fs::write(&file, config.text()).expect("written");
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["--config".to_owned(), file.display().to_string()]);
    tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = run(&words);
        drop(folder);
        output
    })
    .await
    .expect("no panic")
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
    let said = printed(output);
    assert_eq!(canary::found_in(&said), Vec::<String>::new());
    said
}

fn audit_lines(valetkey: &Valetkey, event: &str) -> usize {
    valetkey.logs().lines().filter(|line| line.contains("connection event") && line.contains(event)).count()
}

#[tokio::test]
async fn each_phase_has_its_headers_and_oauths_answers_have_none() {
    let upstream = upstream("sk-good-key-of-ada").await;
    let mut alone = Alone::start(|config| config.set("services.crm.base_url", upstream.url())).await;
    assert_eq!(put_key(&alone, "ada", "sk-good-key-of-ada").await.status, 204);
    let dashboard = format!("{}/dashboard", alone.config.get("public_url").as_str().expect("a URL"));

    for name in ["allowed", "encouraged", "deprecated"] {
        restart(&mut alone, phase(name)).await;
        let answer = alone.get("ada", "/proxy/crm/things").await;
        answer.upstream(200);
        let notice = match name {
            "allowed" => None,
            "encouraged" => Some(format!("api-key; phase=encouraged; connect=\"{dashboard}\"")),
            _ => Some(format!("api-key; phase=deprecated; retire-on=\"{}\"; connect=\"{dashboard}\"", day(10))),
        };
        assert_eq!(answer.header("valetkey-notice").map(str::to_owned), notice, "{name}");
        let dated = name == "deprecated";
        assert_eq!(answer.header("deprecation").is_some(), dated, "{name}");
        assert_eq!(answer.header("sunset").is_some(), dated, "{name}");
        if dated {
            let end = jwt::now() / DAY * DAY + 10 * DAY;
            assert_eq!(answer.header("deprecation"), Some(format!("@{}", end - 30 * DAY).as_str()));
            assert!(answer.header("sunset").is_some_and(|text| text.ends_with(" 00:00:00 GMT")), "{answer:?}");
            let gone = alone.get("ada", "/proxy/crm/gone").await;
            gone.upstream(200);
            assert_eq!(gone.header("deprecation"), Some("@1"), "what the upstream says of itself stays");
            assert_eq!(gone.header("sunset"), Some("Thu, 01 Jan 2099 00:00:00 GMT"));
            assert!(gone.header("valetkey-notice").is_some_and(|text| text.starts_with("api-key;")));
        }
        // A refusal of our own says nothing of keys.
        let refused = alone.get("eve", "/proxy/crm/things").await;
        refused.auth_required("crm", "not_connected");
        assert_eq!(refused.header("valetkey-notice"), None);
    }
}

#[tokio::test]
async fn retired_keys_are_used_no_more_stored_no_more_and_still_removable() {
    let upstream = upstream("sk-good-key-of-ada").await;
    let mut alone = Alone::start(|config| config.set("services.crm.base_url", upstream.url())).await;
    assert_eq!(put_key(&alone, "ada", "sk-good-key-of-ada").await.status, 204);
    // What was deprecated is retired by its day alone.
    for api_keys in [json!({ "phase": "deprecated", "retire_on": day(-1) }), phase("retired")] {
        restart(&mut alone, api_keys).await;
        let seen = upstream.received().len();
        let link = alone.get("ada", "/proxy/crm/things").await.auth_required("crm", "api_key_retired");
        assert!(link.contains("/connect/crm?ticket="), "{link}");
        assert_eq!(upstream.received().len(), seen, "the key did not go out");
        let connection = alone.get("ada", "/connections/crm").await.own();
        assert_eq!(
            (&connection["status"], &connection["invalid_reason"]),
            (&json!("invalid"), &json!("api_key_retired"))
        );
        let refused = put_key(&alone, "ada", "sk-another-key").await.refusal(403, "forbidden");
        assert!(refused["message"].as_str().is_some_and(|text| text.contains("no longer used")), "{refused}");
        assert_eq!(refused["service"], "crm");
    }
    let delete = || alone.send(alone.request("ada", Method::DELETE, "/connections/crm/api-key"));
    assert_eq!(delete().await.status, 204);
    delete().await.refusal(404, "not_found");
    alone.get("ada", "/proxy/crm/things").await.auth_required("crm", "not_connected");
}

#[tokio::test]
async fn oauth_comes_first_and_the_key_steps_in_within_the_same_call() {
    // This upstream takes nothing but the key: the grant is lost at the first call.
    let upstream = upstream("sk-good-key-of-ada").await;
    let rig = Rig::with(Store::Redis, |config, _| {
        config.set("services.crm.base_url", upstream.url()).set("services.crm.api_keys", phase("encouraged"))
    })
    .await;
    rig.connect("ada").await;
    assert_eq!(put_key(&rig, "ada", "sk-good-key-of-ada").await.status, 204);
    assert_eq!(rig.connection("ada", "crm").await["auth_kind"], "oauth");
    let answer = rig.post("ada", "/proxy/crm/things", "small").await;
    answer.upstream(200);
    assert!(answer.header("valetkey-notice").is_some(), "it went out with the key: {answer:?}");
    let sent = upstream.received();
    assert!(sent.len() >= 2, "{}", sent.len());
    let last = sent.last().expect("some");
    assert_eq!((last.all("authorization"), last.body.as_slice()), (vec!["Bearer sk-good-key-of-ada"], &b"small"[..]));
    assert_ne!(sent[0].all("authorization"), last.all("authorization"), "OAuth was tried first");
    let connection = rig.connection("ada", "crm").await;
    assert_eq!((&connection["status"], &connection["auth_kind"]), (&json!("active"), &json!("api_key")));
    // From here on the key is used at once.
    let before = upstream.received().len();
    rig.get("ada", "/proxy/crm/things").await.upstream(200);
    assert_eq!(upstream.received().len(), before + 1);
    // And once the upstream refuses the key too, nothing is left.
    assert_eq!(put_key(&rig, "ada", "sk-wrong-key-of-ada").await.status, 204);
    assert_eq!(rig.get("ada", "/proxy/crm/things").await.status, 401);
    rig.get("ada", "/proxy/crm/things").await.auth_required("crm", "rejected_by_upstream");
}

#[tokio::test]
async fn a_call_with_the_grant_has_no_notice() {
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.api_keys", phase("deprecated"))).await;
    rig.connect("ada").await;
    assert_eq!(put_key(&rig, "ada", "sk-some-key-of-ada").await.status, 204);
    let answer = rig.get("ada", "/proxy/crm/whoami").await;
    answer.upstream(200);
    for name in ["valetkey-notice", "deprecation", "sunset"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_audited_once_a_day() {
    let upstream = upstream("sk-good-key-of-ada").await;
    let alone = Alone::start(|config| config.set("services.crm.base_url", upstream.url())).await;
    put_key(&alone, "ada", "sk-good-key-of-ada").await;
    for _ in 0..3 {
        alone.get("ada", "/proxy/crm/things").await.upstream(200);
    }
    wait::until("the use is audited", || async { (audit_lines(&alone, "api_key_used") > 0).then_some(()) }).await;
    alone.get("ada", "/proxy/crm/things").await.upstream(200);
    assert_eq!(audit_lines(&alone, "api_key_used"), 1);
    assert_eq!(audit_lines(&alone, "api_key_stored"), 1);
}

#[tokio::test]
async fn everyone_on_a_deprecated_key_is_told_once_by_one_of_two_replicas() {
    let mut rig = Rig::start(Store::Redis).await;
    for user in ["ada", "bob"] {
        put_key(&rig, user, "sk-some-key-of-theirs").await;
    }
    rig.connect_to("eve", "crm").await;
    rig.valetkey.kill();
    rig.config = rig.config.clone().set("services.crm.api_keys", phase("deprecated"));
    let (first, second) = tokio::join!(Valetkey::start(&rig.config), rig.replica());
    rig.valetkey = first;
    let told = || audit_lines(&rig.valetkey, "api_key_deprecated") + audit_lines(&second, "api_key_deprecated");
    let done = || {
        let logs = rig.valetkey.logs() + &second.logs();
        logs.contains("the day's work on API keys is done")
    };
    wait::until("the day's work is done", || async { done().then_some(()) }).await;
    assert_eq!(told(), 2, "ada and bob, not eve");
    assert_eq!(audit_lines(&rig.valetkey, "api_key_reminder") + audit_lines(&second, "api_key_reminder"), 0);
}

#[tokio::test]
async fn the_dashboards_form_stores_a_key_without_a_script_and_the_prompt_leads_to_oauth() {
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.api_keys", phase("deprecated"))).await;
    let mut browser = Browser::new();
    browser.headers.push(("valetkey-token".to_owned(), jwt::of("ada")));
    let url = format!("{}/dashboard", rig.url);
    let page = browser.open(&url).await;
    page.assert_is_a_safe_page();
    let form_of = |page: &crate::support::Page| {
        let mut forms = page.forms().into_iter();
        forms.find(|form| {
            form.action.ends_with("/dashboard/api-key") && form.fields.iter().any(|(_, value)| value == "crm")
        })
    };
    let form = form_of(&page).expect("a form for keys");
    let key = canary::secret("an API key", "sk-typed-into-the-form");
    // Without the page's own token it is not followed.
    let stale = browser.submit(&page, &form, &[("api_key", &key), ("form", "")]).await;
    assert_eq!(stale.answer.status, 403);
    let bad = browser.submit(&page, &form, &[("api_key", "<script>\u{7}")]).await;
    assert_eq!(bad.answer.status, 400);
    bad.assert_is_a_safe_page();
    assert!(!bad.answer.text().contains("<script>"));
    let stored = browser.submit(&page, &form, &[("api_key", &key)]).await;
    let page = browser.follow(stored, |_| false).await;
    assert_eq!(page.answer.status, 200);
    assert!(page.text().contains("is saved"), "{}", page.text());
    assert!(page.text().contains("instead of a key") && page.text().contains("are no longer used"), "{}", page.text());
    assert_eq!(canary::found_in(&page.answer.text()), Vec::<String>::new());
    assert_eq!(rig.connection("ada", "crm").await["auth_kind"], "api_key");

    // Connect, and take the key away.
    let link = rig.post_json("ada", "/connect-links", &json!({ "service": "crm" })).await.own();
    browser.connect(link["auth_url"].as_str().expect("a link"), "ada").await;
    assert_eq!(rig.connection("ada", "crm").await["auth_kind"], "oauth");
    let page = browser.open(&url).await;
    assert!(page.text().contains("no longer needed"), "{}", page.text());
    assert!(form_of(&page).is_none(), "there is no use for another key");
    let question = browser.open(format!("{url}/api-key/remove?service=crm&account=default")).await;
    question.assert_is_a_safe_page();
    let form = question.forms().into_iter().find(|form| form.action.ends_with("/remove")).expect("a form");
    let removed = browser.submit(&question, &form, &[]).await;
    let page = browser.follow(removed, |_| false).await;
    assert!(page.text().contains("is removed"), "{}", page.text());
    rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
    rig.send(rig.request("ada", Method::DELETE, "/connections/crm/api-key")).await.refusal(404, "not_found");
}

#[tokio::test]
async fn the_report_tells_how_far_each_service_is_beside_running_replicas() {
    let rig = Rig::with(Store::Redis, |config, _| config.set("services.crm.api_keys", phase("deprecated"))).await;
    rig.connect("bob").await;
    for user in ["ada", "bob"] {
        put_key(&rig, user, "sk-some-key-of-theirs").await;
    }
    rig.connect("eve").await;
    let report = command(&rig.config, &["report", "migration", "--json", "--service", "crm"]).await;
    assert_exit(&report, 0);
    let report: Value = serde_json::from_slice(&report.stdout).expect("JSON alone on standard output");
    let crm = &report["services"][0];
    let counts = ["connections", "on_key", "both", "oauth"].map(|name| crm[name].as_u64().expect("a number"));
    assert_eq!((crm["service"].as_str(), counts), (Some("crm"), [3, 1, 1, 1]), "{report}");
    assert_eq!(
        (&crm["phase"], &crm["retire_on"], &crm["percent"]),
        (&json!("deprecated"), &json!(day(10)), &json!(66.7))
    );
    let first = &crm["callers"][0];
    assert_eq!(
        (&first["user"], &first["standing"], &first["account"]),
        (&json!("ada"), &json!("on_key"), &json!("default"))
    );
    assert!(first["since"].is_string() && first["key_last_used_at"].is_null(), "{first}");

    let said = assert_exit(&command(&rig.config, &["report", "migration"]).await, 0);
    for part in
        ["CRM (crm)", "deprecated", &day(10), "66.7 %", "ada", "bob", "eve", "Calendar (calendar)", "no connections"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_exit(&command(&rig.config, &["report", "migration", "--service", "none"]).await, 2);
}

#[tokio::test]
async fn report_and_clean_up_leave_an_embedded_store_to_its_owner() {
    let alone = Alone::start(|config| config).await;
    for words in [&["report", "migration"][..], &["keys", "cleanup", "--yes"]] {
        let said = assert_exit(&command(&alone.config, words).await, 1);
        assert!(said.contains("open in another process"), "{said}");
    }
}

#[tokio::test]
async fn the_clean_up_says_what_would_go_and_deletes_only_when_told() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("bob").await;
    for user in ["ada", "bob"] {
        put_key(&rig, user, "sk-some-key-of-theirs").await;
    }
    let with = |api_keys: Value| rig.config.clone().set("services.crm.api_keys", api_keys);
    let nothing = assert_exit(&command(&rig.config, &["keys", "cleanup", "--yes"]).await, 0);
    assert!(nothing.contains("0 deleted"), "keys are allowed: {nothing}");
    let later = with(json!({ "phase": "retired", "retire_on": day(-10), "delete_after": "90d" }));
    let kept = assert_exit(&command(&later, &["keys", "cleanup", "--yes"]).await, 0);
    assert!(kept.contains("0 deleted") && kept.contains("2 retired keys stay") && kept.contains(&day(80)), "{kept}");

    let due = with(json!({ "phase": "retired", "retire_on": day(-100), "delete_after": "90d" }));
    let said = assert_exit(&command(&due, &["keys", "cleanup"]).await, 0);
    for part in ["would delete crm default ada", "would delete crm default bob", "the OAuth connection stays", "--yes"]
    {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let dry = command(&due, &["keys", "cleanup", "--json"]).await;
    assert_exit(&dry, 0);
    let dry: Value = serde_json::from_slice(&dry.stdout).expect("JSON");
    assert_eq!((&dry["dry_run"], &dry["deleted"]), (&json!(true), &json!(0)));
    assert_eq!(dry["keys"].as_array().map(Vec::len), Some(2), "{dry}");
    assert_eq!(rig.connection("ada", "crm").await["auth_kind"], "api_key", "a dry run deletes nothing");

    let done = assert_exit(&command(&due, &["keys", "cleanup", "--yes"]).await, 0);
    assert!(done.contains("2 deleted"), "{done}");
    wait::until("the running replica sees it", || async {
        (rig.get("ada", "/connections/crm").await.status == 404).then_some(())
    })
    .await;
    rig.get("bob", "/proxy/crm/whoami").await.upstream(200);
    rig.send(rig.request("bob", Method::DELETE, "/connections/crm/api-key")).await.refusal(404, "not_found");
}

#[tokio::test]
async fn bad_keys_are_refused_clearly_and_never_repeated() {
    let alone = Alone::start(|config| config).await;
    for key in ["", "a\nb", "a\u{1}b", "schlüssel", " x", &"x".repeat(4097)] {
        let answer = put_key(&alone, "ada", key).await;
        let body = answer.refusal(400, "bad_request");
        assert!(key.trim().len() < 4 || !body.to_string().contains(key), "{body}");
    }
    let put = |account: &str| alone.request("ada", Method::PUT, &format!("/connections/crm/api-key?account={account}"));
    for body in ["", "{}", "[]", "api_key=sk-form", "{\"api_key\":7}", "{\"api_key\":\"k\",\"more\":1}"] {
        let request = put("default").header("content-type", "application/x-www-form-urlencoded").body(body);
        alone.send(request).await.refusal(400, "bad_request");
    }
    alone.send(put("%3Cb%3E").body("{\"api_key\":\"sk-fine\"}")).await.refusal(400, "bad_request");
    let huge = format!("{{\"api_key\":\"{}\"}}", "x".repeat(100_000));
    alone.send(put("default").body(huge)).await.refusal(413, "too_large");
    alone.get("ada", "/connections/crm").await.refusal(404, "not_found");
    // Markup is a key like any other, as long as a header can carry it.
    assert_eq!(put_key(&alone, "ada", "<b>key-with-markup</b>").await.status, 204);
}
