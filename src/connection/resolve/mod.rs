//! From (caller, service, account) to a credential, and what an upstream's refusal of one means. The usual case touches
//! memory only; everything else ends in one of few answers, and none of them blames the caller for a store, key or
//! provider that is down.
//!
//! - `decide`: the pure part; `acting`: who acted for whom; `rejection`: when the upstream refuses what was found

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use crate::{
    clock::Timestamp,
    events::{Actor, Cause, Event, Kind},
    id::{Account, CallerId},
    provider::Service,
    store::{OwnerId, Version},
    telemetry::{Metrics, metrics::CacheOutcome},
};

use super::{
    cache::{Credential, Selection, Snapshot},
    edit::Editor,
    keys::ApiKeys,
    model::{Reason, Unavailable, Unusable},
    recall::{Belief, Reader},
    record::{facts::Fact, records::Records},
    refresh::{CircuitState, Failure, Refresher},
};

mod acting;
mod decide;
mod rejection;

use decide::decide;

pub use decide::{Decision, Waited, Want};
pub use rejection::AfterRejection;

/// How long a call waits for a refresh.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often it is tried to append to the log what changes no record, …
const APPENDS: u32 = 30;
/// … and how long is waited between.
const BETWEEN_APPENDS: Duration = Duration::from_secs(10);
/// How often the record is looked at again when it changes under a call.
const ROUNDS: u32 = 6;

/// Finds credentials for calls.
pub struct Resolver {
    records: Arc<Records>,
    reader: Arc<Reader>,
    editor: Arc<Editor>,
    refresher: Arc<Refresher>,
    api_keys: Arc<ApiKeys>,
    metrics: Arc<Metrics>,
    handle: Handle,
    told: acting::Told,
}

