//! Parting with a grant: it is revoked at the provider, asked again by the healer where that is away, and then forgotten.
//! A provider may take more along than the token it is told of: RFC 7009 §2.1 allows it the whole authorization grant, and
//! some end all that a user ever gave to a client. So a revocation is sent only where nothing that is alive might be
//! meant by it: no other grant of the caller's under the same OAuth client whose account at the provider is the same, or
//! unknown. Where there is one, the grant is forgotten and left to the provider.
//!
//! That is decided by what the store says right before each request, and under a lease that certainly outlasts the request:
//! a callback holds the same one from before its code is exchanged until its grant is stored, and lets it run out where the
//! store may yet store that, so that neither overtakes the other. What remains: the same account connected by another
//! caller, whom no look at this one's records shows; a request that reaches the provider, or a write that reaches the store,
//! long after its sender gave up; and a lease that a failover of the store lost.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::{
    events::{Actor, Cause, Kind},
    id::{CallerId, ConnectionId},
    oauth::{self, TokenHint},
    provider::{Live, OAuth, Service},
    store::{Expect, Held, Key, OwnerId, RecordId, Version},
};

use super::{
    lease::{Asked, Lease, Leases},
    model::Unavailable,
    record::{
        change::Change,
        facts::Fact,
        form::Record,
        records::Records,
        root,
        state::{PendingRevocation, State},
    },
};

/// How often a provider is asked to revoke before it is told to the operator and done without.
const ATTEMPTS_MAX: u32 = 8;
/// How long somebody who holds the lease is waited for: longer than the lease of a dead one lasts.
const PATIENCE: Duration = Duration::from_secs(18);
/// How long the lease is asked for again where the store fails without a break: one lost answer leaves nobody unguarded,
/// however long another was waited for before it, and nobody waits long for a store that is away.
const STORE_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(100);
/// How long a grant that nobody can store is kept in mind to be revoked.
const KEPT_IN_MIND: Duration = Duration::from_secs(15 * 60);
/// Between two tries to store that.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a revocation fails.
static FAILED: Cause = Cause::of(Actor::Provider);

/// What came of asking for a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// There is nothing left to do.
    Done,
    /// Something that is alive might have been meant, too.
    Spared,
    /// Another record still holds this very grant: it is about to go, or to be replaced.
    Held,
    /// The provider does not answer, or not well.
    Failed,
}

/// A grant is about to come in: until it has ended, nothing is revoked that could take it along. Where it is dropped instead,
/// as nobody knows whether the grant is stored, it ends by itself within 15 s: a store behind a network may carry a write out
/// after its sender has given up.
#[derive(Default)]
pub struct Arrival(Option<Guard>);

struct Guard {
    lease: Lease,
    /// Whether the store may yet do what it was asked for in vain.
    may_be_late: bool,
    handle: Handle,
}

impl Arrival {
    /// Ends it: the grant is stored, or it is certain that nothing will be.
    pub fn end(mut self) {
        self.release();
    }

    fn release(&mut self) {
        if let Some(Guard { lease, handle, .. }) = self.0.take() {
            handle.spawn(lease.release());
        }
    }

    /// Whether it keeps revocations from being sent.
    pub const fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// The lease by which it does.
    pub(super) fn lease(&self) -> Option<Held<'_>> {
        self.0.as_ref().map(|guard| guard.lease.held())
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        if self.0.as_ref().is_some_and(|guard| !guard.may_be_late) {
            self.release();
        }
    }
}

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Arrival").field(&self.is_held()).finish()
    }
}

/// Parts with grants.
pub struct Revoker {
    records: Arc<Records>,
    leases: Arc<Leases>,
    live: Live,
    oauth: Arc<oauth::Client>,
    timeout: Duration,
    handle: Handle,
}

