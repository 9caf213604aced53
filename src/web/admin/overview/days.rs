//! From what was counted by the day to charts.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::moments;
use crate::{
    clock::Timestamp,
    trends::{Day, Percentiles},
    web::charts::{OverTime, Series, Tone},
};

/// A line of a chart, and what it counts.
type Counted = (&'static str, Tone, fn(&Day) -> u64);

/// Days as a chart names them, by their number since the epoch: `29 Nov`. Of the last one only a part has passed.
fn labels(days: &RangeInclusive<u64>) -> Vec<String> {
    let label = |day| match day == *days.end() {
        true => "so far today".to_owned(),
        false => moments::day(Timestamp::from_seconds(day * 86_400)),
    };
    days.clone().map(label).collect()
}

fn by_day(
    title: String,
    unit: &'static str,
    (counted, days): (&BTreeMap<u64, Day>, &RangeInclusive<u64>),
    series: &[Counted],
) -> OverTime {
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let value = |day: u64, of: fn(&Day) -> u64| counted.get(&day).map_or(0, of) as f64;
    let series = series.iter().map(|(name, tone, of)| Series {
        name,
        tone: *tone,
        values: days.clone().map(|day| Some(value(day, *of))).collect(),
    });
    OverTime { title, unit, labels: labels(days), series: series.collect() }
}

/// Calls, by how they ended.
pub(super) fn calls(counted: &BTreeMap<u64, Day>, days: &RangeInclusive<u64>) -> OverTime {
    let series: [Counted; 3] = [
        ("answered", Tone::Good, |day| day.answered),
        ("refused", Tone::Warn, |day| day.refused),
        ("failed", Tone::Bad, |day| day.failed),
    ];
    by_day("Calls a day, by how they ended".to_owned(), "calls", (counted, days), &series)
}

/// Tokens that were renewed, or not.
pub(super) fn refreshes(counted: &BTreeMap<u64, Day>, days: &RangeInclusive<u64>) -> OverTime {
    let series: [Counted; 2] =
        [("renewed", Tone::Good, |day| day.renewed), ("not renewed", Tone::Bad, |day| day.not_renewed)];
    by_day("Tokens renewed a day".to_owned(), "refreshes", (counted, days), &series)
}

/// Valetkey's own part of calls, in milliseconds.
pub(super) fn own_time(known: &BTreeMap<u64, Percentiles>, days: &RangeInclusive<u64>) -> OverTime {
    let line = |name, tone, of: fn(&Percentiles) -> f64| Series {
        name,
        tone,
        values: days.clone().map(|day| known.get(&day).map(|percentiles| of(percentiles) * 1e3)).collect(),
    };
    OverTime {
        title: "Valetkey’s own part, in ms".to_owned(),
        unit: "ms",
        labels: labels(days),
        series: vec![
            line("median", Tone::Good, |percentiles| percentiles.median),
            line("99 of 100 calls", Tone::Plain, |percentiles| percentiles.p99),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_has_its_place_and_today_says_so() {
        let today = Timestamp::parse_date("2026-03-02").unwrap().seconds() / 86_400;
        let day = |answered| Day { answered, ..Day::default() };
        let chart = calls(&[(today - 2, day(3)), (today, day(8))].into(), &(today - 2..=today));
        assert_eq!(chart.series[0].values, [Some(3.0), Some(0.0), Some(8.0)]);
        assert_eq!(chart.labels, ["28 Feb", "1 Mar", "so far today"]);
    }
}
