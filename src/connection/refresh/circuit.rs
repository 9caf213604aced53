//! Patience with token endpoints. An endpoint that fails for several callers in a row is asked by nobody for a while, which
//! doubles with each further failure; `Retry-After` is honoured, up to a quarter of an hour. After a pause one asks first,
//! and the others wait for what it hears. What fails for one connection alone, or is said of its grant alone, is held
//! against that connection only, in the same way: nobody's trouble keeps another from a token. Kept in this process only,
//! and by a clock that nobody sets. Never says anything about a connection: only about who is not asked right now.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::{
    backoff::Backoff,
    id::ServiceName,
    store::{Key, OwnerId},
};

/// How many failures in a row are borne before calls are held back.
const TOLERATED: u32 = 3;
/// The pauses after that.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);
/// How many connections with troubles of their own are remembered.
const REMEMBERED: usize = 10_000;

/// One circuit a token endpoint, and patience with single connections.
#[derive(Debug)]
pub struct Circuits {
    circuits: Mutex<HashMap<ServiceName, Circuit>>,
    own: Cache<Key, Own>,
    probed: Notify,
}

#[derive(Debug, Default, Clone, Copy)]
struct Circuit {
    failures: u32,
    /// Whose refresh failed last …
    witness: Option<OwnerId>,
    /// … and somebody else's did before, without an answer to anybody in between.
    several: bool,
    /// How often there was a pause.
    pauses: u32,
    /// Nobody asks until then. `None`: it is closed.
    open_until: Option<Instant>,
    /// Somebody asks, for all.
    probing: bool,
}

/// What one connection met in a row.
#[derive(Debug, Default, Clone, Copy)]
struct Own {
    failures: u32,
    until: Option<Instant>,
}

/// Whether an endpoint may be asked: the three states of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It may.
    Closed,
    /// Someone asks for the first time after a pause: what they hear goes for all.
    HalfOpen,
    /// It may not: it is given a pause.
    Open,
}

/// Whom a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concerns {
    /// The endpoint answered, about this grant: nobody else's.
    Grant,
    /// It may fail for everybody, who asked to be left alone for this long, if that was said.
    All(Option<Duration>),
}

impl Circuit {
    fn state(&self, now: Instant) -> State {
        if self.open_until.is_some_and(|until| until > now) {
            State::Open
        } else if self.probing {
            State::HalfOpen
        } else {
            State::Closed
        }
    }
}

/// Leave to ask an endpoint once. Dropped without a word, it is as if nobody had asked.
#[derive(Debug)]
pub struct Pass<'c> {
    circuits: &'c Circuits,
    service: ServiceName,
    key: Key,
    pauses: u32,
    probes: bool,
}

impl Default for Circuits {
    fn default() -> Self {
        Self { circuits: Mutex::default(), own: Cache::new(REMEMBERED), probed: Notify::new() }
    }
}

impl Circuits {
    /// Whether the endpoint may be asked now, as far as it is about the endpoint.
    pub fn state(&self, service: &ServiceName, now: Instant) -> State {
        self.circuits.lock().get(service).map_or(State::Closed, |circuit| circuit.state(now))
    }

    /// Until when nobody asks the endpoint, where it is given a pause.
    pub fn open_until(&self, service: &ServiceName) -> Option<Instant> {
        self.circuits.lock().get(service)?.open_until
    }

    /// Whether the endpoint may be asked now for this connection.
    pub fn state_of(&self, service: &ServiceName, key: &Key, now: Instant) -> State {
        let open = self.own.get(key).is_some_and(|own| own.until.is_some_and(|until| until > now));
        if open { State::Open } else { self.state(service, now) }
    }

    /// Leave to ask the endpoint now.
    ///
    /// # Errors
    /// Where it may not be asked: how it stands.
    pub fn admit(&self, service: &ServiceName, key: Key, now: Instant) -> Result<Pass<'_>, State> {
        if self.own.get(&key).is_some_and(|own| own.until.is_some_and(|until| until > now)) {
            return Err(State::Open);
        }
        let mut pauses = 0;
        if let Some(circuit) = self.circuits.lock().get_mut(service) {
            match circuit.state(now) {
                State::Closed => {
                    pauses = circuit.pauses;
                    circuit.probing = pauses > 0;
                }
                held => return Err(held),
            }
        }
        Ok(Pass { circuits: self, service: service.clone(), key, pauses, probes: pauses > 0 })
    }

    /// Comes when what somebody asked for all is answered, or was given up. Taken before [`Circuits::state`] is asked.
    pub fn probed(&self) -> Notified<'_> {
        self.probed.notified()
    }
}

