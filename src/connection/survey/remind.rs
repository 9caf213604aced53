//! The daily work on connections that end: who has one that will end before long is told at each configured distance. What keeps
//! anybody from being told twice is a value for each connection and distance, which is claimed first and says of which consent and
//! which end was told: a process that dies in between leaves one untold rather than told twice. Who turns the events into mails is
//! none of this module's business.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use tokio::time::sleep;

use super::{Filter, Survey, Surveyed, Uses};
use crate::{
    clock::Timestamp,
    connection::{
        daily::{self, DAY, KEPT, PACE},
        lease::Leases,
        model::{AuthKind, End, Status, Unavailable},
        record::facts::Fact,
    },
    events::{Actor, Cause, Kind},
    id::ConnectionId,
    store::Claim,
    vault::Root,
};

/// What this day's work is called.
const WHAT: &str = "what ends";

/// Tells of connections that will end.
pub struct Reminders {
    survey: Arc<Survey>,
    leases: Arc<Leases>,
}

impl Reminders {
    /// Of these connections.
    pub(in crate::connection) fn new(survey: Arc<Survey>, leases: Arc<Leases>) -> Arc<Self> {
        Arc::new(Self { survey, leases })
    }

    /// Does each day's work for as long as the process lives: tells so long before (`ahead`) what ends. Does nothing where that is
    /// empty.
    pub fn look_after(self: &Arc<Self>, ahead: Vec<Duration>) {
        if ahead.is_empty() {
            return;
        }
        let reminders = Arc::clone(self);
        daily::look_after(&self.survey.handle, WHAT, move || {
            let (reminders, ahead) = (Arc::clone(&reminders), ahead.clone());
            async move { reminders.day(&ahead).await }
        });
    }

    /// Does today's work, unless it is done already, or another replica is at it. Says whether it was done here.
    ///
    /// # Errors
    /// While the store or the keys are away; what was told until then stays told.
    pub async fn day(&self, ahead: &[Duration]) -> Result<bool, Unavailable> {
        let records = &self.survey.records;
        let (store, now) = (records.store(), records.now());
        let root = records.roots().get().await?;
        // Other distances on the same day, after a change of the configuration, are other work.
        let today = named(&root, "ending-day", &[now.date().as_bytes(), format!("{ahead:?}").as_bytes()]);
        let work = async {
            let told = self.work(&root, ahead, now).await?;
            tracing::info!(told, "the day's reminders of what ends are given");
            Ok(())
        };
        daily::once((store.as_ref(), &self.leases), (&root, WHAT), &today, work).await
    }

    async fn work(&self, root: &Root, ahead: &[Duration], now: Timestamp) -> Result<u64, Unavailable> {
        let farthest = ahead.iter().max().copied().unwrap_or_default();
        let soon = Filter { ends_before: Some(now.plus(farthest + DAY)), ..Filter::default() };
        let (mut told, mut cursor, mut seen) = (0, None, BTreeSet::new());
        loop {
            let batch = self.survey.batch(&soon, cursor, Uses::WhereTheyDecide).await?;
            for (key, one) in batch.found {
                if seen.insert(key) {
                    told += u64::from(self.remind(root, &one, ahead, now).await?);
                }
            }
            cursor = batch.next;
            if cursor.is_none() {
                return Ok(told);
            }
            sleep(PACE).await;
        }
    }

    /// Tells of one connection, where it is time and it was not told before.
    async fn remind(
        &self,
        root: &Root,
        one: &Surveyed,
        ahead: &[Duration],
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let services = self.survey.live.services();
        // Of a service that is gone nothing can be connected again.
        let Some(service) = services.get(one.id.service.as_str()) else { return Ok(false) };
        let (connection, id) = (&one.connection, &one.id);
        if connection.status != Status::Active || connection.auth_kind != AuthKind::OAuth {
            return Ok(false);
        }
        let Some(end) = connection.end(Some(service), now) else { return Ok(false) };
        let Some(this) = latest(end, connection.connected_at, ahead, now) else { return Ok(false) };
        let about = Told { end: end.at, consent: connection.connected_at.unwrap_or_default() };
        if !self.claim(root, id, this, about, now).await? {
            return Ok(false);
        }
        let cause = Cause::of(Actor::Nobody);
        let fact = Fact { detail: Some(end.reason.name()), ..Fact::new(Kind::Ending { at: end.at }, &cause) };
        self.survey.records.facts().tell(id, &fact);
        Ok(true)
    }

