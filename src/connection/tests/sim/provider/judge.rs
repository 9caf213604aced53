//! What must never happen at the provider: a token that is spent twice outside the window that no protocol closes, and
//! one that is renewed for nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{super::gate::Gate, PATIENCE, Provider, Spend, State};
use crate::connection::record::form::StoredGrant;

impl Provider {
    /// A spent token came again: that is the inherent window, or a fault.
    pub(super) fn judge(&self, token: &str, first: &Spend, sender: &Arc<Gate>, sent: Instant) {
        let now = Instant::now();
        let known = first.landed.unwrap_or(now);
        // A failover that takes lease and intent away leaves nothing to know by that a token is on its way. One that takes
        // the new token away does not: who had it stored still has it, and has a few seconds to store it again once there
        // is a store again. Where that process ends before, dies, or is cut off, everybody who knew is gone with the write.
        let in_flight = self.journal.failover(first.sent - Duration::from_secs(20), known).is_some();
        let restored = |at| self.journal.restored(at) + Duration::from_secs(5);
        let failover = self.journal.failover(known, now);
        let forgotten = failover.map_or(known, restored);
        let gone = failover.is_some() && first.by.left_before(forgotten);
        let inherent = first.lost || in_flight || gone || first.by.troubled(first.sent, forgotten) || sender.troubled(sent, now)
            // It comes after its sender gave up: its answer, too, is lost.
            || sent.elapsed() > PATIENCE;
        if inherent {
            self.journal.count(|counts| counts.inherent += 1);
        } else {
            self.journal.violated(format!("{token} was spent by {} and again by {}", first.by.name, sender.name));
        }
    }

    /// A token was renewed that was neither old nor refused.
    pub(super) fn judge_haste(&self, state: &State, number: usize, token: &str, sent: Instant) {
        let family = &state.families[number];
        let early = sent.duration_since(self.in_use_since(state, number, token)) < self.life.mul_f64(0.7);
        let now = Instant::now();
        let unheard = |(by, sent, lost): &(Arc<Gate>, Instant, bool)| *lost || by.troubled(*sent, now);
        // A request that was on its way already when another was answered: as with a token that is spent twice, a failover
        // may have taken away all that told of it.
        let from = if sent < family.issued { sent - Duration::from_secs(20) } else { family.asked };
        let excused = family.renewal.as_ref().is_some_and(unheard)
            || self.skewed
            || family.refused
            // It comes after its sender gave up; meanwhile another asked.
            || sent.elapsed() > PATIENCE
            || self.journal.failover(from, now.min(sent.max(family.issued))).is_some();
        if early && !excused {
            self.journal.violated(format!("family {number} was renewed for nothing"));
        }
    }

    /// How old the access token is that calls use and this refresh token renews: the family's newest one, or that of a further
    /// consent, which came without a refresh token. A renewal that was on its way meanwhile then brought no more than the
    /// next refresh token: the consent's own access token, which may have been given for more, stays in use until its end,
    /// however short ago that renewal was.
    fn in_use_since(&self, state: &State, number: usize, token: &str) -> Instant {
        let family = &state.families[number];
        let consented = || {
            let grants = self.server.get()?.upgrade()?.records().into_iter().filter_map(|record| record.grant);
            let renewed_by = |grant: &StoredGrant| grant.refresh_token.as_ref().is_some_and(|by| by.expose() == token);
            let in_use = grants.into_iter().find(renewed_by)?.access_token;
            state.access.get(in_use.expose())?.until.checked_sub(self.life)
        };
        if !family.continued {
            return family.asked;
        }
        consented().map_or(family.asked, |since| since.min(family.asked))
    }
}
