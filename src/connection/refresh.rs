//! One refresh, everywhere. In this process a single flight; between processes a lease; on the record a mark, written
//! before the refresh token is sent, and a comparison when the answer is stored. What the provider refuses is believed
//! only after the record was read again. Runs in a task of its own that no client can cancel.
//!
//! | the provider says | what it means |
//! | --- | --- |
//! | a new grant | stored, then used |
//! | `invalid_grant` and its synonyms | the grant is lost: `revoked`, or `refresh_interrupted` where a mark tells that an earlier sending was cut off |
//! | `invalid_client` and alike | the operator's problem; the connection stays |
//! | another word | not now; held against nobody else; the connection stays |
//! | too many calls, or it can't be reached | not now; the connection stays |
//! | anything else, or nothing | not now; the connection stays, and so does the mark: the token may be spent |

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::Ordering,
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    clock::Timestamp,
    events::{Event, Kind},
    id::ConnectionId,
    oauth,
    provider::OAuth,
    store::{self, Change as Notice, Key, Version},
    telemetry::metrics::RefreshOutcome,
};

use super::{
    Connections, Reason, Unavailable,
    circuit::{Concerns, Pass, Standing},
    lease::{self, Asked, Lease},
    persist::Landed,
    record::{Mark, Record},
    state::Change,
};

/// How long a flight waits for others. What it does itself is bounded by the limits of store and token endpoint, and is
/// never cut off: a grant might be on its way.
const PATIENCE: Duration = Duration::from_secs(30);
/// The next version is drawn at random from this many microseconds after the one before.
const VERSIONS: u64 = 1 << 16;

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

