//! Calls at a steady pace, of which none may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::support::authorization_server::http;
use crate::support::load::lasting_jwt;
use crate::support::{Answer, wait};

/// Every so many-th call has a connection of its own.
const ALONE: usize = 4;
/// How many calls are in flight at most: a machine that can't keep the pace makes fewer.
const AT_ONCE: usize = 200;
/// How many are enough to see that all is well.
const SOME: usize = 500;

/// What came of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) calls: usize,
    pub(super) a_second: usize,
    pub(super) longest: Duration,
    pub(super) failed: Vec<String>,
}

/// Calls under way.
pub(super) struct Calls {
    answered: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    load: JoinHandle<Tally>,
}

impl Calls {
    /// A call every `pace`, by each of these people in turn.
    pub(super) fn start(url: &str, users: &[String], pace: Duration) -> Self {
        let (answered, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let users = users.iter().map(|user| (user.clone(), lasting_jwt(user))).collect();
        let load = tokio::spawn(go_on(
            format!("{url}/proxy/crm/whoami"),
            users,
            pace,
            Arc::clone(&answered),
            Arc::clone(&over),
        ));
        Self { answered, over, load }
    }

    /// Waits until some more have been answered.
    pub(super) async fn some_more(&self) {
        let enough = self.answered.load(SeqCst) + SOME;
        wait::until("calls are answered", || async { (self.answered.load(SeqCst) >= enough).then_some(()) }).await;
    }

    /// Ends, once those in flight are answered.
    pub(super) async fn end(self) -> Tally {
        self.over.store(true, SeqCst);
        self.load.await.expect("no panic")
    }
}

async fn go_on(
    url: String,
    users: Vec<(String, String)>,
    pace: Duration,
    answered: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
) -> Tally {
    let (client, began) = (http(), Instant::now());
    let (mut tally, mut calls) = (Tally::default(), JoinSet::new());
    let mut pace = tokio::time::interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !over.load(SeqCst) {
        pace.tick().await;
        if calls.len() >= AT_ONCE {
            tally.note(calls.join_next().await.expect("there are some").expect("no panic"));
        }
        let (user, jwt) = users[tally.calls % users.len()].clone();
        let mut request = client.get(&url).bearer_auth(jwt);
        if tally.calls.is_multiple_of(ALONE) {
            request = request.header("connection", "close");
        }
        tally.calls += 1;
        let answered = Arc::clone(&answered);
        calls.spawn(async move {
            let began = Instant::now();
            let wrong = call(request, &user).await.err();
            answered.fetch_add(1, SeqCst);
            (began.elapsed(), wrong.map(|wrong| format!("{user}: {wrong}")))
        });
        while let Some(done) = calls.try_join_next() {
            tally.note(done.expect("no panic"));
        }
    }
    while let Some(done) = calls.join_next().await {
        tally.note(done.expect("no panic"));
    }
    tally.a_second = tally.calls / usize::try_from(began.elapsed().as_secs()).unwrap_or(1).max(1);
    tally
}

impl Tally {
    fn note(&mut self, (took, wrong): (Duration, Option<String>)) {
        self.longest = self.longest.max(took);
        self.failed.extend(wrong);
    }
}

/// A call that the upstream must serve as this user's.
async fn call(request: reqwest::RequestBuilder, user: &str) -> Result<(), String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.map_err(|error| format!("{error:?}"))?.to_vec();
    let answer = Answer { status, headers, body };
    if status != 200 || answer.header("valetkey-status").is_some() || answer.json()["sub"] != user {
        return Err(format!("{status} {}", answer.text()));
    }
    Ok(())
}
