//! One refresh, everywhere. In this process a single flight; between processes a lease; on the record an intent, written
//! before the refresh token is sent, and a comparison when the answer is stored. What the provider refuses is believed
//! only after the record was read again. Runs in a task of its own that no client can cancel.
//!
//! | the provider says | what it means |
//! | --- | --- |
//! | a new grant | stored, then used |
//! | `invalid_grant` and its synonyms | the grant is lost: `revoked`, or `refresh_interrupted` where an intent tells that an earlier sending was cut off |
//! | `invalid_client` and alike | the operator's problem; the connection stays |
//! | another word | not now; held against nobody else; the connection stays |
//! | too many calls, or it can't be reached | not now; the connection stays |
//! | anything else, or nothing | not now; the connection stays, and so does the intent: the token may be spent |
//!
//! `attempt` is one try under the lease; `circuit` is patience with a token endpoint.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::broadcast::Receiver,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    id::{ConnectionId, ServiceName},
    oauth,
    provider::{Live, OAuth},
    secret::SecretString,
    store::{self, Change as Notification, Key, OwnerId, Version},
    telemetry::{Metrics, metrics::RefreshOutcome},
};

use super::{
    cache::SnapshotCache,
    edit::{Moves, Saver},
    flight::Flights,
    lease::{Asked, Leases},
    model::Unavailable,
    record::{form::Record, records::Records, view::Projector},
    revoke::Revoker,
};

mod attempt;
mod circuit;

use attempt::Step;
use circuit::Circuits;
pub(super) use circuit::State as CircuitState;

/// How long a flight waits for others. What it does itself is bounded by the limits of store and token endpoint, and is
/// never cut off: a grant might be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a refresh brought no new token. A lost grant is no failure here: the record says so, and whoever asked reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The token endpoint fails for now, or refuses the operator's client.
    Provider,
    /// Store or keys are away, or another process takes too long.
    Unavailable(Unavailable),
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// What refreshing takes.
pub struct RefresherParts {
    /// Whose grants are renewed.
    pub records: Arc<Records>,
    /// Who is told of a grant that only this process has.
    pub cache: Arc<SnapshotCache>,
    /// Who makes of it what is held.
    pub projector: Arc<Projector>,
    /// What must be written before anything is spent.
    pub saver: Arc<Saver>,
    /// What must arrive before it is renewed.
    pub moves: Arc<Moves>,
    /// Who parts with a grant that nobody can use.
    pub revoker: Arc<Revoker>,
    /// Who keeps processes from spending the same token.
    pub leases: Arc<Leases>,
    /// What connections belong to.
    pub live: Live,
    /// Who speaks to token endpoints.
    pub oauth: Arc<oauth::Client>,
    /// Where refreshes are counted.
    pub metrics: Arc<Metrics>,
    /// How long a token endpoint may take.
    pub timeout: Duration,
    /// From which redirect URIs are made.
    pub public_url: Url,
    /// Cancelled once the process is to end: nothing is begun any more that nobody waits for.
    pub ending: CancellationToken,
    /// The long-lived runtime that refreshes run on.
    pub handle: Handle,
}

/// Renews grants.
pub struct Refresher {
    parts: RefresherParts,
    flights: Flights<Key, Result<(), Failure>>,
    circuits: Circuits,
}

impl Refresher {
    /// Of these parts.
    pub fn new(parts: RefresherParts) -> Arc<Self> {
        let flights = Flights::new(parts.handle.clone());
        Arc::new(Self { parts, flights, circuits: Circuits::default() })
    }

