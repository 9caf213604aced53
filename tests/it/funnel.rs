//! The funnel and the failures, as operators ask for them: exact over replicas, whatever befalls these.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinSet;

use crate::support::attempts::{End, Person, Step, TokenEndpoint, client};
use crate::support::config::ADMIN_TOKEN;
use crate::support::redis::{Outage, Redis};
use crate::support::redis_groups::Watched;
use crate::support::rig::with_redis;
use crate::support::{Alone, Answer, Config, Rig, Store, Valetkey, ports, valetkey, wait};

/// What an operator is answered at an admin listener.
pub(crate) async fn asked(admin: &str, path: &str) -> Answer {
    let request = client().get(format!("{admin}/admin/{path}")).bearer_auth(ADMIN_TOKEN);
    Answer::read(request.send().await.expect("an answer")).await
}

fn stages(report: &Value) -> [u64; 6] {
    ["offered", "opened", "initiated", "authorized", "completed", "failed"]
        .map(|stage| report[stage].as_u64().unwrap_or_else(|| panic!("no {stage}: {report}")))
}

fn errors(report: &Value) -> Vec<(String, u64)> {
    let all = report["errors"].as_array().expect("a list");
    let mut all: Vec<_> = all
        .iter()
        .map(|error| (error["error"].as_str().expect("a text").to_owned(), error["count"].as_u64().expect("a number")))
        .collect();
    all.sort();
    all
}

/// How many events of this type the log has.
async fn logged(admin: &str, kind: &str) -> u64 {
    let request = client().get(format!("{admin}/admin/audit?type={kind}")).bearer_auth(ADMIN_TOKEN);
    let answer = request.header("accept", "application/x-ndjson").send().await.expect("an answer");
    answer.text().await.expect("text").lines().count() as u64
}

/// Waits until the funnel has these stages.
async fn until_counted(admin: &str, expected: [u64; 6]) -> Value {
    wait::until(&format!("the funnel has {expected:?}"), || async {
        let report = asked(admin, "funnel?service=crm").await.own();
        (stages(&report) == expected).then_some(report)
    })
    .await
}

