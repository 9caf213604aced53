//! How long to wait before trying again. Pure: reads no clock and no source of randomness, remembers no failure, waits for
//! nothing; whoever retries counts its own attempts.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// Waits that double from one attempt to the next, up to a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait before the first retry.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The wait after this many doublings: `first` after none.
    pub fn after(self, doublings: u32) -> Duration {
        // 2³¹ times a millisecond is 24 days.
        self.first.saturating_mul(1 << doublings.min(31)).min(self.longest)
    }

    /// The same with jitter, so that those who failed together don't try again together: between half of it, for a `chance`
    /// of 0, and all of it, for 1.
    pub fn jittered(self, doublings: u32, chance: f64) -> Duration {
        self.after(doublings).mul_f64(0.5 + 0.5 * chance)
    }
}

/// A number from 0 to 1 for jitter, always the same for the same value.
pub fn chance(of: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = [0, 1, 2, 6, 7].map(|doublings| BACKOFF.after(doublings).as_millis());
        assert_eq!(waits, [500, 1000, 2000, 32_000, 60_000]);
        assert_eq!(BACKOFF.after(u32::MAX), BACKOFF.longest);
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).after(3), Duration::ZERO);
    }

    #[test]
    fn jitter_takes_away_half_at_most() {
        assert_eq!(BACKOFF.jittered(1, 0.0), Duration::from_millis(500));
        assert_eq!(BACKOFF.jittered(1, 0.5), Duration::from_millis(750));
        assert_eq!(BACKOFF.jittered(1, 1.0), Duration::from_secs(1));
        assert_eq!(BACKOFF.jittered(40, 1.0), BACKOFF.longest);
    }

    #[test]
    fn chances_lie_between_0_and_1_spread_out_and_stay_the_same() {
        let chances: Vec<f64> = (0..100).map(|number| chance(&number)).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)), "{chances:?}");
        assert!(chances.iter().any(|chance| *chance < 0.2) && chances.iter().any(|chance| *chance > 0.8));
        assert_eq!(chance(&"a"), chance(&"a"));
    }
}
