//! Looking back.

use std::{collections::BTreeMap, ops::RangeInclusive};

use futures_util::future::try_join_all;

use super::{Measure, Trends};
use crate::{clock::Timestamp, connection::Unavailable, telemetry::metrics::Totals};

/// What was counted in one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    /// Calls that the upstream answered, with anything but 5xx.
    pub answered: u64,
    /// Calls that were answered here: the caller or the person has something to do.
    pub refused: u64,
    /// Calls that failed: at the upstream or here.
    pub failed: u64,
    /// Tokens that were renewed.
    pub renewed: u64,
    /// Tokens that were not.
    pub not_renewed: u64,
}

/// Valetkey's own part of calls, in seconds, each to within a fifth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentiles {
    /// Half of all calls took no longer.
    pub median: f64,
    /// Of a hundred calls 99 took no longer.
    pub p99: f64,
}

impl Trends {
    /// What was counted, by day of the epoch; days on which nothing was are missing.
    ///
    /// # Errors
    /// While store or keys are away; where too many days are asked for.
    pub async fn calls(&self, days: RangeInclusive<u64>) -> Result<BTreeMap<u64, Day>, Unavailable> {
        let mut all = BTreeMap::<u64, Day>::new();
        for (measure, counts) in self.counts(Measure::ENDS, days).await? {
            for (day, n) in counts {
                let day = all.entry(day).or_default();
                let field = match measure {
                    Measure::Answered => &mut day.answered,
                    Measure::Refused => &mut day.refused,
                    Measure::Failed => &mut day.failed,
                    Measure::Renewed => &mut day.renewed,
                    Measure::NotRenewed => &mut day.not_renewed,
                    Measure::Own(_) => continue,
                };
                *field += n;
            }
        }
        Ok(all)
    }

    /// How long Valetkey's own part of calls took, by day of the epoch.
    ///
    /// # Errors
    /// As [`Trends::calls`].
    pub async fn own_time(&self, days: RangeInclusive<u64>) -> Result<BTreeMap<u64, Percentiles>, Unavailable> {
        let none = Totals::default().own;
        let own = (0..=u8::MAX).map(Measure::Own).take(none.len());
        let mut all = BTreeMap::new();
        for (at, (_, counts)) in self.counts(own, days).await?.into_iter().enumerate() {
            for (day, n) in counts {
                all.entry(day).or_insert(none)[at] += n;
            }
        }
        let percentiles = |counts: &[u64]| Percentiles { median: percentile(counts, 50), p99: percentile(counts, 99) };
        Ok(all.iter().map(|(day, counts)| (*day, percentiles(counts))).collect())
    }

    /// The counters of these measures, in their order.
    async fn counts(
        &self,
        measures: impl IntoIterator<Item = Measure>,
        days: RangeInclusive<u64>,
    ) -> Result<Vec<(Measure, Vec<(u64, u64)>)>, Unavailable> {
        let root = self.roots.get().await?;
        let read = measures.into_iter().map(|measure| {
            let (counter, days) = (measure.counter(&root), days.clone());
            async move { Ok((measure, self.store.counts(&counter, days).await?)) }
        });
        try_join_all(read).await
    }

    /// The last `count` days, today included.
    pub fn days(now: Timestamp, count: u64) -> RangeInclusive<u64> {
        let last = super::day(now);
        last.saturating_sub(count.saturating_sub(1))..=last
    }
}

/// The time in seconds below which so many in a hundred are: the middle of its half of a doubling.
fn percentile(counts: &[u64], of_hundred: u64) -> f64 {
    let total: u64 = counts.iter().sum();
    let wanted = (total * of_hundred).div_ceil(100);
    let mut so_far = 0;
    let at = counts.iter().position(|count| {
        so_far += count;
        so_far >= wanted
    });
    at.map_or(0.0, Totals::own_bound) / 2_f64.powf(0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_within_a_fifth() {
        let mut counts = Totals::default().own;
        // 98 calls of 100 µs, two of 10 ms.
        for (seconds, n) in [(1e-4, 98), (1e-2, 2)] {
            counts[(0..).find(|at| Totals::own_bound(*at) >= seconds).unwrap()] = n;
        }
        for (of_hundred, seconds) in [(50, 1e-4), (99, 1e-2)] {
            let found = percentile(&counts, of_hundred);
            assert!((found / seconds - 1.0_f64).abs() < 0.2, "{found} for {seconds}");
        }
    }
}
