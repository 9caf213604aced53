//! How things went, day by day (UTC) and over all replicas, for whoever looks back: calls and how they ended, Valetkey's own part of
//! their time, refreshes. Each process writes what its metrics have grown by since the last minute into the store's counters,
//! under names that say nothing; what of a minute was not written yet when a process is killed is missing. Knows no caller, no
//! service and no path, and draws nothing.

mod keeper;
mod look_back;

use data_encoding::HEXLOWER;

pub use keeper::Trends;
pub use look_back::{Day, Percentiles};

use crate::{clock::Timestamp, telemetry::metrics::Totals, vault::Root};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Answered,
    Refused,
    Failed,
    Renewed,
    NotRenewed,
    /// Calls whose own part lasted so long: the number of [`Totals::own`].
    Own(u8),
}

impl Measure {
    /// All but own time.
    const ENDS: [Self; 5] = [Self::Answered, Self::Refused, Self::Failed, Self::Renewed, Self::NotRenewed];

    /// The counter's name, which says nothing without the root.
    fn counter(self, root: &Root) -> String {
        // Part of what is stored: never change one.
        let name: &[u8] = match self {
            Self::Answered => b"answered",
            Self::Refused => b"refused",
            Self::Failed => b"failed",
            Self::Renewed => b"renewed",
            Self::NotRenewed => b"not renewed",
            Self::Own(bucket) => &[b'o', bucket],
        };
        HEXLOWER.encode(&root.blind("trend", &[name]))
    }

    /// All of them, with what has been counted of each.
    fn of(totals: &Totals) -> impl Iterator<Item = (Self, u64)> {
        let ends = [totals.answered, totals.refused, totals.failed, totals.renewed, totals.not_renewed];
        let own = (0..=u8::MAX).map(Self::Own).zip(totals.own);
        Self::ENDS.into_iter().zip(ends).chain(own)
    }
}

/// The day, since the epoch.
const fn day(at: Timestamp) -> u64 {
    at.seconds() / 86_400
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_at_rest_stay_what_they_are() {
        let root = Root::from_bytes([7; 32]);
        let names: BTreeSet<_> = Measure::of(&Totals::default()).map(|(measure, _)| measure.counter(&root)).collect();
        assert_eq!(names.len(), 5 + Totals::default().own.len());
        assert_eq!(Measure::Answered.counter(&root), "d99f07f7099fa672640751e4ef531836");
    }
}
