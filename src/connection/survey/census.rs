//! How many connections there are, by service: how they stand, and how many end before long. One walk over all records; how often
//! that is done and by whom is the affair of whoever publishes it (`connection::census`).

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Filter, Survey, Uses};
use crate::{
    clock::Timestamp,
    connection::model::{AuthKind, Connection, Status, Unavailable},
    telemetry::metrics::{Census, ConnectionState, EndsWithin, Tally},
};

/// Between two batches at least this is rested, and …
const REST: Duration = Duration::from_millis(5);
/// … so many times as long as the last one took.
const RESTS: u32 = 4;
const DAY: Duration = Duration::from_secs(86_400);

impl Survey {
    /// Counts all connections, resting longer than it works. What no key opens is not known to be anybody's.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn census(&self) -> Result<Census, Unavailable> {
        let mut census = Census { at: self.records.now(), ..Census::default() };
        let mut cursor = None;
        loop {
            let began = Instant::now();
            let batch = self.batch(&Filter::default(), cursor, Uses::WhereTheyDecide).await?;
            for (_, one) in batch.found {
                let tally = census.services.entry(one.id.service).or_default();
                count(tally, &one.connection, census.at);
            }
            cursor = batch.next;
            if cursor.is_none() {
                return Ok(census);
            }
            sleep((began.elapsed() * RESTS).max(REST)).await;
        }
    }
}

/// One more connection, as it is at `now`. What ends within a day is also counted in the longer spans; what should have ended
/// already, and hasn't, in none.
fn count(tally: &mut Tally, connection: &Connection, now: Timestamp) {
    tally.count(match connection.status {
        Status::Active => ConnectionState::Active,
        Status::Pending => ConnectionState::Pending,
        Status::Invalid => ConnectionState::Invalid,
    });
    let on_key = connection.status == Status::Active && connection.auth_kind == AuthKind::ApiKey;
    tally.on_api_key += u64::from(on_key);
    let Some(end) = connection.expected_end.filter(|end| !end.reached(now)) else { return };
    let ahead = end.until(now);
    let day = usize::try_from(ahead.as_secs() / DAY.as_secs()).ok().and_then(|day| tally.ending_by_day.get_mut(day));
    if let Some(ending) = day {
        *ending += 1;
    }
    for (within, days) in [(EndsWithin::Day, 1), (EndsWithin::Week, 7), (EndsWithin::Month, 30)] {
        tally.ending[within as usize] += u64::from(ahead <= DAY * days);
    }
}
