//! Another configuration takes the place of the one in force, while calls go on: whole, or not at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::authorization_server::http;
use crate::support::config::ADMIN_TOKEN;
use crate::support::{Alone, Answer, Config, Script, Upstream, Valetkey, canary, wait};

const KEY: &str = "an-api-key-of-the-reloading-tests";
const RELOADS: usize = 20;
/// 500 calls a second.
const PACE: Duration = Duration::from_millis(2);
/// How many people call.
const USERS: usize = 8;

/// An upstream with a name, which takes the key in one header only, and what it was sent amiss.
async fn upstream(
    name: &'static str,
    header: &'static str,
    other: &'static str,
) -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let amiss = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&amiss);
    let upstream = Upstream::start(move |request| {
        let expected = if request.target().starts_with("/moving") { header } else { "x-key-steady" };
        let right = request.all(expected) == [KEY] && request.all(other).is_empty();
        if !right {
            seen.lock().expect("no panic in here").push(format!("{name}: {}", request.head));
            return Script::answer(500, &[], "amiss");
        }
        Script::text(name)
    })
    .await;
    (upstream, amiss)
}

fn service(base: &str, header: &str) -> Value {
    json!({ "base_url": base, "api_keys": {}, "inject": { "header": header, "template": "{token}" } })
}