impl Resolver {
    /// In these records; what nobody waits for runs on `handle`.
    pub(super) fn new(
        records: Arc<Records>,
        reader: Arc<Reader>,
        editor: Arc<Editor>,
        refresher: Arc<Refresher>,
        api_keys: Arc<ApiKeys>,
        metrics: Arc<Metrics>,
        handle: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { records, reader, editor, refresher, api_keys, metrics, handle, told: acting::Told::default() })
    }

    /// A caller's name in the store, once the root that it derives from is known. Worth keeping: it costs an HMAC.
    pub fn owner(&self, caller: &CallerId) -> Option<OwnerId> {
        self.reader.owner(caller)
    }

    /// What memory says of a call, where that is beyond doubt; never waits. What is due is renewed in the background. `owner`
    /// is the caller's name in the store.
    pub fn from_memory(&self, owner: &OwnerId, want: &Want<'_>, now: Timestamp) -> Option<Decision> {
        let snapshot = self.reader.fresh(owner, want.services)?;
        let decision = self.decided(&snapshot, want, now);
        self.follow(&decision, want, now);
        Some(decision)
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
            let (snapshot, belief) = self.reader.recall(owner, want.caller, want.services).await?;
            let now = self.records.now();
            let decision = self.decided(&snapshot, want, now);
            if belief == Belief::Offline {
                match decision {
                    Decision::Use(_) => self.metrics.credential_cache(CacheOutcome::Offline),
                    Decision::Refresh(_) => {}
                    // What was true when the store was last seen may have changed: nobody is sent away for it.
                    Decision::FallBack(_) | Decision::Expired(..) | Decision::Outdated | Decision::Refuse(_) => {
                        return Err(Unavailable::Store.into());
                    }
                }
            }
            self.follow(&decision, want, now);
            match decision {
                Decision::Use(credential) => return Ok(credential),
                Decision::Refuse(unusable) | Decision::Expired(_, unusable) => return Err(unusable),
                Decision::FallBack(credential) => {
                    let owner = self.records.roots().key(&credential.id).await?.owner;
                    self.records.is_stale(&owner);
                }
                Decision::Refresh(credential) => self.refreshed(&credential, want).await?,
                Decision::Outdated => {
                    let owner = self.records.roots().owner(want.caller).await?;
                    self.records.is_stale(&owner);
                }
            }
        }
        Err(Unavailable::Busy.into())
    }

    /// What a call would find, without making one: under which label it would go. Nothing is renewed for it.
    ///
    /// # Errors
    /// What such a call would be refused with.
    pub async fn foresee(&self, want: &Want<'_>) -> Result<Account, Unusable> {
        let (snapshot, belief) = self.reader.recall(None, want.caller, want.services).await?;
        match self.decided(&snapshot, want, self.records.now()) {
            Decision::Use(credential) | Decision::Refresh(credential) | Decision::FallBack(credential) => {
                Ok(credential.id.account.clone())
            }
            // As for a call: nobody is sent away for what may have changed since.
            _ if belief == Belief::Offline => Err(Unavailable::Store.into()),
            Decision::Refuse(unusable) | Decision::Expired(_, unusable) => Err(unusable),
            Decision::Outdated => Err(Unavailable::Busy.into()),
        }
    }

    /// What a snapshot is good for, where a record that could not be read may be the one that is meant.
    fn decided(&self, snapshot: &Snapshot, want: &Want<'_>, now: Timestamp) -> Decision {
        if snapshot.rare.is_some() {
            let found = !matches!(snapshot.select(&want.service.owner, want.account), Selection::None(_));
            if self.reader.is_hidden(snapshot, &want.service.owner, want.account, found) {
                return Decision::Refuse(Unavailable::Keys.into());
            }
        }
        decide(snapshot, want, now)
    }

    /// What follows from a decision that a call is told: a renewal begins, or whoever listens hears of an end.
    fn follow(&self, decision: &Decision, want: &Want<'_>, now: Timestamp) {
        match decision {
            Decision::Use(credential) => self.renew_if_due(credential, now),
            // Said, and not stored: by another process's clock it may yet live.
            Decision::Expired(credential, _) => self.tell_end(credential),
            Decision::Refuse(Unusable::MissingScopes { scopes, account }) => {
                self.lacks_scopes(want.caller, want.service, account, scopes);
            }
            Decision::Refresh(_) | Decision::FallBack(_) | Decision::Outdated | Decision::Refuse(_) => {}
        }
    }

    /// Tells that a call of this caller lacked scopes: those that the service knows, as a call may name any text, and that
    /// has no place in a mail. From memory alone: whoever refused the call has just looked there.
    pub fn lacks_scopes(&self, caller: &CallerId, service: &Service, account: &Account, scopes: &[String]) {
        let scopes: Vec<String> = scopes.iter().filter(|scope| service.knows_scope(scope)).cloned().collect();
        if scopes.is_empty() {
            return;
        }
        let Some(snapshot) = self.reader.held(caller) else { return };
        let Selection::One(held) = snapshot.select(&service.owner, Some(account)) else { return };
        // Another grant may be refused the same again. A renewed token is not another grant: when that came in tells.
        let token_version = held.connected_at().map(|at| Version(at.micros()));
        let cause = Cause::of(Actor::Caller);
        let fact = Fact { token_version, scopes: &scopes, ..Fact::new(Kind::ScopesMissing, &cause) };
        self.records.facts().tell_once(&held.id, &fact);
    }

    async fn refreshed(&self, credential: &Arc<Credential>, want: &Want<'_>) -> Result<(), Unusable> {
        let began = Instant::now();
        let refreshed = timeout(PATIENCE, self.refresher.refresh(&credential.id, credential.token_version)).await;
        if let Some(waited) = want.waited {
            waited.for_a_refresh_since(began);
        }
        match refreshed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Provider)) => Err(Unusable::RefreshFailed),
            Ok(Err(Failure::Unavailable(unavailable))) => Err(unavailable.into()),
            Err(_) => Err(Unavailable::Busy.into()),
        }
    }

    fn renew_if_due(&self, credential: &Arc<Credential>, now: Timestamp) {
        if credential.is_due(now)
            && self.refresher.circuit(&credential.id.service) == CircuitState::Closed
            && credential.claim_renewal(now)
        {
            self.refresher.refresh_in_background(&credential.id, credential.token_version);
        }
    }

    /// Tells, once, that a token has ended and nothing renews it. No record changes by that: every process that notices says
    /// the same, and the log has it once.
    fn tell_end(&self, credential: &Credential) {
        let Some(root) = self.records.roots().known() else { return };
        let cause = Cause::of(Actor::Nobody);
        let (detail, token_version) = (Some(Reason::Expired.name()), Some(credential.token_version));
        let fact = Fact { detail, token_version, ..Fact::new(Kind::Expired, &cause) };
        let at = credential.expires_at.unwrap_or_else(|| self.records.now());
        if let Some(event) = self.records.facts().tell_once_agreed(&credential.id, &fact, at, root) {
            self.handle.spawn(append(Arc::clone(&self.records), event));
        }
    }
}

/// Appends an event to the log, also where the store is away for a while.
async fn append(records: Arc<Records>, event: Event) {
    for _ in 0..APPENDS {
        match records.append(&event).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "an event is not in the log yet"),
        }
        sleep(BETWEEN_APPENDS).await;
    }
    tracing::warn!(event = event.kind.name(), id = %event.id, "an event could not be appended to the log");
}
