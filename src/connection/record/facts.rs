//! Telling what happens to connections: a fact becomes an event with an id, a time and a cause. One that goes with a change
//! of a record is sealed and appended to the log in the same step, and sinks are told once that is stored; one that goes with
//! none is gathered for the log. Nothing here decides what is worth telling.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{
    clock::{Clock, Timestamp},
    connection::model::Unavailable,
    events::{Cause, Event, EventId, EventIds, Events, Gathered, Kind, PersonalKeys, Sealer},
    id::ConnectionId,
    store::{Entry, OwnerId, Version},
    vault::{PersonalKey, Root},
};

use super::root::{self, Roots};

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
    /// Scopes that a call lacked, or that a consent added.
    pub scopes: &'a [String],
    /// The provider's own word, where it refused something.
    pub provider_error: Option<&'a str>,
}

impl<'a> Fact<'a> {
    /// The bare fact.
    pub const fn new(kind: Kind, cause: &'a Cause) -> Self {
        Self { kind, cause, detail: None, token_version: None, scopes: &[], provider_error: None }
    }
}

/// What telling of something needs of the store, as far as it was there.
#[derive(Clone)]
pub struct Prepared(Option<PersonalKey>);

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
    sealer: Arc<Sealer>,
    gathered: Arc<Gathered>,
    roots: Roots,
    clock: Clock,
    ids: EventIds,
}

impl Facts {
    /// Tells these sinks, in the name of the process of this name, which no other has.
    pub fn new(
        events: Events,
        (sealer, gathered): (Arc<Sealer>, Arc<Gathered>),
        roots: Roots,
        clock: Clock,
        process: &str,
    ) -> Self {
        Self { events, sealer, gathered, roots, clock, ids: EventIds::new(process) }
    }

    /// Tells a fact that changes no record.
    pub fn tell(&self, id: &ConnectionId, fact: &Fact<'_>) {
        let event = self.event(id, fact);
        self.events.tell(&event);
        self.gather(&event);
    }

    /// The same of what recurs with every call: this process tells it once.
    pub fn tell_once(&self, id: &ConnectionId, fact: &Fact<'_>) {
        let event = self.event(id, fact);
        if self.events.tell_once(&event) {
            self.gather(&event);
        }
    }

    /// The same of what every process may notice: all give it the same id and time, and the log has it once.
    pub fn tell_once_agreed(&self, id: &ConnectionId, fact: &Fact<'_>, at: Timestamp, root: &Root) {
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
        if self.events.tell_once(&event) {
            self.gather(&event);
        }
    }

    /// What telling of this kind may need of the store. Asked for ahead of the decision that is told of, so that nothing comes
    /// between that and its write.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn prepare(&self, owner: &OwnerId, kind: Kind) -> Result<Prepared, Unavailable> {
        Ok(Prepared(self.sealer.prepare(owner, kind).await?))
    }

    /// The same for a fact, where there is one.
    ///
    /// # Errors
    /// As [`Facts::prepare`].
    pub(super) async fn prepare_for<'f, 'a>(
        &self,
        owner: &OwnerId,
        fact: Option<&'f Fact<'a>>,
    ) -> Result<Option<(Prepared, &'f Fact<'a>)>, Unavailable> {
        let Some(fact) = fact else { return Ok(None) };
        Ok(Some((self.prepare(owner, fact.kind).await?, fact)))
    }

    /// What is to be told of this connection, where there is anything, prepared for here.
    ///
    /// # Errors
    /// As [`Facts::prepare`].
    pub(super) async fn telling_of(
        &self,
        owner: &OwnerId,
        fact: Option<(&ConnectionId, &Fact<'_>)>,
    ) -> Result<Option<Telling>, Unavailable> {
        let Some((id, fact)) = fact else { return Ok(None) };
        let prepared = self.prepare(owner, fact.kind).await?;
        Ok(Some(self.telling(prepared, owner, id, fact).await?))
    }

    /// What is to be told once a change of one of this owner's records is stored.
    ///
    /// # Errors
    /// As [`Facts::prepare`].
    pub(super) async fn telling(
        &self,
        prepared: Prepared,
        owner: &OwnerId,
        id: &ConnectionId,
        fact: &Fact<'_>,
    ) -> Result<Telling, Unavailable> {
        let event = self.event(id, fact);
        let entry = self.sealer.entry_with(prepared.0, owner, &event).await?;
        Ok(Telling { event, entry })
    }

    /// It is stored.
    pub(super) fn stored(&self, telling: &Telling) {
        self.events.tell(&telling.event);
    }

    /// The keys under which the log says whom it is about.
    pub fn personal_keys(&self) -> &PersonalKeys {
        self.sealer.keys()
    }

    /// Appends to the log what goes with no change, for as long as the process lives.
    pub fn keep_writing(&self, handle: &Handle) {
        self.gathered.keep_writing(handle);
    }

    /// Appends what was gathered, at most for so long. Says whether it is all there.
    pub async fn settle(&self, limit: Duration) -> bool {
        self.gathered.settle(limit).await
    }

    /// Whoever tells of a connection has found it by the root.
    fn gather(&self, event: &Event) {
        if let (true, Some(root)) = (event.kind.is_kept_alone(), self.roots.known()) {
            self.gathered.add(root::owner(root, &event.connection.caller), event);
        }
    }

    fn event(&self, id: &ConnectionId, fact: &Fact<'_>) -> Event {
        let now = self.clock.now();
        of(id, fact, self.ids.next(now), now)
    }
}

fn of(connection: &ConnectionId, fact: &Fact<'_>, id: EventId, at: Timestamp) -> Event {
    let Fact { kind, cause, detail, token_version, scopes, provider_error } = *fact;
    let (connection, cause, scopes) = (connection.clone(), cause.clone(), scopes.to_vec());
    let provider_error = provider_error.map(str::to_owned);
    Event { id, at, cause, connection, kind, detail, token_version, scopes, provider_error }
}
