//! One refresh, everywhere. In this process a single flight; between processes a lease; on the record a mark, written
//! before the refresh token is sent, and a comparison when the answer is stored. What the provider refuses is believed
//! only after the record was read again. Runs in a task of its own that no client can cancel.
//!
//! | the provider says | what it means |
//! | --- | --- |
//! | a new grant | stored, then used |
//! | `invalid_grant` and its synonyms | the grant is lost: `revoked`, or `refresh_interrupted` where a mark tells that an earlier sending was cut off |
//! | `invalid_client` and alike | the operator's problem; the connection stays |
//! | anything else, or nothing | not now; the connection stays |

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::Ordering,
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::{
    clock::Timestamp,
    events::{Event, Kind},
    id::ConnectionId,
    oauth,
    provider::OAuth,
    store::{self, Change as Notice, Expect, Key, Put, Version},
};

use super::{
    Connections, Reason, Unavailable,
    lease::{Asked, Lease},
    persist::Landed,
    record::{Mark, Record},
    state::Change,
};

/// How long a flight waits for others. What it does itself is bounded by the limits of store and token endpoint, and is
/// never cut off: a grant might be on its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long another process that left a mark has to store what it got before its token is tried again.
const SETTLE: Duration = Duration::from_secs(2);

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

/// What was sent to the provider.
#[derive(Clone, Copy)]
struct Spent {
    /// The generation whose refresh token it was.
    generation: u64,
    /// When.
    asked: Timestamp,
}

/// What to do after a step.
enum Step {
    Done,
    Again,
}

impl Connections {
    /// Sees to it that the record no longer rests on the token of generation `used`: by this refresh, one in flight, or one
    /// that someone else has done. `Ok` says that the record is worth reading again.
    pub(super) async fn refresh(&self, id: &ConnectionId, used: u64) -> Result<(), Failure> {
        let key = self.key(id).await?;
        let flight = self.0.refreshes.join(key, || {
            let (connections, id) = (self.clone(), id.clone());
            async move { connections.fly(key, &id, used).await }
        });
        flight.await.unwrap_or(Err(Failure::Unavailable(Unavailable::Busy)))
    }

    /// Starts a refresh that nobody waits for.
    pub(super) fn refresh_in_background(&self, id: &ConnectionId, used: u64) {
        let (connections, id) = (self.clone(), id.clone());
        self.0.parts.handle.spawn(async move {
            let _ = connections.refresh(&id, used).await;
        });
    }

    async fn fly(&self, key: Key, id: &ConnectionId, used: u64) -> Result<(), Failure> {
        let service = self.0.parts.services.get(id.service.as_str());
        let Some(oauth) = service.and_then(|service| service.oauth.clone()) else { return Err(Failure::Provider) };
        let deadline = Instant::now() + PATIENCE;
        let mut notices = self.0.parts.store.changes();
        loop {
            match self.rests_on(&key, used).await? {
                Some((record, _)) if refresh_token(&record).is_some() => {}
                _ => return Ok(()),
            }
            if !self.0.circuits.allows(&id.service, self.now()) {
                return Err(Failure::Provider);
            }
            let holder = format!("{}-{}", self.0.process, self.0.leases.fetch_add(1, Ordering::Relaxed));
            match Lease::ask(&self.0.parts.store, key, holder, &self.0.parts.handle).await? {
                Asked::Mine(lease) => {
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
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::Unavailable(Unavailable::Busy));
            }
        }
    }

