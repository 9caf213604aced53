//! A histogram of durations that is recorded without a lock and without memory: three additions. It keeps two sets of buckets:
//! the classic ones, a few bounds that everybody knows, and Prometheus' native ones, eight to each doubling from a
//! microsecond to a day and a half, which tell any percentile within 9 %. Of observations that belong to a trace it keeps the latest
//! in each classic bucket, as exemplars; only those take a lock, and none waits for it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;

use super::model;
use crate::{clock::Timestamp, telemetry::TraceId};

/// How many classic buckets have a bound.
const BOUNDED: usize = 14;
/// Each native bucket's bound is 2^(1/8) times the one before.
const SCHEMA: i32 = 3;
/// What is no longer than this many doublings of a second counts as zero: 2^-20 s, a little less than a microsecond.
const LEAST: i32 = -20;
/// The longest durations, of 2^17 s, share the last native bucket with all that is longer.
const MOST: i32 = 17;
/// The index of the first native bucket, as Prometheus counts them.
const FIRST: i32 = LEAST * PER_DOUBLING + 1;
const PER_DOUBLING: i32 = 8;
const NATIVE: usize = (MOST - LEAST).unsigned_abs() as usize * PER_DOUBLING.unsigned_abs() as usize;
/// How many halves of a doubling the native buckets span.
pub(super) const HALF_DOUBLINGS: usize = (MOST - LEAST).unsigned_abs() as usize * 2;
/// Native buckets in one of them.
const PER_HALF: usize = NATIVE / HALF_DOUBLINGS;
/// Bounds between 1 and 2: 2^(n/8).
const EIGHTHS: [f64; 8] = [
    1.0,
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
];

/// Classic upper bounds, inclusive, in microseconds.
pub(super) type Bounds = [u64; BOUNDED];

/// For whole calls: a millisecond to a minute.
pub(super) const CALLS: Bounds = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 60_000_000,
];
/// For what Valetkey and its store do: 25 microseconds to some seconds.
pub(super) const OWN: Bounds =
    [25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// A histogram of durations.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static Bounds,
    classic: [AtomicU64; BOUNDED + 1],
    /// What counts as zero, then the native buckets.
    native: Box<[AtomicU64; NATIVE + 1]>,
    nanoseconds: AtomicU64,
    exemplars: OnceLock<Box<Mutex<[Option<Exemplar>; BOUNDED + 1]>>>,
}

/// An observation that belongs to a trace.
#[derive(Debug, Clone, Copy)]
struct Exemplar {
    trace: TraceId,
    nanoseconds: u64,
    at: Timestamp,
}

