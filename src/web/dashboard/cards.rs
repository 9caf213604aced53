//! What the dashboard says of each service: which connections there are, how they are, and what can be done.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    clock::Timestamp,
    connection::{AuthKind, Connection, End, EndReason, Reason, Status},
    consent::Reach,
    id::{Account, ServiceName},
    policy,
    provider::{ScopeSet, Service},
    web::{
        State,
        consent_pages::{Scope, in_words},
        dashboard::keys::KeyPlace,
        marks::Mark,
        visitor::Visitor,
    },
    words::{Loss, Shown, Texts},
};

/// People are told this far ahead that a connection will end because nobody uses it.
const NEAR: Duration = Duration::from_secs(30 * 86_400);

/// One service.
pub(super) struct Card {
    pub name: String,
    pub title: String,
    pub mark: Mark,
    pub connectable: bool,
    pub entries: Vec<Entry>,
    pub can_add: bool,
}

/// One connection, or the place where one could be.
pub(super) struct Entry {
    pub account: String,
    pub labelled: bool,
    pub identity: Option<String>,
    pub shown: Shown,
    pub hint: Option<String>,
    pub scopes: Vec<Scope>,
    pub missing: Vec<Scope>,
    pub connected: Option<Moment>,
    pub refreshed: Option<Moment>,
    pub used: Option<Moment>,
    /// That it will end by itself, and when.
    pub ends: Option<String>,
    pub exists: bool,
    pub key: KeyPlace,
}

/// A time for machines and for people.
pub(super) struct Moment {
    pub exact: String,
    pub ago: String,
}

impl Entry {
    pub fn tone(&self) -> &'static str {
        match self.shown {
            Shown::Connected | Shown::ApiKey => "good",
            Shown::Lost(_) => "bad",
            Shown::NeedsMore | Shown::Pending => "warn",
            Shown::NotConnected => "none",
        }
    }

    pub fn action(&self, t: &'static dyn Texts) -> &'static str {
        match self.shown {
            Shown::NotConnected | Shown::ApiKey => t.words().connect,
            Shown::NeedsMore => t.words().grant_more,
            Shown::Connected | Shown::Lost(_) | Shown::Pending => t.words().reconnect,
        }
    }

    /// What waits for the application has no label yet that could be changed.
    pub fn can_rename(&self) -> bool {
        self.exists && self.shown != Shown::Pending
    }

    pub fn urgent(&self) -> bool {
        self.key.prompt.is_some() || matches!(self.shown, Shown::NotConnected | Shown::Lost(_) | Shown::NeedsMore)
    }
}

/// All services that own connections, each with what there is of it within the visitor's reach.
pub(super) fn cards(
    state: &State,
    visitor: &Visitor,
    connections: Vec<Connection>,
    t: &'static dyn Texts,
) -> Vec<Card> {
    let now = state.now();
    let mut by_service: BTreeMap<ServiceName, Vec<Connection>> = BTreeMap::new();
    for connection in connections {
        if visitor.reach.covers(&connection.service, &connection.account, Some(&connection)) {
            by_service.entry(connection.service.clone()).or_default().push(connection);
        }
    }
    let owners = state.parts.services.iter().filter(|service| service.owner == service.name);
    owners
        .filter_map(|service| {
            let connections = by_service.remove(&service.name).unwrap_or_default();
            let mut entries: Vec<Entry> =
                connections.iter().map(|connection| entry(service, connection, t, now)).collect();
            entries.sort_by(|a, b| {
                (a.account != Account::DEFAULT, &a.account).cmp(&(b.account != Account::DEFAULT, &b.account))
            });
            if entries.is_empty() {
                let account = match &visitor.reach {
                    Reach::All => Account::default(),
                    Reach::Only { account, .. } if visitor.reach.covers(&service.name, account, None) => {
                        account.clone()
                    }
                    Reach::Only { .. } => return None,
                };
                entries.push(absent(service, &account, t, now));
            }
            let several = entries.len() > 1;
            for entry in &mut entries {
                entry.labelled = several || entry.account != Account::DEFAULT;
            }
            let connectable =
                service.oauth.is_some() && policy::may_connect(&state.parts.services, service, visitor.claims());
            Some(Card {
                name: service.name.to_string(),
                mark: Mark::of(service),
                title: service.title.clone(),
                connectable,
                can_add: connectable && visitor.reach == Reach::All && entries.iter().any(|entry| entry.exists),
                entries,
            })
        })
        .collect()
}

fn absent(service: &Service, account: &Account, t: &'static dyn Texts, now: Timestamp) -> Entry {
    Entry {
        account: account.to_string(),
        labelled: false,
        identity: None,
        shown: Shown::NotConnected,
        hint: None,
        scopes: vec![],
        missing: vec![],
        connected: None,
        refreshed: None,
        used: None,
        ends: None,
        exists: false,
        key: KeyPlace::of(service, None, Shown::NotConnected, t, now),
    }
}

/// Why a connection was lost, as far as people are told.
const fn loss(reason: Option<Reason>) -> Loss {
    match reason {
        Some(Reason::Expired) => Loss::Expired,
        Some(Reason::Revoked) => Loss::Revoked,
        Some(Reason::RefreshInterrupted) => Loss::Interrupted,
        Some(Reason::ApiKeyRetired) => Loss::KeyRetired,
        // Nothing else is the end of a connection.
        Some(Reason::RejectedByUpstream | Reason::NotConnected | Reason::Pending) | None => Loss::Refused,
    }
}

/// What to say of an end that lies ahead. One that any use puts off is told once it is near.
fn ends(end: End, t: &'static dyn Texts, now: Timestamp) -> Option<String> {
    let day = t.day(end.at);
    match end.reason {
        _ if end.at.reached(now) => None,
        EndReason::Unused => (end.at.until(now) <= NEAR).then(|| t.ends_unused(&day)),
        EndReason::AccessToken | EndReason::RefreshToken | EndReason::Consent => Some(t.ends_on(&day)),
    }
}

fn entry(service: &Service, connection: &Connection, t: &'static dyn Texts, now: Timestamp) -> Entry {
    let granted: ScopeSet = connection.scopes.iter().collect();
    // What isn't known can't be called missing.
    let missing = if granted.is_empty() { vec![] } else { service.scopes.missing(service.asked_for(), &granted) };
    let shown = match connection.status {
        Status::Pending => Shown::Pending,
        Status::Invalid => Shown::Lost(loss(connection.invalid_reason)),
        Status::Active if connection.auth_kind == AuthKind::ApiKey => Shown::ApiKey,
        Status::Active if !missing.is_empty() => Shown::NeedsMore,
        Status::Active => Shown::Connected,
    };
    let moment =
        |time: Option<Timestamp>| time.map(|time| Moment { exact: time.rfc3339(), ago: t.ago(now.since(time)) });
    Entry {
        account: connection.account.to_string(),
        labelled: false,
        identity: connection.identity.clone().map(String::from),
        shown,
        hint: t.state_hint(shown, &service.title),
        scopes: in_words(service, &connection.scopes),
        missing: in_words(service, &missing),
        connected: moment(connection.connected_at),
        refreshed: moment(connection.refreshed_at),
        used: moment(connection.last_used_at),
        ends: connection.end(Some(service), now).and_then(|end| ends(end, t, now)),
        exists: true,
        key: KeyPlace::of(service, connection.api_key, shown, t, now),
    }
}
