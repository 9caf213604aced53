//! When an alert begins and ends. Pure: the sums of the window and the time come in, what is to be told comes out.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::window::{Name, Sum};
use crate::clock::Timestamp;

/// How long an alert that is over is remembered.
const REMEMBERED: Duration = Duration::from_secs(32 * 86_400);
/// How many alerts are remembered at most.
const MOST: usize = 2000;

/// An alert, from its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spike {
    #[serde(rename = "s")]
    pub service: String,
    #[serde(rename = "e")]
    pub error: String,
    /// When it was raised, in milliseconds since the epoch.
    #[serde(rename = "r")]
    pub raised: u64,
    /// When the first failure of it happened.
    #[serde(rename = "f")]
    pub first: u64,
    /// Since when there are no longer too many failures, while it is not over.
    #[serde(rename = "b", default, with = "crate::clock::millis", skip_serializing_if = "Option::is_none")]
    pub below: Option<Timestamp>,
    /// When it was over.
    #[serde(rename = "o", default, with = "crate::clock::millis", skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It begins.
    Raised(Spike, Sum),
    /// It is over.
    Over(Spike),
}

/// Brings the alerts up to date.
pub(super) fn turn(
    spikes: &mut Vec<Spike>,
    sums: &BTreeMap<Name, Sum>,
    above: u32,
    window: Duration,
    now: Timestamp,
) -> Vec<Turn> {
    let too_many = |service: &str, error: &str| {
        let name = (service.to_owned(), error.to_owned());
        sums.get(&name).is_some_and(|sum| sum.count > u64::from(above))
    };
    let mut turns = Vec::new();
    for spike in spikes.iter_mut().filter(|spike| spike.over.is_none()) {
        if too_many(&spike.service, &spike.error) {
            spike.below = None;
        } else {
            let since = *spike.below.get_or_insert(now);
            if now.since(since) >= window {
                spike.over = Some(now);
                turns.push(Turn::Over(spike.clone()));
            }
        }
    }
    for ((service, error), sum) in sums.iter().filter(|(_, sum)| sum.count > u64::from(above)) {
        let same = |spike: &Spike| spike.service == *service && spike.error == *error;
        if spikes.iter().any(|spike| same(spike) && spike.over.is_none()) {
            continue;
        }
        // The next one takes the place of the last.
        spikes.retain(|spike| !same(spike));
        let (service, error, raised, first) = (service.clone(), error.clone(), now.millis(), sum.first_at.millis());
        let spike = Spike { service, error, raised, first, below: None, over: None };
        spikes.push(spike.clone());
        turns.push(Turn::Raised(spike, sum.clone()));
    }
    spikes.retain(|spike| spike.over.is_none_or(|over| now.since(over) < REMEMBERED));
    if spikes.len() > MOST {
        spikes.sort_by_key(|spike| (spike.over.is_none(), spike.raised));
        spikes.drain(..spikes.len() - MOST);
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    fn sums(counts: &[(&str, u64)], now: Timestamp) -> BTreeMap<Name, Sum> {
        let sum = |count| Sum { count, first_at: now.before(WINDOW), last_at: now, request: None };
        counts.iter().map(|(error, count)| (("crm".to_owned(), (*error).to_owned()), sum(*count))).collect()
    }

    /// What is told of each of these counts, one a second.
    fn told(counts: impl IntoIterator<Item = u64>) -> Vec<(u64, bool)> {
        let (mut spikes, mut told) = (Vec::new(), Vec::new());
        for (count, second) in counts.into_iter().zip(0..) {
            for turn in turn(&mut spikes, &sums(&[("denied", count)], at(second)), 10, WINDOW, at(second)) {
                told.push((second, matches!(turn, Turn::Raised(..))));
            }
        }
        told
    }

    #[test]
    fn a_spike_is_told_once_and_its_end_once_a_whole_window_later() {
        let counts = [3, 10, 11, 500, 12].into_iter().chain([10; 200]);
        assert_eq!(told(counts), [(2, true), (65, false)]);
    }

    #[test]
    fn what_goes_up_and_down_meanwhile_is_one_spike() {
        let wave = (0..300).map(|second| if second % 20 < 10 { 11 } else { 4 });
        assert_eq!(told(wave.chain([0; 100])), [(0, true), (350, false)]);
    }

    #[test]
    fn the_next_spike_is_told_again() {
        let counts = [20].into_iter().chain([0; 100]).chain([20]).chain([0; 100]);
        assert_eq!(told(counts), [(0, true), (61, false), (101, true), (162, false)]);
    }

    #[test]
    fn errors_are_told_apart_and_what_is_long_over_is_forgotten() {
        let mut spikes = Vec::new();
        let turns =
            turn(&mut spikes, &sums(&[("denied", 11), ("used", 11), ("not_stored", 10)], at(0)), 10, WINDOW, at(0));
        assert_eq!(turns.len(), 2);
        for later in [1, 61] {
            turn(&mut spikes, &BTreeMap::new(), 10, WINDOW, at(later));
        }
        assert!(spikes.len() == 2 && spikes.iter().all(|spike| spike.over == Some(at(61))), "{spikes:?}");
        turn(&mut spikes, &BTreeMap::new(), 10, WINDOW, at(61).plus(REMEMBERED));
        assert!(spikes.is_empty());
    }
}
