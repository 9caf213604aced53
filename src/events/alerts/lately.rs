//! What failed lately, and whether operators were told of it.

use std::time::Duration;

use super::state::raised_since;
use crate::{
    clock::Timestamp,
    events::failures::{Failure, FailureLog, HOURS_MAX, added_up},
    id::ServiceName,
    store,
};

impl FailureLog {
    /// What failed of these services in the last hours (1 to [`HOURS_MAX`]), the most frequent first.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn failures(
        &self,
        services: impl IntoIterator<Item = &ServiceName>,
        hours: u32,
        now: Timestamp,
    ) -> Result<Vec<Failure>, store::Error> {
        let since = now.before(Duration::from_secs(u64::from(hours.clamp(1, HOURS_MAX)) * 3600));
        let alerted = raised_since(&self.store, &self.vault, since).await?;
        let mut all = added_up(self.batches(services, since).await?);
        for failure in &mut all {
            failure.alerted = alerted.contains(&(failure.service.clone(), failure.error.clone()));
        }
        Ok(all)
    }
}
