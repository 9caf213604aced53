//! What has been counted of all services together, in a few figures: for whoever keeps them by the day. A scrape has them by
//! service and in more detail.

use super::{
    Metrics, ServiceMetrics,
    histogram::{HALF_DOUBLINGS, Histogram},
    labels::{RefreshOutcome, RequestOutcome},
};

/// What has been counted since the process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Calls that the upstream answered, with anything but 5xx.
    pub answered: u64,
    /// Calls that were answered here, as the caller or the person has something to do.
    pub refused: u64,
    /// Calls that failed, at the upstream or here.
    pub failed: u64,
    /// Tokens that were renewed.
    pub renewed: u64,
    /// Tokens that could not be renewed, now or ever.
    pub not_renewed: u64,
    /// Calls by Valetkey's own part in them: the `n`th took at most [`Totals::own_bound`] seconds, and more than the one before.
    pub own: [u64; HALF_DOUBLINGS + 1],
}

impl Default for Totals {
    fn default() -> Self {
        let own = [0; HALF_DOUBLINGS + 1];
        Self { answered: 0, refused: 0, failed: 0, renewed: 0, not_renewed: 0, own }
    }
}

impl Totals {
    /// The longest time in seconds that counts as the `n`th of [`Totals::own`]: two to each doubling.
    pub fn own_bound(n: usize) -> f64 {
        Histogram::half_doubling(n)
    }

    fn add(&mut self, service: &ServiceMetrics) {
        for (outcome, counted) in RequestOutcome::ALL.iter().zip(&service.requests) {
            if let Some(sum) = self.ended(*outcome) {
                *sum += counted.get();
            }
        }
        for (outcome, counted) in RefreshOutcome::ALL.iter().zip(&service.refreshes) {
            if let Some(sum) = self.refreshed(*outcome) {
                *sum += counted.get();
            }
        }
        for (sum, counted) in self.own.iter_mut().zip(service.overhead.half_doublings()) {
            *sum += counted;
        }
    }

    /// Where a call counts that ended so; `None`: its caller went away, which is nobody's doing here.
    fn ended(&mut self, outcome: RequestOutcome) -> Option<&mut u64> {
        use RequestOutcome as Call;
        match outcome {
            Call::Answered1xx | Call::Answered2xx | Call::Answered3xx | Call::Answered4xx => Some(&mut self.answered),
            Call::Answered5xx
            | Call::UpstreamUnreachable
            | Call::RefreshFailed
            | Call::UpstreamTimeout
            | Call::Unavailable
            | Call::Error => Some(&mut self.failed),
            Call::ClientGone => None,
            _ => Some(&mut self.refused),
        }
    }

    /// Where a refresh counts that ended so; `None`: whoever did the work has counted it.
    fn refreshed(&mut self, outcome: RefreshOutcome) -> Option<&mut u64> {
        match outcome {
            RefreshOutcome::Renewed => Some(&mut self.renewed),
            RefreshOutcome::Adopted => None,
            RefreshOutcome::Refused
            | RefreshOutcome::Failed
            | RefreshOutcome::ClientRefused
            | RefreshOutcome::Interrupted => Some(&mut self.not_renewed),
        }
    }
}

impl Metrics {
    /// What has been counted of all services together. What reached none is not in it.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.services.read().values().for_each(|service| totals.add(service));
        totals
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{id::ServiceName, telemetry::metrics::Took};

    #[test]
    fn all_services_are_added_up_and_what_reached_none_is_left_out() {
        let metrics = Metrics::new();
        let [crm, files] = ["crm", "files"].map(|name| metrics.service(&ServiceName::parse(name).unwrap()));
        let took = Took { total: Duration::ZERO, own: Duration::from_micros(100), upstream: Duration::ZERO };
        crm.call(RequestOutcome::Answered2xx, &took, None);
        files.call(RequestOutcome::Answered4xx, &took, None);
        files.call(RequestOutcome::Answered5xx, &took, None);
        files.request(RequestOutcome::AuthRequired, Duration::ZERO);
        files.request(RequestOutcome::ClientGone, Duration::ZERO);
        metrics.no_service().request(RequestOutcome::NotFound, Duration::ZERO);
        for outcome in [RefreshOutcome::Renewed, RefreshOutcome::Adopted, RefreshOutcome::Refused] {
            crm.refresh(outcome, Duration::ZERO);
        }
        let totals = metrics.totals();
        assert_eq!((totals.answered, totals.refused, totals.failed), (2, 1, 1));
        assert_eq!((totals.renewed, totals.not_renewed), (1, 1));
        let at = totals.own.iter().position(|count| *count > 0).unwrap();
        assert_eq!(totals.own[at], 3);
        assert!(Totals::own_bound(at) >= 1e-4 && Totals::own_bound(at - 1) < 1e-4);
    }
}