    /// Under the lease: mark, send, store.
    async fn renew(
        &self,
        key: Key,
        id: &ConnectionId,
        oauth: &OAuth,
        used: u64,
        lease: &Lease,
        notices: &mut tokio::sync::broadcast::Receiver<Notice>,
    ) -> Result<Step, Failure> {
        // Whoever held the lease before may have done it all.
        let Some((record, version)) = self.rests_on(&key, used).await? else { return Ok(Step::Done) };
        let interrupted = record.mark.as_ref().is_some_and(|mark| mark.spends == used);
        if record.mark.as_ref().is_some_and(|mark| mark.spends == used && mark.holder != self.0.process)
            && await_change(notices, &key, SETTLE).await
        {
            return Ok(Step::Again);
        }
        let Some(token) = refresh_token(&record).cloned() else { return Ok(Step::Done) };

        let mark = Mark { holder: self.0.process.clone(), spends: used };
        let Some((marked, version)) = self.write(key, record, version, Change::RefreshStarted(mark)).await? else {
            return Ok(Step::Again);
        };
        // The mark may have been long on its way, and another process may have taken over: it would spend the token, too.
        if !lease.holds() {
            self.unspent(key, marked, version).await;
            return Ok(Step::Again);
        }
        let (began, asked) = (Instant::now(), self.now());
        let answer = self.0.parts.oauth.refresh(oauth, &token, &self.redirect_uri(&id.service)).await;
        tracing::debug!(service = %id.service, took = ?began.elapsed(), ok = answer.is_ok(), "asked the token endpoint");
        match answer {
            Ok(grant) => self.renewed(key, id, marked, version, Spent { generation: used, asked }, grant).await,
            Err(error) => self.refused(key, id, marked, version, interrupted, &error).await,
        }
    }

    async fn renewed(
        &self,
        key: Key,
        id: &ConnectionId,
        marked: Record,
        version: Version,
        spent: Spent,
        grant: oauth::Grant,
    ) -> Result<Step, Failure> {
        self.0.circuits.answered(&id.service);
        let now = self.now();
        let next = Version::next(Some(version), now.micros());
        // A process that was stopped meanwhile holds a token that may be over: no answer takes longer than the limit.
        let is_late = now.since(spent.asked) > self.0.parts.refresh.timeout;
        let record = marked.apply(Change::Refreshed(grant), if is_late { spent.asked } else { now }, next.0);
        let landed = self.land(key, version, &record, spent.generation).await?;
        match landed {
            Landed::Saved => self.tell(id, Kind::Refreshed, None),
            Landed::Waiting => {
                self.tell(id, Kind::Refreshed, Some("unsaved"));
                self.0.snapshots.amend(key.owner, self.hold(&record));
            }
            Landed::Outrun => {}
            // Someone else's grant counts now, or none: this one must not live on at the provider.
            Landed::Superseded | Landed::Gone => self.give_up(&id.service, &record).await,
        }
        Ok(Step::Done)
    }

    async fn refused(
        &self,
        key: Key,
        id: &ConnectionId,
        marked: Record,
        version: Version,
        interrupted: bool,
        error: &oauth::TokenError,
    ) -> Result<Step, Failure> {
        let now = self.now();
        let generation = marked.grant.as_ref().map(|grant| grant.generation);
        match &error.kind {
            oauth::Kind::InvalidGrant { .. } => {
                self.0.circuits.answered(&id.service);
                let reason = if interrupted { Reason::RefreshInterrupted } else { Reason::Revoked };
                // The comparison of versions is the second reading (R10): a record that moved is not marked.
                if self.write(key, marked, version, Change::Invalidated(reason)).await?.is_none() {
                    return Ok(Step::Again);
                }
                self.tell_of(id, Kind::Invalidated, Some(reason.name()), generation);
                Ok(Step::Done)
            }
            oauth::Kind::Client { code } | oauth::Kind::Denied { code } => {
                tracing::error!(service = %id.service, code, "the provider refuses this client: check client_id and client_secret");
                self.tell_of(id, Kind::ClientRefused, None, generation);
                self.0.circuits.failed(&id.service, None, now, self.chance(now));
                self.unspent(key, marked, version).await;
                Err(Failure::Provider)
            }
            oauth::Kind::Unavailable { retry_after, fault } => {
                tracing::warn!(service = %id.service, %error, "the token endpoint failed; the connection stays");
                self.tell_of(id, Kind::RefreshFailed, None, generation);
                self.0.circuits.failed(&id.service, *retry_after, now, self.chance(now));
                if !answer_was_lost(*fault) {
                    self.unspent(key, marked, version).await;
                }
                Err(Failure::Provider)
            }
        }
    }

    /// Takes the mark away where the refresh token certainly was not spent. If that fails it stays, and a later refusal is
    /// called interrupted: wrong about the cause, but nobody's loss.
    async fn unspent(&self, key: Key, marked: Record, version: Version) {
        let _ = self.write(key, marked, version, Change::RefreshUnspent).await;
    }

