//! From (caller, service, account) to a credential, and what an upstream's refusal of one means. The usual case touches
//! memory only; everything else ends in one of few answers, and none of them blames the caller for a store, key or
//! provider that is down.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    clock::Timestamp,
    events::{Event, Kind},
    id::{Account, CallerId},
    provider::Service,
    store::OwnerId,
    telemetry::metrics::CacheOutcome,
};

use super::{
    AuthKind, Connections, Credential, Reason, Unavailable, Unusable,
    circuit::Standing,
    decide::{Decision, decide},
    record::Record,
    refresh::Failure,
    root,
    snapshot::{Selection, Snapshot},
    state::Change,
};

/// How long a call waits for a refresh.
const PATIENCE: Duration = Duration::from_secs(25);
/// How far the provider's clock, or the time that its answer took, may make a token end earlier than it seems.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// A stored token is normally in memory within this long.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How often the record is looked at again when it changes under a call.
const ROUNDS: u32 = 6;

/// What a call wants.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// For whom.
    pub caller: &'a CallerId,
    /// To what.
    pub service: &'a Service,
    /// Under which label, where one is named.
    pub account: Option<&'a Account>,
    /// With which scopes at least, on top of what the provider says of this method and path.
    pub scopes: &'a [String],
    /// The call's method as it is judged: `GET` also for `HEAD`; several with a space between them …
    pub method: &'a str,
    /// … and its path below `base_url`, without the query, as it came.
    pub path: &'a str,
}

/// What to do after an upstream refused a credential.
#[derive(Debug)]
pub enum AfterRejection {
    /// Send the request once more, with this one.
    Replay(Arc<Credential>),
    /// The credential is alive: the refusal is the upstream's own, and goes to the client.
    PassOn,
    /// There is no usable credential any more, or not now.
    Refuse(Unusable),
}

/// How far a snapshot can be believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// It is what the store says.
    Fresh,
    /// It is what the store said when it could last be asked.
    Offline,
}

impl Connections {
    /// A caller's name in the store, once the root that it derives from is known. Worth keeping: it costs an HMAC.
    pub fn owner(&self, caller: &CallerId) -> Option<OwnerId> {
        self.0.parts.roots.known().map(|root| root::owner(root, caller))
    }

    /// The credential from memory, where that is beyond doubt; never waits. What is due is renewed in the background.
    /// `owner` is the caller's name in the store.
    pub fn cached(&self, owner: &OwnerId, want: &Want<'_>, now: Timestamp) -> Option<Arc<Credential>> {
        let snapshot = self.0.snapshots.fresh(owner, self.0.parts.store.channel_epoch())?;
        match self.decided(&snapshot, want, now) {
            Decision::Use(credential) => {
                self.renew_if_due(&credential, now);
                Some(credential)
            }
            _ => None,
        }
    }

    /// A usable credential; waits for the store and for a refresh where it must.
    ///
    /// # Errors
    /// What the person, the application or the operator has to do, or who is away.
    pub async fn resolve(&self, want: &Want<'_>) -> Result<Arc<Credential>, Unusable> {
        self.resolve_of(None, want).await
    }

    /// The same; `owner` is the caller's name in the store, where that is known.
    ///
    /// # Errors
    /// The same.
    pub async fn resolve_of(&self, owner: Option<OwnerId>, want: &Want<'_>) -> Result<Arc<Credential>, Unusable> {
        for _ in 0..ROUNDS {
            let (snapshot, belief) = self.recall(owner, want.caller).await?;
            let now = self.now();
            match self.decided(&snapshot, want, now) {
                Decision::Use(credential) => {
                    if belief == Belief::Offline {
                        self.0.parts.metrics.credential_cache(CacheOutcome::Offline);
                    }
                    self.renew_if_due(&credential, now);
                    return Ok(credential);
                }
                // What was true when the store was last seen may have changed: nobody is sent away for it.
                Decision::Refuse(_) if belief == Belief::Offline => return Err(Unavailable::Store.into()),
                Decision::Refuse(unusable) => return Err(unusable),
                Decision::Expired(_) if belief == Belief::Offline => return Err(Unavailable::Store.into()),
                Decision::Expired(credential) if has_key(&snapshot, &credential) => {
                    let owner = self.key(&credential.id).await?.owner;
                    self.0.snapshots.changed(&owner);
                }
                // Said, and not stored: by another process's clock it may yet live.
                Decision::Expired(credential) => {
                    self.tell_end(&credential);
                    let account = credential.id.account.clone();
                    return Err(Unusable::AuthRequired { reason: Reason::Expired, account });
                }
                Decision::Refresh(credential) => self.refreshed(&credential).await?,
            }
        }
        Err(Unavailable::Busy.into())
    }

