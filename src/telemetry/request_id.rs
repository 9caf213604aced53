//! Makes request ids: a random prefix for this process and a counter, so that an id costs no system call and replicas
//! don't meet.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::RequestId;

/// Where request ids come from.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// A source of its own, with a random prefix.
    ///
    /// # Errors
    /// Where the system has no randomness to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        Ok(Self::with_prefix(getrandom::u64()?))
    }

    /// A source with this prefix.
    pub fn with_prefix(prefix: u64) -> Self {
        Self { prefix, next: AtomicU64::new(0) }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId::from_number((u128::from(self.prefix) << 64) | u128::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_process_share_a_prefix_and_differ() {
        let ids = RequestIds::with_prefix(0xab);
        assert_eq!(ids.next().as_str(), "00000000000000ab0000000000000000");
        assert_eq!(ids.next().as_str(), "00000000000000ab0000000000000001");
    }

    #[test]
    fn two_processes_do_not_meet() {
        let (one, other) = (RequestIds::random().unwrap(), RequestIds::random().unwrap());
        assert_ne!(one.next(), other.next());
    }
}
