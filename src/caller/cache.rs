//! Tokens that were verified before, so that a caller's second request costs one look-up. An entry is found by a hash of
//! the whole token, keyed anew in each process, and counts only where every byte is the same. The token is held as a
//! secret, once, by the caller that it proved. Expired tokens, which nobody sends again, are swept out as new ones come: a
//! cache that is large enough for everybody shouldn't be filled by yesterday's.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use quick_cache::{Equivalent, sync::Cache};

use super::{Caller, verify::has_expired};
use crate::clock::Timestamp;

/// After this many new tokens, or a quarter of what is held if that is more, the expired ones are swept out: each new token
/// pays for a look at four at most.
const SWEEP: usize = 1024;

/// A token in the cache, by the caller that holds it.
struct Held(Arc<Caller>);

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.token() == other.0.token()
    }
}

impl Eq for Held {}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Presented(self.0.token()).hash(state);
    }
}

/// A token that is looked for.
struct Presented<'a>(&'a [u8]);

impl Hash for Presented<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

impl Equivalent<Held> for Presented<'_> {
    fn equivalent(&self, held: &Held) -> bool {
        self.0 == held.0.token()
    }
}

/// The tokens that were verified, a bounded number of them.
pub(super) struct VerifiedTokens {
    cache: Cache<Held, Arc<Caller>>,
    /// How many came since the last sweep.
    since_sweep: AtomicUsize,
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").field("len", &self.cache.len()).finish_non_exhaustive()
    }
}

impl VerifiedTokens {
    /// A cache of this many tokens at most.
    pub(super) fn new(capacity: usize) -> Self {
        let cache = Cache::new(capacity);
        // All the room at once (half of it is kept for what was evicted): places that nobody has used take no memory, but
        // tables that grow by doubling and move do.
        cache.reserve(capacity / 2);
        Self { cache, since_sweep: AtomicUsize::new(0) }
    }

    /// What is remembered.
    pub(super) fn get(&self, token: &[u8]) -> Option<Arc<Caller>> {
        self.cache.get(&Presented(token))
    }

    /// Remembers.
    pub(super) fn insert(&self, caller: Arc<Caller>, now: Timestamp) {
        self.cache.insert(Held(Arc::clone(&caller)), caller);
        let new = self.since_sweep.fetch_add(1, Ordering::Relaxed);
        if new >= SWEEP && new >= self.cache.len() / 4 {
            self.since_sweep.store(0, Ordering::Relaxed);
            self.cache.retain(|_, caller| !has_expired(caller.expires_at, now));
        }
    }

    /// Forgets.
    pub(super) fn remove(&self, token: &[u8]) {
        self.cache.remove(&Presented(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::testing::caller_with;

    fn entry(token: &str) -> Arc<Caller> {
        Arc::new(caller_with("u", Timestamp::from_seconds(10), token))
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let cache = VerifiedTokens::new(10);
        cache.insert(entry("a.b.c"), Timestamp::default());
        assert!(cache.get(b"a.b.c").is_some());
        for other in ["a.b.d", "a.b.", "a.b.cc", "A.b.c", ""] {
            assert!(cache.get(other.as_bytes()).is_none(), "{other}");
        }
        cache.remove(b"a.b.c");
        assert!(cache.get(b"a.b.c").is_none());
    }

    #[test]
    fn the_cache_is_bounded() {
        for capacity in [0, 100] {
            let cache = VerifiedTokens::new(capacity);
            for number in 0..10_000 {
                cache.insert(entry(&number.to_string()), Timestamp::default());
            }
            assert!(cache.cache.len() <= capacity, "{}", cache.cache.len());
        }
    }

    #[test]
    fn expired_tokens_make_room_as_new_ones_come() {
        let cache = VerifiedTokens::new(1_000_000);
        let begin = 1_000_000;
        for second in begin..begin + 20_000 {
            let (at, expires_at) = (Timestamp::from_seconds(second), Timestamp::from_seconds(second + 600));
            cache.insert(Arc::new(caller_with("u", expires_at, &second.to_string())), at);
        }
        // Those that live are the last 660 with the leeway; what has expired since the last sweep may still be there.
        assert!(cache.cache.len() <= 660 + SWEEP + 1, "{}", cache.cache.len());
        assert!(cache.get((begin + 19_999).to_string().as_bytes()).is_some());
    }
}
