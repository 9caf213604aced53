//! Ahead of time: the healer renews what expires soon, so that nobody waits for it, and finishes what a replica that died
//! left behind: refreshes that were cut off, revocations that were not done. A few replicas
//! at a time look at what is due (`turns`); they share the work through the same leases as everything else, and each provider is
//! asked only so often at a time.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    id::ServiceName,
    provider::Live,
    store::{Expect, Key},
};

use super::{
    edit::Moves,
    manage::Unconfirmed,
    record::{due, form::Record, records::Records, state::State},
    refresh::{CircuitState, Refresher},
    revoke::Revoker,
};

mod rounds;
mod turns;

use rounds::{PAGE, Rounds};
use turns::Turns;

/// How often the store is asked what is due, by whoever has a turn.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a turn to do so is this replica's.
const TURN: Duration = Duration::from_secs(9);
/// How many are read at the same time.
const READS: usize = 16;
/// How many refreshes go to one provider at the same time.
const AT_ONCE: usize = 8;
/// How many refreshes begin at one provider in a second.
const PER_SECOND: u32 = 50;
/// How long a record of a service that is not configured is left alone.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Heals.
pub struct Healer {
    records: Arc<Records>,
    moves: Arc<Moves>,
    revoker: Arc<Revoker>,
    unconfirmed: Arc<Unconfirmed>,
    refresher: Arc<Refresher>,
    live: Live,
    process: String,
    ending: CancellationToken,
    handle: Handle,
}

impl Healer {
    /// Of these records. `process` names this process; it heals until `ending` is cancelled.
    pub fn new(
        records: Arc<Records>,
        (moves, revoker): (Arc<Moves>, Arc<Revoker>),
        (unconfirmed, refresher): (Arc<Unconfirmed>, Arc<Refresher>),
        live: Live,
        process: String,
        (ending, handle): (CancellationToken, Handle),
    ) -> Arc<Self> {
        Arc::new(Self { records, moves, revoker, unconfirmed, refresher, live, process, ending, handle })
    }

    /// Heals until the process is to end.
    pub fn heal(self: &Arc<Self>) {
        let healer = Arc::clone(self);
        let ending = self.ending.clone();
        self.handle.spawn(ending.run_until_cancelled_owned(async move {
            let rounds = Arc::new(Rounds::default());
            let mut tick = tokio::time::interval(INTERVAL);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let turns = Turns::new(Arc::clone(healer.records.store()), &healer.process, TURN);
            let mut after = None;
            let mut services = healer.live.services().number();
            loop {
                tick.tick().await;
                let now_in_force = healer.live.services().number();
                if std::mem::replace(&mut services, now_in_force) != now_in_force {
                    rounds.look_at_all();
                }
                match turns.take_one().await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "the healer could not ask the store whether it has a turn");
                        continue;
                    }
                }
                match healer.records.store().due(healer.records.now().millis(), after, PAGE).await {
                    Ok(due) => {
                        let (free, last) = rounds.free(due, Instant::now());
                        after = last;
                        healer.share_out(&rounds, free).await;
                    }
                    Err(error) => tracing::debug!(%error, "the healer could not ask the store what is due"),
                }
            }
        }));
    }

    /// Reads what is due and hands it to its provider's worker: none waits for another's provider.
    async fn share_out(self: &Arc<Self>, rounds: &Arc<Rounds>, mut due: Vec<Key>) {
        // Replicas begin at different ends, so that they seldom meet.
        due.sort_unstable_by_key(|key| self.spread_out(key));
        let mut work: BTreeMap<ServiceName, Vec<Key>> = BTreeMap::new();
        for some in due.chunks(READS) {
            let read = join_all(some.iter().map(|key| self.records.read(key))).await;
            for (key, read) in some.iter().copied().zip(read) {
                match read {
                    Ok(Some((record, _))) if !due::is_wanted(&record, self.records.now()) => rounds.set_aside(key),
                    // Another replica may know the service, or this one once it is configured again; until then calls
                    // renew what is theirs.
                    Ok(Some((record, _))) if !self.can_be_healed(&record) => rounds.leave_alone(key, DAY),
                    Ok(Some((record, _))) => work.entry(record.id.service).or_default().push(key),
                    // Its due time outlived it. Whoever wrote it anew since has another.
                    Ok(None) => drop(self.records.store().delete(&key, Expect::Absent, &[]).await),
                    Err(error) => {
                        tracing::debug!(%error, "the healer could not read a record");
                        rounds.set_aside(key);
                    }
                }
            }
        }
        for (service, keys) in work {
            if rounds.hand_over(&service, keys) {
                self.handle.spawn(Arc::clone(self).attend(Arc::clone(rounds), service));
            }
        }
    }

    /// Looks after the due records of one provider: at most this many at a time, and no more a second than it can take.
    async fn attend(self: Arc<Self>, rounds: Arc<Rounds>, service: ServiceName) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut pace = tokio::time::interval(Duration::from_secs(1) / PER_SECOND);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(key) = rounds.next(&service) {
            if self.refresher.circuit(&service) == CircuitState::Open {
                rounds.put_down(&key);
                rounds.set_aside(key);
                continue;
            }
            pace.tick().await;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            // Whoever waited for a place may find that nothing is begun any more.
            if self.ending.is_cancelled() {
                return;
            }
            let (healer, rounds) = (Arc::clone(&self), Arc::clone(&rounds));
            self.handle.spawn(async move {
                let _place = place;
                let done = healer.look_after(key).await;
                rounds.put_down(&key);
                if !done {
                    rounds.set_aside(key);
                }
            });
        }
    }

    /// Does what the record asks for. Says whether that came to something.
    async fn look_after(&self, key: Key) -> bool {
        let record = match self.records.read(&key).await {
            Ok(Some((record, _))) => record,
            Ok(None) => return true,
            Err(_) => return false,
        };
        if !due::is_wanted(&record, self.records.now()) {
            return true;
        }
        match (record.state, record.grant) {
            (State::PendingRevocation(_) | State::Reserved(_), _) => {
                self.revoker.finish(key).await;
                true
            }
            (State::Unconfirmed(wait), _) => {
                // Our clock may be ahead, and somebody may yet speak for it.
                let until = wait.until.unwrap_or_default();
                matches!(self.unconfirmed.has_come(key, until).await, Ok(true))
                    && self.unconfirmed.give_up(key).await.is_ok()
            }
            (State::Moving(_), _) => self.moves.finish(key).await.is_ok(),
            (State::Connected, Some(grant)) => self.refresher.refresh(&record.id, grant.token_version).await.is_ok(),
            (State::Connected, None) => false,
        }
    }

    /// Whether there is a provider to ask, where the record needs one, and the client that it knows.
    fn can_be_healed(&self, record: &Record) -> bool {
        let services = self.live.services();
        let client = services.get(record.id.service.as_str()).and_then(|service| service.oauth.as_deref());
        match record.state {
            State::Connected => {
                client.is_some() && record.grant.as_ref().is_none_or(|grant| grant.refresh_token_for(client).is_some())
            }
            State::Reserved(_) => client.is_some(),
            State::Moving(_) | State::Unconfirmed(_) | State::PendingRevocation(_) => true,
        }
    }

    fn spread_out(&self, key: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.process, key).hash(&mut hasher);
        hasher.finish()
    }
}
