//! What failed and is not stored yet, one batch a service and error. The first failure is stored soon; where it goes on, batches
//! take longer and longer, so that a long outage fills no log. Pure: time comes in.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use super::{Batch, Pace};
use crate::{
    clock::Timestamp,
    id::{RequestId, ServiceName},
};

/// How many services and errors are told apart at most; what comes beside them is dropped.
const MOST: usize = 10_000;

type Name = (ServiceName, String);

/// What is not stored yet.
pub(super) struct Gathered {
    pace: Pace,
    batches: BTreeMap<Name, (Timestamp, Batch)>,
    /// When a batch of that name was last taken, and how long it had been gathered.
    taken: BTreeMap<Name, (Timestamp, Duration)>,
    full: bool,
}

impl Gathered {
    pub const fn new(pace: Pace) -> Self {
        Self { pace, batches: BTreeMap::new(), taken: BTreeMap::new(), full: false }
    }

    /// Notes a failure. Says whether a batch begins with it.
    pub fn note(
        &mut self,
        service: &ServiceName,
        error: Cow<'_, str>,
        request: Option<&RequestId>,
        now: Timestamp,
    ) -> bool {
        let name = (service.clone(), error.into_owned());
        if let Some((_, batch)) = self.batches.get_mut(&name) {
            batch.add(request, now);
            return false;
        }
        if self.batches.len() >= MOST {
            if !std::mem::replace(&mut self.full, true) {
                tracing::warn!("too many kinds of failures: some are not told apart, and not counted");
            }
            return false;
        }
        let due = now.plus(self.patience(&name, now));
        let batch = Batch::first(&name.0, &name.1, request, now);
        self.batches.insert(name, (due, batch));
        true
    }

    /// How long to gather now: longer each time, where the last batch was taken only lately.
    fn patience(&self, name: &Name, now: Timestamp) -> Duration {
        match self.taken.get(name) {
            Some((at, before)) if now.since(*at) < *before * 2 => (*before * 2).min(self.pace.longest),
            Some(_) | None => self.pace.first,
        }
    }

    /// When the next batch is to be stored.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.batches.values().map(|(due, _)| *due).min()
    }

    /// Takes what is to be stored by now; `all`: whatever there is.
    pub fn take(&mut self, now: Timestamp, all: bool) -> Vec<Batch> {
        let due: Vec<Name> =
            self.batches.iter().filter(|(_, (due, _))| all || due.reached(now)).map(|(name, _)| name.clone()).collect();
        let mut taken = Vec::with_capacity(due.len());
        for name in due {
            let Some((due, batch)) = self.batches.remove(&name) else { continue };
            let gathered = due.since(batch.first_at()).max(self.pace.first);
            self.taken.insert(name, (now, gathered));
            taken.push(batch);
        }
        let longest = self.pace.longest;
        self.taken.retain(|_, (at, _)| now.since(*at) < longest * 2);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { first: Duration::from_secs(5), longest: Duration::from_secs(60) };

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + millis)
    }

    fn crm() -> ServiceName {
        ServiceName::parse("crm").unwrap()
    }

    #[test]
    fn an_outage_of_an_hour_with_a_hundred_thousand_failures_is_few_batches() {
        let mut gathered = Gathered::new(PACE);
        let mut batches = Vec::new();
        for number in 0..100_000 {
            let now = at(number * 36);
            gathered.note(&crm(), "refresh_failed:timeout".into(), None, now);
            batches.extend(gathered.take(now, false));
        }
        assert!(batches.len() <= 64, "{}", batches.len());
        let waited = batches[0].last_at().since(batches[0].first_at());
        assert!(waited <= Duration::from_millis(5036), "the first is there soon: {waited:?}");
        batches.extend(gathered.take(at(0), true));
        assert_eq!(batches.iter().map(Batch::count).sum::<u64>(), 100_000);
        assert!(gathered.next_due().is_none());
    }

    #[test]
    fn after_a_rest_the_first_one_is_told_soon_again() {
        let mut gathered = Gathered::new(PACE);
        for number in 0..600 {
            gathered.note(&crm(), "denied".into(), None, at(number * 1000));
            gathered.take(at(number * 1000), false);
        }
        gathered.take(at(600_000), true);
        gathered.note(&crm(), "denied".into(), None, at(900_000));
        assert_eq!(gathered.next_due(), Some(at(905_000)));
    }

    #[test]
    fn services_and_errors_are_told_apart_and_their_number_has_an_end() {
        let mut gathered = Gathered::new(PACE);
        gathered.note(&crm(), "denied".into(), None, at(0));
        gathered.note(&ServiceName::parse("calendar").unwrap(), "denied".into(), None, at(1));
        gathered.note(&crm(), "used".into(), None, at(2));
        gathered.note(&crm(), "used".into(), None, at(3));
        let taken = gathered.take(at(0), true);
        assert_eq!(taken.iter().map(Batch::count).collect::<Vec<_>>(), [1, 1, 2]);
        for number in 0..MOST + 50 {
            gathered.note(&crm(), number.to_string().into(), None, at(0));
        }
        assert_eq!(gathered.take(at(0), true).len(), MOST);
    }
}
