//! Patience with token endpoints, one circuit each: after a few failures in a row nobody asks for a while, which doubles
//! with each further failure; `Retry-After` is honoured, up to a quarter of an hour. After a pause one asks first, and
//! the others wait for what it hears. Kept in this process only. Never says anything about a connection: only about who
//! is not asked right now.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

use crate::{clock::Timestamp, id::ServiceName};

/// So many failures in a row are borne before calls are held back.
const TOLERATED: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// One circuit a token endpoint.
#[derive(Debug, Default)]
pub struct Circuits {
    circuits: Mutex<HashMap<ServiceName, Circuit>>,
    probed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Circuit {
    failures: u32,
    /// How often there was a pause.
    pauses: u32,
    open_until: Timestamp,
    /// Somebody asks, for all.
    probing: bool,
}

/// Whether an endpoint may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Asked,
    /// Someone asks for the first time after a pause: what they hear goes for all.
    Probed,
    /// It may not: it is given a pause.
    Spared,
}

impl Circuit {
    fn standing(&self, now: Timestamp) -> Standing {
        if !self.open_until.reached(now) {
            Standing::Spared
        } else if self.probing {
            Standing::Probed
        } else {
            Standing::Asked
        }
    }
}

/// Leave to ask an endpoint once. Dropped without a word, it is as if nobody had asked.
#[derive(Debug)]
pub struct Pass<'c> {
    circuits: &'c Circuits,
    service: ServiceName,
    pauses: u32,
    probes: bool,
}

impl Circuits {
    /// Whether the endpoint may be asked now.
    pub fn standing(&self, service: &ServiceName, now: Timestamp) -> Standing {
        self.circuits.lock().get(service).map_or(Standing::Asked, |circuit| circuit.standing(now))
    }

    /// Leave to ask the endpoint now.
    ///
    /// # Errors
    /// Where it may not be asked: how it stands.
    pub fn admit(&self, service: &ServiceName, now: Timestamp) -> Result<Pass<'_>, Standing> {
        let mut pauses = 0;
        if let Some(circuit) = self.circuits.lock().get_mut(service) {
            match circuit.standing(now) {
                Standing::Asked => {
                    pauses = circuit.pauses;
                    circuit.probing = pauses > 0;
                }
                held => return Err(held),
            }
        }
        Ok(Pass { circuits: self, service: service.clone(), pauses, probes: pauses > 0 })
    }

    /// Comes when what somebody asked for all is answered, or was given up. Taken before [`Circuits::standing`] is asked.
    pub fn probed(&self) -> Notified<'_> {
        self.probed.notified()
    }
}

