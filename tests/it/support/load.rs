//! Callers that never rest: each calls as one user, again and again, and writes down what came of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use super::authorization_server::http;
use super::{Answer, jwt};

/// What came of the calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// All calls that ended.
    pub(crate) calls: AtomicU64,
    /// Those that the upstream served.
    pub(crate) served: AtomicU64,
    /// Those whose connection broke, or could not be made: their Valetkey was dead.
    pub(crate) cut: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    /// Calls that were answered with something else than the upstream's answer or `auth_required`, by what it was.
    pub(crate) fn failed(&self) -> BTreeMap<String, u64> {
        self.failed.lock().expect("no panic in here").clone()
    }

    /// How many of them, whatever it was.
    pub(crate) fn failures(&self) -> u64 {
        self.failed().values().sum()
    }
}

/// One user of the load.
#[derive(Debug, Default)]
struct Person {
    name: String,
    /// They were told to connect again; their calls rest until [`Load::resume`].
    asked: Mutex<Option<Asked>>,
    turn: AtomicUsize,
}

/// `auth_required`, as a caller met it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Who.
    pub(crate) user: String,
    /// The reason that it gave.
    pub(crate) reason: String,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
}

/// Callers at work; they end when this is dropped.
pub(crate) struct Load {
    people: Vec<Arc<Person>>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
    tally: Arc<Tally>,
}

impl Load {
    /// `at_once` callers a user, who go round the `targets` (base URLs).
    pub(crate) fn start(users: &[String], at_once: usize, targets: &[String]) -> Self {
        Self::rounds(users, at_once, &[targets])
    }

    /// `at_once` callers a user at each of the `targets`: one that hangs holds up its own callers alone.
    pub(crate) fn at_each(users: &[String], at_once: usize, targets: &[String]) -> Self {
        Self::rounds(users, at_once, &targets.chunks(1).collect::<Vec<_>>())
    }

    fn rounds(users: &[String], at_once: usize, rounds: &[&[String]]) -> Self {
        let people: Vec<_> =
            users.iter().map(|name| Arc::new(Person { name: name.clone(), ..Person::default() })).collect();
        let mut load =
            Self { people, stop: Arc::default(), workers: JoinSet::new(), tally: Arc::new(Tally::default()) };
        let client = http();
        for person in &load.people {
            for targets in rounds.iter().flat_map(|round| std::iter::repeat_n(round, at_once)) {
                let urls = targets.iter().map(|target| format!("{target}/proxy/crm/whoami")).collect();
                let (person, stop, tally) = (person.clone(), load.stop.clone(), load.tally.clone());
                load.workers.spawn(work(client.clone(), person, urls, stop, tally));
            }
        }
        load
    }

    /// Who was told to connect again.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.people.iter().filter_map(|person| person.asked.lock().expect("no panic in here").clone()).collect()
    }

    /// Their calls go on.
    pub(crate) fn resume(&self, user: &str) {
        for person in self.people.iter().filter(|person| person.name == user) {
            *person.asked.lock().expect("no panic in here") = None;
        }
    }

    /// Lets calls under way end and starts no more.
    pub(crate) async fn stop(mut self) -> Arc<Tally> {
        self.stop.store(true, SeqCst);
        while let Some(ended) = self.workers.join_next().await {
            ended.expect("no caller met what must never be");
        }
        self.tally.clone()
    }
}

async fn work(
    client: reqwest::Client,
    person: Arc<Person>,
    urls: Vec<String>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
) {
    let token = lasting_jwt(&person.name);
    while !stop.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(15)).await;
        if person.asked.lock().expect("no panic in here").is_some() {
            continue;
        }
        let url = &urls[person.turn.fetch_add(1, SeqCst) % urls.len()];
        let response = client.get(url).bearer_auth(&token).send().await;
        tally.calls.fetch_add(1, SeqCst);
        let answer = match response {
            Ok(response) => (response.status().as_u16(), response.headers().clone(), response.bytes().await),
            Err(_) => {
                tally.cut.fetch_add(1, SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (status, headers, Ok(body)) = answer else {
            tally.cut.fetch_add(1, SeqCst);
            continue;
        };
        let answer = Answer { status, headers, body: body.to_vec() };
        match (status, answer.header("valetkey-status")) {
            (200, None) => {
                assert_eq!(answer.json()["sub"], person.name, "another user's token was used");
                tally.served.fetch_add(1, SeqCst);
            }
            (401, Some("auth_required")) => {
                let reason = answer.json()["reason"].as_str().unwrap_or_default().to_owned();
                let mut asked = person.asked.lock().expect("no panic in here");
                asked.get_or_insert(Asked { user: person.name.clone(), reason, at: now_millis() });
            }
            (status, said) => {
                let what = said.map_or_else(|| format!("upstream's {status}"), str::to_owned);
                *tally.failed.lock().expect("no panic in here").entry(what).or_default() += 1;
            }
        }
    }
}

/// A JWT for `user` that is valid whatever the hour on a replica's clock.
pub(crate) fn lasting_jwt(user: &str) -> String {
    let mut claims = jwt::claims(user);
    claims["iat"] = Value::from(jwt::now() - 86_400);
    claims["exp"] = Value::from(jwt::now() + 86_400);
    jwt::hs256(&claims)
}

/// Milliseconds since 1970, by the clock that the authorization server writes its log by.
#[expect(clippy::disallowed_methods, reason = "compared with times that another process wrote down")]
pub(crate) fn now_millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the sun dies")
}
