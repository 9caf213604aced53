//! From what was counted by the hour to charts by the day.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::moments::day;
use crate::{
    clock::Timestamp,
    trends::{Hour, Percentiles},
    web::charts::{OverTime, Series, Tone},
};

const HOURS: u64 = 24;

/// A line of a chart, and what it counts.
type Counted = (&'static str, Tone, fn(&Hour) -> u64);

/// The first hours of the days in this range, which is a whole number of days.
fn days(hours: &RangeInclusive<u64>) -> impl Iterator<Item = u64> + Clone {
    hours.clone().step_by(24)
}

/// A day as a chart names it: `29 Nov`. Where days don't begin at midnight, it is the day on which most of it lies.
pub(super) fn label(first_hour: u64) -> String {
    day(Timestamp::from_seconds((first_hour + HOURS / 2) * 3600))
}

fn sum(hours: &BTreeMap<u64, Hour>, first: u64, of: fn(&Hour) -> u64) -> Option<f64> {
    let total: u64 = hours.range(first..first + HOURS).map(|(_, hour)| of(hour)).sum();
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    Some(total as f64)
}

fn by_day(
    title: String,
    unit: &'static str,
    (hours, range): (&BTreeMap<u64, Hour>, &RangeInclusive<u64>),
    series: &[Counted],
) -> OverTime {
    let series = series.iter().map(|(name, tone, of)| Series {
        name,
        tone: *tone,
        values: days(range).map(|first| sum(hours, first, *of)).collect(),
    });
    OverTime { title, unit, labels: days(range).map(label).collect(), series: series.collect() }
}

/// Calls, by how they ended.
pub(super) fn calls(hours: &BTreeMap<u64, Hour>, range: &RangeInclusive<u64>) -> OverTime {
    let series: [Counted; 3] = [
        ("answered", Tone::Good, |hour| hour.answered),
        ("refused", Tone::Warn, |hour| hour.refused),
        ("failed", Tone::Bad, |hour| hour.failed),
    ];
    by_day("Calls a day, by how they ended".to_owned(), "calls", (hours, range), &series)
}

/// Tokens that were renewed, or not.
pub(super) fn refreshes(hours: &BTreeMap<u64, Hour>, range: &RangeInclusive<u64>) -> OverTime {
    let series: [Counted; 2] =
        [("renewed", Tone::Good, |hour| hour.renewed), ("not renewed", Tone::Bad, |hour| hour.not_renewed)];
    by_day("Tokens renewed a day".to_owned(), "refreshes", (hours, range), &series)
}

/// Valetkey's own part of calls, in milliseconds.
pub(super) fn own_time(spans: &BTreeMap<u64, Percentiles>, range: &RangeInclusive<u64>) -> OverTime {
    let line = |name, tone, of: fn(&Percentiles) -> f64| Series {
        name,
        tone,
        values: days(range).map(|first| spans.get(&first).map(|span| of(span) * 1e3)).collect(),
    };
    OverTime {
        title: "Valetkey’s own part, in ms".to_owned(),
        unit: "ms",
        labels: days(range).map(label).collect(),
        series: vec![
            line("median", Tone::Good, |span| span.median),
            line("99 of 100 calls", Tone::Plain, |span| span.p99),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_add_up_to_days() {
        let range = 1000..=1047;
        let hour = |answered| Hour { answered, ..Hour::default() };
        let hours = [(1000, hour(1)), (1023, hour(2)), (1024, hour(4)), (1047, hour(8))].into();
        let chart = calls(&hours, &range);
        assert_eq!(chart.series[0].values, [Some(3.0), Some(12.0)]);
        assert_eq!(chart.labels.len(), 2);
    }

    #[test]
    fn a_day_is_named_by_where_most_of_it_lies() {
        let midnight = Timestamp::parse_date("2026-03-01").unwrap().seconds() / 3600;
        assert_eq!(label(midnight), "1 Mar");
        assert_eq!(label(midnight - 10), "1 Mar");
        assert_eq!(label(midnight - 13), "28 Feb");
    }
}
