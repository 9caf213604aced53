//! A deterministic simulation: several processes over one store and one provider, with delays, lost answers, kills,
//! freezes, partitions, outages and failovers drawn from a seed, in virtual time. What must never happen is judged by
//! the provider (a token spent twice), by each call (a refusal without cause) and at the end (a grant lost, a connection
//! risen from the dead). Each [`Mix`] of events is explored by a test of its own. A failing seed is printed; `VALETKEY_SEED`
//! runs it alone, with its steps, in the test that is chosen; `VALETKEY_FIRST` and `VALETKEY_RUNS` choose others.

mod confirming;
pub(super) mod gate;
pub(super) mod journal;
mod mix;
mod moving;
mod parting;
pub(super) mod provider;
mod scenario;
pub(super) mod store;
pub(super) mod world;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use journal::{Counts, Journal};
use mix::Mix;

/// After so many runs a long exploration says how far it is.
const PROGRESS: u64 = 5000;

/// By its own clock a run takes minutes, and never this long.
const HORIZON: Duration = Duration::from_secs(24 * 3600);

struct Outcome {
    hash: u64,
    counts: Counts,
    violations: Vec<String>,
    lines: Vec<String>,
}

fn simulate(mix: Mix, seed: u64, verbose: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let journal = Arc::new(Journal::new(seed, verbose).bounded());
        tokio::select! {
            biased;
            () = journal.endless() => {}
            done = tokio::time::timeout(HORIZON, scenario::run(&journal, mix)) => {
                if done.is_err() {
                    journal.violated("it never comes to its end".into());
                }
            }
        }
        Outcome {
            hash: journal.hash(),
            counts: journal.counts(),
            violations: journal.violations(),
            lines: journal.lines(),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a failing seed is run again by name, from the command line")]
fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn explore(mix: Mix, runs: u64, first: u64) -> Explored {
    if let Some(seed) = from_environment("VALETKEY_SEED") {
        let outcome = simulate(mix, seed, true);
        println!("{}\n{:?}", outcome.lines.join("\n"), outcome.counts);
        assert!(outcome.violations.is_empty(), "seed {seed}: {:#?}", outcome.violations);
        return Explored { first: seed, runs: 1, different: 1, counts: outcome.counts };
    }
    let runs = from_environment("VALETKEY_RUNS").unwrap_or(runs);
    let first = from_environment("VALETKEY_FIRST").unwrap_or(first);
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let (seen, total, failed) = (Mutex::new(HashSet::new()), Mutex::new(Counts::default()), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        return;
                    }
                    let outcome = simulate(mix, seed, false);
                    seen.lock().insert(outcome.hash);
                    total.lock().add(&outcome.counts);
                    if !outcome.violations.is_empty() {
                        eprintln!("VALETKEY_SEED={seed} {:?}", outcome.violations);
                        failed.lock().push(seed);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(PROGRESS) {
                        let (seen, failed) = (seen.lock().len(), failed.lock().len());
                        eprintln!("{done} of {runs} runs done, {seen} different interleavings, {failed} failed so far");
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner();
    failed.sort_unstable();
    println!("seeds {first} to {}: {} different interleavings", first + runs - 1, seen.lock().len());
    println!("{:?}", total.lock());
    assert!(failed.is_empty(), "{} of {runs} runs failed; the first seed is {}", failed.len(), failed[0]);
    Explored { first, runs, different: seen.into_inner().len(), counts: total.into_inner() }
}

/// What was tried, and nothing failed.
struct Explored {
    first: u64,
    runs: u64,
    different: usize,
    counts: Counts,
}

impl Explored {
    /// Leaves a line of the table for scripts/reliability-table.mjs, where that wants one.
    fn report(&self, name: &str, began: std::time::Instant) {
        let Some(folder) = std::env::var_os("VALETKEY_CHAOS_ROWS").map(std::path::PathBuf::from) else { return };
        let counts = &self.counts;
        let note = format!(
            "{} different interleavings of {} runs; double refreshes 0, but for {} whose answer, lease or intent was lost with the one who knew",
            self.different, self.runs, counts.inherent
        );
        let row = serde_json::json!({
            "name": name, "faults": counts.kills + counts.stops + counts.cuts + counts.outages, "calls": counts.calls,
            "cut": 0, "failed": 0, "steady_calls": 0, "steady_failed": 0, "rotations": counts.refreshes,
            "lost_on_the_way": counts.lost_inherent, "lost_otherwise": 0, "note": note,
            "seed": format!("{} to {}", self.first, self.first + self.runs - 1), "seconds": began.elapsed().as_secs(),
        });
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.json")), row.to_string()).expect("written");
    }
}

#[test]
fn no_interleaving_of_faults_spends_a_token_twice_or_loses_a_grant() {
    explore(Mix::Ordinary, 1000, 1);
}

#[test]
#[ignore = "long: make chaos"]
fn a_hundred_thousand_interleavings_lose_no_grant() {
    let began = std::time::Instant::now();
    explore(Mix::Ordinary, 100_000, 1_000_000).report("interleavings", began);
}

#[test]
fn a_process_that_stops_in_order_loses_nothing() {
    explore(Mix::Drains, 300, 700);
}

#[test]
#[ignore = "long: make chaos"]
fn a_hundred_thousand_interleavings_with_drains_lose_no_grant() {
    let began = std::time::Instant::now();
    explore(Mix::Drains, 100_000, 2_000_000).report("interleavings-drains", began);
}

#[test]
fn an_import_beside_replicas_renews_nothing_and_loses_nothing() {
    explore(Mix::Imports, 300, 1);
}

#[test]
#[ignore = "long: make chaos"]
fn a_hundred_thousand_interleavings_with_imports_lose_no_grant() {
    let began = std::time::Instant::now();
    explore(Mix::Imports, 100_000, 3_000_000).report("interleavings-imports", began);
}

#[test]
fn renames_and_faults_leave_one_connection_with_one_grant() {
    explore(Mix::Renames, 100, 200);
}

#[test]
#[ignore = "long: make chaos"]
fn a_hundred_thousand_interleavings_with_renames_lose_no_grant() {
    let began = std::time::Instant::now();
    explore(Mix::Renames, 100_000, 4_000_000).report("interleavings-renames", began);
}

#[test]
fn what_is_let_go_takes_nothing_along_that_is_in_use() {
    explore(Mix::Partings, 300, 1);
}

#[test]
#[ignore = "long: make chaos"]
fn a_hundred_thousand_interleavings_with_partings_lose_no_grant() {
    let began = std::time::Instant::now();
    explore(Mix::Partings, 100_000, 5_000_000).report("interleavings-partings", began);
}

#[test]
fn a_grant_that_waits_is_there_when_somebody_speaks_for_it() {
    explore(Mix::Confirms, 300, 1);
}

#[test]
#[ignore = "long: make chaos"]
fn a_hundred_thousand_interleavings_with_confirms_lose_no_grant() {
    let began = std::time::Instant::now();
    explore(Mix::Confirms, 100_000, 6_000_000).report("interleavings-confirms", began);
}

/// Each of them once ended in a token spent twice, a grant lost or a renewal for nothing; what the causes were is told by
/// the tests in `refreshing`.
const ONCE_FAILED: &[u64] = &[
    1_001_060, 1_003_534, 1_007_942, 1_011_030, 1_011_704, 1_014_580, 1_016_687, 1_018_202, 1_020_807, 1_022_292,
    1_022_900, 1_025_579, 1_031_209, 1_037_570, 1_037_659, 1_041_448, 1_041_645, 1_044_213, 1_046_363, 1_047_062,
    1_047_897, 1_048_915, 1_051_290, 1_051_536, 1_051_854, 1_053_905, 1_054_073, 1_054_543, 1_055_704, 1_059_319,
    1_065_092, 1_067_737, 1_069_884, 1_070_641, 1_073_918, 1_074_709, 1_076_619, 1_077_030, 1_078_982, 1_081_385,
    1_081_716, 1_083_488, 1_087_694, 2_010_693, 2_072_786, 2_082_996, 2_101_283, 3_046_893,
];

/// The same of other mixes; what the causes were is told by the tests in `continuing` and `parting`.
const ONCE_FAILED_MIXED: &[(Mix, u64)] = &[
    (Mix::Partings, 5_041_143),
    (Mix::Partings, 5_063_648),
    (Mix::Partings, 5_064_509),
    (Mix::Partings, 5_077_979),
    (Mix::Partings, 5_082_319),
    (Mix::Partings, 5_087_372),
    (Mix::Partings, 5_091_059),
    (Mix::Confirms, 6_014_789),
    (Mix::Confirms, 6_017_777),
    (Mix::Confirms, 6_043_059),
    (Mix::Confirms, 6_058_107),
    (Mix::Confirms, 6_065_288),
    (Mix::Confirms, 6_090_543),
    (Mix::Confirms, 6_096_507),
    (Mix::Confirms, 6_098_492),
];

#[test]
fn seeds_that_once_failed_pass() {
    let ordinary = ONCE_FAILED.iter().map(|seed| (Mix::Ordinary, *seed));
    for (mix, seed) in ordinary.chain(ONCE_FAILED_MIXED.iter().copied()) {
        assert_eq!(simulate(mix, seed, false).violations, Vec::<String>::new(), "{mix:?}, seed {seed}");
    }
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for mix in Mix::ALL {
        for seed in 1..=5 {
            assert_eq!(simulate(mix, seed, false).hash, simulate(mix, seed, false).hash, "{mix:?}, seed {seed}");
        }
    }
}
