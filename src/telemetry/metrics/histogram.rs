//! A histogram of durations that is recorded without a lock; the library's own takes a mutex a record, which every
//! thread that serves the same service would share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Upper bounds in seconds, inclusive; the last bucket has none.
const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// A histogram of seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Records one duration, in seconds.
    pub(super) fn observe(&self, seconds: f64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // A float beyond the integer's range saturates; the sum wraps after 584 years of durations.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, and durations are positive"
        )]
        let nanoseconds = (seconds * 1e9) as u64;
        self.0.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut buckets = [(f64::INFINITY, 0); BOUNDS.len() + 1];
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        for ((cell, bound), bucket) in self.0.buckets.iter().zip(bounds).zip(&mut buckets) {
            *bucket = (bound, cell.load(Ordering::Relaxed));
        }
        // Taken from the buckets as they were read, so that the text agrees with itself.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let nanoseconds = self.0.nanoseconds.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a sum of durations needs no nanoseconds")]
        encoder.encode_histogram::<NoLabelSet>(nanoseconds as f64 / 1e9, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(histogram: &Histogram) -> Vec<u64> {
        histogram.0.buckets.iter().map(|cell| cell.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::default();
        histogram.observe(0.0);
        histogram.observe(0.001);
        histogram.observe(0.0011);
        histogram.observe(60.0);
        histogram.observe(61.0);
        let counts = counts(&histogram);
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (2, 1, 1, 1));
    }
}
