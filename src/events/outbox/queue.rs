//! What waits for its time, bounded: when it is full, the oldest goes. And how long to wait. Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    backoff::{self, Backoff},
    clock::Timestamp,
};

/// Waits are made up to this much longer, so that what failed together isn't tried again together.
const JITTER: f64 = 0.2;
/// The longest wait that an endpoint can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Between looks for a store or key service that is away.
pub(super) const PATIENCE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));

/// Things that wait, each for its time.
#[derive(Debug)]
pub(super) struct Queue<T> {
    by_time: BTreeMap<(Timestamp, u64), T>,
    by_age: BTreeMap<u64, Timestamp>,
    capacity: usize,
    next: u64,
}

impl<T> Queue<T> {
    pub const fn new(capacity: usize) -> Self {
        Self { by_time: BTreeMap::new(), by_age: BTreeMap::new(), capacity, next: 0 }
    }

    /// Puts one in, to be taken at `due`. What comes back had to make room: the oldest.
    pub fn push(&mut self, due: Timestamp, item: T) -> Option<T> {
        let dropped = if self.by_age.len() >= self.capacity {
            self.by_age.pop_first().and_then(|(age, time)| self.by_time.remove(&(time, age)))
        } else {
            None
        };
        self.by_time.insert((due, self.next), item);
        self.by_age.insert(self.next, due);
        self.next += 1;
        dropped
    }

    /// Takes at most `limit` whose time has come, the longest due first.
    pub fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(entry) = self.by_time.first_entry().filter(|entry| entry.key().0.reached(now)) else { break };
            self.by_age.remove(&entry.key().1);
            taken.push(entry.remove());
        }
        taken
    }

    /// When the next one's time comes.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.by_time.keys().next().map(|(due, _)| *due)
    }

    /// Takes everything.
    pub fn take_all(&mut self) -> Vec<(Timestamp, T)> {
        self.by_age.clear();
        std::mem::take(&mut self.by_time).into_iter().map(|((due, _), item)| (due, item)).collect()
    }
}

/// When to try again.
#[derive(Debug, Clone)]
pub(super) struct Schedule(pub Vec<Duration>);

impl Schedule {
    /// How long to wait after this many attempts, where the other side may have asked for a time; `None`: it was the last.
    /// `seed` spreads messages out.
    pub fn wait(&self, attempts: u32, asked: Option<Duration>, seed: &str) -> Option<Duration> {
        let wait = *self.0.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
        let wait = wait.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX));
        Some(wait.mul_f64(1.0 + JITTER * backoff::chance(&(seed, attempts))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time() {
        let mut queue = Queue::new(10);
        for (due, item) in [(30, "c"), (10, "a"), (20, "b")] {
            assert_eq!(queue.push(at(due), item), None);
        }
        assert_eq!(queue.next_due(), Some(at(10)));
        assert_eq!(queue.take_due(at(9), 10), Vec::<&str>::new());
        assert_eq!(queue.take_due(at(25), 10), ["a", "b"]);
        assert_eq!(queue.take_due(at(25), 10), Vec::<&str>::new());
        assert_eq!(queue.take_all(), [(at(30), "c")]);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let mut queue = Queue::new(2);
        assert_eq!(queue.push(at(9), "first"), None);
        assert_eq!(queue.push(at(1), "second"), None);
        assert_eq!(queue.push(at(5), "third"), Some("first"));
        assert_eq!(queue.take_due(at(10), 10), ["second", "third"]);
    }

    #[test]
    fn waits_grow_by_the_schedule_with_some_jitter_and_end_with_it() {
        let schedule = Schedule([5, 30, 120].map(Duration::from_secs).to_vec());
        for (attempts, least) in [(1, 5), (2, 30), (3, 120)] {
            let least = Duration::from_secs(least);
            let waits: Vec<_> = (0..50).map(|seed| schedule.wait(attempts, None, &seed.to_string()).unwrap()).collect();
            assert!(waits.iter().all(|wait| (least..=least.mul_f64(1.2)).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "no jitter: {waits:?}");
        }
        assert_eq!(schedule.wait(4, None, "x"), None);
        assert_eq!(schedule.wait(4, Some(Duration::from_secs(1)), "x"), None);
    }

    #[test]
    fn a_time_that_the_other_side_asks_for_is_kept_up_to_an_hour() {
        let schedule = Schedule(vec![Duration::from_secs(5)]);
        let wait = |asked| schedule.wait(1, Some(Duration::from_secs(asked)), "x").unwrap().as_secs();
        assert!((100..=120).contains(&wait(100)));
        assert!((3600..=4320).contains(&wait(1_000_000)));
        assert!((5..=6).contains(&wait(0)));
    }

    #[test]
    fn patience_with_a_store_doubles_up_to_a_minute() {
        assert_eq!(PATIENCE.after(0), Duration::from_millis(500));
        assert_eq!(PATIENCE.after(1), Duration::from_secs(1));
        assert_eq!(PATIENCE.after(60), Duration::from_secs(60));
    }
}