impl Histogram {
    /// Empty, with these classic bounds.
    pub(super) fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            classic: [const { AtomicU64::new(0) }; BOUNDED + 1],
            native: Box::new([const { AtomicU64::new(0) }; NATIVE + 1]),
            nanoseconds: AtomicU64::new(0),
            exemplars: OnceLock::new(),
        }
    }

    /// Records one duration.
    pub(super) fn observe(&self, took: Duration) {
        self.count(nanoseconds(took));
    }

    /// Records one duration, and that it was this trace's.
    pub(super) fn observe_traced(&self, took: Duration, trace: TraceId, at: Timestamp) {
        let nanoseconds = nanoseconds(took);
        let bucket = self.count(nanoseconds);
        let exemplars = self.exemplars.get_or_init(Box::default);
        // Somebody else's is as good.
        if let Some(mut exemplars) = exemplars.try_lock() {
            exemplars[bucket] = Some(Exemplar { trace, nanoseconds, at });
        }
    }

    /// Counts it. Gives its classic bucket.
    fn count(&self, nanoseconds: u64) -> usize {
        let bucket = self.bounds.partition_point(|bound| bound * 1000 < nanoseconds);
        self.classic[bucket].fetch_add(1, Ordering::Relaxed);
        self.native[native(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        // It wraps after 584 years of durations.
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        bucket
    }

    /// What was observed, by halves of a doubling, which are told in fewer numbers; the first is what counts as zero.
    pub(super) fn half_doublings(&self) -> impl Iterator<Item = u64> {
        let sum = |cells: &[AtomicU64]| cells.iter().map(|cell| cell.load(Ordering::Relaxed)).sum();
        let (zero, native) = self.native.split_at(1);
        std::iter::once(sum(zero)).chain(native.chunks(PER_HALF).map(sum))
    }

    /// The longest duration in seconds that counts as the `n`th of [`Histogram::half_doublings`].
    pub(super) fn half_doubling(n: usize) -> f64 {
        (f64::from(LEAST) + f64::from(u32::try_from(n).unwrap_or(u32::MAX)) / 2.0).exp2()
    }

    /// As a scrape has it.
    pub(super) fn read(&self) -> model::Histogram {
        let exemplars = self.exemplars.get().map(|exemplars| *exemplars.lock()).unwrap_or_default();
        let mut cumulative_count = 0;
        let bucket = (0..=BOUNDED).map(|at| {
            cumulative_count += self.classic[at].load(Ordering::Relaxed);
            let upper_bound = self.bounds.get(at).map_or(f64::INFINITY, |micros| seconds(micros * 1000));
            model::Bucket { cumulative_count, upper_bound, exemplar: exemplars[at].map(Exemplar::read) }
        });
        let bucket: Vec<_> = bucket.collect();
        let counts: Vec<u64> = self.native.iter().map(|cell| cell.load(Ordering::Relaxed)).collect();
        let (zero, native) = counts.split_first().expect("it counts zeros, too");
        let (positive_span, positive_delta) = sparse(native);
        model::Histogram {
            // Taken from the buckets as they were read, so that a scrape agrees with itself. Prometheus wants the native ones'
            // sum where it takes those; the last classic bucket says its own.
            sample_count: counts.iter().sum(),
            sample_sum: seconds(self.nanoseconds.load(Ordering::Relaxed)),
            bucket,
            schema: SCHEMA,
            zero_threshold: f64::from(LEAST).exp2(),
            zero_count: *zero,
            positive_span,
            positive_delta,
        }
    }
}

impl Exemplar {
    fn read(self) -> model::Exemplar {
        let millis = self.at.millis();
        model::Exemplar {
            label: vec![model::Label::new("trace_id", &HEXLOWER.encode(&self.trace))],
            value: seconds(self.nanoseconds),
            timestamp: Some(model::Time {
                seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
                nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
            }),
        }
    }
}

fn nanoseconds(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a duration needs no more than 52 bits")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// The place of a duration among the native buckets; 0 is what counts as zero.
fn native(nanoseconds: u64) -> usize {
    let seconds = seconds(nanoseconds);
    // A positive number's bits: eleven for the exponent, then the fraction.
    let bits = seconds.to_bits();
    let doublings = i32::try_from(bits >> 52).unwrap_or_default() - 1023;
    let fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if doublings < LEAST {
        return 0;
    }
    // Bounds are inclusive: 1 itself lies in the bucket that ends there.
    let eighth = EIGHTHS.partition_point(|bound| *bound < fraction);
    let place = (doublings - LEAST).unsigned_abs() as usize * EIGHTHS.len() + eighth;
    place.min(NATIVE)
}

/// The buckets that hold anything, as spans, and their counts as differences.
fn sparse(native: &[u64]) -> (Vec<model::Span>, Vec<i64>) {
    let (mut spans, mut deltas): (Vec<model::Span>, _) = (Vec::new(), Vec::new());
    let (mut before, mut next) = (0_i64, 0_i32);
    for (index, count) in (FIRST..).zip(native) {
        if *count == 0 {
            continue;
        }
        match spans.last_mut() {
            Some(span) if next == index => span.length += 1,
            Some(_) => spans.push(model::Span { offset: index - next, length: 1 }),
            None => spans.push(model::Span { offset: index, length: 1 }),
        }
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        (before, next) = (count, index + 1);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[Duration]) -> model::Histogram {
        let histogram = Histogram::new(&CALLS);
        durations.iter().for_each(|took| histogram.observe(*took));
        histogram.read()
    }

    /// The bounds in seconds of each native bucket that holds something, and what it holds.
    fn buckets(histogram: &model::Histogram) -> Vec<(f64, f64, i64)> {
        let (mut index, mut count, mut deltas) = (0, 0, histogram.positive_delta.iter());
        let bound = |index: i32| (f64::from(index) / 8.0).exp2();
        let mut found = Vec::new();
        for span in &histogram.positive_span {
            index += span.offset;
            for _ in 0..span.length {
                count += deltas.next().expect("one for each bucket");
                found.push((bound(index - 1), bound(index), count));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        found
    }

    #[test]
    fn a_bound_belongs_to_its_own_classic_bucket() {
        let micros = [0, 1_000, 1_001, 60_000_000, 61_000_000];
        let read = of(&micros.map(Duration::from_micros));
        let counts: Vec<u64> = read.bucket.iter().map(|bucket| bucket.cumulative_count).collect();
        assert_eq!((counts[0], counts[1], counts[12], counts[13], counts[14]), (2, 3, 3, 4, 5));
        assert_eq!((read.sample_count, read.sample_sum), (5, 121.002_001));
    }

    #[test]
    fn a_native_bucket_holds_what_lies_between_its_bounds() {
        for nanos in
            [954, 1_000, 1_500, 7_812_500, 62_500_000, 62_500_001, 123_456_789, 1_000_000_000, 3_600_000_000_000]
        {
            let read = of(&[Duration::from_nanos(nanos)]);
            let (lower, upper, count) = buckets(&read)[0];
            assert!(lower < seconds(nanos) && seconds(nanos) <= upper * (1.0 + 1e-12), "{lower} {nanos} {upper}");
            assert_eq!((count, read.zero_count), (1, 0));
        }
        assert_eq!(buckets(&of(&[Duration::from_secs(1)]))[0].1, 1.0, "a bound is inclusive");
    }

    #[test]
    fn native_buckets_are_sparse_and_their_counts_differences() {
        let read = of(&[1, 1, 1, 2, 64, 64].map(Duration::from_secs));
        let found: Vec<_> = buckets(&read).into_iter().map(|(_, upper, count)| (upper, count)).collect();
        assert_eq!(found, [(1.0, 3), (2.0, 1), (64.0, 2)]);
        assert_eq!(read.positive_delta, [3, -2, 1]);
        assert_eq!(read.positive_span[0], model::Span { offset: 0, length: 1 });
    }

    #[test]
    fn what_is_out_of_reach_is_counted_all_the_same() {
        let read = of(&[Duration::ZERO, Duration::from_nanos(900), Duration::MAX]);
        assert_eq!((read.zero_count, read.sample_count), (2, 3));
        assert_eq!(buckets(&read)[0].1, 131_072.0);
        let empty = of(&[]);
        assert!(empty.positive_span.is_empty() && empty.zero_threshold > 0.0, "which tells that it is native");
    }

    #[test]
    fn the_latest_of_a_bucket_that_belongs_to_a_trace_is_its_exemplar() {
        let histogram = Histogram::new(&CALLS);
        histogram.observe(Duration::from_millis(7));
        let at = Timestamp::from_millis(1_700_000_000_250);
        for trace in [1, 2] {
            histogram.observe_traced(Duration::from_millis(8), [trace; 16], at);
        }
        let read = histogram.read();
        let exemplars: Vec<_> = read.bucket.iter().filter_map(|bucket| bucket.exemplar.as_ref()).collect();
        assert_eq!(exemplars.len(), 1);
        assert_eq!(exemplars[0].label[0].value, "02".repeat(16));
        assert_eq!((exemplars[0].value, exemplars[0].timestamp.unwrap().nanos), (0.008, 250_000_000));
        assert_eq!(read.sample_count, 3);
    }
}