    /// What a call would find, without making one: under which label it would go. Nothing is renewed for it.
    ///
    /// # Errors
    /// What such a call would be refused with.
    pub async fn foresee(&self, want: &Want<'_>) -> Result<Account, Unusable> {
        let (snapshot, belief) = self.recall(None, want.caller).await?;
        match self.decided(&snapshot, want, self.now()) {
            Decision::Use(credential) | Decision::Refresh(credential) => Ok(credential.id.account.clone()),
            Decision::Expired(credential) if has_key(&snapshot, &credential) => Ok(credential.id.account.clone()),
            // As for a call: nobody is sent away for what may have changed since.
            _ if belief == Belief::Offline => Err(Unavailable::Store.into()),
            Decision::Refuse(unusable) => Err(unusable),
            Decision::Expired(credential) => {
                Err(Unusable::AuthRequired { reason: Reason::Expired, account: credential.id.account.clone() })
            }
        }
    }

    /// What a snapshot is good for, where a record that could not be read may be the one that is meant.
    fn decided(&self, snapshot: &Snapshot, want: &Want<'_>, now: Timestamp) -> Decision {
        if snapshot.rare.is_some() {
            let found = !matches!(snapshot.select(&want.service.owner, want.account), Selection::None(_));
            if self.is_hidden(snapshot, &want.service.owner, want.account, found) {
                return Decision::Refuse(Unavailable::Keys.into());
            }
        }
        decide(snapshot, want, now)
    }

    /// The upstream refused `credential` on a call that began at `began`.
    pub async fn rejected(&self, want: &Want<'_>, credential: &Arc<Credential>, began: Timestamp) -> AfterRejection {
        if self.refused_by_upstream_itself(credential, began) {
            return AfterRejection::PassOn;
        }
        match self.replace(want, credential, began).await {
            Ok(next) => AfterRejection::Replay(next),
            Err(unusable) => AfterRejection::Refuse(unusable),
        }
    }

    /// The upstream refused the credential that replaced a refused one: there is nothing left to try with this grant,
    /// once this process itself renewed it since the call began, or after an earlier refusal.
    pub async fn rejected_again(
        &self,
        want: &Want<'_>,
        credential: &Arc<Credential>,
        began: Timestamp,
    ) -> AfterRejection {
        if self.refused_by_upstream_itself(credential, began) {
            return AfterRejection::PassOn;
        }
        // It ended on its way, as when the process was frozen meanwhile: that says nothing of the grant.
        let now = self.now();
        if credential.is_due(now) {
            return AfterRejection::Refuse(Unavailable::Busy.into());
        }
        let outcome = async {
            // What another process renewed, or what was long on its way, may be over by now, whatever the clocks say: it is
            // worth a renewal of our own.
            if credential.kind == AuthKind::OAuth
                && credential.refreshable
                && !credential.is_on_trial()
                && !self.renewed_here(credential, began).await?
            {
                return self.replace(want, credential, began).await;
            }
            self.invalidate(credential, Reason::RejectedByUpstream).await?;
            self.resolve(want).await
        };
        match outcome.await {
            Ok(next) => AfterRejection::Replay(next),
            Err(unusable) => AfterRejection::Refuse(unusable),
        }
    }

    /// Whether an upstream's refusal of `credential`, on a call that began at `began`, says nothing of the credential: it
    /// is proven to live, and is not one that was replaced meanwhile.
    pub fn refused_by_upstream_itself(&self, credential: &Credential, began: Timestamp) -> bool {
        credential.proven_alive(began, self.now()) && !self.superseded(credential)
    }

    /// Whether memory holds a newer one for certain.
    fn superseded(&self, credential: &Credential) -> bool {
        let owner = self.owner(&credential.id.caller);
        let epoch = self.0.parts.store.channel_epoch();
        let Some(snapshot) = owner.and_then(|owner| self.0.snapshots.fresh(&owner, epoch)) else { return false };
        let mut held = snapshot.connections.iter().flat_map(|held| held.credentials.iter());
        !held.any(|(_, held)| held.id == credential.id && held.generation == credential.generation)
    }

    /// A call that began at `began` was accepted with this credential.
    pub fn accepted(&self, credential: &Credential, began: Timestamp) {
        if credential.accepted(began) && credential.kind == AuthKind::ApiKey {
            self.note_key_use(&credential.id, began);
        }
    }

    /// Another credential than the one refused on a call that began at `began`: what the store holds meanwhile, else a
    /// renewed one, which is then on trial.
    async fn replace(
        &self,
        want: &Want<'_>,
        refused: &Arc<Credential>,
        began: Timestamp,
    ) -> Result<Arc<Credential>, Unusable> {
        match refused.kind {
            AuthKind::OAuth if refused.refreshable => self.refreshed(refused).await?,
            // The provider's clock may be a little ahead: a token refused at its very end has ended.
            AuthKind::OAuth if refused.is_over(self.now().plus(CLOCKS_APART)) => {
                self.invalidate(refused, Reason::Expired).await?;
            }
            AuthKind::OAuth | AuthKind::ApiKey => self.invalidate(refused, Reason::RejectedByUpstream).await?,
        }
        let next = self.resolve(want).await?;
        // A store that is away by now takes nothing from a credential that is there.
        let same = next.id == refused.id && next.kind == AuthKind::OAuth;
        if same && matches!(self.renewed_here(&next, began).await, Ok(true)) {
            next.put_on_trial();
        }
        Ok(next)
    }

