//! API keys of a service and the way from them to OAuth: how welcome keys are, and when that changes. Phases are told by
//! the clock that is handed in, so that keys retire on their day without a restart. Knows no key and no connection.

use std::time::Duration;

use super::ApiKeyPhase;
use crate::clock::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// API keys of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// How welcome they are, as written. [`ApiKeys::phase_at`] tells how it is at a moment.
    pub phase: ApiKeyPhase,
    /// The first moment (UTC midnight) at which they are no longer used; always there under `deprecated`.
    pub retire_on: Option<Timestamp>,
    /// What people are told that OAuth gives them; empty: the pages' own words.
    pub benefits: Vec<String>,
    /// How long before `retire_on` the notice begins.
    pub notice_ahead: Duration,
    /// How long before `retire_on` callers still on a key are reminded, the longest first.
    pub reminders: Vec<Duration>,
    /// How long after `retire_on` keys are deleted; `None`: they stay.
    pub delete_after: Option<Duration>,
}

impl Default for ApiKeys {
    fn default() -> Self {
        Self {
            phase: ApiKeyPhase::default(),
            retire_on: None,
            benefits: Vec::new(),
            notice_ahead: DAY * 30,
            reminders: [30, 14, 7, 1].map(|days| DAY * days).to_vec(),
            delete_after: None,
        }
    }
}

impl ApiKeys {
    /// The phase at `now`: what is deprecated retires by itself on its day.
    pub fn phase_at(&self, now: Timestamp) -> ApiKeyPhase {
        match self.phase {
            ApiKeyPhase::Deprecated if self.retire_on.is_some_and(|day| day.reached(now)) => ApiKeyPhase::Retired,
            phase => phase,
        }
    }

    /// Whether keys are no longer used at `now`.
    pub fn is_retired(&self, now: Timestamp) -> bool {
        self.phase_at(now) == ApiKeyPhase::Retired
    }

    /// Under `deprecated`: when the notice begins, and with it the deprecation (RFC 9745). It may lie ahead.
    pub fn deprecated_on(&self) -> Option<Timestamp> {
        let day = self.retire_on.filter(|_| self.phase == ApiKeyPhase::Deprecated)?;
        Some(day.before(self.notice_ahead))
    }

    /// The latest moment, at `now`, at which callers still on a key are to be told: the beginning of the notice, or a
    /// reminder. What was missed before it is not made up for.
    pub fn latest_notice(&self, now: Timestamp) -> Option<Timestamp> {
        let (begins, ends) = (self.deprecated_on()?, self.retire_on?);
        if ends.reached(now) {
            return None;
        }
        let reminders = self.reminders.iter().map(|ahead| ends.before(*ahead));
        std::iter::once(begins).chain(reminders.filter(|at| *at > begins)).filter(|at| at.reached(now)).max()
    }

    /// When retired keys may be deleted, where they are retired at `now` and it is known since when. Without
    /// `delete_after` that is at once: it takes the operator's own word.
    pub fn deletable_from(&self, now: Timestamp) -> Option<Timestamp> {
        self.is_retired(now).then(|| self.retire_on.unwrap_or_default().plus(self.delete_after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UTC midnight.
    const END: Timestamp = Timestamp::from_seconds(1_803_859_200);

    fn keys(phase: ApiKeyPhase) -> ApiKeys {
        let retire_on = (phase == ApiKeyPhase::Deprecated).then_some(END);
        ApiKeys { phase, retire_on, ..ApiKeys::default() }
    }

    #[test]
    fn only_what_is_deprecated_changes_with_the_clock() {
        for phase in [ApiKeyPhase::Allowed, ApiKeyPhase::Encouraged, ApiKeyPhase::Retired] {
            assert_eq!(keys(phase).phase_at(END.plus(DAY)), phase);
            assert_eq!(keys(phase).latest_notice(END.before(DAY)), None);
        }
        let keys = keys(ApiKeyPhase::Deprecated);
        assert_eq!(keys.phase_at(END.before(Duration::from_millis(1))), ApiKeyPhase::Deprecated);
        assert_eq!(keys.phase_at(END), ApiKeyPhase::Retired);
    }

    #[test]
    fn the_notice_begins_30_days_ahead_and_reminders_follow() {
        let keys = keys(ApiKeyPhase::Deprecated);
        let at = |days: u32| keys.latest_notice(END.before(DAY * days));
        let notice = |days: u32| Some(END.before(DAY * days));
        assert_eq!(at(31), None);
        for (days, told) in [(30, 30), (15, 30), (14, 14), (8, 14), (7, 7), (2, 7), (1, 1)] {
            assert_eq!(at(days), notice(told), "{days} days ahead");
        }
        assert_eq!(keys.latest_notice(END), None, "it is too late to remind anybody");
    }

    #[test]
    fn a_reminder_never_comes_before_the_notice() {
        let keys = ApiKeys { notice_ahead: DAY * 10, ..keys(ApiKeyPhase::Deprecated) };
        assert_eq!(keys.latest_notice(END.before(DAY * 14)), None);
        assert_eq!(keys.latest_notice(END.before(DAY * 9)), Some(END.before(DAY * 10)));
    }

    #[test]
    fn retired_keys_are_deletable_after_their_time() {
        let keys = ApiKeys { delete_after: Some(DAY * 90), ..keys(ApiKeyPhase::Deprecated) };
        assert_eq!(keys.deletable_from(END.before(DAY)), None);
        assert_eq!(keys.deletable_from(END), Some(END.plus(DAY * 90)));
        assert_eq!(self::keys(ApiKeyPhase::Retired).deletable_from(END), Some(Timestamp::default()));
    }
}
