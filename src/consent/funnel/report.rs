//! What the counts of a service add up to over some days: those up to now, by the hour, so that the last one counts as far as it
//! has come.

use std::ops::RangeInclusive;

use futures_util::future::try_join_all;

use super::{
    DAYS_MAX, Family, Fingerprint, Funnel, Stage,
    asked::{self, Generation},
    counters::{Counter, hour},
    duration, error,
    figures::{Asked, BrowserCount, Change, ErrorCount, Report, percent},
    insights,
};
use crate::{clock::Timestamp, connection::Unavailable, id::ServiceName, provider::Service, vault::Root};

/// How many buckets are asked for in one go: the store has others to serve.
const AT_ONCE: u64 = 2048;

impl Funnel {
    /// What the counts of this service, which owns its connections, add up to over `days` (1 to [`DAYS_MAX`]) up to now.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn report(&self, service: &Service, days: u32, now: Timestamp) -> Result<Report, Unavailable> {
        let root = self.0.roots.get().await?;
        let name = &service.name;
        let hours = last_hours(days, now);
        let kinds = |counter| self.kinds(&root, name, counter, hours.clone());
        let counters = [
            Counter::Stage(Stage::Offered),
            Counter::Stage(Stage::Opened),
            Counter::Stage(Stage::Initiated),
            Counter::Stage(Stage::Authorized),
            Counter::Stage(Stage::Completed),
            Counter::Failed,
            Counter::Errors,
            Counter::Durations,
        ];
        let counts = try_join_all(counters.map(kinds)).await?;
        let [offered, opened, initiated, authorized, completed, failed, errors, durations] = counts.as_slice() else {
            return Ok(Report::default());
        };
        let total = |kinds: &[u64]| kinds.iter().sum::<u64>();
        let mut report = Report {
            service: name.to_string(),
            days: days.clamp(1, DAYS_MAX),
            offered: total(offered),
            opened: total(opened),
            initiated: total(initiated),
            authorized: total(authorized),
            completed: total(completed),
            failed: total(failed),
            conversion_rate: percent(total(completed), total(initiated)),
            median_seconds: duration::quantile(durations, 0.5),
            p90_seconds: duration::quantile(durations, 0.9),
            errors: errors_of(errors),
            browsers: browsers_of(opened, initiated, completed),
            insights: Vec::new(),
        };
        let scopes = service.oauth.as_ref().map(|oauth| oauth.scopes.as_slice()).unwrap_or_default();
        let change = self.change(&root, name, scopes, days, now).await?;
        report.insights = insights::of(&report, change.as_ref());
        Ok(report)
    }

    /// How many of each kind there were in these hours.
    async fn kinds(
        &self,
        root: &Root,
        service: &ServiceName,
        counter: Counter,
        hours: RangeInclusive<u64>,
    ) -> Result<Vec<u64>, Unavailable> {
        let (name, width) = (counter.name(root, service), counter.width());
        let mut kinds = vec![0; usize::try_from(width).unwrap_or(1)];
        let (mut from, last) = (counter.bucket(*hours.start(), 0), counter.bucket(*hours.end(), width - 1));
        while from <= last {
            let to = last.min(from + AT_ONCE - 1);
            for (bucket, count) in self.0.store.counts(&name, from..=to).await? {
                if let Some(kind) = usize::try_from(bucket % width).ok().and_then(|kind| kinds.get_mut(kind)) {
                    *kind += count;
                }
            }
            from = to + 1;
        }
        Ok(kinds)
    }

    /// What came of asking for the scopes that are asked for now, where some were added to those before. Those before are
    /// counted for as many days before the change.
    async fn change(
        &self,
        root: &Root,
        service: &ServiceName,
        scopes: &[String],
        days: u32,
        now: Timestamp,
    ) -> Result<Option<Change>, Unavailable> {
        let all = self.0.generations.of(root, service).await?;
        let Some((before, after)) = last_change(&all, scopes) else { return Ok(None) };
        let added: Vec<String> = after.scopes.iter().filter(|scope| !before.scopes.contains(scope)).cloned().collect();
        if added.is_empty() {
            return Ok(None);
        }
        let asked = async |of: &Generation, until| {
            let counter = Counter::Asked(Fingerprint::of(&of.scopes));
            let kinds = self.kinds(root, service, counter, last_hours(days, until)).await?;
            let of_kind = |kind| usize::try_from(kind).ok().and_then(|kind| kinds.get(kind)).copied().unwrap_or(0);
            Ok::<_, Unavailable>(Asked { initiated: of_kind(asked::INITIATED), denied: of_kind(asked::DENIED) })
        };
        let (since, before, after) = (after.since, asked(before, after.since).await?, asked(after, now).await?);
        Ok(Some(Change { since, added, before, after }))
    }
}

/// The set that is asked for now, and the one before it.
fn last_change<'g>(all: &'g [Generation], now: &[String]) -> Option<(&'g Generation, &'g Generation)> {
    let at = all.iter().position(|one| Fingerprint::of(&one.scopes) == Fingerprint::of(now))?;
    Some((all.get(at.checked_sub(1)?)?, all.get(at)?))
}

/// The hours of this many days, the last of which is that of `until`.
fn last_hours(days: u32, until: Timestamp) -> RangeInclusive<u64> {
    let last = hour(until);
    last.saturating_sub(u64::from(days.clamp(1, DAYS_MAX)) * 24 - 1)..=last
}

fn errors_of(counts: &[u64]) -> Vec<ErrorCount> {
    let counted = counts.iter().zip(0..).filter(|(count, _)| **count > 0);
    let mut errors: Vec<ErrorCount> = counted
        .filter_map(|(count, number)| {
            let (why, error) = error::numbered(number)?;
            Some(ErrorCount { error, count: *count, why })
        })
        .collect();
    errors.sort_by_key(|error| std::cmp::Reverse(error.count));
    errors
}

fn browsers_of(opened: &[u64], initiated: &[u64], completed: &[u64]) -> Vec<BrowserCount> {
    let of = |counts: &[u64], family: Family| counts.get(family as usize).copied().unwrap_or(0);
    let all = Family::ALL.into_iter().map(|browser| BrowserCount {
        browser,
        opened: of(opened, browser),
        initiated: of(initiated, browser),
        completed: of(completed, browser),
    });
    all.filter(|count| count.opened + count.initiated + count.completed > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_end_with_the_hour_that_it_is() {
        let now = Timestamp::from_seconds(1000 * 3600 + 59);
        assert_eq!(last_hours(1, now), 977..=1000);
        assert_eq!(last_hours(7, now).count(), 168);
        assert_eq!(last_hours(9999, now), 0..=1000);
    }
}