    /// Whether this process itself got the credential from the provider since `began`, had it at hand at once, and no
    /// earlier request can have ended it: what took longer may have ended meanwhile, by the provider's doing, like the
    /// one before it.
    async fn renewed_here(&self, credential: &Credential, began: Timestamp) -> Result<bool, Unavailable> {
        let key = self.key(&credential.id).await?;
        let unsaved = self.0.unsaved.sealed(&key).map(|(version, _)| (version, credential.at_hand));
        let ours = unsaved.or_else(|| self.0.snapshots.written(&key).map(|written| (written.0, written.2)));
        let here = ours.is_some_and(|(version, stored)| {
            version.0 == credential.generation && credential.at_hand.since(stored) <= AT_ONCE
        }) && credential.issued_at.is_some_and(|issued| issued >= began);
        if !here {
            return Ok(false);
        }
        let contested = |record: &Record| record.grant.as_ref().is_some_and(|grant| grant.contested);
        Ok(!self.read(&key).await?.is_some_and(|(record, _)| contested(&record)))
    }

    async fn refreshed(&self, credential: &Arc<Credential>) -> Result<(), Unusable> {
        match timeout(PATIENCE, self.refresh(&credential.id, credential.generation)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Provider)) => Err(Unusable::RefreshFailed),
            Ok(Err(Failure::Unavailable(unavailable))) => Err(unavailable.into()),
            Err(_) => Err(Unavailable::Busy.into()),
        }
    }

    fn renew_if_due(&self, credential: &Arc<Credential>, now: Timestamp) {
        if credential.is_due(now)
            && self.0.circuits.standing(&credential.id.service, Instant::now()) == Standing::Asked
            && credential.claim_renewal(now)
        {
            self.refresh_in_background(&credential.id, credential.generation);
        }
    }

    /// Tells, once, that a token has ended and nothing renews it.
    fn tell_end(&self, credential: &Credential) {
        let fact = Event::new(credential.id.as_ref().clone(), Kind::Expired, Some(Reason::Expired.name()));
        self.0.parts.events.tell_once(&Event { generation: Some(credential.generation), ..fact });
    }

    /// Marks the connection, where it still rests on this credential.
    async fn invalidate(&self, credential: &Credential, reason: Reason) -> Result<(), Unavailable> {
        let change = |record: &Record| match credential.kind {
            AuthKind::OAuth => {
                let rests = record.invalid.is_none()
                    && record.grant.as_ref().is_some_and(|grant| grant.generation == credential.generation);
                rests.then_some(Change::Invalidated(reason))
            }
            AuthKind::ApiKey => {
                let rests =
                    record.api_key.as_ref().is_some_and(|key| key.generation == credential.generation && !key.refused);
                rests.then_some(Change::KeyRefused)
            }
        };
        if self.change(&credential.id, change).await?.is_some() {
            let kind = if reason == Reason::Expired { Kind::Expired } else { Kind::Invalidated };
            self.tell_of(&credential.id, kind, Some(reason.name()), Some(credential.generation));
        } else {
            let owner = self.key(&credential.id).await?.owner;
            self.0.snapshots.changed(&owner);
        }
        Ok(())
    }

    /// What is known of a caller: from memory where it can be believed, else from the store, else, while that is away,
    /// from memory all the same.
    pub(super) async fn snapshot(&self, caller: &CallerId) -> Result<Arc<Snapshot>, Unavailable> {
        self.recall(None, caller).await.map(|(snapshot, _)| snapshot)
    }

    async fn recall(&self, owner: Option<OwnerId>, caller: &CallerId) -> Result<(Arc<Snapshot>, Belief), Unavailable> {
        let store = &self.0.parts.store;
        let owner = match owner {
            Some(owner) => owner,
            None => root::owner(self.0.parts.roots.get().await?.as_ref(), caller),
        };
        // A flight that began before the latest change may bring what was true before it.
        for round in 0..ROUNDS {
            if let Some(snapshot) = self.0.snapshots.fresh(&owner, store.channel_epoch()) {
                return Ok((snapshot, Belief::Fresh));
            }
            let (connections, of, mut begun) = (self.clone(), caller.clone(), round > 0);
            let load = self.0.loads.join(owner, || {
                begun = true;
                async move { connections.load(owner, Some(&of)).await }
            });
            match load.await.unwrap_or(Err(Unavailable::Busy)) {
                // While no notices come, nothing tells of a change, and what others began to read before this call may be
                // long past, as where the process was stopped meanwhile.
                Ok(snapshot) if begun && store.channel_epoch().is_none() => return Ok((snapshot, Belief::Fresh)),
                Ok(_) => {}
                Err(unavailable) => {
                    let offline = self.0.snapshots.offline(&owner, self.now()).ok_or(unavailable)?;
                    return Ok((offline, Belief::Offline));
                }
            }
        }
        Ok((self.load(owner, Some(caller)).await?, Belief::Fresh))
    }
}

/// Whether calls go on with an API key once this credential has ended.
fn has_key(snapshot: &Snapshot, credential: &Credential) -> bool {
    snapshot.connections.iter().any(|held| held.id == credential.id && held.has_key())
}