impl Pass<'_> {
    /// The endpoint answered, and renewed the grant or ended it.
    pub fn answered(self) {
        self.circuits.own.remove(&self.key);
        self.circuits.circuits.lock().remove(&self.service);
    }

    /// The refresh failed. `chance` spreads replicas out, from 0 to 1.
    pub fn failed(self, concerns: Concerns, now: Instant, chance: f64) {
        let retry_after = match concerns {
            Concerns::Grant => None,
            Concerns::All(retry_after) => retry_after,
        };
        self.circuits.hold_against(self.key, retry_after, now, chance);
        let mut circuits = self.circuits.circuits.lock();
        if concerns == Concerns::Grant {
            circuits.remove(&self.service);
            return;
        }
        let circuit = circuits.entry(self.service.clone()).or_default();
        // Begun before the latest pause: one more sign of the failure that caused it, not a further one.
        if retry_after.is_none() && self.pauses != circuit.pauses {
            return;
        }
        let before = circuit.witness.replace(self.key.owner);
        let another = before != Some(self.key.owner);
        circuit.several |= before.is_some() && another;
        // Whoever was refused last time may be the only one.
        if circuit.pauses == 0 || another {
            circuit.failures = circuit.failures.saturating_add(1);
        }
        if let Some(pause) = pause(circuit.failures, retry_after, chance).filter(|_| circuit.several) {
            circuit.open_until = Some(now + pause);
            circuit.pauses = circuit.pauses.saturating_add(1);
        }
        circuit.probing = false;
    }
}

impl Circuits {
    /// The connection alone is left without a token for a while.
    fn hold_against(&self, key: Key, retry_after: Option<Duration>, now: Instant, chance: f64) {
        let failures = self.own.get(&key).unwrap_or_default().failures.saturating_add(1);
        let until = pause(failures, retry_after, chance).map(|pause| now + pause);
        self.own.insert(key, Own { failures, until });
    }
}