    /// Begins none any more, and waits until those in flight are done, at most this long. Says whether they are.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.flights.close();
        self.flights.settle(limit).await
    }

    /// How many refreshes are in flight.
    pub fn under_way(&self) -> usize {
        self.flights.len()
    }

    /// Whether the token endpoint of a service may be asked now.
    pub fn circuit(&self, service: &ServiceName) -> CircuitState {
        self.circuits.state(service, Instant::now())
    }

    /// Sees to it that the record no longer rests on the token with the version `used`: by this refresh, one in flight, or one
    /// that someone else has done. `Ok` says that the record is worth reading again.
    pub async fn refresh(self: &Arc<Self>, id: &ConnectionId, used: Version) -> Result<(), Failure> {
        let key = self.parts.records.roots().key(id).await?;
        let flight = self.flights.join(key, || {
            let (refresher, id) = (Arc::clone(self), id.clone());
            async move { refresher.fly(key, &id, used).await }
        });
        flight.await.unwrap_or(Err(Failure::Unavailable(Unavailable::Busy)))
    }

    /// Starts a refresh that nobody waits for.
    pub fn refresh_in_background(self: &Arc<Self>, id: &ConnectionId, used: Version) {
        if self.parts.ending.is_cancelled() {
            return;
        }
        let (refresher, id) = (Arc::clone(self), id.clone());
        self.parts.handle.spawn(async move {
            let _ = refresher.refresh(&id, used).await;
        });
    }

    async fn fly(&self, key: Key, id: &ConnectionId, used: Version) -> Result<(), Failure> {
        let services = self.parts.live.services();
        let service = services.get(id.service.as_str());
        let Some(oauth) = service.and_then(|service| service.oauth.clone()) else { return Err(Failure::Provider) };
        let (began, mut looked, mut waited) = (Instant::now(), false, false);
        let mut asked = None;
        let deadline = began + PATIENCE;
        let mut notices = self.parts.records.store().changes();
        loop {
            self.parts.saver.save_first(key).await?;
            // What is held for certain needs no reading: it is read under the lease anyway.
            let known = !std::mem::replace(&mut looked, true) && self.holds(&key.owner, id, used);
            if !known && !self.may_be_renewed(&key, &oauth, used).await? {
                if waited {
                    self.lease_waited(asked.take());
                    self.ended(id, RefreshOutcome::Adopted, began);
                }
                return Ok(());
            }
            let probed = self.circuits.probed();
            match self.circuits.state_of(&id.service, &key, Instant::now()) {
                CircuitState::Closed => {}
                CircuitState::Open => return Err(Failure::Provider),
                CircuitState::HalfOpen => {
                    if timeout_at(deadline, probed).await.is_err() {
                        return Err(Failure::Provider);
                    }
                    continue;
                }
            }
            asked.get_or_insert_with(Instant::now);
            match self.parts.leases.ask(key).await? {
                Asked::Mine(lease) => {
                    self.lease_waited(asked.take());
                    let step = self.renew(key, id, &oauth, used, &lease, &mut notices).await;
                    lease.release().await;
                    match step? {
                        Step::Done => return Ok(()),
                        Step::Again => {}
                    }
                }
                Asked::Theirs(remaining) => {
                    let wait = remaining.clamp(Duration::from_millis(50), Duration::from_millis(500));
                    await_change(&mut notices, &key, wait).await;
                    waited = true;
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::Unavailable(Unavailable::Busy));
            }
        }
    }

    /// The lease that was first asked for at this moment is ours, or no longer needed.
    fn lease_waited(&self, asked: Option<Instant>) {
        if let Some(asked) = asked {
            self.parts.metrics.lease_waited(asked.elapsed());
        }
    }

    /// Whether what is held of the connection, and can be believed, rests on the token with the version `used`, and that token
    /// can be renewed.
    fn holds(&self, owner: &OwnerId, id: &ConnectionId, used: Version) -> bool {
        let (epoch, services) = (self.parts.records.store().channel_epoch(), self.parts.live.services().number());
        let Some(snapshot) = self.parts.cache.fresh(owner, epoch, services) else { return false };
        let mut held = snapshot.connections.iter().flat_map(|held| held.credentials.iter());
        held.any(|(_, held)| *held.id == *id && held.token_version == used && held.refreshable)
    }

    async fn may_be_renewed(&self, key: &Key, client: &OAuth, used: Version) -> Result<bool, Unavailable> {
        let read = self.rests_on(key, used).await?;
        Ok(read.is_some_and(|(record, _)| refresh_token(&record, client).is_some()))
    }

    /// The record, where it still rests on the token with the version `used` and that token may be renewed.
    async fn rests_on(&self, key: &Key, used: Version) -> Result<Option<(Record, Version)>, Unavailable> {
        let read = self.parts.records.read(key).await?;
        // On its way to another label it is renewed there.
        if read.as_ref().is_some_and(|(record, _)| record.under_way().is_some()) {
            self.parts.moves.finish(*key).await?;
            self.parts.records.is_stale(&key.owner);
            return Ok(None);
        }
        let rests = read.filter(|(record, _)| {
            record.is_connected()
                && record.invalid.is_none()
                && record.grant.as_ref().is_some_and(|grant| grant.token_version == used)
        });
        if rests.is_none() {
            self.parts.records.is_stale(&key.owner);
        }
        Ok(rests)
    }
}

fn refresh_token<'r>(record: &'r Record, client: &OAuth) -> Option<&'r SecretString> {
    record.grant.as_ref()?.refresh_token_for(Some(client))
}

/// Waits for a notification about `key`, or a gap in which it may have been missed. Says whether one came.
async fn await_change(notices: &mut Receiver<Notification>, key: &Key, limit: Duration) -> bool {
    timeout(limit, async {
        loop {
            match notices.recv().await {
                Ok(Notification::Record(changed, _)) if changed != *key => {}
                _ => return,
            }
        }
    })
    .await
    .is_ok()
}
