//! What a service's counts add up to: the figures, and nothing of how they are come by.

use serde::Serialize;

use super::Family;
use crate::{clock::Timestamp, consent::Ended};

/// A service's funnel.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Which service: the one that owns the connections.
    pub service: String,
    /// Over how many days up to now.
    pub days: u32,
    /// Links that were given out.
    pub offered: u64,
    /// Attempts whose page a browser asked for.
    pub opened: u64,
    /// … that were sent to the provider.
    pub initiated: u64,
    /// … that came back with a code.
    pub authorized: u64,
    /// … whose grant is stored.
    pub completed: u64,
    /// … that ended otherwise, at least once.
    pub failed: u64,
    /// Completed of initiated, in percent with one digit; 0 where none was initiated, and 100 at most.
    pub conversion_rate: f64,
    /// The time from initiated to completed that half of them took at most, in seconds, wrong by 10 % at most.
    pub median_seconds: Option<f64>,
    /// The same of nine in ten.
    pub p90_seconds: Option<f64>,
    /// How the others ended, the commonest first.
    pub errors: Vec<ErrorCount>,
    /// How it goes in each family of browsers that was seen.
    pub browsers: Vec<BrowserCount>,
    /// What is worth a look, in words; the most pressing first.
    pub insights: Vec<String>,
}

/// How often attempts ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// `kind`, or `kind:word` where the provider said a known word.
    pub error: String,
    /// How many attempts, each once.
    pub count: u64,
    #[serde(skip)]
    pub(super) why: Ended,
}

/// One family of browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BrowserCount {
    /// Which.
    pub browser: Family,
    /// As in [`Report`].
    pub opened: u64,
    /// As in [`Report`].
    pub initiated: u64,
    /// As in [`Report`]; by the browser in which it was initiated.
    pub completed: u64,
}

/// What came of asking for more scopes than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub since: Timestamp,
    pub added: Vec<String>,
    pub before: Asked,
    pub after: Asked,
}

/// How many were asked for a set of scopes, and how many of them said no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub initiated: u64,
    pub denied: u64,
}

/// In percent, with one digit after the point.
#[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 attempts")]
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { ((part as f64 * 1000.0 / whole as f64).round() / 10.0).min(100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_one_digit_and_nothing_of_nothing_is_zero() {
        assert_eq!([percent(0, 0), percent(1, 3), percent(2, 2), percent(3, 2)], [0.0, 33.3, 100.0, 100.0]);
    }
}
