//! Chance that can be had again: `VALETKEY_CHAOS_SEED` repeats a run's decisions, if not its timing.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use super::process::say;

/// A stream of numbers (SplitMix64) from a seed that was printed.
pub(crate) struct Chance {
    /// What it grew from.
    pub(crate) seed: u64,
    state: u64,
}

impl Chance {
    /// From the environment's seed, else a new one; says which.
    pub(crate) fn announced(what: &str) -> Self {
        let given = std::env::var_os("VALETKEY_CHAOS_SEED").and_then(|seed| seed.to_str()?.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 16);
        say(&format!("{what}: VALETKEY_CHAOS_SEED={seed}\n"));
        Self { seed, state: seed }
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A place in a list of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// Milliseconds in a range.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