impl Pass<'_> {
    /// The endpoint answered, whatever it said of the token.
    pub fn answered(self) {
        self.circuits.circuits.lock().remove(&self.service);
    }

    /// The endpoint failed. `chance` spreads replicas out, from 0 to 1.
    pub fn failed(self, retry_after: Option<Duration>, now: Timestamp, chance: f64) {
        let mut circuits = self.circuits.circuits.lock();
        let circuit = circuits.entry(self.service.clone()).or_default();
        // Begun before the latest pause: one more sign of the failure that caused it, not a further one.
        if retry_after.is_none() && self.pauses != circuit.pauses {
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
        circuit.pauses = circuit.pauses.saturating_add(1);
        circuit.probing = false;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.probes {
            return;
        }
        if let Some(circuit) = self.circuits.circuits.lock().get_mut(&self.service)
            && circuit.pauses == self.pauses
        {
            circuit.probing = false;
        }
        self.circuits.probed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceName {
        ServiceName::parse("github").unwrap()
    }

    fn fail(circuits: &Circuits, retry_after: Option<Duration>, now: Timestamp) {
        circuits.admit(&service(), now).expect("it may be asked").failed(retry_after, now, 1.0);
    }

    fn standing(circuits: &Circuits, now: Timestamp) -> Standing {
        circuits.standing(&service(), now)
    }

    /// A circuit whose first pause is over at the time given back.
    fn paused() -> (Circuits, Timestamp) {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        for _ in 0..TOLERATED {
            fail(&circuits, None, now);
        }
        (circuits, now.plus(FIRST_PAUSE))
    }

    #[test]
    fn a_few_failures_are_borne_then_the_pause_doubles() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        for _ in 0..2 {
            fail(&circuits, None, now);
            assert_eq!(standing(&circuits, now), Standing::Asked);
        }
        fail(&circuits, None, now);
        assert_eq!(standing(&circuits, now.plus(Duration::from_millis(499))), Standing::Spared);
        let now = now.plus(Duration::from_millis(500));
        fail(&circuits, None, now);
        assert_eq!(standing(&circuits, now.plus(Duration::from_millis(999))), Standing::Spared);
        assert_eq!(standing(&circuits, now.plus(Duration::from_millis(1000))), Standing::Asked);
    }

    #[test]
    fn many_refreshes_that_fail_at_once_are_one_failure() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        let passes: Vec<_> = (0..50).map(|_| circuits.admit(&service(), now).unwrap()).collect();
        for pass in passes {
            pass.failed(None, now, 1.0);
        }
        assert_eq!(standing(&circuits, now.plus(FIRST_PAUSE)), Standing::Asked);
    }

    #[test]
    fn after_a_pause_one_asks_for_all() {
        let (circuits, now) = paused();
        let probe = circuits.admit(&service(), now).unwrap();
        assert_eq!(circuits.admit(&service(), now).unwrap_err(), Standing::Probed);
        assert_eq!(standing(&circuits, now), Standing::Probed);
        probe.answered();
        let both = (circuits.admit(&service(), now), circuits.admit(&service(), now));
        assert!(both.0.is_ok() && both.1.is_ok(), "it answers again");
    }

    #[test]
    fn a_probe_that_fails_makes_the_next_pause_longer() {
        let (circuits, now) = paused();
        fail(&circuits, None, now);
        assert_eq!(standing(&circuits, now.plus(FIRST_PAUSE)), Standing::Spared);
        assert_eq!(standing(&circuits, now.plus(FIRST_PAUSE * 2)), Standing::Asked);
    }

    #[test]
    fn a_probe_that_was_given_up_leaves_its_place_to_another() {
        let (circuits, now) = paused();
        drop(circuits.admit(&service(), now).unwrap());
        assert!(circuits.admit(&service(), now).is_ok());
    }

    #[test]
    fn what_began_before_the_pause_says_nothing_after_it() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        let late = circuits.admit(&service(), now).unwrap();
        fail(&circuits, Some(Duration::from_secs(1)), now);
        let now = now.plus(Duration::from_secs(1));
        late.failed(None, now, 1.0);
        assert_eq!(standing(&circuits, now), Standing::Asked);
    }

    #[tokio::test]
    async fn who_waits_for_a_probe_hears_of_its_end() {
        let (circuits, now) = paused();
        let probe = circuits.admit(&service(), now).unwrap();
        let end = circuits.probed();
        probe.answered();
        tokio::time::timeout(Duration::from_secs(5), end).await.expect("it is told");
    }

    #[test]
    fn an_answer_closes_the_circuit() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        let other = circuits.admit(&service(), now).unwrap();
        fail(&circuits, Some(Duration::from_secs(60)), now);
        assert_eq!(standing(&circuits, now), Standing::Spared);
        other.answered();
        assert_eq!(standing(&circuits, now), Standing::Asked);
    }

    #[test]
    fn an_absurd_retry_after_is_capped() {
        let (circuits, now) = (Circuits::default(), Timestamp::from_seconds(100));
        fail(&circuits, Some(Duration::from_secs(1 << 40)), now);
        assert_eq!(standing(&circuits, now.plus(LONGEST_RETRY_AFTER)), Standing::Asked);
    }
}
