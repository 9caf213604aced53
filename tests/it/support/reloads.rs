//! Calls that never rest while one configuration takes the place of another, and what the metrics tell of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use super::{Alone, Answer, Config, Script, Upstream, Valetkey, canary, wait};

const KEY: &str = "an-api-key-of-the-reloading-tests";
/// How many people call.
const USERS: usize = 8;
/// Calls between two reloads: more than are in flight at any moment, so that some begin and end there.
const BETWEEN: usize = 40;

/// When the configuration in force was loaded.
pub(crate) const WHEN: &str = "valetkey_config_last_reload_success_timestamp_seconds";
/// Whether the last attempt to load one succeeded.
pub(crate) const WELL: &str = "valetkey_config_last_reload_successful";

/// What a gauge says now.
pub(crate) async fn metric(valetkey: &Valetkey, name: &str) -> f64 {
    let metrics = valetkey.admin_get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

/// Does something by which another configuration is taken, and waits until the metrics say so.
pub(crate) async fn taken(valetkey: &Valetkey, change: impl FnOnce()) {
    let before = metric(valetkey, WHEN).await;
    change();
    wait::until("the configuration is in force", || async { (metric(valetkey, WHEN).await > before).then_some(()) })
        .await;
    assert!((metric(valetkey, WELL).await - 1.0).abs() < f64::EPSILON);
}

/// Does something by which another configuration is refused, and waits until the metrics say so.
pub(crate) async fn refused(valetkey: &Valetkey, change: impl FnOnce()) {
    let before = metric(valetkey, WHEN).await;
    change();
    wait::until("it is refused", || async { (metric(valetkey, WELL).await == 0.0).then_some(()) }).await;
    assert!((metric(valetkey, WHEN).await - before).abs() < f64::EPSILON, "the one before is still in force");
}

/// A service that takes API keys, in this header.
pub(crate) fn service(base: &str, header: &str) -> Value {
    json!({ "base_url": base, "api_keys": {}, "inject": { "header": header, "template": "{token}" } })
}

/// An upstream with a name, which takes the key in one header only; what it was sent amiss is written down.
async fn upstream(
    name: &'static str,
    header: &'static str,
    other: &'static str,
    amiss: &Arc<Mutex<Vec<String>>>,
) -> Upstream {
    let amiss = Arc::clone(amiss);
    Upstream::start(move |request| {
        let expected = if request.target().starts_with("/moving") { header } else { "x-key-steady" };
        let right = request.all(expected) == [KEY] && request.all(other).is_empty();
        if !right {
            amiss.lock().expect("no panic in here").push(format!("{name}: {}", request.head));
            return Script::answer(500, &[], "amiss");
        }
        Script::text(name)
    })
    .await
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
    over: AtomicBool,
}

/// Calls under way, of which none may fail. The service `steady` is always the same. `moving` lies at one upstream after an
/// even number of reloads, at another after an odd one, and takes its key in another header there; `passing` is there after an
/// odd number only.
pub(crate) struct Traffic {
    pub(crate) valetkey: Arc<Valetkey>,
    one: Upstream,
    two: Upstream,
    amiss: Arc<Mutex<Vec<String>>>,
    config: Config,
    progress: Arc<Progress>,
    load: JoinHandle<usize>,
    _data: TempDir,
}

impl Traffic {
    /// Begins, with a call every `pace`. `prepare` is shown Valetkey and its configuration before it runs.
    pub(crate) async fn start(pace: Duration, prepare: impl FnOnce(&Valetkey, &Config)) -> Self {
        let amiss = Arc::default();
        let one = upstream("one", "x-key-one", "x-key-two", &amiss).await;
        let two = upstream("two", "x-key-two", "x-key-one", &amiss).await;
        let data = TempDir::new().expect("a folder");
        let config = Alone::config(&data).set("services.steady", service(&one.url(), "x-key-steady"));
        let first = written(&config, 0, &one, &two);
        let mut valetkey = Valetkey::prepare(&first);
        prepare(&valetkey, &first);
        valetkey.run().await;
        valetkey.ready().await;
        let (valetkey, progress) = (Arc::new(valetkey), Arc::<Progress>::default());
        let users: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
        for user in &users {
            put_key(&valetkey, user, "steady").await;
            put_key(&valetkey, user, "moving").await;
        }
        let load = tokio::spawn(calls(Arc::clone(&valetkey), Arc::clone(&progress), users, pace));
        Self { valetkey, one, two, amiss, config, progress, load, _data: data }
    }

    /// The configuration after so many reloads.
    pub(crate) fn written(&self, number: usize) -> Config {
        written(&self.config, number, &self.one, &self.two)
    }

    /// Reload `number`, brought about by `change`; and calls go on until some have begun and ended by it.
    pub(crate) async fn reload(&self, number: usize, change: impl FnOnce(&Valetkey, &Config)) {
        let (valetkey, config) = (&*self.valetkey, self.written(number));
        self.progress.asked.store(number, Ordering::SeqCst);
        taken(valetkey, || change(valetkey, &config)).await;
        self.progress.acknowledged.store(number, Ordering::SeqCst);
        let passing = valetkey.get("user-0", "/proxy/passing/x").await;
        match number % 2 {
            0 => passing.refusal(404, "unknown_service"),
            _ => passing.refusal(401, "auth_required"),
        };
        self.some_more().await;
    }

    /// Waits until some more calls have been answered.
    pub(crate) async fn some_more(&self) {
        let answered = || self.progress.answered.load(Ordering::SeqCst);
        let enough = answered() + BETWEEN;
        wait::until("calls are answered between two reloads", || async {
            (answered() >= enough || self.load.is_finished()).then_some(())
        })
        .await;
        assert!(!self.load.is_finished(), "a call failed");
    }

    /// Ends after so many reloads. No call failed, and none went where it should not, or with what it should not.
    pub(crate) async fn end(self, reloads: usize) {
        self.progress.over.store(true, Ordering::SeqCst);
        let calls = self.load.await.expect("no call fails");
        assert!(calls > reloads * BETWEEN, "{calls} calls are no load");
        assert_eq!(*self.amiss.lock().expect("no panic"), Vec::<String>::new());
        assert!(self.two.received().len() > reloads, "calls went there, too");
    }
}

fn written(config: &Config, number: usize, one: &Upstream, two: &Upstream) -> Config {
    let at_home = number.is_multiple_of(2);
    let (base, header) = if at_home { (one.url(), "x-key-one") } else { (two.url(), "x-key-two") };
    let config = config.clone().set("services.moving", service(&format!("{base}/moving"), header));
    if at_home { config } else { config.set("services.passing", service(&base, "x-key-steady")) }
}

async fn calls(valetkey: Arc<Valetkey>, progress: Arc<Progress>, users: Vec<String>, pace: Duration) -> usize {
    let (mut calls, mut number) = (JoinSet::new(), 0_usize);
    let mut pace = tokio::time::interval(pace);
    while !progress.over.load(Ordering::SeqCst) {
        pace.tick().await;
        let service = if number.is_multiple_of(2) { "steady" } else { "moving" };
        let request = valetkey.request(&users[number / 2 % users.len()], Method::GET, &format!("/proxy/{service}/x"));
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
}
