//! Tokens that were verified before, so that a caller's second request costs a hash and a look-up. A token itself is never
//! kept: entries are found by SHA-256 of a random key of this process and the whole token.

use std::{
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use quick_cache::{UnitWeighter, sync::DefaultLifecycle};
use sha2::{Digest, Sha256};

use super::Caller;

/// Stands for a token in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Passes a fingerprint's first bytes on: they are as good as random already.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
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

type Entries =
    quick_cache::sync::Cache<Fingerprint, Verified, UnitWeighter, BuildHasherDefault<AlreadyHashed>, Lifecycle>;
type Lifecycle = DefaultLifecycle<Fingerprint, Verified>;

/// The tokens that were verified, a bounded number of them.
pub(super) struct VerifiedTokens {
    keyed: Sha256,
    entries: Entries,
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").field("len", &self.entries.len()).finish_non_exhaustive()
    }
}

impl VerifiedTokens {
    /// A cache of this many tokens at most.
    pub(super) fn new(capacity: usize) -> Self {
        // A whole block of key, so that its hashing is done once and for all. Without randomness the fingerprint is still a
        // SHA-256 of the token: what is lost is only that nobody could compute it.
        let mut key = [0; 64];
        let _ = getrandom::fill(&mut key);
        let keyed = Sha256::new_with_prefix(key);
        let weight = u64::try_from(capacity).unwrap_or(u64::MAX);
        let entries =
            Entries::with(capacity, weight, UnitWeighter, BuildHasherDefault::default(), DefaultLifecycle::default());
        Self { keyed, entries }
    }

    /// What stands for this token here.
    pub(super) fn fingerprint(&self, token: &str) -> Fingerprint {
        Fingerprint(self.keyed.clone().chain_update(token).finalize().into())
    }

    /// What is remembered.
    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<Verified> {
        self.entries.get(fingerprint)
    }

    /// Remembers.
    pub(super) fn insert(&self, fingerprint: Fingerprint, verified: Verified) {
        self.entries.insert(fingerprint, verified);
    }

    /// Forgets.
    pub(super) fn remove(&self, fingerprint: &Fingerprint) {
        self.entries.remove(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::testing::caller;

    fn entry() -> Verified {
        Verified { caller: Arc::new(caller("u", 10)), issuer: 0, epoch: 0 }
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes() {
        let cache = VerifiedTokens::new(10);
        cache.insert(cache.fingerprint("a.b.c"), entry());
        assert!(cache.get(&cache.fingerprint("a.b.c")).is_some());
        for other in ["a.b.d", "a.b.", "a.b.cc", "A.b.c", ""] {
            assert!(cache.get(&cache.fingerprint(other)).is_none(), "{other}");
        }
        cache.remove(&cache.fingerprint("a.b.c"));
        assert!(cache.get(&cache.fingerprint("a.b.c")).is_none());
    }

    #[test]
    fn two_processes_have_different_fingerprints() {
        let (one, other) = (VerifiedTokens::new(1), VerifiedTokens::new(1));
        assert!(one.fingerprint("a.b.c") != other.fingerprint("a.b.c"));
    }

    #[test]
    fn the_cache_is_bounded() {
        for capacity in [0, 100] {
            let cache = VerifiedTokens::new(capacity);
            for number in 0..10_000 {
                cache.insert(cache.fingerprint(&number.to_string()), entry());
            }
            assert!(cache.entries.len() <= capacity, "{}", cache.entries.len());
        }
    }
}
