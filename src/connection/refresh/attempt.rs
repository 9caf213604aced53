//! One attempt, under the lease: the write-ahead intent, the request, and what becomes of its answer.

use std::time::Duration;

use tokio::{sync::broadcast::Receiver, time::Instant};

use crate::{
    backoff,
    clock::Timestamp,
    connection::{
        cache::Held,
        lease::{self, Lease},
        model::{Reason, Unavailable},
        record::{
            change::Change,
            facts::Fact,
            form::{Intent, Record, StoredGrant},
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

/// How long a process that finds the store again may take to store a grant that it kept in memory: longer than the longest
/// pause between two tries to connect.
const LANDING: Duration = Duration::from_secs(2);
/// Who renews, …
static RENEWED: Cause = Cause::of(Actor::Healer);
/// … and who refuses to, or doesn't answer.
static REFUSED: Cause = Cause::of(Actor::Provider);

/// A refresh token that was sent.
struct Sent<'a> {
    key: Key,
    id: &'a ConnectionId,
    /// The version of the token whose refresh token it was.
    used: Version,
    /// The record as it was stored before, with its intent …
    record: Record,
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
    /// Under the lease: intent, request, new grant.
    pub(super) async fn renew(
        &self,
        key: Key,
        id: &ConnectionId,
        oauth: &OAuth,
        used: Version,
        lease: &Lease,
        notices: &mut Receiver<Notification>,
    ) -> Result<Step, Failure> {
        // Whoever held the lease before may have done it all.
        let Some((record, version)) = self.rests_on(&key, used).await? else { return Ok(Step::Done) };
        let earlier = record.intent.as_ref().filter(|intent| intent.spends == used);
        let wait = earlier.map_or(Duration::ZERO, |intent| self.still_at_work(intent, lease));
        if !wait.is_zero() && await_change(notices, &key, wait).await {
            return Ok(Step::Again);
        }
        let interrupted = earlier.is_some();
        let Some(token) = refresh_token(&record, oauth).cloned() else { return Ok(Step::Done) };
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
        let intent = Intent { holder: self.parts.leases.process().to_owned(), spends: used, at, settled: false };
        let Some((record, version)) =
            self.parts.records.write_unseen(key, record, version, Change::RefreshStarted(intent)).await?
        else {
            return Ok(Step::Again);
        };
        // Lease and intent may have been long on their way, and another process would take over and spend the token, too,
        // while this one waits for the answer.
        if !lease.secured_for(self.parts.timeout).await {
            self.unanswered(key, record, version, interrupted).await;
            return Ok(Step::Again);
        }
        let sent = Sent {
            key,
            id,
            used,
            record,
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
                self.answered(pass, id);
                self.renewed(sent, grant).await
            }
            Err(error) => self.refused(sent, &error, pass).await,
        }
    }

    /// How long to wait for the process that wrote the intent: until its lease is certainly over, which a failover may have lost, and
    /// in any case long enough for it to store what it holds in memory. After an outage that outlived its lease, both find
    /// the store at the same moment.
    fn still_at_work(&self, intent: &Intent, lease: &Lease) -> Duration {
        if intent.settled || intent.holder == self.parts.leases.process() || !self.parts.records.store().is_shared() {
            return Duration::ZERO;
        }
        let since = intent.at.map_or(0, |at| lease.store_time_at_least().saturating_sub(at));
        lease::TTL.saturating_sub(Duration::from_micros(since)).max(LANDING)
    }

    async fn renewed(&self, sent: Sent<'_>, grant: oauth::Grant) -> Result<Step, Failure> {
        let Sent { key, id, used, record, version, asked, began, interrupted } = sent;
        let next = self.parts.records.version_after(Some(version), self.parts.records.now());
        // The token's life began between question and answer, and that may have been long, as where this process was
        // stopped meanwhile: a token is never believed longer than the provider counts.
        let change = Change::Refreshed { grant, asked: version, contested: interrupted };
        let spends = record.grant.as_ref().map_or(used, StoredGrant::renewed_by);
        let record = record.apply(change, asked, next).map_err(Unavailable::from)?;
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
        let Sent { key, id, record, version, interrupted, began, .. } = sent;
        let token_version = record.grant.as_ref().map(|grant| grant.token_version);
        match &error.kind {
            oauth::Kind::InvalidGrant { .. } => {
                self.answered(pass, id);
                let reason = if interrupted { Reason::RefreshInterrupted } else { Reason::Revoked };
                // The comparison of versions is the second reading: a record that moved is not changed.
                let fact =
                    Fact { token_version, detail: Some(reason.name()), ..Fact::new(Kind::Invalidated, &REFUSED) };
                let change = Change::Invalidated(reason);
                if self.parts.records.write(key, record, version, change, Some(&fact)).await?.is_none() {
                    return Ok(Step::Again);
                }
                self.ended(id, RefreshOutcome::Refused, began);
                Ok(Step::Done)
            }
            oauth::Kind::Client { code } | oauth::Kind::Denied { code } => {
                if error.is_about_client() {
                    self.ended(id, RefreshOutcome::ClientRefused, began);
                    tracing::error!(service = %id.service, code, "the provider refuses this client: check client_id and client_secret");
                    self.tell(id, Kind::ClientRefused, error.word(), token_version);
                    self.failed(pass, id, Concerns::All(None));
                } else {
                    self.ended(id, RefreshOutcome::Failed, began);
                    tracing::warn!(service = %id.service, code, "the provider refuses this refresh with an unknown error code; the connection stays");
                    self.tell(id, Kind::RefreshFailed, error.word(), token_version);
                    self.failed(pass, id, Concerns::Grant);
                }
                self.unanswered(key, record, version, interrupted).await;
                Err(Failure::Provider)
            }
            oauth::Kind::Unavailable { retry_after, .. } => {
                tracing::warn!(service = %id.service, %error, "the token endpoint failed; the connection stays");
                self.tell(id, Kind::RefreshFailed, error.word(), token_version);
                let unknown = error.may_have_happened();
                let outcome = if unknown { RefreshOutcome::Interrupted } else { RefreshOutcome::Failed };
                self.ended(id, outcome, began);
                self.failed(pass, id, Concerns::All(*retry_after));
                self.unanswered(key, record, version, interrupted || unknown).await;
                Err(Failure::Provider)
            }
        }
    }

    /// Takes the intent away where the refresh token certainly was not spent, neither now nor by an earlier attempt; else
    /// notes that nobody is at work any more. If that fails the intent stays as it is, and a later refusal is called
    /// interrupted: wrong about the cause, but nobody's loss.
    async fn unanswered(&self, key: Key, record: Record, version: Version, may_be_spent: bool) {
        let change = if may_be_spent { Change::RefreshUnknown } else { Change::RefreshUnspent };
        let (intent, used) = (record.intent.clone(), record.grant.as_ref().map(|grant| grant.token_version));
        let written = self.parts.records.write(key, record, version, change, None).await;
        if may_be_spent && matches!(written, Ok(None)) {
            // A failover may have lost the intent: without it nobody would know. Somebody else's tells as much.
            let (Some(used), Some(intent)) = (used, intent) else { return };
            let Ok(read) = self.rests_on(&key, used).await else { return };
            if let Some((record, version)) = read.filter(|(record, _)| record.intent.is_none()) {
                let _ = self
                    .parts
                    .records
                    .write(key, record, version, Change::RefreshStarted(Intent { settled: true, ..intent }), None)
                    .await;
            }
        }
    }

    /// The endpoint answered: it is asked as usual.
    fn answered(&self, pass: Pass<'_>, id: &ConnectionId) {
        pass.answered();
        self.parts.metrics.service(&id.service).circuit_open_until(None);
    }

    /// The endpoint failed: perhaps it is given a pause.
    fn failed(&self, pass: Pass<'_>, id: &ConnectionId, concerns: Concerns) {
        pass.failed(concerns, Instant::now(), self.chance(self.parts.records.now()));
        let until = self.circuits.open_until(&id.service).map(Instant::into_std);
        self.parts.metrics.service(&id.service).circuit_open_until(until);
    }

    /// A number from 0 to 1 that spreads replicas out: another for each process and moment.
    fn chance(&self, now: Timestamp) -> f64 {
        backoff::chance(&(self.parts.leases.process(), now.millis()))
    }

    pub(super) fn ended(&self, id: &ConnectionId, outcome: RefreshOutcome, began: Instant) {
        self.parts.metrics.service(&id.service).refresh(outcome, began.elapsed());
    }

    /// Tells what happened to this one of a connection's successive grants.
    fn tell(&self, id: &ConnectionId, kind: Kind, detail: Option<&'static str>, token_version: Option<Version>) {
        let cause = if kind == Kind::Refreshed { &RENEWED } else { &REFUSED };
        self.parts.records.facts().tell(id, &Fact { detail, token_version, ..Fact::new(kind, cause) });
    }
}
