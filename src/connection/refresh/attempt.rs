//! One attempt, under the lease: the write-ahead intent, the request, and what becomes of its answer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::{sync::broadcast::Receiver, time::Instant};

use crate::{
    clock::Timestamp,
    connection::{
        cache::Held,
        lease::{self, Lease},
        model::{Reason, Unavailable},
        record::{
            change::Change,
            facts::Fact,
            form::{Mark, Record, StoredGrant},
            landing::Landed,
        },
    },
    events::{Actor, Cause, Kind},
    id::ConnectionId,
    oauth,
    provider::OAuth,
    store::{Change as Notification, Key, Version},
    telemetry::metrics::RefreshOutcome,
};

use super::{
    Failure, Refresher, await_change,
    circuit::{Concerns, Pass, State},
    refresh_token,
};

/// Who renews, …
static RENEWED: Cause = Cause::of(Actor::Healer);
/// … and who refuses to, or doesn't answer.
static REFUSED: Cause = Cause::of(Actor::Provider);

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

/// What to do after an attempt.
pub enum Step {
    /// The record no longer rests on the token.
    Done,
    /// Look again: somebody else was quicker.
    Again,
}

impl Refresher {
    /// Under the lease: mark, send, store.
    pub(super) async fn renew(
        &self,
        key: Key,
        id: &ConnectionId,
        oauth: &OAuth,
        used: u64,
        lease: &Lease,
        notices: &mut Receiver<Notification>,
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
        if self.flights.is_closed() {
            return Err(Unavailable::Busy.into());
        }
        let pass = match self.circuits.admit(&id.service, key, Instant::now()) {
            Ok(pass) => pass,
            Err(State::Open) => return Err(Failure::Provider),
            Err(State::Closed | State::HalfOpen) => return Ok(Step::Again),
        };

        let at = Some(lease.store_time_at_most());
        let mark = Mark { holder: self.parts.leases.process().to_owned(), spends: used, at, settled: false };
        let Some((marked, version)) =
            self.parts.records.write_unseen(key, record, version, Change::RefreshStarted(mark)).await?
        else {
            return Ok(Step::Again);
        };
        // Lease and mark may have been long on their way, and another process would take over and spend the token, too,
        // while this one waits for the answer.
        if !lease.secured_for(self.parts.timeout).await {
            self.unanswered(key, marked, version, interrupted).await;
            return Ok(Step::Again);
        }
        let sent = Sent {
            key,
            id,
            used,
            marked,
            version,
            asked: self.parts.records.now(),
            began: Instant::now(),
            interrupted,
        };
        let answer =
            self.parts.oauth.refresh(oauth, &token, &oauth::redirect_uri(&self.parts.public_url, &id.service)).await;
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
        if mark.settled || mark.holder == self.parts.leases.process() || !self.parts.records.store().is_shared() {
            return Duration::ZERO;
        }
        let since = mark.at.map_or(0, |at| lease.store_time_at_least().saturating_sub(at));
        lease::TTL.saturating_sub(Duration::from_micros(since))
    }

    async fn renewed(&self, sent: Sent<'_>, grant: oauth::Grant) -> Result<Step, Failure> {
        let Sent { key, id, used, marked, version, asked, began, interrupted } = sent;
        let next = self.parts.records.version_after(Some(version), self.parts.records.now());
        // The token's life began between question and answer, and that may have been long, as where this process was
        // stopped meanwhile: a token is never believed longer than the provider counts.
        let change = Change::Refreshed { grant, asked: version.0, contested: interrupted };
        let spends = marked.grant.as_ref().map_or(used, StoredGrant::renewed_by);
        let record = marked.apply(change, asked, next.0);
        let (landed, record) = self.parts.records.land(key, version, record, spends).await?;
        match landed {
            Landed::Saved => {
                if record.stands() {
                    self.parts.cache.wrote(key.owner, self.held(&key, &record));
                } else {
                    self.parts.records.is_stale(&key.owner);
                }
                self.ended(id, RefreshOutcome::Renewed, began);
                self.tell(id, Kind::Refreshed, None, None);
            }
            Landed::Waiting => {
                self.ended(id, RefreshOutcome::Renewed, began);
                self.tell(id, Kind::Refreshed, Some("unsaved"), None);
                self.parts.cache.amend(key.owner, self.held(&key, &record));
            }
            Landed::Outrun => {
                self.parts.records.is_stale(&key.owner);
                self.ended(id, RefreshOutcome::Adopted, began);
            }
            // Someone else's grant counts now, or none: this one must not live on at the provider.
            Landed::Superseded | Landed::Gone => {
                self.parts.records.is_stale(&key.owner);
                self.parts.revoker.give_up(&record);
            }
        }
        Ok(Step::Done)
    }

