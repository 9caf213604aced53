//! Telling what happens to connections: a fact becomes an event with an id, a time and a cause. One that goes with a change
//! of a record is sealed and appended to the log in the same step, and sinks are told once that is stored; nothing here
//! decides what is worth telling.

use std::sync::Arc;

use crate::{
    clock::{Clock, Timestamp},
    events::{Cause, Event, EventId, EventIds, Events, Kind},
    id::ConnectionId,
    store::{Entry, Shard, Version},
    vault::{Root, Vault},
};

use super::form::SealError;

/// What there is to tell of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Fact<'a> {
    /// What happened.
    pub kind: Kind,
    /// Who or what brought it about.
    pub cause: &'a Cause,
    /// Why or how, in a word, where there is more to say.
    pub detail: Option<&'static str>,
    /// To which of the connection's successive grants or keys, where that makes a difference.
    pub token_version: Option<Version>,
    /// Scopes that a call lacked.
    pub scopes: &'a [String],
}

impl<'a> Fact<'a> {
    /// The bare fact.
    pub const fn new(kind: Kind, cause: &'a Cause) -> Self {
        Self { kind, cause, detail: None, token_version: None, scopes: &[] }
    }
}

/// An event that is told once the change that makes it is stored, and its entry in the log.
pub struct Telling {
    event: Event,
    entry: Entry,
}

impl Telling {
    /// What is appended with the change.
    pub fn entries(&self) -> &[Entry] {
        std::slice::from_ref(&self.entry)
    }
}

/// Tells what happens to connections.
pub struct Facts {
    events: Events,
    vault: Arc<Vault>,
    clock: Clock,
    ids: EventIds,
}

impl Facts {
    /// Tells these sinks, in the name of the process of this name, which no other has.
    pub fn new(events: Events, vault: Arc<Vault>, clock: Clock, process: &str) -> Self {
        Self { events, vault, clock, ids: EventIds::new(process) }
    }

    /// Tells a fact that changes no record; what came of it.
    pub fn tell(&self, id: &ConnectionId, fact: &Fact<'_>) -> Event {
        let event = self.event(id, fact);
        self.events.tell(&event);
        event
    }

    /// The same of what recurs with every call: this process tells it once.
    pub fn tell_once(&self, id: &ConnectionId, fact: &Fact<'_>) {
        self.events.tell_once(&self.event(id, fact));
    }

    /// The same of what every process may notice: all give it the same id and time. `None`: this process told it before.
    pub fn tell_once_agreed(&self, id: &ConnectionId, fact: &Fact<'_>, at: Timestamp, root: &Root) -> Option<Event> {
        let ConnectionId { caller, service, account } = id;
        let token_version = fact.token_version.unwrap_or_default().0.to_be_bytes();
        let parts: [&[u8]; 6] = [
            fact.kind.name().as_bytes(),
            caller.issuer.as_str().as_bytes(),
            caller.subject.as_str().as_bytes(),
            service.as_str().as_bytes(),
            account.as_str().as_bytes(),
            &token_version,
        ];
        let mut distinct = [0; 10];
        distinct.copy_from_slice(&root.blind("event", &parts)[..10]);
        let event = of(id, fact, EventId::agreed(at, distinct), at);
        self.events.tell_once(&event).then_some(event)
    }

    /// What is to be told once a change of a record in this shard is stored.
    ///
    /// # Errors
    /// Where it can't be sealed.
    pub(super) fn telling(&self, shard: Shard, id: &ConnectionId, fact: &Fact<'_>) -> Result<Telling, SealError> {
        let event = self.event(id, fact);
        let entry = self.entry(shard, &event)?;
        Ok(Telling { event, entry })
    }

    /// It is stored.
    pub(super) fn stored(&self, telling: &Telling) {
        self.events.tell(&telling.event);
    }

    /// An event's entry in this shard's part of the log.
    ///
    /// # Errors
    /// Where it can't be sealed.
    pub(super) fn entry(&self, shard: Shard, event: &Event) -> Result<Entry, SealError> {
        Ok(event.entry(&self.vault, shard)?)
    }

    fn event(&self, id: &ConnectionId, fact: &Fact<'_>) -> Event {
        let now = self.clock.now();
        of(id, fact, self.ids.next(now), now)
    }
}

fn of(connection: &ConnectionId, fact: &Fact<'_>, id: EventId, at: Timestamp) -> Event {
    let Fact { kind, cause, detail, token_version, scopes } = *fact;
    let (connection, cause, scopes) = (connection.clone(), cause.clone(), scopes.to_vec());
    Event { id, at, cause, connection, kind, detail, token_version, scopes }
}
