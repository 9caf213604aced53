//! Facts of what a refresh asks of the store: each step is a way there and back that a call waits for.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    rig::{Rig, until},
    sim::provider::Scripted,
};
use crate::oauth::Fault;

/// Too short for the healer to care: only calls renew such tokens.
const SHORT: Duration = Duration::from_secs(50);
/// By then all notices have come and been answered.
const QUIET: Duration = Duration::from_secs(3);
/// Of a refresh: all that the store is asked.
const REFRESH: [&str; 5] = ["lease", "get", "put", "put", "release"];

/// What this process has asked the store since it was last looked, but for what the healer asks on its own.
fn asked(rig: &Rig, process: usize) -> Vec<&'static str> {
    let asked = std::mem::take(&mut *rig.processes[process].gate.asked.lock());
    asked.into_iter().filter(|name| *name != "due").collect()
}

/// A token that has expired, of which this many processes know.
async fn expired(processes: usize) -> Rig {
    let rig = Rig::start(processes, 1, SHORT).await;
    for process in 0..processes {
        rig.resolve(process, 0).await.expect("connected");
    }
    rig.expire().await;
    for process in 0..processes {
        asked(&rig, process);
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_the_store_five_times_and_the_calls_after_it_not_at_all() {
    let rig = expired(1).await;
    let renewed = rig.resolve(0, 0).await.expect("renewed");
    until("the lease is given back", async || rig.processes[0].gate.asked.lock().contains(&"release")).await;
    sleep(QUIET).await;
    let again = rig.resolve(0, 0).await.expect("it is at hand");
    assert_eq!(renewed.generation, again.generation);
    assert_eq!(renewed.generation, rig.record(0).grant.expect("it is stored").generation);
    assert_eq!(asked(&rig, 0), REFRESH);
    // What is held after it is as good as what is read: so is the next refresh.
    rig.expire().await;
    rig.resolve(0, 0).await.expect("renewed");
    sleep(QUIET).await;
    assert_eq!(asked(&rig, 0), REFRESH);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn what_one_process_renewed_is_read_by_another_as_soon_as_it_hears_of_it() {
    let rig = expired(2).await;
    let renewed = rig.resolve(0, 0).await.expect("renewed");
    sleep(QUIET).await;
    assert!(asked(&rig, 1).contains(&"list"));
    assert_eq!(rig.resolve(1, 0).await.expect("it is at hand").generation, renewed.generation);
    assert_eq!(asked(&rig, 1), Vec::<&str>::new());
    assert_eq!(rig.asked(), 1);
    rig.assert_nothing_spent_twice();
}

#[tokio::test(start_paused = true)]
async fn after_a_refresh_that_failed_the_store_is_read_again() {
    let rig = expired(1).await;
    rig.script([Scripted::Fault(Fault::Timeout)]);
    rig.resolve(0, 0).await.expect_err("nobody answers");
    sleep(QUIET).await;
    assert!(asked(&rig, 0).contains(&"list"), "what came of it was written, and that is news");
    rig.resolve(0, 0).await.expect("renewed");
    rig.assert_nothing_spent_twice();
}