#[tokio::test]
async fn a_few_attempts_are_told_with_their_ends_and_what_they_mean() {
    let tokens = TokenEndpoint::start().await;
    let rig = Rig::with(Store::Redis, |config, _| tokens.service(config)).await;
    for (user, end) in [
        ("ada", End::Completed),
        ("bob", End::Refused),
        ("eve", End::Refused),
        ("joe", End::Denied),
        ("sue", End::Looked),
    ] {
        Person::new(&client(), user).walk(&rig.url, end).await;
    }
    let report = until_counted(&rig.admin, [5, 5, 4, 3, 1, 3]).await;
    assert_eq!(
        (&report["service"], &report["days"], &report["conversion_rate"]),
        (&json!("crm"), &json!(7), &json!(25.0))
    );
    assert_eq!(errors(&report), [("denied".to_owned(), 1), ("exchange_refused:invalid_grant".to_owned(), 2)]);
    assert!(report["median_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0 && seconds < 20.0), "{report}");
    assert_eq!(report["browsers"], json!([{ "browser": "firefox", "opened": 5, "initiated": 4, "completed": 1 }]));
    let insights = report["insights"].to_string();
    assert!(insights.contains("exchange_refused:invalid_grant") && insights.contains("1 of 4"), "{insights}");

    let all = asked(&rig.admin, "funnel?days=1").await.own();
    let services: Vec<_> = all["services"].as_array().expect("a list").iter().map(|one| &one["service"]).collect();
    assert_eq!(services, ["calendar", "crm"]);
    asked(&rig.admin, "funnel?service=nonsense").await.refusal(404, "unknown_service");
    for bad in ["funnel?days=0", "funnel?days=401", "funnel?days=x", "failures?hours=0", "failures?hours=-1"] {
        asked(&rig.admin, bad).await.refusal(400, "bad_request");
    }
    for path in ["/admin/funnel", "/admin/failures"] {
        rig.admin_get(path).await.refusal(401, "unauthenticated");
    }

    let failures = wait::until("the failures are stored", || async {
        let all = asked(&rig.admin, "failures?hours=24").await.own()["failures"].clone();
        (all.as_array().expect("a list").len() == 2).then_some(all)
    })
    .await;
    let first = &failures[0];
    assert_eq!(
        (&first["service"], &first["error"], &first["count"], &first["alerted"]),
        (&json!("crm"), &json!("exchange_refused:invalid_grant"), &json!(2), &json!(false))
    );
    let request = first["request_id"].as_str().expect("a request");
    assert!(rig.logs().contains(request), "the log has its line");
    assert!(first["first_at"].as_str() <= first["last_at"].as_str(), "{first}");

    let config = rig.config_file().display().to_string();
    let run = |arguments: &[&str]| {
        let output = valetkey::run(&[&["report"], arguments, &["--config", &config]].concat());
        assert!(output.status.success(), "{}", valetkey::printed(&output));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let printed: Value = serde_json::from_str(&run(&["funnel", "--service", "crm", "--json"])).expect("JSON");
    assert_eq!(printed, report);
    let printed: Value = serde_json::from_str(&run(&["failures", "--json"])).expect("JSON");
    assert_eq!(printed["failures"], failures);
    let drawn = run(&["funnel", "--days", "7"]);
    for words in ["CRM (crm)", "initiated        4", "█", "25 % of those", "denied", "! "] {
        assert!(drawn.contains(words), "{words}: {drawn}");
    }
    assert!(run(&["failures", "--hours", "1"]).contains("exchange_refused:invalid_grant"));
    let wrong = valetkey::run(&["report", "funnel", "--service", "nonsense", "--config", &config]);
    assert_eq!(wrong.status.code(), Some(2));
    rig.assert_logs_are_clean();
}

#[tokio::test]
async fn links_that_were_just_given_out_are_counted_when_the_process_ends() {
    let mut alone = Alone::start(|config| config).await;
    for number in 0..30 {
        alone.get(&format!("user-{number}"), "/proxy/crm/x").await.auth_required("crm", "not_connected");
    }
    alone.valetkey.terminate();
    assert!(alone.valetkey.process().exit().await.success());
    alone.valetkey.run().await;
    alone.valetkey.ready().await;
    let report = asked(&alone.admin, "funnel?service=crm").await.own();
    assert_eq!(stages(&report), [30, 0, 0, 0, 0, 0]);
    assert!(report["insights"].to_string().contains("nobody opened"), "{report}");
}

/// What was driven, as far as it was acknowledged.
#[derive(Default)]
struct Driven {
    stages: [u64; 6],
    denied: u64,
    refused: u64,
    /// Completed or not, nobody was told: the answer was lost.
    unsure: u64,
    /// Answers at the callback that told to come again, while the store was away: some of them ended the attempt.
    held_up: u64,
}

/// Three replicas, and which of them is told nothing new for now.
struct Fleet {
    replicas: Vec<String>,
    spared: AtomicUsize,
    /// Held by whoever asks for a link; who has it alone knows that nobody does.
    offers: RwLock<()>,
    next: AtomicUsize,
}

impl Fleet {
    /// Whom the balancer names next.
    fn any(&self) -> &str {
        &self.replicas[self.next.fetch_add(1, Ordering::Relaxed) % self.replicas.len()]
    }

    /// The same, but never the one that is spared.
    fn sparing(&self) -> &str {
        let spared = self.spared.load(Ordering::SeqCst);
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed) % self.replicas.len();
            if at != spared {
                return &self.replicas[at];
            }
        }
    }
}

/// A step until it is answered, at one replica after the other.
macro_rules! insist {
    ($step:expr) => {
        loop {
            match $step {
                Step::Again => tokio::time::sleep(Duration::from_millis(20)).await,
                other => break other,
            }
        }
    };
}

/// One person's attempt, until it is acknowledged.
async fn drive(fleet: &Fleet, http: &reqwest::Client, number: usize, end: Option<End>, driven: &Mutex<Driven>) {
    let mut person = Person::new(http, &format!("user-{number}"));
    let link = {
        let _offer = fleet.offers.read().await;
        let Step::Done(link) = insist!(person.offered(fleet.sparing()).await) else { panic!("no link") };
        driven.lock().await.stages[0] += 1;
        link
    };
    let Some(end) = end else { return };
    let (mut opened, mut initiated, mut lost) = (false, false, false);
    loop {
        let form = match insist!(person.opened(fleet.any(), &link).await) {
            Step::Done(form) => form,
            // Its grant is stored, and the answer that said so was lost.
            Step::Other(400) if lost && end == End::Completed => {
                driven.lock().await.unsure += 1;
                return;
            }
            other => panic!("{end:?}: {other:?}"),
        };
        if !std::mem::replace(&mut opened, true) {
            driven.lock().await.stages[1] += 1;
        }
        if end == End::Looked {
            return;
        }
        let Step::Done(state) = insist!(person.initiated(fleet.any(), &form).await) else { panic!("not sent off") };
        if !std::mem::replace(&mut initiated, true) {
            driven.lock().await.stages[2] += 1;
        }
        if end == End::Left {
            return;
        }
        let back = loop {
            match person.back(fleet.any(), &state, end.answer()).await {
                Step::Again => {
                    driven.lock().await.held_up += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => break other,
            }
        };
        match back {
            Step::Done(status) if status == end.status() => break,
            // The state was spent by a try whose answer was lost: the person begins again with the same link.
            Step::Done(400 | 502) => lost = true,
            other => panic!("{end:?}: {other:?}"),
        }
    }
    let mut driven = driven.lock().await;
    match end {
        End::Completed => {
            driven.stages[3] += 1;
            driven.stages[4] += 1;
        }
        End::Refused => {
            driven.stages[3] += 1;
            driven.stages[5] += 1;
            driven.refused += 1;
        }
        End::Denied => {
            driven.stages[5] += 1;
            driven.denied += 1;
        }
        End::Looked | End::Left => {}
    }
}

/// `FUNNEL_ATTEMPTS=10000` drives so many.
#[expect(clippy::disallowed_methods, reason = "asks whoever runs the tests")]
fn how_many() -> usize {
    std::env::var("FUNNEL_ATTEMPTS").ok().map_or(600, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_driven_on_three_replicas_with_a_kill_and_a_store_that_dies_is_counted_exactly() {
    let mut redis = Redis::start().await;
    redis.keep().await;
    let store = with_redis(Config::new(0, 0), &redis).get("store.redis").clone();
    is_counted_exactly(store, async || {
        redis.strike(Outage::Killed).await;
        redis.mend(Outage::Killed).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_driven_on_three_replicas_with_a_kill_and_a_failover_is_counted_exactly() {
    let mut watched = Watched::start().await;
    is_counted_exactly(watched.config(), async || watched.fail_over().await).await;
}

/// Drives attempts on three replicas that share this store, kills a replica in the middle, and then has something happen to the store.
async fn is_counted_exactly(store: Value, befalls: impl AsyncFnOnce()) {
    let (attempts, tokens) = (how_many(), TokenEndpoint::start().await);
    let config = tokens.service(Config::new(ports::free_port(), ports::free_port())).set("store.redis", store);
    let address = || format!("127.0.0.1:{}", ports::free_port());
    let other = || config.clone().set("listeners.0.address", address()).set("listeners.1.address", address());
    let mut fleet_of = vec![Valetkey::start(&config).await];
    for _ in 0..2 {
        fleet_of.push(Valetkey::start(&other()).await);
    }
    let fleet = Arc::new(Fleet {
        replicas: fleet_of.iter().map(|replica| replica.url.clone()).collect(),
        spared: AtomicUsize::new(usize::MAX),
        offers: RwLock::default(),
        next: AtomicUsize::new(0),
    });
    let driven = Arc::new(Mutex::new(Driven::default()));
    let (begun, http) = (Arc::new(AtomicUsize::new(0)), client());
    let mut workers = JoinSet::new();
    for _ in 0..16 {
        let (fleet, driven, begun, http) = (Arc::clone(&fleet), Arc::clone(&driven), Arc::clone(&begun), http.clone());
        workers.spawn(async move {
            loop {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                if number >= attempts {
                    return;
                }
                let end = match number % 10 {
                    0..=3 => Some(End::Completed),
                    4 | 5 => Some(End::Denied),
                    6 => Some(End::Refused),
                    7 => Some(End::Looked),
                    8 => Some(End::Left),
                    _ => None,
                };
                drive(&fleet, &http, number, end, &driven).await;
            }
        });
    }
    let reached = async |share: usize| {
        let started = Instant::now();
        while begun.load(Ordering::SeqCst) < attempts * share / 100 {
            assert!(started.elapsed() < Duration::from_secs(1800), "the drivers stand still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // A kill in the middle of everything: but the links that this one gave out have been counted before, and it gives out no more.
    reached(30).await;
    {
        let _nobody_offers = fleet.offers.write().await;
        let offered = driven.lock().await.stages[0];
        wait::until("all links are counted", || async {
            let report = asked(&fleet_of[0].admin, "funnel?service=crm&days=2").await.own();
            (stages(&report)[0] == offered).then_some(())
        })
        .await;
        fleet.spared.store(1, Ordering::SeqCst);
    }
    reached(32).await;
    fleet_of[1].kill();
    fleet_of[1].run().await;
    fleet.spared.store(usize::MAX, Ordering::SeqCst);
    reached(60).await;
    befalls().await;
    while let Some(done) = workers.join_next().await {
        done.expect("a driver panicked");
    }

    let driven = driven.lock().await;
    assert_eq!(driven.stages[0], attempts as u64);
    assert!(driven.unsure <= 16, "{} answers were lost", driven.unsure);
    for replica in &fleet_of {
        let started = Instant::now();
        loop {
            let report = asked(&replica.admin, "funnel?service=crm&days=2").await.own();
            let mut ends = errors(&report);
            let at = ends.iter().position(|(error, _)| error == "not_stored");
            let not_stored = at.map_or(0, |at| ends.remove(at).1);
            let found = stages(&report);
            // What was acknowledged is there, and nothing that wasn't but for what nobody was told.
            let may_be = [0, 0, 0, driven.unsure, driven.unsure, not_stored];
            let exact = (0..6)
                .all(|stage| (driven.stages[stage]..=driven.stages[stage] + may_be[stage]).contains(&found[stage]));
            let expected =
                [("denied".to_owned(), driven.denied), ("exchange_refused:invalid_grant".to_owned(), driven.refused)];
            if exact && ends == expected && not_stored <= driven.held_up {
                break;
            }
            let told = format!("{found:?} {ends:?}, driven {:?} with {may_be:?}, {expected:?}", driven.stages);
            assert!(started.elapsed() < wait::DEADLINE, "{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // The log has an entry of each grant that came in, no more and no less.
    let connected = logged(&fleet_of[0].admin, "connected").await;
    let (least, most) = (driven.stages[4], driven.stages[4] + driven.unsure);
    assert!((least..=most).contains(&connected), "{connected} entries of {least} to {most} grants");
    // What was just given out is counted by the one that ends.
    for number in 0..20 {
        Person::new(&http, &format!("late-{number}")).offered(&fleet_of[2].url).await;
    }
    fleet_of[2].terminate();
    assert!(fleet_of[2].process().exit().await.success());
    let report = asked(&fleet_of[0].admin, "funnel?service=crm").await.own();
    assert_eq!(stages(&report)[0], attempts as u64 + 20);
}
