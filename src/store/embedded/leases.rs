//! Leases of the embedded store. There is only this process, so they live in memory and end with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::{Key, Taken};

/// From how many leases on the ended ones are swept out at each acquisition.
const SWEEP_FROM: usize = 1024;

struct Held {
    holder: String,
    fence: u64,
    until: Instant,
}

#[derive(Default)]
struct State {
    held: HashMap<Key, Held>,
    last_fence: u64,
}

/// Who holds what.
#[derive(Default)]
pub(super) struct Leases(Mutex<State>);

impl Leases {
    /// Takes or extends a lease. `floor`: the fence is at least this, so that it keeps growing over restarts.
    pub(super) fn lease(&self, key: Key, holder: &str, ttl: Duration, now: Instant, floor: u64) -> Taken {
        let State { held, last_fence } = &mut *self.0.lock();
        if held.len() >= SWEEP_FROM {
            held.retain(|_, lease| lease.until > now);
        }
        match held.get_mut(&key).filter(|lease| lease.until > now) {
            Some(lease) if lease.holder == holder => {
                lease.until = now + ttl;
                Taken::Mine { fence: lease.fence }
            }
            Some(lease) => Taken::Theirs { remaining: lease.until - now },
            None => {
                *last_fence = floor.max(last_fence.saturating_add(1));
                held.insert(key, Held { holder: holder.to_owned(), fence: *last_fence, until: now + ttl });
                Taken::Mine { fence: *last_fence }
            }
        }
    }

    pub(super) fn is_held(&self, key: &Key, holder: &str, now: Instant) -> bool {
        self.0.lock().held.get(key).is_some_and(|lease| lease.until > now && lease.holder == holder)
    }

    pub(super) fn renew(&self, key: &Key, holder: &str, ttl: Duration, now: Instant) -> bool {
        let mut state = self.0.lock();
        match state.held.get_mut(key).filter(|lease| lease.until > now && lease.holder == holder) {
            Some(lease) => {
                lease.until = now + ttl;
                true
            }
            None => false,
        }
    }

    pub(super) fn release(&self, key: &Key, holder: &str) {
        let mut state = self.0.lock();
        if state.held.get(key).is_some_and(|lease| lease.holder == holder) {
            state.held.remove(key);
        }
    }
}
