//! Counters: how often something happened, by spans of time ("buckets"), over all replicas. Exact: each thing that is
//! counted has an id of its writer's, and counts once however often it is told of.

use std::{ops::RangeInclusive, time::Duration};

use async_trait::async_trait;

use super::Error;

/// The longest name of a counter and the longest id of what is counted, in bytes.
pub const COUNTER_NAME_MAX: usize = 64;
/// How many buckets are read at once at most.
pub const BUCKETS_MAX: u64 = 10_000;

/// Something that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally<'a> {
    /// The counter's name: opaque, 1 to [`COUNTER_NAME_MAX`] bytes.
    pub name: &'a str,
    /// The span of time it falls into, by whatever number the caller gives spans.
    pub bucket: u64,
    /// Tells it from everything else that this counter counts: opaque, 1 to [`COUNTER_NAME_MAX`] bytes.
    pub id: &'a str,
    /// By how much the counter grows.
    pub n: u64,
    /// How long it is remembered that this id was counted. Told again within that time, in whichever bucket, it doesn't
    /// count again.
    pub known_for: Duration,
    /// How long the bucket is kept after it last grew.
    pub kept_for: Duration,
}

/// A store's counters.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Counts something, unless it was counted before. An error leaves the outcome unknown, and asking again is safe for as
    /// long as the id is known. A failover of the store that loses the count has lost the id with it.
    async fn count_up(&self, tally: &Tally<'_>) -> Result<(), Error>;

    /// The buckets of a counter that aren't zero, in order; at most [`BUCKETS_MAX`] are looked at.
    async fn counts(&self, name: &str, buckets: RangeInclusive<u64>) -> Result<Vec<(u64, u64)>, Error>;
}

/// Refuses what no backend should have to bear.
pub(crate) fn check_tally(tally: &Tally<'_>) -> Result<(), Error> {
    check_name(tally.name)?;
    check_name(tally.id)
}

/// The same of a question.
pub(crate) fn check_counts(name: &str, buckets: &RangeInclusive<u64>) -> Result<(), Error> {
    check_name(name)?;
    if buckets.end().saturating_sub(*buckets.start()) >= BUCKETS_MAX {
        return Err(Error::Refused { reason: "at most 10000 buckets are read at once".into(), passing: false });
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > COUNTER_NAME_MAX {
        return Err(Error::Refused { reason: "a counter's name and id have 1 to 64 bytes".into(), passing: false });
    }
    Ok(())
}
