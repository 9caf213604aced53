//! Patience with token endpoints, one circuit each: after a few failures in a row nobody asks for a while, which doubles
//! with each further failure; `Retry-After` is honoured, up to a quarter of an hour. Kept in this process only. Never
//! says anything about a connection: only about who is not asked right now.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use crate::{clock::Timestamp, id::ServiceName};

/// So many failures in a row are borne before calls are held back.
const TOLERATED: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// One circuit a token endpoint.
#[derive(Debug, Default)]
pub struct Circuits(Mutex<HashMap<ServiceName, Circuit>>);

#[derive(Debug, Default, Clone, Copy)]
struct Circuit {
    failures: u32,
    open_until: Timestamp,
}

impl Circuits {
    /// Whether the endpoint may be asked now.
    pub fn allows(&self, service: &ServiceName, now: Timestamp) -> bool {
        self.0.lock().get(service).is_none_or(|circuit| circuit.open_until.reached(now))
    }

    /// The endpoint answered, whatever it said of the token.
    pub fn answered(&self, service: &ServiceName) {
        self.0.lock().remove(service);
    }

    /// The endpoint failed. `chance` spreads replicas out, from 0 to 1.
    pub fn failed(&self, service: &ServiceName, retry_after: Option<Duration>, now: Timestamp, chance: f64) {
        let mut circuits = self.0.lock();
        let circuit = circuits.entry(service.clone()).or_default();
        // Begun before the pause: one more sign of the failure that caused it, not a further one.
        if retry_after.is_none() && !circuit.open_until.reached(now) {
            return;
        }
        circuit.failures = circuit.failures.saturating_add(1);
        let pause = match retry_after {
            Some(wanted) => wanted.min(LONGEST_RETRY_AFTER),
            None if circuit.failures < TOLERATED => return,
            None => {
                let doublings = (circuit.failures - TOLERATED).min(16);
                FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE).mul_f64(0.5 + chance / 2.0)
            }
        };
        circuit.open_until = now.plus(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceName {
        ServiceName::parse("github").unwrap()
    }

    #[test]
    fn a_few_failures_are_borne_then_the_pause_doubles() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        for _ in 0..2 {
            circuits.failed(&service(), None, now, 1.0);
            assert!(circuits.allows(&service(), now));
        }
        circuits.failed(&service(), None, now, 1.0);
        assert!(!circuits.allows(&service(), now.plus(Duration::from_millis(499))));
        assert!(circuits.allows(&service(), now.plus(Duration::from_millis(500))));
        let now = now.plus(Duration::from_millis(500));
        circuits.failed(&service(), None, now, 1.0);
        assert!(!circuits.allows(&service(), now.plus(Duration::from_millis(999))));
        assert!(circuits.allows(&service(), now.plus(Duration::from_millis(1000))));
    }

    #[test]
    fn many_refreshes_that_fail_at_once_are_one_failure() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        for _ in 0..50 {
            circuits.failed(&service(), None, now, 1.0);
        }
        assert!(circuits.allows(&service(), now.plus(FIRST_PAUSE)));
    }

    #[test]
    fn an_answer_closes_the_circuit() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        circuits.failed(&service(), Some(Duration::from_secs(60)), now, 0.0);
        assert!(!circuits.allows(&service(), now));
        circuits.answered(&service());
        assert!(circuits.allows(&service(), now));
    }

    #[test]
    fn an_absurd_retry_after_is_capped() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        circuits.failed(&service(), Some(Duration::from_secs(1 << 40)), now, 0.0);
        assert!(circuits.allows(&service(), now.plus(LONGEST_RETRY_AFTER)));
    }
}
