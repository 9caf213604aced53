//! The rolling window: what failed lately, over all replicas, read from the log of failures as it grows.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    clock::Timestamp,
    events::failures::{Batch, FailureLog},
    id::ServiceName,
    store::{self, Position, Stream},
};

/// Batches may be stored this much after they happened, and clocks differ.
const LATE: Duration = Duration::from_secs(120);

/// A service and an error.
pub(super) type Name = (String, String);

/// What failed in one way within the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub request: Option<String>,
}

impl Sum {
    /// With one more batch.
    pub fn with(before: Option<Self>, batch: &Batch) -> Self {
        let (first_at, last_at, request) = (batch.first_at(), batch.last_at(), batch.request.clone());
        match before {
            None => Self { count: batch.count(), first_at, last_at, request },
            Some(sum) => Self {
                count: sum.count.saturating_add(batch.count()),
                first_at: sum.first_at.min(first_at),
                request: if last_at >= sum.last_at { request.or(sum.request) } else { sum.request.or(request) },
                last_at: sum.last_at.max(last_at),
            },
        }
    }
}

/// What whoever watches has read so far.
pub(super) struct Window {
    length: Duration,
    /// Behind which entry each stream is read on.
    read: BTreeMap<Stream, Position>,
    batches: VecDeque<Batch>,
}

impl Window {
    pub const fn new(length: Duration) -> Self {
        Self { length, read: BTreeMap::new(), batches: VecDeque::new() }
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// While the store is away; what was read until then stays.
    pub async fn read_on(
        &mut self,
        log: &FailureLog,
        services: &[ServiceName],
        now: Timestamp,
    ) -> Result<(), store::Error> {
        let start = now.before(self.length + LATE).millis();
        for stream in FailureLog::streams(services) {
            let after = self.read.entry(stream).or_insert(Position { at_ms: start, nth: 0 });
            let (batches, last) = log.behind(&stream, *after).await?;
            *after = last;
            self.batches.extend(batches);
        }
        let begin = now.before(self.length);
        self.batches.retain(|batch| batch.last_at() > begin);
        Ok(())
    }

    /// What there is in it.
    pub fn sums(&self) -> BTreeMap<Name, Sum> {
        let mut sums: BTreeMap<Name, Sum> = BTreeMap::new();
        for batch in &self.batches {
            let name = (batch.service.to_string(), batch.error.clone());
            let before = sums.remove(&name);
            sums.insert(name, Sum::with(before, batch));
        }
        sums
    }
}
