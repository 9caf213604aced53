//! What this process's healer is at: which records are whose, and which are left alone for a while. Reads and asks nothing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    id::ServiceName,
    store::{Due, Key},
};

/// How many due records the store names in one go, …
pub const PAGE: usize = 16 * 1024;
/// … and how many of them are read: the next round goes on behind the last one, so that whatever can't be healed keeps
/// nothing else waiting for more than a few rounds.
const LOOK: usize = 4096;
/// How many records wait for one provider at most.
const QUEUE: usize = 4096;
/// How long a record that came to nothing is left alone.
const SET_ASIDE: Duration = Duration::from_secs(45);
/// How many records at most are known to be left alone; others are read again when their turn comes.
const MOST: usize = 64 * 1024;

/// What this process's healer is at.
#[derive(Default)]
pub struct Rounds {
    /// What each provider's worker has yet to look after; without a worker there is no entry.
    queues: Mutex<HashMap<ServiceName, VecDeque<Key>>>,
    /// All that is in those queues, or just being looked after.
    in_hand: Mutex<HashSet<Key>>,
    /// What came to nothing lately, and until when it is left alone.
    aside: Mutex<HashMap<Key, Instant>>,
}

impl Rounds {
    /// Those that are nobody's yet, and behind which record the next round goes on (`None`: at the beginning).
    pub fn free(&self, due: Vec<Due>, now: Instant) -> (Vec<Key>, Option<Due>) {
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

    /// Nothing is left alone any longer: other services are in force, which may be able to heal it.
    pub fn look_at_all(&self) {
        self.aside.lock().clear();
    }

    /// Leaves the record alone for a while, so that those behind it get their turn.
    pub fn set_aside(&self, key: Key) {
        self.leave_alone(key, SET_ASIDE);
    }

    pub fn leave_alone(&self, key: Key, time: Duration) {
        let mut aside = self.aside.lock();
        if aside.len() < MOST {
            aside.insert(key, Instant::now() + time);
        }
    }

    /// Hands records to their provider's worker, as many as it has room for. Says whether there is none yet.
    pub fn hand_over(&self, service: &ServiceName, mut keys: Vec<Key>) -> bool {
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

    /// The record is no longer being looked after.
    pub fn put_down(&self, key: &Key) {
        self.in_hand.lock().remove(key);
    }

    /// The next record of this worker. `None`: its work is done, and the next ones need a new worker.
    pub fn next(&self, service: &ServiceName) -> Option<Key> {
        let mut queues = self.queues.lock();
        let next = queues.get_mut(service).and_then(VecDeque::pop_front);
        if next.is_none() {
            queues.remove(service);
        }
        next
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
