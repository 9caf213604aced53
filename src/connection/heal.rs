//! Ahead of time: the healer renews what is over soon, so that nobody waits for it, and finishes what a replica that died
//! left behind: refreshes that were cut off, revocations that were not done. Replicas share the work through the same
//! leases as everything else, and each provider is asked only so often at a time.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    clock::Timestamp,
    id::ServiceName,
    store::{Due, Expect, Key},
};

use super::{Connections, circuit::Standing, record::Record};

/// How often the store is asked what is due.
const INTERVAL: Duration = Duration::from_secs(10);
/// How many due records the store names in one go, …
const PAGE: usize = 16 * 1024;
/// … and how many of them are read: the next round goes on behind the last one, so that whatever can't be healed keeps
/// nothing else waiting for more than a few rounds.
const LOOK: usize = 4096;
/// How many are read at the same time.
const READS: usize = 16;
/// How many records wait for one provider at most.
const QUEUE: usize = 4096;
/// How many refreshes go to one provider at the same time.
const AT_ONCE: usize = 8;
/// How many refreshes begin at one provider in a second.
const PER_SECOND: u32 = 50;
/// How long a record that came to nothing is left alone.
const SET_ASIDE: Duration = Duration::from_secs(45);
/// How many records at most are known to be left alone; others are read again when their turn comes.
const MOST: usize = 64 * 1024;
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
    if record.moving.is_some() || record.awaits.is_some() {
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
    record.farewell.is_some()
        || record.moving.is_some()
        || record.awaits.is_some()
        || (record.invalid.is_none() && is_due())
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
    aside: Mutex<HashMap<Key, Instant>>,
}

impl Rounds {
    /// Those that are nobody's yet, and behind which record the next round goes on (`None`: at the beginning).
    fn free(&self, due: Vec<Due>, now: Instant) -> (Vec<Key>, Option<Due>) {
        let (in_hand, mut aside) = (self.in_hand.lock(), self.aside.lock());
        aside.retain(|_, until| *until > now);
        let is_full = due.len() >= PAGE;
        let (mut free, mut last) = (Vec::new(), None);
        for (key, at) in due {
            if free.len() >= LOOK {
                return (free, last);
            }
            last = Some((key, at));
            if !in_hand.contains(&key) && !aside.contains_key(&key) {
                free.push(key);
            }
        }
        (free, last.filter(|_| is_full))
    }

    /// Leaves the record alone for a while, so that those behind it get their turn.
    fn set_aside(&self, key: Key) {
        self.leave_alone(key, SET_ASIDE);
    }

    fn leave_alone(&self, key: Key, time: Duration) {
        let mut aside = self.aside.lock();
        if aside.len() < MOST {
            aside.insert(key, Instant::now() + time);
        }
    }