impl Revoker {
    /// Revokes at the token servers of these services, which answer within `timeout` or not at all; what nobody waits for
    /// runs on `handle`.
    pub fn new(
        records: Arc<Records>,
        leases: Arc<Leases>,
        live: Live,
        (oauth, timeout): (Arc<oauth::Client>, Duration),
        handle: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { records, leases, live, oauth, timeout, handle })
    }

    /// Waits for revocations under this service's client that are under way, and keeps new ones from being sent. Best
    /// effort: who waits in vain goes on all the same.
    pub async fn arrival(&self, caller: &CallerId, service: &Service) -> Arrival {
        let (Some(client), Ok(root)) = (&service.oauth, self.records.roots().get().await) else {
            return Arrival::default();
        };
        let owner = root::owner(&root, caller);
        match self.alone_with(owner, client).await {
            Ok(Some(lease)) => {
                let may_be_late = self.records.store().is_shared();
                Arrival(Some(Guard { lease, may_be_late, handle: self.handle.clone() }))
            }
            Ok(None) | Err(_) => {
                tracing::warn!(service = %service.name, "a grant comes in while another may just be revoked");
                Arrival::default()
            }
        }
    }

    /// Asks the provider to revoke what was given up, and deletes the record.
    pub async fn finish(&self, key: Key) {
        let Ok(Some((record, version))) = self.records.read(&key).await else { return };
        let (parting, attempts) = match &record.state {
            State::PendingRevocation(pending) => {
                (self.part_with(key.owner, &record.id, pending).await, pending.attempts)
            }
            _ if record.is_bare() => (Ok(Parting::Done), 0),
            _ => return,
        };
        let forgotten = match parting {
            Ok(Parting::Failed | Parting::Held) if attempts + 1 < ATTEMPTS_MAX => {
                self.records.write(key, record, version, Change::RevocationFailed, None).await.map(|_| ())
            }
            Ok(parting) => {
                let service = &record.id.service;
                if parting == Parting::Failed {
                    tracing::error!(%service, "a grant could not be revoked at the provider; it is given up");
                    let fact = Fact::new(Kind::RevocationFailed, &FAILED);
                    self.records.delete(&key, version, Some((&record.id, &fact))).await.map(|_| ())
                } else {
                    if parting != Parting::Done {
                        tracing::info!(%service, "a grant is not revoked: that could end another that is in use");
                    }
                    self.records.delete(&key, version, None).await.map(|_| ())
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            tracing::debug!(%error, "a revocation is left to the healer");
        }
    }

    /// The same, by a task that nobody waits for.
    pub fn finish_in_background(self: &Arc<Self>, key: Key) {
        let revoker = Arc::clone(self);
        self.handle.spawn(async move { revoker.finish(key).await });
    }

    /// Revokes a grant that must not live on at the provider and that no record holds: first it gets one.
    pub fn give_up(self: &Arc<Self>, record: &Record) {
        let Some(pending) = record.to_revoke() else { return };
        let (revoker, id) = (Arc::clone(self), record.id.clone());
        self.handle.spawn(async move {
            let began = Instant::now();
            loop {
                match revoker.bury(&id, &pending).await {
                    Ok(grave) => return revoker.finish(grave).await,
                    Err(error) if began.elapsed() > KEPT_IN_MIND => {
                        tracing::error!(%error, service = %id.service, "a grant that could not be stored was not revoked");
                        revoker.records.facts().tell(&id, &Fact::new(Kind::RevocationFailed, &FAILED));
                        return;
                    }
                    Err(_) => sleep(PAUSE).await,
                }
            }
        });
    }

    /// Revokes a grant that a flow brought and that could not be stored; once the store is back.
    pub fn give_up_unstored(
        self: &Arc<Self>,
        id: &ConnectionId,
        grant: oauth::Grant,
        identity: Option<oauth::Identity>,
    ) {
        let change = Change::Connected { grant, identity, requested: Vec::new(), client: None };
        // No record of this version is ever stored; all that is taken of it is the grant.
        if let Ok(record) = Record::empty(id.clone()).apply(change, self.records.now(), Version::default()) {
            self.give_up(&record);
        }
    }

    /// Keeps what is to be revoked in a record of its own, which nobody sees: something else takes its label. Done again,
    /// it changes nothing.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn bury(&self, id: &ConnectionId, pending: &PendingRevocation) -> Result<Key, Unavailable> {
        let root = self.records.roots().get().await?;
        let token = pending.grant.access_token.expose().as_bytes();
        let key = Key { owner: root::owner(&root, &id.caller), record: RecordId(root.blind("farewell", &[token])) };
        let record = Record::only(id.clone(), State::PendingRevocation(Box::new(pending.clone())));
        self.records.put(key, Expect::Absent, None, |_, _| Ok(record)).await?;
        Ok(key)
    }

    /// RFC 7009: the refresh token first, which takes the access token along where the provider knows how.
    async fn part_with(
        &self,
        owner: OwnerId,
        id: &ConnectionId,
        pending: &PendingRevocation,
    ) -> Result<Parting, Unavailable> {
        let services = self.live.services();
        let service = services.get(id.service.as_str());
        // A configuration that lacks the service for now is no reason to forget what is still to be revoked there.
        let Some(server) = service.and_then(|service| service.oauth.clone()) else { return Ok(Parting::Failed) };
        if server.revoke_url.is_none() {
            return Ok(Parting::Done);
        }
        let Some(lease) = self.alone_with(owner, &server).await? else { return Err(Unavailable::Busy) };
        let parting = self.revoke(owner, &server, pending, &lease).await;
        lease.release().await;
        parting
    }

    async fn revoke(
        &self,
        owner: OwnerId,
        server: &OAuth,
        pending: &PendingRevocation,
        lease: &Lease,
    ) -> Result<Parting, Unavailable> {
        let grant = &pending.grant;
        let refresh = grant.refresh_token.as_ref().map(|token| (token, TokenHint::Refresh));
        let mut parting = Parting::Done;
        for (token, hint) in refresh.into_iter().chain([(&grant.access_token, TokenHint::Access)]) {
            if let Some(parting) = self.kept_by_others(owner, server, pending).await? {
                return Ok(parting);
            }
            // Who was stopped, or found no store, may have lost the lease, and what came in since was not to be seen.
            if !lease.secured_for(self.timeout).await {
                return Err(Unavailable::Busy);
            }
            if self.oauth.revoke(server, token, hint).await.is_err() {
                parting = Parting::Failed;
            }
        }
        Ok(parting)
    }

    /// What comes of a revocation at this server where the caller has a grant that it could end as well; `None`: there is
    /// none. What can't be read might be one.
    async fn kept_by_others(
        &self,
        owner: OwnerId,
        server: &OAuth,
        pending: &PendingRevocation,
    ) -> Result<Option<Parting>, Unavailable> {
        let account = pending.identity.as_deref();
        let mut kept = None;
        for listed in self.records.list(owner).await? {
            let record = listed.record?;
            let services = self.live.services();
            let service = services.get(record.id.service.as_str());
            let Some(other) = service.and_then(|service| service.oauth.as_deref()) else {
                // Of a service that this configuration lacks, no more is known than its client's id, at best.
                let client = record.grant.as_ref().and_then(|grant| grant.client.as_deref());
                if record.is_alive() && client.is_none_or(|client| client == server.client_id) {
                    return Ok(Some(Parting::Spared));
                }
                continue;
            };
            if record.is_alive() && server.is_same_client(other) {
                // Two services may tell accounts apart by different things.
                let comparable = server.tells_accounts_as(other);
                let known = account.filter(|_| comparable).zip(record.identity.as_ref());
                if known.is_none_or(|(account, identity)| account == identity.id) {
                    let same = record.grant.as_ref().is_some_and(|grant| grant.is_same(&pending.grant));
                    if !same {
                        return Ok(Some(Parting::Spared));
                    }
                    kept = Some(Parting::Held);
                }
            }
        }
        Ok(kept)
    }

    /// The lease under which grants of this owner's and this client's come in and are revoked. `None`: another holds it.
    async fn alone_with(&self, owner: OwnerId, client: &OAuth) -> Result<Option<Lease>, Unavailable> {
        let root = self.records.roots().get().await?;
        let parts = [client.token_url.as_str().as_bytes(), client.client_id.as_bytes()];
        let key = Key { owner, record: RecordId(root.blind("client", &parts)) };
        let began = Instant::now();
        // When the store last answered, or was first asked.
        let mut answered = began;
        loop {
            match self.leases.ask(key).await {
                Ok(Asked::Mine(lease)) => return Ok(Some(lease)),
                Ok(Asked::Theirs(_)) if began.elapsed() > PATIENCE => return Ok(None),
                Ok(Asked::Theirs(_)) => answered = Instant::now(),
                Err(error) if answered.elapsed() > STORE_PATIENCE => return Err(error.into()),
                Err(_) => {}
            }
            sleep(LOOK).await;
        }
    }
}
