//! What a caller's connections are good for at one moment. Pure: it reads a snapshot and the time it is given, and
//! changes, asks and waits for nothing.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use crate::{
    clock::Timestamp,
    connection::{
        cache::{Credential, Footing, Held, Selection, Snapshot, retired},
        model::{Reason, Status, Unusable},
    },
    id::{Account, CallerId},
    operation::Operation,
    provider::{Service, Services},
};

/// What a call wants.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// For whom.
    pub caller: &'a CallerId,
    /// Among which services.
    pub services: &'a Arc<Services>,
    /// To what of them.
    pub service: &'a Arc<Service>,
    /// Under which label, where one is named.
    pub account: Option<&'a Account>,
    /// With which scopes at least, on top of what the provider says of this method and path.
    pub scopes: &'a [String],
    /// What it asks of the service's API; `None`: that isn't known yet.
    pub operation: Option<Operation<'a>>,
    /// Where it is noted what was waited for, if anybody wants to know.
    pub waited: Option<&'a Waited>,
}

/// What a call has waited for on the way to its credential.
#[derive(Debug, Default)]
pub struct Waited(OnceLock<(Instant, Instant)>);

impl Waited {
    /// It has waited for a refresh, from then on until now.
    pub(super) fn for_a_refresh_since(&self, began: Instant) {
        // A second one is rare, and tells no more.
        let _ = self.0.set((began, Instant::now()));
    }

    /// From when until when it waited for a refresh.
    pub fn for_refresh(&self) -> Option<(Instant, Instant)> {
        self.0.get().copied()
    }
}

/// What a held connection is good for at this moment.
#[derive(Debug)]
pub enum Decision {
    /// This credential goes upstream.
    Use(Arc<Credential>),
    /// Its token has expired and can be renewed.
    Refresh(Arc<Credential>),
    /// Its token has expired and nothing renews it. Calls go on with the API key beside it, once the record is read again.
    FallBack(Arc<Credential>),
    /// Its token has expired and nothing renews it: that is what a call is refused with.
    Expired(Arc<Credential>, Unusable),
    /// What is held was made for another service of the same name: it must be read again.
    Outdated,
    /// There is none to go on with.
    Refuse(Unusable),
}

/// What a caller's connections are good for at this moment.
pub fn decide(snapshot: &Snapshot, want: &Want<'_>, now: Timestamp) -> Decision {
    let held = match snapshot.select(&want.service.owner, want.account) {
        Selection::One(held) => held,
        Selection::None(account) => {
            return Decision::Refuse(auth_required(snapshot, want, Reason::NotConnected, account, now));
        }
        Selection::Several(accounts) => return Decision::Refuse(Unusable::AccountRequired { accounts }),
    };
    let account = || held.id.account.clone();
    let required = |reason| auth_required(snapshot, want, reason, account(), now);
    if let Some(reason) = retired(held.footing, &want.service.api_keys, now) {
        return Decision::Refuse(required(reason));
    }
    let Some(credential) = usable(held, want.service) else {
        if held.footing.status == Status::Active && held.is_of_another(want.service) {
            return Decision::Outdated;
        }
        return Decision::Refuse(required(refusal_reason(held.footing)));
    };
    if credential.has_expired(now) {
        let credential = Arc::clone(credential);
        return match (credential.refreshable, held.has_key()) {
            (true, _) => Decision::Refresh(credential),
            (false, true) => Decision::FallBack(credential),
            (false, false) => Decision::Expired(credential, required(Reason::Expired)),
        };
    }
    let mut missing = want.service.missing_scopes(want.operation, want.scopes, credential.scopes.as_ref());
    if !missing.is_empty() {
        // Providers rarely name it in an answer: the refresh token itself tells of it (OpenID Connect Core §11).
        missing.retain(|scope| !(credential.refreshable && scope == "offline_access"));
    }
    if !missing.is_empty() {
        return Decision::Refuse(Unusable::MissingScopes { scopes: missing, account: account() });
    }
    Decision::Use(Arc::clone(credential))
}

/// The person must connect, but for one who has done so just now: there the application is to confirm.
fn auth_required(snapshot: &Snapshot, want: &Want<'_>, reason: Reason, account: Account, now: Timestamp) -> Unusable {
    let waits =
        snapshot.unconfirmed(now).any(|waiting| waiting.service == want.service.owner && waiting.account == account);
    Unusable::AuthRequired { reason: if waits { Reason::Pending } else { reason }, account }
}

fn usable<'a>(held: &'a Held, service: &Arc<Service>) -> Option<&'a Arc<Credential>> {
    (held.footing.status == Status::Active).then(|| held.credential(service)).flatten()
}

fn refusal_reason(footing: Footing) -> Reason {
    match (footing.status, footing.reason) {
        (Status::Pending, _) => Reason::Pending,
        (_, Some(reason)) => reason,
        (Status::Active | Status::Invalid, None) => Reason::NotConnected,
    }
}
