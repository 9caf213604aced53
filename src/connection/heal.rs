//! Ahead of time: the healer renews what is over soon, so that nobody waits for it, and finishes what a replica that died
//! left behind: refreshes that were cut off, revocations that were not done. Replicas share the work through the same
//! leases as everything else, and each provider is asked only so often at a time.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{clock::Timestamp, id::ServiceName, store::Key};

use super::{Connections, circuit::Standing, record::Record};

/// How often the store is asked what is due.
const INTERVAL: Duration = Duration::from_secs(10);
/// How many records are looked at in one go.
const BATCH: usize = 512;
/// How many refreshes go to one provider at the same time.
const AT_ONCE: usize = 8;
/// How many refreshes begin at one provider in a second.
const PER_SECOND: u32 = 50;
/// How long a record that came to nothing is left alone.
const SET_ASIDE: Duration = Duration::from_secs(45);
/// So many records are in hand or left alone at most.
const MOST: usize = 16 * 1024;
/// Tokens that live shorter are renewed when they are used, not for their own sake.
const WORTH_HEALING: Duration = Duration::from_secs(60);
/// Tokens that live longer than this are renewed this long before their end.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What was begun and not finished is looked at again after this.
const UNFINISHED: Duration = Duration::from_secs(45);

/// When a record should be looked at: at the end of a cut-off refresh or revocation, else ahead of its token's end. The
/// jitter is the record's own, so that tokens issued together aren't renewed together.
pub fn due(record: &Record, now: Timestamp) -> Option<Timestamp> {
    if let Some(farewell) = &record.farewell {
        let doublings = farewell.attempts.min(10);
        return Some(now.plus(Duration::from_secs(15).saturating_mul(1 << doublings)));
    }
    if let Some(aside) = &record.aside {
        return Some(aside.until.unwrap_or(now).max(now));
    }
    if record.moving.is_some() {
        return Some(now.plus(UNFINISHED));
    }
    if record.invalid.is_some() {
        return None;
    }
    if record.mark.is_some() {
        return Some(now.plus(UNFINISHED));
    }
    // What is overdue already was tried and failed: not at once again.
    Some(ahead(record, now)?.max(now.plus(UNFINISHED)))
}

/// When a token should be renewed for its own sake.
fn ahead(record: &Record, now: Timestamp) -> Option<Timestamp> {
    let grant = record.grant.as_ref().filter(|grant| grant.refresh_token.is_some())?;
    let end = grant.expires_at?;
    let life = end.since(grant.issued_at.unwrap_or(now));
    if life < WORTH_HEALING {
        return None;
    }
    let ahead = if life > DAY { DAY } else { life / 4 };
    let jitter = (ahead / 4).mul_f64(spread(record));
    let at = end.millis().saturating_sub(u64::try_from((ahead - jitter).as_millis()).unwrap_or(0));
    Some(Timestamp::from_millis(at))
}

/// Whether the record still asks for what its due time stood for: another replica may have been quicker.
fn is_wanted(record: &Record, now: Timestamp) -> bool {
    if let Some(aside) = &record.aside {
        return aside.until.is_none_or(|until| until.reached(now));
    }
    let is_due = || record.mark.is_some() || ahead(record, now).is_some_and(|at| at.reached(now));
    record.farewell.is_some() || record.moving.is_some() || (record.invalid.is_none() && is_due())
}

/// From 0 to 1, the same for a grant each time and everywhere.
fn spread(record: &Record) -> f64 {
    let mut hasher = DefaultHasher::new();
    (&record.id, record.grant.as_ref().map(|grant| grant.generation)).hash(&mut hasher);
    f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
}

/// What this process's healer is at.
#[derive(Default)]
struct Rounds {
    /// What each provider's worker has yet to look after; without a worker there is no entry.
    queues: Mutex<HashMap<ServiceName, VecDeque<Key>>>,
    /// All that is in those queues, or just being looked after.
    in_hand: Mutex<HashSet<Key>>,
    /// What came to nothing lately, and until when it is left alone.
    aside: Mutex<HashMap<Key, Timestamp>>,
}

impl Rounds {
    /// Those that are nobody's yet.
    fn free(&self, due: Vec<(Key, u64)>, now: Timestamp) -> Vec<Key> {
        let (in_hand, mut aside) = (self.in_hand.lock(), self.aside.lock());
        aside.retain(|_, until| !until.reached(now));
        let free = |key: &Key| !in_hand.contains(key) && !aside.contains_key(key);
        due.into_iter().map(|(key, _)| key).filter(free).take(BATCH).collect()
    }

    /// So many due records may be somebody's already.
    fn taken(&self) -> usize {
        self.in_hand.lock().len() + self.aside.lock().len()
    }

    /// Leaves the record alone for a while, so that those behind it get their turn.
    fn set_aside(&self, key: Key, now: Timestamp) {
        let mut aside = self.aside.lock();
        if aside.len() < MOST {
            aside.insert(key, now.plus(SET_ASIDE));
        }
    }

    /// Hands records to their provider's worker. Says whether there is none yet.
    fn hand_over(&self, service: &ServiceName, keys: Vec<Key>) -> bool {
        let (mut queues, mut in_hand) = (self.queues.lock(), self.in_hand.lock());
        in_hand.extend(&keys);
        match queues.get_mut(service) {
            Some(queue) => {
                queue.extend(keys);
                false
            }
            None => {
                queues.insert(service.clone(), keys.into());
                true
            }
        }
    }

