//! What an upstream's refusal of a credential means, and what is left to try.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    connection::{
        cache::Credential,
        model::{AuthKind, Reason, Unavailable, Unusable},
        record::{change::Change, facts::Fact, form::Record},
    },
    events::{Actor, Cause, Kind},
};

use super::{Resolver, decide::Want};

/// How far the provider's clock, or the time that its answer took, may make a token end earlier than it seems.
const CLOCKS_APART: Duration = Duration::from_secs(2);
/// A stored token is normally in memory within this long.
const AT_ONCE: Duration = Duration::from_secs(1);

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

impl Resolver {
    /// The upstream refused `credential` on a call that began at `began`, in the request that `cause` names.
    pub async fn rejected(
        &self,
        want: &Want<'_>,
        credential: &Arc<Credential>,
        began: Timestamp,
        cause: &Cause,
    ) -> AfterRejection {
        if self.refused_by_upstream_itself(credential, began) {
            return AfterRejection::PassOn;
        }
        match self.replace(want, credential, began, cause).await {
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
        cause: &Cause,
    ) -> AfterRejection {
        if self.refused_by_upstream_itself(credential, began) {
            return AfterRejection::PassOn;
        }
        // It ended on its way, as when the process was frozen meanwhile: that says nothing of the grant.
        let now = self.records.now();
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
                return self.replace(want, credential, began, cause).await;
            }
            self.invalidate(credential, Reason::RejectedByUpstream, cause).await?;
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
        credential.proven_alive(began, self.records.now()) && !self.superseded(credential)
    }

    /// Whether memory holds a newer one for certain.
    fn superseded(&self, credential: &Credential) -> bool {
        let owner = self.reader.owner(&credential.id.caller);
        let Some(snapshot) = owner.and_then(|owner| self.reader.current(&owner)) else { return false };
        let mut held = snapshot.connections.iter().flat_map(|held| held.credentials.iter());
        !held.any(|(_, held)| held.id == credential.id && held.token_version == credential.token_version)
    }

    /// A call that began at `began` was accepted with this credential.
    pub fn accepted(&self, credential: &Credential, began: Timestamp) {
        if credential.accepted(began) && credential.kind == AuthKind::ApiKey {
            self.api_keys.note_use(&credential.id, began);
        }
    }

    /// Another credential than the one refused on a call that began at `began`: what the store holds meanwhile, else a
    /// renewed one, which is then on trial.
    async fn replace(
        &self,
        want: &Want<'_>,
        refused: &Arc<Credential>,
        began: Timestamp,
        cause: &Cause,
    ) -> Result<Arc<Credential>, Unusable> {
        match refused.kind {
            AuthKind::OAuth if refused.refreshable => self.refreshed(refused, want).await?,
            // The provider's clock may be a little ahead: a token refused at its very end has ended.
            AuthKind::OAuth if refused.has_expired(self.records.now().plus(CLOCKS_APART)) => {
                self.invalidate(refused, Reason::Expired, &Cause { actor: Actor::Nobody, ..cause.clone() }).await?;
            }
            AuthKind::OAuth | AuthKind::ApiKey => self.invalidate(refused, Reason::RejectedByUpstream, cause).await?,
        }
        let next = self.resolve(want).await?;
        // A store that is away by now takes nothing from a credential that is there.
        let same = next.id == refused.id && next.kind == AuthKind::OAuth;
        if same && matches!(self.renewed_here(&next, began).await, Ok(true)) {
            self.put_on_trial(&next);
        }
        Ok(next)
    }

    /// The credential is on trial, and so is the same one where it has been read anew meanwhile: the next call finds that.
    fn put_on_trial(&self, credential: &Credential) {
        credential.put_on_trial();
        let Some(snapshot) = self.reader.held(&credential.id.caller) else { return };
        let held = snapshot.connections.iter().flat_map(|held| held.credentials.iter());
        held.map(|(_, held)| held)
            .filter(|held| held.id == credential.id && held.token_version == credential.token_version)
            .for_each(|held| held.put_on_trial());
    }

    /// Whether this process itself got the credential from the provider since `began`, had it at hand at once, and no
    /// earlier request can have ended it: what took longer may have ended meanwhile, by the provider's doing, like the
    /// one before it.
    async fn renewed_here(&self, credential: &Credential, began: Timestamp) -> Result<bool, Unavailable> {
        let key = self.records.roots().key(&credential.id).await?;
        let ours = self.records.own().grant(&key);
        let here = ours.is_some_and(|(version, stored)| {
            let at_once = stored.is_none_or(|stored| credential.at_hand.since(stored) <= AT_ONCE);
            version == credential.token_version && at_once
        }) && credential.issued_at.is_some_and(|issued| issued >= began);
        if !here {
            return Ok(false);
        }
        let contested = |record: &Record| record.grant.as_ref().is_some_and(|grant| grant.contested);
        Ok(!self.records.read(&key).await?.is_some_and(|(record, _)| contested(&record)))
    }

    /// Marks the connection, where it still rests on this credential.
    async fn invalidate(&self, credential: &Credential, reason: Reason, cause: &Cause) -> Result<(), Unavailable> {
        let change = |record: &Record| match credential.kind {
            AuthKind::OAuth => {
                let rests = record.invalid.is_none()
                    && record.grant.as_ref().is_some_and(|grant| grant.token_version == credential.token_version);
                rests.then_some(Change::Invalidated(reason))
            }
            AuthKind::ApiKey => {
                let rests = record
                    .api_key
                    .as_ref()
                    .is_some_and(|key| key.token_version == credential.token_version && !key.refused);
                rests.then_some(Change::KeyRefused)
            }
        };
        let kind = if reason == Reason::Expired { Kind::Expired } else { Kind::Invalidated };
        let (detail, token_version) = (Some(reason.name()), Some(credential.token_version));
        let fact = Fact { detail, token_version, ..Fact::new(kind, cause) };
        if self.editor.change(&credential.id, &fact, change).await?.is_none() {
            let owner = self.records.roots().key(&credential.id).await?.owner;
            self.records.is_stale(&owner);
        }
        Ok(())
    }
}
