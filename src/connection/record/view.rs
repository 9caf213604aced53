//! What of a record people, calls and the cache may have. Pure: the record and the time go in, nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
    time::Duration,
};

use crate::{
    clock::Timestamp,
    connection::{
        cache::{Credential, Few, Held, Seen, refresh_at, retire},
        model::{AuthKind, Connection, End, EndReason, KeyFacts, Reason, Status},
    },
    id::ConnectionId,
    provider::{Live, Service, Services},
};

use super::{
    ends,
    form::{Record, StoredGrant, StoredKey},
    state::State,
};

/// What people may see of a record whose service is this one, where it is configured.
pub fn view(record: &Record, service: Option<&Service>, now: Timestamp) -> Connection {
    let ends = ends::of(record, service, now);
    let rests_on = rests_on(record, now);
    let on_key_since = (rests_on == Ok(AuthKind::ApiKey) && has_ended(record, now)).then_some(Reason::Expired);
    let grant = record.grant.as_ref();
    let mut connection = Connection {
        service: record.id.service.clone(),
        account: record.id.account.clone(),
        status: if rests_on.is_ok() { Status::Active } else { Status::Invalid },
        auth_kind: match rests_on {
            Ok(kind) => kind,
            Err(_) if grant.is_some() => AuthKind::OAuth,
            Err(_) => AuthKind::ApiKey,
        },
        scopes: grant.and_then(|grant| grant.scopes.clone()).unwrap_or_default().into(),
        connected_at: record.connected_at,
        refreshed_at: record.refreshed_at,
        expires_at: grant.and_then(|grant| grant.expires_at),
        last_used_at: None,
        expected_end: None,
        invalidated_at: record.invalidated_at,
        invalid_reason: record.invalid.or(rests_on.err()).or(on_key_since),
        identity_id: record.identity.as_ref().map(|identity| identity.id.as_str().into()),
        identity: record.identity.as_ref().map(|identity| identity.label.as_deref().unwrap_or(&identity.id).into()),
        api_key: record.api_key.as_ref().map(facts),
        ends,
    };
    connection.foresee(service, now);
    connection
}

/// How a record stands as a connection at this moment; `None`: it is none, or none yet that anybody may see.
pub fn standing(record: &Record, service: Option<&Service>, now: Timestamp) -> Option<Connection> {
    match &record.state {
        State::Unconfirmed(wait) => {
            wait.shown.then(|| Connection { status: Status::Pending, ..view(record, None, now) })
        }
        State::Reserved(_) | State::PendingRevocation(_) => None,
        State::Connected | State::Moving(_) if !record.stands() => None,
        State::Connected | State::Moving(_) => {
            let mut connection = view(record, service, now);
            let is_over = |end: &End| end.reason == EndReason::AccessToken && end.at.reached(now);
            if connection.auth_kind == AuthKind::OAuth && connection.ends.tokens.is_some_and(|end| is_over(&end)) {
                connection.status = Status::Invalid;
                connection.invalid_reason = Some(Reason::Expired);
                connection.invalidated_at = connection.expires_at;
            }
            if let Some(service) = service {
                retire(&mut connection, &service.api_keys, now);
            }
            connection.foresee(service, now);
            Some(connection)
        }
    }
}

/// What calls use: OAuth first, the API key where the grant is absent, lost or ended. Whether keys are retired, and
/// whether a grant without any key has ended, is told by the clock, at use (`keys`, `decide`).
pub fn rests_on(record: &Record, now: Timestamp) -> Result<AuthKind, Reason> {
    let has_key = record.api_key.as_ref().is_some_and(|key| !key.refused);
    if record.grant.is_some() && record.invalid.is_none() && !(has_key && has_ended(record, now)) {
        return Ok(AuthKind::OAuth);
    }
    match &record.api_key {
        Some(key) if !key.refused => Ok(AuthKind::ApiKey),
        Some(_) => Err(record.invalid.unwrap_or(Reason::RejectedByUpstream)),
        None => Err(record.invalid.unwrap_or(Reason::NotConnected)),
    }
}

/// Whether its access token has ended and nothing renews it. Never stored: one process's clock decides for its own calls.
fn has_ended(record: &Record, now: Timestamp) -> bool {
    let ended =
        |grant: &StoredGrant| grant.refresh_token.is_none() && grant.expires_at.is_some_and(|at| at.reached(now));
    record.grant.as_ref().is_some_and(ended)
}

/// What may be known of a stored API key.
pub fn facts(key: &StoredKey) -> KeyFacts {
    KeyFacts { stored_at: key.stored_at, refused: key.refused }
}

/// Makes what is held in memory of records: ready-made headers for each service that a connection serves.
pub struct Projector {
    live: Live,
    /// How long before its end an access token is renewed.
    window: Duration,
}

impl Projector {
    /// For the services in force, and tokens renewed this long before their end.
    pub fn new(live: Live, window: Duration) -> Self {
        Self { live, window }
    }

    /// A record as it is held in memory, with headers for the services in force.
    pub fn hold(&self, record: &Record, now: Timestamp) -> Held {
        self.hold_for(&self.live.services(), record, now)
    }

    /// The same with headers for these services.
    pub fn hold_for(&self, services: &Services, record: &Record, now: Timestamp) -> Held {
        let id = Arc::new(record.id.clone());
        let owner = services.get(id.service.as_str());
        let sharing = owner.iter().flat_map(|owner| services.sharing(owner));
        let credentials = sharing
            .filter_map(|service| {
                let credential = credential(Arc::clone(&id), record, service, self.window, now)?;
                Some((Arc::clone(service), Arc::new(credential)))
            })
            .collect();
        Held::new(id, view(record, owner.map(AsRef::as_ref), now), credentials)
    }
}

/// What calls to `service` carry; `id` is the record's.
fn credential(
    id: Arc<ConnectionId>,
    record: &Record,
    service: &Service,
    window: Duration,
    now: Timestamp,
) -> Option<Credential> {
    let rests_on = rests_on(record, now).ok()?;
    Some(match rests_on {
        AuthKind::OAuth => {
            let grant = record.grant.as_ref()?;
            Credential {
                id,
                kind: rests_on,
                upstream: Arc::clone(&service.upstream),
                headers: Few::One(service.inject.header_with(&grant.access_token).ok()?),
                token_version: grant.token_version,
                issued_at: grant.issued_at,
                expires_at: grant.expires_at,
                refresh_at: refresh_at(grant.issued_at, grant.expires_at, window),
                refreshable: grant.refresh_token_for(service.oauth.as_deref()).is_some(),
                at_hand: now,
                // What was asked for and isn't named is for the upstream to judge.
                scopes: grant.scopes.as_ref().map(|named| named.iter().chain(&grant.unnamed).collect()),
                on_trial: AtomicBool::default(),
                renewal: AtomicU32::default(),
                seen: Seen::default(),
            }
        }
        AuthKind::ApiKey => {
            let key = record.api_key.as_ref()?;
            Credential {
                id,
                kind: rests_on,
                upstream: Arc::clone(&service.upstream),
                headers: Few::One(service.api_key.header_with(&key.key).ok()?),
                token_version: key.token_version,
                issued_at: key.stored_at,
                expires_at: None,
                refresh_at: None,
                refreshable: false,
                at_hand: now,
                scopes: None,
                on_trial: AtomicBool::default(),
                renewal: AtomicU32::default(),
                seen: Seen::default(),
            }
        }
    })
}
