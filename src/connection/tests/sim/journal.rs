//! What a run draws and what it leaves behind: the random numbers of its seed, the trace of its steps, what was violated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// Ten times what a run takes that comes to its end.
const STEPS: u64 = 20_000;

/// Random numbers that follow from a seed (SplitMix64).
pub struct Random {
    seed: u64,
    state: AtomicU64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { seed, state: AtomicU64::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)) }
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub fn between(&self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.between(from, to))
    }

    /// True so many times in a thousand.
    pub fn in_thousand(&self, times: u64) -> bool {
        times > 0 && self.below(1000) < times
    }

    pub fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

/// How often something happened, over many runs.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub calls: u64,
    pub refreshes: u64,
    pub kills: u64,
    pub stops: u64,
    /// Of these, the ones so long that the healer looked after what was left half-done meanwhile.
    pub long_stops: u64,
    pub cuts: u64,
    pub outages: u64,
    pub failovers: u64,
    /// Processes that were told to stop.
    pub drains: u64,
    /// Tokens that were spent twice, inside the inherent window.
    pub inherent: u64,
    /// Connections that ended invalid for it.
    pub lost_inherent: u64,
    /// Those that a call found usable again all the same.
    pub disconnects: u64,
    /// Revocations at a provider where they reach far.
    pub revocations: u64,
    /// Grants that waited, and were spoken for.
    pub confirms: u64,
    /// Grants that waited, and were given up.
    pub discards: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.refreshes += other.refreshes;
        self.kills += other.kills;
        self.stops += other.stops;
        self.long_stops += other.long_stops;
        self.cuts += other.cuts;
        self.outages += other.outages;
        self.failovers += other.failovers;
        self.drains += other.drains;
        self.inherent += other.inherent;
        self.lost_inherent += other.lost_inherent;
        self.disconnects += other.disconnects;
        self.revocations += other.revocations;
        self.confirms += other.confirms;
        self.discards += other.discards;
    }
}

pub struct Journal {
    pub random: Random,
    began: Instant,
    steps: AtomicU64,
    /// The sequence of steps, condensed: two runs with the same one had the same interleaving.
    hash: AtomicU64,
    lines: Option<Mutex<Vec<String>>>,
    violations: Mutex<Vec<String>>,
    counts: Mutex<Counts>,
    failovers: Mutex<Vec<Instant>>,
    /// From when to when the store answered nobody, in order of their beginning.
    outages: Mutex<Vec<(Instant, Instant)>>,
    /// How many steps a run takes at most that comes to its end.
    most: Option<u64>,
    endless: Notify,
}

impl Journal {
    /// `verbose` keeps the steps themselves.
    pub fn new(seed: u64, verbose: bool) -> Self {
        Self {
            random: Random::new(seed),
            began: Instant::now(),
            steps: AtomicU64::new(0),
            hash: AtomicU64::new(0xcbf2_9ce4_8422_2325),
            lines: verbose.then(Mutex::default),
            violations: Mutex::default(),
            counts: Mutex::default(),
            failovers: Mutex::default(),
            outages: Mutex::default(),
            most: None,
            endless: Notify::new(),
        }
    }

    /// Of a run that comes to its end.
    pub fn bounded(self) -> Self {
        Self { most: Some(STEPS), ..self }
    }

    /// A loop that never waits starves whoever would hear of it: that one is cut short here.
    fn count_step(&self, who: &str, what: &str) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let Some(most) = self.most else { return };
        if step == most {
            self.violations.lock().push(format!("{most} steps, and no end: the last one was {who} {what}"));
            self.endless.notify_one();
        }
        assert!(step < 2 * most, "seed {}: {who} {what}, over and over", self.random.seed);
    }

    /// Returns when the run has taken more steps than one that ends.
    pub async fn endless(&self) {
        self.endless.notified().await;
    }

    /// How long the run has been going.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// A step: who did what, with which outcome.
    pub fn step(&self, who: &str, what: &str, outcome: &dyn std::fmt::Debug) {
        self.count_step(who, what);
        let mut hash = self.hash.load(Ordering::Relaxed);
        for byte in who.bytes().chain(what.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.hash.store(hash, Ordering::Relaxed);
        if let Some(lines) = &self.lines {
            lines.lock().push(format!("{:>9.3} {who:<3} {what} {outcome:?}", self.began.elapsed().as_secs_f64()));
        }
    }

    pub fn violated(&self, what: String) {
        self.step("!!!", "violation", &what);
        self.violations.lock().push(format!("at {:.3} s: {what}", self.began.elapsed().as_secs_f64()));
    }

    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock());
    }

    pub fn failed_over(&self) {
        self.failovers.lock().push(Instant::now());
        self.count(|counts| counts.failovers += 1);
    }

    pub fn out_of_order(&self, until: Instant) {
        self.outages.lock().push((Instant::now(), until));
        self.count(|counts| counts.outages += 1);
    }

    /// When the store, which failed over at `at`, answered again.
    pub fn restored(&self, at: Instant) -> Instant {
        self.outages.lock().iter().fold(at, |end, (from, to)| if *from <= end { end.max(*to) } else { end })
    }

    /// When the store failed over between these moments, for the last time.
    pub fn failover(&self, from: Instant, to: Instant) -> Option<Instant> {
        self.failovers.lock().iter().copied().filter(|at| (from..=to).contains(at)).max()
    }

    pub fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    pub fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.as_ref().map(|lines| lines.lock().clone()).unwrap_or_default()
    }
}
