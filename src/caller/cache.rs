//! Tokens that were verified before, so that a caller's second request costs one look-up. An entry is found by a hash of
//! the whole token, keyed anew in each process, and counts only where every byte is the same. The token is held as a
//! secret, once, by the caller that it proved.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use quick_cache::{Equivalent, sync::Cache};

use super::Caller;

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

/// What is remembered of a token.
#[derive(Clone)]
pub(super) struct Verified {
    /// Whose it is.
    pub(super) caller: Arc<Caller>,
    /// Who vouched, by its place among the issuers.
    pub(super) issuer: usize,
    /// The issuer's set of keys at that time; another set means to verify again.
    pub(super) epoch: u64,
}

/// The tokens that were verified, a bounded number of them.
pub(super) struct VerifiedTokens(Cache<Held, Verified>);

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").field("len", &self.0.len()).finish_non_exhaustive()
    }
}

impl VerifiedTokens {
    /// A cache of this many tokens at most.
    pub(super) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// What is remembered.
    pub(super) fn get(&self, token: &[u8]) -> Option<Verified> {
        self.0.get(&Presented(token))
    }

    /// Remembers.
    pub(super) fn insert(&self, verified: Verified) {
        self.0.insert(Held(Arc::clone(&verified.caller)), verified);
    }

    /// Forgets.
    pub(super) fn remove(&self, token: &[u8]) {
        self.0.remove(&Presented(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::testing::caller_with;

    fn entry(token: &str) -> Verified {
        Verified { caller: Arc::new(caller_with("u", 10, token)), issuer: 0, epoch: 0 }
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let cache = VerifiedTokens::new(10);
        cache.insert(entry("a.b.c"));
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
                cache.insert(entry(&number.to_string()));
            }
            assert!(cache.0.len() <= capacity, "{}", cache.0.len());
        }
    }
}