/// A refresh token that was sent.
struct Sent<'a> {
    key: Key,
    id: &'a ConnectionId,
    /// The generation whose refresh token it was.
    used: u64,
    /// The record as it was stored before, with its mark …
    marked: Record,
    /// … and version.
    version: Version,
    /// When: the time, …
    asked: Timestamp,
    /// … and the moment.
    began: Instant,
    /// It was sent before, and nobody knows what came of that.
    interrupted: bool,
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
        if self.0.background.is_cancelled() {
            return;
        }
        let (connections, id) = (self.clone(), id.clone());
        self.0.parts.handle.spawn(async move {
            let _ = connections.refresh(&id, used).await;
        });
    }

    async fn fly(&self, key: Key, id: &ConnectionId, used: u64) -> Result<(), Failure> {
        let service = self.0.parts.services.get(id.service.as_str());
        let Some(oauth) = service.and_then(|service| service.oauth.clone()) else { return Err(Failure::Provider) };
        let (began, mut waited) = (Instant::now(), false);
        let deadline = began + PATIENCE;
        let mut notices = self.0.parts.store.changes();
        loop {
            self.save_first(key).await?;
            match self.rests_on(&key, used).await? {
                Some((record, _)) if refresh_token(&record).is_some() => {}
                _ => {
                    if waited {
                        self.ended(id, RefreshOutcome::Adopted, began);
                    }
                    return Ok(());
                }
            }
            let probed = self.0.circuits.probed();
            match self.0.circuits.standing_of(&id.service, &key, Instant::now()) {
                Standing::Asked => {}
                Standing::Spared => return Err(Failure::Provider),
                Standing::Probed => {
                    if timeout_at(deadline, probed).await.is_err() {
                        return Err(Failure::Provider);
                    }
                    continue;
                }
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
                    waited = true;
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
        let earlier = record.mark.as_ref().filter(|mark| mark.spends == used);
        let wait = earlier.map_or(Duration::ZERO, |mark| self.still_at_work(mark, lease));
        if !wait.is_zero() && await_change(notices, &key, wait).await {
            return Ok(Step::Again);
        }
        let interrupted = earlier.is_some();
        let Some(token) = refresh_token(&record).cloned() else { return Ok(Step::Done) };
        // The last moment at which nothing was begun yet.
        if self.0.refreshes.is_closed() {
            return Err(Unavailable::Busy.into());
        }
        let pass = match self.0.circuits.admit(&id.service, key, Instant::now()) {
            Ok(pass) => pass,
            Err(Standing::Spared) => return Err(Failure::Provider),
            Err(Standing::Asked | Standing::Probed) => return Ok(Step::Again),
        };

        let at = Some(lease.store_time_at_most());
        let mark = Mark { holder: self.0.process.clone(), spends: used, at, settled: false };
        let Some((marked, version)) = self.write(key, record, version, Change::RefreshStarted(mark)).await? else {
            return Ok(Step::Again);
        };
        // Lease and mark may have been long on their way, and another process would take over and spend the token, too,
        // while this one waits for the answer.
        if !lease.secured_for(self.0.parts.refresh.timeout).await {
            self.unanswered(key, marked, version, interrupted).await;
            return Ok(Step::Again);
        }
        let sent = Sent { key, id, used, marked, version, asked: self.now(), began: Instant::now(), interrupted };
        let answer = self.0.parts.oauth.refresh(oauth, &token, &self.redirect_uri(&id.service)).await;
        tracing::debug!(service = %id.service, took = ?sent.began.elapsed(), ok = answer.is_ok(), "asked the token endpoint");
        match answer {
            Ok(grant) => {
                pass.answered();
                self.renewed(sent, grant).await
            }
            Err(error) => self.refused(sent, &error, pass).await,
        }
    }

    /// How long whoever set the mark may still be at work, as far as can be told: no longer than a lease lasts. It is over
    /// already where the lease was waited for; not where a failover lost that.
    fn still_at_work(&self, mark: &Mark, lease: &Lease) -> Duration {
        if mark.settled || mark.holder == self.0.process || !self.0.parts.store.is_shared() {
            return Duration::ZERO;
        }
        let since = mark.at.map_or(0, |at| lease.store_time_at_least().saturating_sub(at));
        lease::TTL.saturating_sub(Duration::from_micros(since))
    }

    async fn renewed(&self, sent: Sent<'_>, grant: oauth::Grant) -> Result<Step, Failure> {
        let Sent { key, id, used, marked, version, asked, began, interrupted } = sent;
        let next = self.version_after(Some(version), self.now());
        // The token's life began between question and answer, and that may have been long, as where this process was
        // stopped meanwhile: a token is never believed longer than the provider counts.
        let change = Change::Refreshed { grant, asked: version.0, contested: interrupted };
        let record = marked.apply(change, asked, next.0);
        let landed = self.land(key, version, &record, used).await?;
        match landed {
            Landed::Saved => {
                self.ended(id, RefreshOutcome::Renewed, began);
                self.tell(id, Kind::Refreshed, None);
            }
            Landed::Waiting => {
                self.ended(id, RefreshOutcome::Renewed, began);
                self.tell(id, Kind::Refreshed, Some("unsaved"));
                self.0.snapshots.amend(key.owner, self.hold(&record));
            }
            Landed::Outrun => self.ended(id, RefreshOutcome::Adopted, began),
            // Someone else's grant counts now, or none: this one must not live on at the provider.
            Landed::Superseded | Landed::Gone => self.give_up(&record),
        }
        Ok(Step::Done)
    }

    async fn refused(&self, sent: Sent<'_>, error: &oauth::TokenError, pass: Pass<'_>) -> Result<Step, Failure> {
        let Sent { key, id, marked, version, interrupted, began, .. } = sent;
        let now = self.now();
        let generation = marked.grant.as_ref().map(|grant| grant.generation);
        match &error.kind {
            oauth::Kind::InvalidGrant { .. } => {
                pass.answered();
                let reason = if interrupted { Reason::RefreshInterrupted } else { Reason::Revoked };
                // The comparison of versions is the second reading: a record that moved is not marked.
                if self.write(key, marked, version, Change::Invalidated(reason)).await?.is_none() {
                    return Ok(Step::Again);
                }
                self.ended(id, RefreshOutcome::Refused, began);
                self.tell_of(id, Kind::Invalidated, Some(reason.name()), generation);
                Ok(Step::Done)
            }
            oauth::Kind::Client { code } | oauth::Kind::Denied { code } => {
                self.ended(id, RefreshOutcome::Failed, began);
                if error.is_about_client() {
                    tracing::error!(service = %id.service, code, "the provider refuses this client: check client_id and client_secret");
                    self.tell_of(id, Kind::ClientRefused, None, generation);
                    pass.failed(Concerns::All(None), Instant::now(), self.chance(now));
                } else {
                    tracing::warn!(service = %id.service, code, "the provider refuses this refresh, in a word that nobody knows; the connection stays");
                    self.tell_of(id, Kind::RefreshFailed, None, generation);
                    pass.failed(Concerns::Grant, Instant::now(), self.chance(now));
                }
                self.unanswered(key, marked, version, interrupted).await;
                Err(Failure::Provider)
            }
            oauth::Kind::Unavailable { retry_after, .. } => {
                tracing::warn!(service = %id.service, %error, "the token endpoint failed; the connection stays");
                self.tell_of(id, Kind::RefreshFailed, None, generation);
                let unknown = error.may_have_happened();
                let outcome = if unknown { RefreshOutcome::Interrupted } else { RefreshOutcome::Failed };
                self.ended(id, outcome, began);
                pass.failed(Concerns::All(*retry_after), Instant::now(), self.chance(now));
                self.unanswered(key, marked, version, interrupted || unknown).await;
                Err(Failure::Provider)
            }
        }
    }

    /// Takes the mark away where the refresh token certainly was not spent, neither now nor by an earlier attempt; else
    /// notes that nobody is at work any more. If that fails the mark stays as it is, and a later refusal is called
    /// interrupted: wrong about the cause, but nobody's loss.
    async fn unanswered(&self, key: Key, marked: Record, version: Version, may_be_spent: bool) {
        let change = if may_be_spent { Change::RefreshUnknown } else { Change::RefreshUnspent };
        let (mark, used) = (marked.mark.clone(), marked.grant.as_ref().map(|grant| grant.generation));
        let written = self.write(key, marked, version, change).await;
        if may_be_spent && matches!(written, Ok(None)) {
            // A failover may have lost the mark: without it nobody would know. Somebody else's tells as much.
            let (Some(used), Some(mark)) = (used, mark) else { return };
            let Ok(read) = self.rests_on(&key, used).await else { return };
            if let Some((record, version)) = read.filter(|(record, _)| record.mark.is_none()) {
                let _ = self.write(key, record, version, Change::RefreshStarted(Mark { settled: true, ..mark })).await;
            }
        }
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

    /// A version after this one, which nobody else chooses after it: where a failover, or a grant that only this process
    /// has, makes two records successors of the same one, neither may be taken for the other. A clock that is behind the
    /// one before would lead all to the same number.
    pub(super) fn version_after(&self, previous: Option<Version>, now: Timestamp) -> Version {
        let mut hasher = DefaultHasher::new();
        (&self.0.process, self.0.versions.fetch_add(1, Ordering::Relaxed), now.millis()).hash(&mut hasher);
        Version(Version::next(previous, now.micros()).0.saturating_add(hasher.finish() % VERSIONS))
    }

    /// A number from 0 to 1 that spreads replicas out: another for each process and moment.
    fn chance(&self, now: Timestamp) -> f64 {
        let mut hasher = DefaultHasher::new();
        (&self.0.process, now.millis()).hash(&mut hasher);
        f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
    }

    fn ended(&self, id: &ConnectionId, outcome: RefreshOutcome, began: Instant) {
        if let Some(counters) = self.0.counters.get(&id.service) {
            counters.refresh(outcome, began.elapsed().as_secs_f64());
        }
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