    /// Whether it falls to this process to tell this.
    async fn claim(
        &self,
        root: &Root,
        id: &ConnectionId,
        this: Duration,
        about: Told,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        let store = self.survey.records.store();
        let distance = this.as_secs().to_be_bytes();
        let name = named(root, "ending", &[&id.parts()[..], &[&distance]].concat());
        let ttl = Some(about.end.until(now) + KEPT);
        Ok(match store.put_once(&name, &about.written(), ttl).await? {
            Claim::Mine => true,
            Claim::Theirs(before) if Told::read(&before).is_some_and(|before| before.covers(about)) => false,
            Claim::Theirs(before) => store.replace(&name, &before, &about.written(), ttl).await?,
        })
    }
}

/// The distance at which it is time to tell of an end: the latest whose moment has come. One that came before the consent tells of
/// nothing that the person doesn't know, and of what is over nobody need be warned.
fn latest(end: End, consent: Option<Timestamp>, ahead: &[Duration], now: Timestamp) -> Option<Duration> {
    if end.at.reached(now) {
        return None;
    }
    let has_come = |distance: &Duration| {
        let moment = end.at.before(*distance);
        moment.reached(now) && consent.is_none_or(|consent| moment > consent)
    };
    ahead.iter().copied().filter(has_come).min()
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    end: Timestamp,
    consent: Timestamp,
}

impl Told {
    /// Whether who was told this knows of that: the same consent, and the same end. Ends that answers tell in seconds differ by as
    /// much from one renewal to the next.
    fn covers(self, that: Self) -> bool {
        self.consent == that.consent && self.end.since(that.end).max(that.end.since(self.end)) < DAY
    }

    fn written(self) -> Vec<u8> {
        [self.end.millis(), self.consent.millis()].into_iter().flat_map(u64::to_be_bytes).collect()
    }

    fn read(stored: &[u8]) -> Option<Self> {
        let (end, consent) = stored.split_first_chunk::<8>()?;
        let moment = |bytes: [u8; 8]| Timestamp::from_millis(u64::from_be_bytes(bytes));
        Some(Self { end: moment(*end), consent: moment(consent.try_into().ok()?) })
    }
}

/// The name of a one-time value: reveals nothing without the root.
fn named(root: &Root, what: &str, parts: &[&[u8]]) -> String {
    format!("end-{}", HEXLOWER.encode(&root.blind(what, parts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::model::EndReason;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn due(days: u32, consent: Timestamp) -> Option<u32> {
        let end = End::new(NOW.plus(DAY * days), EndReason::Consent);
        latest(end, Some(consent), &[DAY * 14, DAY * 3], NOW)
            .map(|ahead| u32::try_from(ahead.as_secs() / 86_400).unwrap())
    }

    #[test]
    fn the_latest_distance_that_has_come_since_the_consent_counts() {
        let long_ago = NOW.before(DAY * 300);
        for (days, told) in [(15, None), (14, Some(14)), (4, Some(14)), (3, Some(3)), (1, Some(3)), (0, None)] {
            assert_eq!(due(days, long_ago), told, "{days} days ahead");
        }
        // A grant of seven days: the longer distance lies before it began.
        assert_eq!(due(7, NOW), None);
        assert_eq!(due(4, NOW.before(DAY * 3)), None);
        assert_eq!(due(3, NOW.before(DAY * 4)), Some(3));
        let past = End::new(NOW.before(DAY), EndReason::Unused);
        assert_eq!(latest(past, Some(long_ago), &[DAY * 14], NOW), None);
    }

    #[test]
    fn a_new_consent_and_another_end_are_told_anew() {
        let told = Told { end: NOW.plus(DAY * 3), consent: NOW };
        assert_eq!(Told::read(&told.written()), Some(told));
        assert!(told.covers(Told { end: told.end.plus(Duration::from_secs(2)), ..told }));
        assert!(told.covers(Told { end: told.end.before(Duration::from_secs(2)), ..told }));
        assert!(!told.covers(Told { end: told.end.plus(DAY), ..told }));
        assert!(!told.covers(Told { end: told.end.before(DAY), ..told }));
        assert!(!told.covers(Told { consent: NOW.plus(Duration::from_secs(1)), ..told }));
    }
}
