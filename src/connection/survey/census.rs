//! How many connections there are, by service: how they stand, and how many end before long. One walk over all records; whoever
//! publishes it decides how often, and who of several replicas counts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{Filter, Survey, Uses};
use crate::{
    clock::Timestamp,
    connection::model::{AuthKind, Connection, Status, Unavailable},
    id::ServiceName,
};

/// Between two batches at least this is rested, and …
const REST: Duration = Duration::from_millis(5);
/// … so many times as long as the last one took.
const RESTS: u32 = 4;
const DAY: Duration = Duration::from_secs(86_400);

/// All connections, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// When counting began.
    pub at: Timestamp,
    /// By the service that owns them.
    pub services: BTreeMap<ServiceName, Tally>,
    /// How many records no key of the vault opens: nobody knows whose they are.
    pub unreadable: usize,
}

/// The connections of one service, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that calls can use, those that wait for a confirmation, and those that were lost.
    pub by_status: [u64; 3],
    /// Those whose calls go out with an API key.
    pub on_api_key: u64,
    /// Those that end within 1, 7 and 30 days, each also counted in the longer spans; what should have ended already is in all.
    pub ending: [u64; 3],
}

impl Tally {
    /// In this order the spans of [`Tally::ending`] are.
    pub const WITHIN: [Duration; 3] = [DAY, DAY.saturating_mul(7), DAY.saturating_mul(30)];

    /// One more.
    pub fn count(&mut self, connection: &Connection, now: Timestamp) {
        self.by_status[match connection.status {
            Status::Active => 0,
            Status::Pending => 1,
            Status::Invalid => 2,
        }] += 1;
        self.on_api_key += u64::from(connection.status == Status::Active && connection.auth_kind == AuthKind::ApiKey);
        if let Some(end) = connection.expected_end {
            for (count, within) in self.ending.iter_mut().zip(Self::WITHIN) {
                *count += u64::from(end.until(now) <= within);
            }
        }
    }
}

impl Survey {
    /// Counts all connections, resting longer than it works.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn census(&self) -> Result<Census, Unavailable> {
        let mut census = Census { at: self.records.now(), ..Census::default() };
        let mut cursor = None;
        loop {
            let began = Instant::now();
            let batch = self.batch(&Filter::default(), cursor, Uses::WhereTheyDecide).await?;
            census.unreadable += batch.unreadable;
            for (_, one) in batch.found {
                let tally = census.services.entry(one.id.service).or_default();
                tally.count(&one.connection, census.at);
            }
            cursor = batch.next;
            if cursor.is_none() {
                return Ok(census);
            }
            sleep((began.elapsed() * RESTS).max(REST)).await;
        }
    }
}