/// How long nobody asks after so many failures in a row; `None`: they are borne.
fn pause(failures: u32, retry_after: Option<Duration>, chance: f64) -> Option<Duration> {
    if let Some(wanted) = retry_after {
        return Some(wanted.min(LONGEST_RETRY_AFTER));
    }
    Some(PAUSES.jittered(failures.checked_sub(TOLERATED)?, chance))
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
    use crate::store::RecordId;

    fn service() -> ServiceName {
        ServiceName::parse("github").unwrap()
    }

    fn of(caller: u8) -> Key {
        Key { owner: OwnerId([caller; 16]), record: RecordId([0; 16]) }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const DOWN: Concerns = Concerns::All(None);

    fn fail(circuits: &Circuits, caller: u8, concerns: Concerns, now: Instant) {
        circuits.admit(&service(), of(caller), now).expect("it may be asked").failed(concerns, now, 1.0);
    }

    fn state(circuits: &Circuits, now: Instant) -> State {
        circuits.state_of(&service(), &of(100), now)
    }

    /// A circuit whose first pause has ended at the time given back.
    fn paused() -> (Circuits, Instant) {
        let (circuits, now) = (Circuits::default(), Instant::now());
        for caller in 0..3 {
            fail(&circuits, caller, DOWN, now);
        }
        (circuits, now + PAUSES.first)
    }

    #[test]
    fn a_few_failures_are_borne_then_the_pause_doubles() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        for caller in 0..2 {
            fail(&circuits, caller, DOWN, now);
            assert_eq!(state(&circuits, now), State::Closed);
        }
        fail(&circuits, 2, DOWN, now);
        assert_eq!(state(&circuits, now + Duration::from_millis(499)), State::Open);
        let now = now + Duration::from_millis(500);
        fail(&circuits, 3, DOWN, now);
        assert_eq!(state(&circuits, now + Duration::from_millis(999)), State::Open);
        assert_eq!(state(&circuits, now + Duration::from_millis(1000)), State::Closed);
    }

    #[test]
    fn what_fails_for_one_caller_is_held_against_that_connection_alone() {
        for concerns in [DOWN, Concerns::All(Some(SECOND * 60)), Concerns::Grant] {
            let (circuits, now) = (Circuits::default(), Instant::now());
            for _ in 0..3 {
                if let Ok(pass) = circuits.admit(&service(), of(1), now) {
                    pass.failed(concerns, now, 1.0);
                }
            }
            assert_eq!(circuits.state_of(&service(), &of(1), now), State::Open, "{concerns:?}");
            assert_eq!(circuits.admit(&service(), of(1), now).unwrap_err(), State::Open, "{concerns:?}");
            assert_eq!(state(&circuits, now), State::Closed, "{concerns:?}");
            assert_eq!(circuits.state_of(&service(), &of(1), now + SECOND * 60), State::Closed, "{concerns:?}");
        }
    }

    #[test]
    fn what_is_said_of_grants_never_stops_anybody_else() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        for caller in 0..50 {
            fail(&circuits, caller, Concerns::Grant, now);
        }
        assert_eq!(state(&circuits, now), State::Closed);
    }

    #[test]
    fn two_callers_that_are_told_to_wait_speak_for_all() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        fail(&circuits, 1, Concerns::All(Some(SECOND * 60)), now);
        assert_eq!(state(&circuits, now), State::Closed);
        fail(&circuits, 2, Concerns::All(Some(SECOND * 60)), now);
        assert_eq!(state(&circuits, now + SECOND * 59), State::Open);
        assert_eq!(state(&circuits, now + SECOND * 60), State::Closed);
    }

    #[test]
    fn whoever_probes_again_and_again_does_not_lengthen_the_pause() {
        let (circuits, now) = paused();
        fail(&circuits, 9, DOWN, now);
        let now = now + SECOND;
        fail(&circuits, 9, DOWN, now);
        assert_eq!(state(&circuits, now + SECOND), State::Closed);
    }

    #[test]
    fn many_refreshes_that_fail_at_once_are_one_failure() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        let passes: Vec<_> = (0..50).map(|caller| circuits.admit(&service(), of(caller), now).unwrap()).collect();
        for pass in passes {
            pass.failed(DOWN, now, 1.0);
        }
        assert_eq!(state(&circuits, now + PAUSES.first), State::Closed);
    }

    #[test]
    fn after_a_pause_one_asks_for_all() {
        let (circuits, now) = paused();
        let probe = circuits.admit(&service(), of(7), now).unwrap();
        assert_eq!(circuits.admit(&service(), of(8), now).unwrap_err(), State::HalfOpen);
        assert_eq!(state(&circuits, now), State::HalfOpen);
        probe.answered();
        let both = (circuits.admit(&service(), of(7), now), circuits.admit(&service(), of(8), now));
        assert!(both.0.is_ok() && both.1.is_ok(), "it answers again");
    }

    #[test]
    fn a_probe_that_is_answered_about_its_grant_shows_that_the_endpoint_is_well() {
        let (circuits, now) = paused();
        fail(&circuits, 7, Concerns::Grant, now);
        assert_eq!(state(&circuits, now), State::Closed);
    }

    #[test]
    fn a_probe_that_fails_makes_the_next_pause_longer() {
        let (circuits, now) = paused();
        fail(&circuits, 7, DOWN, now);
        assert_eq!(state(&circuits, now + PAUSES.first), State::Open);
        assert_eq!(state(&circuits, now + PAUSES.first * 2), State::Closed);
    }

    #[test]
    fn a_probe_that_was_given_up_leaves_its_place_to_another() {
        let (circuits, now) = paused();
        drop(circuits.admit(&service(), of(7), now).unwrap());
        assert!(circuits.admit(&service(), of(8), now).is_ok());
    }

    #[test]
    fn what_began_before_the_pause_says_nothing_after_it() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        let late = circuits.admit(&service(), of(9), now).unwrap();
        for caller in 0..2 {
            fail(&circuits, caller, Concerns::All(Some(SECOND)), now);
        }
        let now = now + SECOND;
        late.failed(DOWN, now, 1.0);
        assert_eq!(state(&circuits, now), State::Closed);
    }

    #[tokio::test]
    async fn who_waits_for_a_probe_hears_of_its_end() {
        let (circuits, now) = paused();
        let probe = circuits.admit(&service(), of(7), now).unwrap();
        let end = circuits.probed();
        probe.answered();
        tokio::time::timeout(Duration::from_secs(5), end).await.expect("it is told");
    }

    #[test]
    fn an_answer_closes_the_circuit() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        let other = circuits.admit(&service(), of(9), now).unwrap();
        for caller in 0..2 {
            fail(&circuits, caller, Concerns::All(Some(SECOND * 60)), now);
        }
        assert_eq!(state(&circuits, now), State::Open);
        other.answered();
        assert_eq!(state(&circuits, now), State::Closed);
    }

    #[test]
    fn an_absurd_retry_after_is_capped() {
        let (circuits, now) = (Circuits::default(), Instant::now());
        for caller in 0..2 {
            fail(&circuits, caller, Concerns::All(Some(Duration::from_secs(1 << 40))), now);
        }
        assert_eq!(state(&circuits, now + LONGEST_RETRY_AFTER), State::Closed);
    }
}