    fn held(&self, key: &Key, record: &Record) -> Held {
        let record = Record { id: self.parts.cache.shared(&key.owner, record.id.clone()), ..record.clone() };
        self.parts.projector.hold(&record, self.parts.records.now())
    }

    async fn refused(&self, sent: Sent<'_>, error: &oauth::TokenError, pass: Pass<'_>) -> Result<Step, Failure> {
        let Sent { key, id, marked, version, interrupted, began, .. } = sent;
        let now = self.parts.records.now();
        let generation = marked.grant.as_ref().map(|grant| grant.generation);
        match &error.kind {
            oauth::Kind::InvalidGrant { .. } => {
                pass.answered();
                let reason = if interrupted { Reason::RefreshInterrupted } else { Reason::Revoked };
                // The comparison of versions is the second reading: a record that moved is not marked.
                let fact = Fact { generation, detail: Some(reason.name()), ..Fact::new(Kind::Invalidated, &REFUSED) };
                let change = Change::Invalidated(reason);
                if self.parts.records.write_telling(key, marked, version, change, &fact).await?.is_none() {
                    return Ok(Step::Again);
                }
                self.ended(id, RefreshOutcome::Refused, began);
                Ok(Step::Done)
            }
            oauth::Kind::Client { code } | oauth::Kind::Denied { code } => {
                self.ended(id, RefreshOutcome::Failed, began);
                if error.is_about_client() {
                    tracing::error!(service = %id.service, code, "the provider refuses this client: check client_id and client_secret");
                    self.tell(id, Kind::ClientRefused, None, generation);
                    pass.failed(Concerns::All(None), Instant::now(), self.chance(now));
                } else {
                    tracing::warn!(service = %id.service, code, "the provider refuses this refresh, in a word that nobody knows; the connection stays");
                    self.tell(id, Kind::RefreshFailed, None, generation);
                    pass.failed(Concerns::Grant, Instant::now(), self.chance(now));
                }
                self.unanswered(key, marked, version, interrupted).await;
                Err(Failure::Provider)
            }
            oauth::Kind::Unavailable { retry_after, .. } => {
                tracing::warn!(service = %id.service, %error, "the token endpoint failed; the connection stays");
                self.tell(id, Kind::RefreshFailed, None, generation);
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
        let written = self.parts.records.write(key, marked, version, change).await;
        if may_be_spent && matches!(written, Ok(None)) {
            // A failover may have lost the mark: without it nobody would know. Somebody else's tells as much.
            let (Some(used), Some(mark)) = (used, mark) else { return };
            let Ok(read) = self.rests_on(&key, used).await else { return };
            if let Some((record, version)) = read.filter(|(record, _)| record.mark.is_none()) {
                let _ = self
                    .parts
                    .records
                    .write(key, record, version, Change::RefreshStarted(Mark { settled: true, ..mark }))
                    .await;
            }
        }
    }

    /// A number from 0 to 1 that spreads replicas out: another for each process and moment.
    fn chance(&self, now: Timestamp) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.parts.leases.process(), now.millis()).hash(&mut hasher);
        f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
    }

    pub(super) fn ended(&self, id: &ConnectionId, outcome: RefreshOutcome, began: Instant) {
        if let Some(counters) = self.parts.counters.get(&id.service) {
            counters.refresh(outcome, began.elapsed().as_secs_f64());
        }
    }

    /// Tells what happened to this one of a connection's successive grants.
    fn tell(&self, id: &ConnectionId, kind: Kind, detail: Option<&'static str>, generation: Option<u64>) {
        let cause = if kind == Kind::Refreshed { &RENEWED } else { &REFUSED };
        self.parts.records.facts().tell(id, &Fact { detail, generation, ..Fact::new(kind, cause) });
    }
}