    /// The next record of this worker. `None`: its work is done, and the next ones need a new worker.
    fn next(&self, service: &ServiceName) -> Option<Key> {
        let mut queues = self.queues.lock();
        let next = queues.get_mut(service).and_then(VecDeque::pop_front);
        if next.is_none() {
            queues.remove(service);
        }
        next
    }
}

impl Connections {
    /// Heals until the process is to end.
    pub(super) fn heal(&self) {
        let connections = self.clone();
        let ending = self.0.background.clone();
        self.0.parts.handle.spawn(ending.run_until_cancelled_owned(async move {
            let rounds = Arc::new(Rounds::default());
            let mut tick = tokio::time::interval(INTERVAL);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let (now, taken) = (connections.now(), rounds.taken());
                if taken >= MOST {
                    continue;
                }
                match connections.0.parts.store.due(now.millis(), BATCH + taken).await {
                    Ok(due) => connections.share_out(&rounds, rounds.free(due, now)).await,
                    Err(error) => tracing::debug!(%error, "the healer could not ask the store what is due"),
                }
            }
        }));
    }

    /// Reads what is due and hands it to its provider's worker: none waits for another's provider.
    async fn share_out(&self, rounds: &Arc<Rounds>, mut due: Vec<Key>) {
        // Replicas begin at different ends, so that they seldom meet.
        due.sort_unstable_by_key(|key| self.spread_out(key));
        let mut work: BTreeMap<ServiceName, Vec<Key>> = BTreeMap::new();
        for key in due {
            match self.read(&key).await {
                Ok(Some((record, _))) if is_wanted(&record, self.now()) => {
                    work.entry(record.id.service).or_default().push(key);
                }
                Ok(Some(_)) => rounds.set_aside(key, self.now()),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "the healer could not read a record");
                    rounds.set_aside(key, self.now());
                }
            }
        }
        for (service, keys) in work {
            if rounds.hand_over(&service, keys) {
                self.0.parts.handle.spawn(self.clone().attend(Arc::clone(rounds), service));
            }
        }
    }

    /// Looks after the due records of one provider: so many at the same time, and no more in a second than it bears.
    async fn attend(self, rounds: Arc<Rounds>, service: ServiceName) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut pace = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(key) = rounds.next(&service) {
            if self.0.circuits.standing(&service, self.now()) == Standing::Spared {
                rounds.in_hand.lock().remove(&key);
                rounds.set_aside(key, self.now());
                continue;
            }
            pace.tick().await;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            // Whoever waited for a place may find that nothing is begun any more.
            if self.0.background.is_cancelled() {
                return;
            }
            let (connections, rounds) = (self.clone(), Arc::clone(&rounds));
            self.0.parts.handle.spawn(async move {
                let _place = place;
                let done = connections.look_after(key).await;
                rounds.in_hand.lock().remove(&key);
                if !done {
                    rounds.set_aside(key, connections.now());
                }
            });
        }
    }

    /// Does what the record asks for. Says whether that came to something.
    async fn look_after(&self, key: Key) -> bool {
        let record = match self.read(&key).await {
            Ok(Some((record, _))) => record,
            Ok(None) => return true,
            Err(_) => return false,
        };
        if !is_wanted(&record, self.now()) {
            return true;
        }
        if record.farewell.is_some() {
            self.finish_farewell(key).await;
            true
        } else if record.aside.is_some() {
            self.give_up_aside(key).await.is_ok()
        } else if record.moving.is_some() {
            self.finish_move(key).await.is_ok()
        } else if let Some(grant) = record.grant {
            self.refresh(&record.id, grant.generation).await.is_ok()
        } else {
            false
        }
    }

    fn spread_out(&self, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.0.process, key).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{OwnerId, RecordId};

    fn key(number: u8) -> Key {
        Key { owner: OwnerId([0; 16]), record: RecordId([number; 16]) }
    }

    fn keys(numbers: impl IntoIterator<Item = u8>) -> Vec<(Key, u64)> {
        numbers.into_iter().map(|number| (key(number), 0)).collect()
    }

    fn service() -> ServiceName {
        ServiceName::parse("crm").unwrap()
    }

    #[test]
    fn what_came_to_nothing_leaves_its_place_to_others_for_a_while() {
        let (rounds, now) = (Rounds::default(), Timestamp::from_seconds(1000));
        rounds.set_aside(key(1), now);
        assert_eq!(rounds.free(keys([1, 2]), now), [key(2)]);
        assert_eq!(rounds.taken(), 1, "so many more are asked for");
        assert_eq!(rounds.free(keys([1, 2]), now.plus(SET_ASIDE)), [key(1), key(2)]);
        assert_eq!(rounds.taken(), 0);
    }

    #[test]
    fn what_is_in_hand_is_not_handed_out_again() {
        let (rounds, now) = (Rounds::default(), Timestamp::from_seconds(1000));
        assert!(rounds.hand_over(&service(), vec![key(1), key(2)]), "a worker is needed");
        assert!(!rounds.hand_over(&service(), vec![key(3)]), "and one is enough");
        assert_eq!(rounds.free(keys(1..=4), now), [key(4)]);
        let in_turn: Vec<Key> = std::iter::from_fn(|| rounds.next(&service())).collect();
        assert_eq!(in_turn, [key(1), key(2), key(3)]);
        assert!(rounds.hand_over(&service(), vec![key(4)]), "the worker went home");
    }
}