    /// Hands records to their provider's worker, as many as it has room for. Says whether there is none yet.
    fn hand_over(&self, service: &ServiceName, mut keys: Vec<Key>) -> bool {
        let (mut queues, mut in_hand) = (self.queues.lock(), self.in_hand.lock());
        let waiting = queues.get(service).map_or(0, VecDeque::len);
        for key in keys.split_off(keys.len().min(QUEUE.saturating_sub(waiting))) {
            self.set_aside(key);
        }
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
            let mut after = None;
            loop {
                tick.tick().await;
                match connections.0.parts.store.due(connections.now().millis(), after, PAGE).await {
                    Ok(due) => {
                        let (free, last) = rounds.free(due, Instant::now());
                        after = last;
                        connections.share_out(&rounds, free).await;
                    }
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
        for some in due.chunks(READS) {
            let read = join_all(some.iter().map(|key| self.read(key))).await;
            for (key, read) in some.iter().copied().zip(read) {
                match read {
                    Ok(Some((record, _))) if !is_wanted(&record, self.now()) => rounds.set_aside(key),
                    // Another replica may know the service, or this one once it is configured again; until then calls
                    // renew what is theirs.
                    Ok(Some((record, _))) if !self.can_be_healed(&record) => rounds.leave_alone(key, DAY),
                    Ok(Some((record, _))) => work.entry(record.id.service).or_default().push(key),
                    // Its due time outlived it. Whoever wrote it anew since has another.
                    Ok(None) => drop(self.0.parts.store.delete(&key, Expect::Absent).await),
                    Err(error) => {
                        tracing::debug!(%error, "the healer could not read a record");
                        rounds.set_aside(key);
                    }
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
            if self.0.circuits.standing(&service, Instant::now()) == Standing::Spared {
                rounds.in_hand.lock().remove(&key);
                rounds.set_aside(key);
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
                    rounds.set_aside(key);
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
        if record.farewell.is_some() || record.awaits.is_some() {
            self.finish_farewell(key).await;
            true
        } else if let Some(aside) = record.aside {
            // Our clock may be ahead, and somebody may yet speak for it.
            let until = aside.until.unwrap_or_default();
            matches!(self.has_come(key, until).await, Ok(true)) && self.give_up_aside(key).await.is_ok()
        } else if record.moving.is_some() {
            self.finish_move(key).await.is_ok()
        } else if let Some(grant) = record.grant {
            self.refresh(&record.id, grant.generation).await.is_ok()
        } else {
            false
        }
    }

    /// Whether there is a provider to ask, where the record needs one.
    fn can_be_healed(&self, record: &Record) -> bool {
        let service = self.0.parts.services.get(record.id.service.as_str());
        let beyond = record.farewell.is_some() || record.aside.is_some() || record.moving.is_some();
        beyond || service.is_some_and(|service| service.oauth.is_some())
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

    fn key(number: u16) -> Key {
        let mut record = [0; 16];
        record[..2].copy_from_slice(&number.to_be_bytes());
        Key { owner: OwnerId([0; 16]), record: RecordId(record) }
    }

    fn due(numbers: impl IntoIterator<Item = u16>) -> Vec<Due> {
        numbers.into_iter().map(|number| (key(number), 0)).collect()
    }

    fn service() -> ServiceName {
        ServiceName::parse("crm").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_to_nothing_leaves_its_place_to_others_for_a_while() {
        let rounds = Rounds::default();
        rounds.set_aside(key(1));
        assert_eq!(rounds.free(due([1, 2]), Instant::now()).0, [key(2)]);
        assert_eq!(rounds.free(due([1, 2]), Instant::now() + SET_ASIDE).0, [key(1), key(2)]);
        assert!(rounds.aside.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_hand_is_not_handed_out_again() {
        let rounds = Rounds::default();
        assert!(rounds.hand_over(&service(), vec![key(1), key(2)]), "a worker is needed");
        assert!(!rounds.hand_over(&service(), vec![key(3)]), "and one is enough");
        assert_eq!(rounds.free(due(1..=4), Instant::now()).0, [key(4)]);
        let in_turn: Vec<Key> = std::iter::from_fn(|| rounds.next(&service())).collect();
        assert_eq!(in_turn, [key(1), key(2), key(3)]);
        assert!(rounds.hand_over(&service(), vec![key(4)]), "the worker went home");
    }

    #[tokio::test(start_paused = true)]
    async fn each_round_goes_on_where_the_one_before_ended() {
        let rounds = Rounds::default();
        let (first, after) = rounds.free(due(0..10_000), Instant::now());
        assert_eq!((first.len(), after), (LOOK, Some((key(4095), 0))));
        let (second, after) = rounds.free(due(4096..10_000), Instant::now());
        assert_eq!((second[0], after), (key(4096), Some((key(8191), 0))));
        let (third, after) = rounds.free(due(8192..10_000), Instant::now());
        assert_eq!((third.len(), after), (10_000 - 8192, None), "and then from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_holds_no_more_than_it_has_room_for() {
        let rounds = Rounds::default();
        rounds.hand_over(&service(), (0..10_000).map(key).collect());
        assert_eq!(rounds.in_hand.lock().len(), QUEUE);
        assert_eq!(rounds.aside.lock().len(), 10_000 - QUEUE, "the others are left alone for a while");
    }
}