    /// The record, where it still rests on the token of generation `used` and that token may be renewed.
    async fn rests_on(&self, key: &Key, used: u64) -> Result<Option<(Record, Version)>, Unavailable> {
        let read = self.read(key).await?;
        // On its way to another label it is renewed there.
        if read.as_ref().is_some_and(|(record, _)| record.moving.is_some()) {
            self.finish_move(*key).await?;
            self.0.snapshots.changed(&key.owner);
            return Ok(None);
        }
        let rests = read.filter(|(record, _)| {
            record.invalid.is_none()
                && record.farewell.is_none()
                && record.aside.is_none()
                && record.grant.as_ref().is_some_and(|grant| grant.generation == used)
        });
        if rests.is_none() {
            self.0.snapshots.changed(&key.owner);
        }
        Ok(rests)
    }

    /// The record as it stands: this process's own unsaved one, else the store's.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<(Record, Version)>, Unavailable> {
        let open = |version, sealed: &[u8]| Record::open(&self.0.parts.vault, key, version, sealed);
        if let Some((version, sealed)) = self.0.unsaved.sealed(key) {
            return Ok(Some((open(version, &sealed)?, version)));
        }
        let Some(stored) = self.0.parts.store.get(key).await? else { return Ok(None) };
        let record = open(stored.version, &stored.value)?;
        if !self.repair(*key, &record, stored.version).await? {
            return Ok(Some((record, stored.version)));
        }
        let Some(stored) = self.0.parts.store.get(key).await? else { return Ok(None) };
        Ok(Some((open(stored.version, &stored.value)?, stored.version)))
    }

    /// Applies a change where `expect` still stands. `None`: something else stands there now.
    pub(super) async fn write(
        &self,
        key: Key,
        record: Record,
        expect: Version,
        change: Change,
    ) -> Result<Option<(Record, Version)>, Unavailable> {
        let now = self.now();
        let version = Version::next(Some(expect), now.micros());
        let record = record.apply(change, now, version.0);
        let sealed = record.seal(&self.0.parts.vault, &key, version)?;
        let due = self.due(&record, now);
        match self.0.parts.store.put(&key, Expect::Version(expect), version, &sealed, due).await? {
            Put::Stored => {
                self.0.snapshots.changed(&key.owner);
                Ok(Some((record, version)))
            }
            Put::Conflict(_) => Ok(None),
        }
    }

    /// A number from 0 to 1 that spreads replicas out: another for each process and moment.
    fn chance(&self, now: Timestamp) -> f64 {
        let mut hasher = DefaultHasher::new();
        (&self.0.process, now.millis()).hash(&mut hasher);
        f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
    }

    pub(super) fn tell(&self, id: &ConnectionId, kind: Kind, detail: Option<&'static str>) {
        self.tell_of(id, kind, detail, None);
    }

    /// Tells what happened to this one of a connection's successive grants or keys.
    pub(super) fn tell_of(&self, id: &ConnectionId, kind: Kind, detail: Option<&'static str>, generation: Option<u64>) {
        self.0.parts.events.tell(&Event { generation, ..Event::new(id.clone(), kind, detail) });
    }
}

fn refresh_token(record: &Record) -> Option<&crate::secret::SecretString> {
    record.grant.as_ref()?.refresh_token.as_ref()
}

/// Whether the provider may have answered with a grant that nobody saw. An answer that says "not now" is no such one.
const fn answer_was_lost(fault: oauth::Fault) -> bool {
    match fault {
        oauth::Fault::Timeout | oauth::Fault::Protocol | oauth::Fault::TooLarge | oauth::Fault::Garbage => true,
        oauth::Fault::Connect
        | oauth::Fault::Tls
        | oauth::Fault::Refused
        | oauth::Fault::Status
        | oauth::Fault::SaysSo => false,
    }
}

/// Waits for a notice about `key`, or a gap in which it may have been missed. Says whether one came.
async fn await_change(notices: &mut tokio::sync::broadcast::Receiver<Notice>, key: &Key, limit: Duration) -> bool {
    timeout(limit, async {
        loop {
            match notices.recv().await {
                Ok(Notice::Record(changed)) if changed != *key => {}
                _ => return,
            }
        }
    })
    .await
    .is_ok()
}