fn gauge(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

async fn metric(valetkey: &Valetkey, name: &str) -> f64 {
    gauge(&valetkey.admin_get("/metrics").await.text(), name)
}

const WHEN: &str = "valetkey_config_last_reload_success_timestamp_seconds";
const WELL: &str = "valetkey_config_last_reload_successful";

/// Another configuration, which is taken: the metric says so.
async fn reload(valetkey: &Valetkey, config: &Config) {
    let before = metric(valetkey, WHEN).await;
    ask(valetkey, &config.text());
    wait::until("the configuration is in force", || async { (metric(valetkey, WHEN).await > before).then_some(()) })
        .await;
    assert!((metric(valetkey, WELL).await - 1.0).abs() < f64::EPSILON);
}

fn ask(valetkey: &Valetkey, text: &str) {
    let file = valetkey.config_file();
    let beside = file.with_extension("new");
    std::fs::write(&beside, text).expect("written");
    std::fs::rename(&beside, &file).expect("renamed");
    valetkey.reload();
}

async fn put_key(valetkey: &Valetkey, user: &str, service: &str) {
    canary::secret("an API key", KEY);
    let request = valetkey.request(user, Method::PUT, &format!("/connections/{service}/api-key"));
    let body = json!({ "api_key": KEY }).to_string();
    let answer = valetkey.send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// How far the reloads have come, asked for and acknowledged; and how many calls were answered.
#[derive(Default)]
struct Progress {
    asked: AtomicUsize,
    acknowledged: AtomicUsize,
    answered: AtomicUsize,
}

/// Calls between two reloads: more than are in flight at any moment, so that some begin and end there.
const BETWEEN: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_under_load_lose_no_call_and_leave_nothing_old() {
    let (one, amiss_at_one) = upstream("one", "x-key-one", "x-key-two").await;
    let (two, amiss_at_two) = upstream("two", "x-key-two", "x-key-one").await;
    // After an even number of reloads `moving` lies at one, after an odd one at two, and takes its key in another header.
    let written = |config: &Config, number: usize| {
        let at_home = number.is_multiple_of(2);
        let (base, header) = if at_home { (one.url(), "x-key-one") } else { (two.url(), "x-key-two") };
        let config = config.clone().set("services.moving", service(&format!("{base}/moving"), header));
        if at_home { config } else { config.set("services.passing", service(&base, "x-key-steady")) }
    };
    let data = TempDir::new().expect("a folder");
    let config = Alone::config(&data).set("services.steady", service(&one.url(), "x-key-steady"));
    let valetkey = Arc::new(Valetkey::start(&written(&config, 0)).await);
    let users: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
    for user in &users {
        put_key(&valetkey, user, "steady").await;
        put_key(&valetkey, user, "moving").await;
    }

    let (progress, over) = (Arc::new(Progress::default()), Arc::new(AtomicBool::new(false)));
    let load = {
        let (valetkey, progress, over) = (Arc::clone(&valetkey), Arc::clone(&progress), Arc::clone(&over));
        tokio::spawn(async move {
            let (mut calls, mut number) = (JoinSet::new(), 0_usize);
            let mut pace = tokio::time::interval(PACE);
            while !over.load(Ordering::SeqCst) {
                pace.tick().await;
                let service = if number.is_multiple_of(2) { "steady" } else { "moving" };
                let request = valetkey.request(&users[number / 2 % USERS], Method::GET, &format!("/proxy/{service}/x"));
                let progress = Arc::clone(&progress);
                calls.spawn(async move {
                    let acknowledged = progress.acknowledged.load(Ordering::SeqCst);
                    let answer = Answer::read(request.send().await.expect("an answer")).await;
                    let asked = progress.asked.load(Ordering::SeqCst);
                    progress.answered.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(answer.status, 200, "{service}: {}", answer.text());
                    if service == "moving" && acknowledged == asked {
                        let expected = if asked.is_multiple_of(2) { "one" } else { "two" };
                        assert_eq!(answer.text(), expected, "after reload {asked} was acknowledged");
                    }
                });
                number += 1;
                while let Some(done) = calls.try_join_next() {
                    done.expect("no call fails");
                }
            }
            while let Some(done) = calls.join_next().await {
                done.expect("no call fails");
            }
            number
        })
    };

    for number in 1..=RELOADS {
        progress.asked.store(number, Ordering::SeqCst);
        reload(&valetkey, &written(&config, number)).await;
        progress.acknowledged.store(number, Ordering::SeqCst);
        let passing = valetkey.get("user-0", "/proxy/passing/x").await;
        match number % 2 {
            0 => passing.refusal(404, "unknown_service"),
            _ => passing.refusal(401, "auth_required"),
        };
        let answered = || progress.answered.load(Ordering::SeqCst);
        let enough = answered() + BETWEEN;
        wait::until("calls are answered between two reloads", || async {
            (answered() >= enough || load.is_finished()).then_some(())
        })
        .await;
        assert!(!load.is_finished(), "a call failed");
    }
    over.store(true, Ordering::SeqCst);
    let calls = load.await.expect("no call fails");
    assert!(calls > RELOADS * BETWEEN, "{calls} calls are no load");
    assert_eq!(*amiss_at_one.lock().expect("no panic"), Vec::<String>::new());
    assert_eq!(*amiss_at_two.lock().expect("no panic"), Vec::<String>::new());
    assert!(two.received().len() > RELOADS, "calls went there, too");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_as_a_whole_and_shown() {
    let alone = Alone::start(|config| config).await;
    let before = metric(&alone, WHEN).await;
    assert!((metric(&alone, WELL).await - 1.0).abs() < f64::EPSILON, "the start counts");
    let wrong = alone.config.clone().set("application.name", "Changed").set("services.crm.scopes.0", "a b");
    ask(&alone, &wrong.text());
    wait::until("it is refused", || async { (metric(&alone, WELL).await == 0.0).then_some(()) }).await;
    assert!((metric(&alone, WHEN).await - before).abs() < f64::EPSILON);
    let ready = alone.admin_get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")));
    assert!(ready.json()["detail"]["configuration"].as_str().is_some_and(|text| text.contains("refused (1 problem)")));
    let line = wrong.text().lines().position(|line| line.contains("\"a b\"")).expect("it is there") + 1;
    let told = format!("valetkey.yaml:{line}: services.crm.scopes[0]: This is no possible scope");
    assert!(alone.logs().contains(&told), "{told} in {}", alone.logs());
    // The one before serves on.
    alone.get("ada", "/proxy/crm/x").await.refusal(401, "auth_required");

    reload(&alone, &alone.config).await;
    assert_eq!(alone.admin_get("/readyz").await.json(), json!({ "status": "ready", "detail": {} }));
}

#[tokio::test]
async fn what_cannot_change_while_it_runs_is_refused_by_name() {
    let alone = Alone::start(|config| config).await;
    let other = alone
        .config
        .clone()
        .set("store.embedded.path", "elsewhere.redb")
        .set("listeners.0.address", "127.0.0.1:1")
        .set("services.new", service("http://127.0.0.1:9", "x-key"));
    ask(&alone, &other.text());
    wait::until("it is refused", || async { (metric(&alone, WELL).await == 0.0).then_some(()) }).await;
    let logs = alone.logs();
    for key in ["listeners", "store"] {
        assert!(logs.contains(&format!("{key}: This can't change while Valetkey runs")), "{key} in {logs}");
    }
    alone.get("ada", "/proxy/new/x").await.refusal(404, "unknown_service");
}

#[tokio::test]
async fn secrets_in_files_are_read_again() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("admin-token");
    std::fs::write(&file, ADMIN_TOKEN).expect("written");
    let alone =
        Alone::start(|config| config.without("admin").set("admin.token_file", file.display().to_string())).await;
    let erase = async |token: &str| {
        let request = http().delete(format!("{}/admin/users/nobody", alone.admin)).bearer_auth(token);
        Answer::read(request.send().await.expect("an answer")).await.status
    };
    let other = "another-admin-token-of-the-tests-012345";
    canary::secret("another admin token", other);
    let (old_before, new_before) = (erase(ADMIN_TOKEN).await, erase(other).await);
    assert_ne!(old_before, 401);
    assert_eq!(new_before, 401);
    std::fs::write(&file, other).expect("written");
    reload(&alone, &alone.config).await;
    assert_eq!(erase(ADMIN_TOKEN).await, 401);
    assert_eq!(erase(other).await, old_before);
}
