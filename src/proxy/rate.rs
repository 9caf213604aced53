//! Rate limits: a token bucket a caller and service, in this process, bounded in number. Nothing is taken from a bucket by
//! a call that is refused for another reason: it is asked last.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::{
    config::RateLimit,
    id::{CallerId, ServiceName},
    provider::Service,
};

/// How many buckets are kept.
const BUCKETS: usize = 100_000;

/// The buckets.
pub struct Rates(Cache<(ServiceName, CallerId), Arc<Mutex<Bucket>>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Default for Rates {
    fn default() -> Self {
        Self(Cache::new(BUCKETS))
    }
}

impl Rates {
    /// Takes one call from the caller's bucket.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&self, service: &Service, caller: &CallerId) -> Result<(), Duration> {
        let Some(limit) = service.rate_limit else { return Ok(()) };
        let now = Instant::now();
        let full = Bucket { tokens: capacity(limit), filled: now };
        let key = (service.name.clone(), caller.clone());
        let bucket = self.0.get_or_insert_with(&key, || Ok::<_, Duration>(Arc::new(Mutex::new(full))))?;
        let mut bucket = bucket.lock();
        bucket.take(limit, now)
    }
}

impl Bucket {
    fn take(&mut self, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let per_token = limit.per / limit.requests.max(1);
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() / per_token.as_secs_f64().max(1e-9);
        self.tokens = (self.tokens + gained).min(capacity(limit));
        self.filled = now;
        if self.tokens < 1.0 {
            return Err(per_token.mul_f64(1.0 - self.tokens));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

fn capacity(limit: RateLimit) -> f64 {
    f64::from(limit.burst.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_one_call_at_a_time() {
        let limit = RateLimit { requests: 60, per: Duration::from_secs(60), burst: 3 };
        let start = Instant::now();
        let mut bucket = Bucket { tokens: capacity(limit), filled: start };
        for _ in 0..3 {
            assert_eq!(bucket.take(limit, start), Ok(()));
        }
        let wait = bucket.take(limit, start).unwrap_err();
        assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(bucket.take(limit, start + Duration::from_secs(1)), Ok(()));
        assert!(bucket.take(limit, start + Duration::from_millis(1500)).is_err());
    }
}
