//! Events as the store's log keeps them: sealed, each for its place and id, so that an entry that is moved elsewhere doesn't
//! open. Reads and appends nothing.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{
    clock::Timestamp,
    id::{Account, ConnectionId, Issuer, ServiceName, Subject},
    store::{Entry, EntryId, Keep, LogName, Logged, Shard, Stream, Version},
    vault::{self, Context, Purpose, Vault},
};

/// The log of what happened to connections.
pub const AUDIT: LogName = LogName::new("audit");

/// What of it is kept in each shard: an entry takes about 400 bytes, so that all of it takes a gigabyte at most.
pub const KEPT: Keep = Keep { age: Some(Duration::from_secs(400 * 86_400)), entries: Some(10_000) };

/// An event as it is kept. What a later version calls kinds and causes is read all the same: they are texts here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEvent<'a> {
    /// When it happened, in milliseconds since the epoch.
    #[serde(rename = "t")]
    at_ms: u64,
    /// Whose connection: the issuer …
    #[serde(rename = "i")]
    pub issuer: Cow<'a, Issuer>,
    /// … and the subject, …
    #[serde(rename = "u")]
    pub user: Cow<'a, Subject>,
    /// … to which service …
    #[serde(rename = "s")]
    pub service: Cow<'a, ServiceName>,
    /// … and under which label.
    #[serde(rename = "a")]
    pub account: Cow<'a, Account>,
    /// What happened, as the audit log calls it.
    #[serde(rename = "k")]
    pub kind: Cow<'a, str>,
    /// Why or how, in a word.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// To which of the connection's successive grants or keys.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub token_version: Option<Version>,
    /// Scopes that it is about.
    #[serde(rename = "x", default, skip_serializing_if = "<[String]>::is_empty")]
    pub scopes: Cow<'a, [String]>,
    /// Who acted.
    #[serde(rename = "b")]
    pub actor: Cow<'a, str>,
    /// In which request.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Cow<'a, str>>,
    /// From which address.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
}

/// An entry that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The vault has no key for it, or it was tampered with.
    #[error(transparent)]
    Vault(#[from] vault::Error),
    /// It opened, but holds something else than an event.
    #[error("the entry is not of a form that this version knows")]
    Form,
}

impl<'a> From<&'a Event> for KeptEvent<'a> {
    fn from(event: &'a Event) -> Self {
        let ConnectionId { caller, service, account } = &event.connection;
        Self {
            at_ms: event.at.millis(),
            issuer: Cow::Borrowed(&caller.issuer),
            user: Cow::Borrowed(&caller.subject),
            service: Cow::Borrowed(service),
            account: Cow::Borrowed(account),
            kind: event.kind.name().into(),
            detail: event.detail.map(Cow::Borrowed),
            token_version: event.token_version,
            scopes: Cow::Borrowed(&event.scopes),
            actor: event.cause.who().into(),
            request: event.cause.request.as_ref().map(|request| request.as_str().into()),
            address: event.cause.address,
        }
    }
}

impl KeptEvent<'_> {
    /// When it happened.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at_ms)
    }
}

impl KeptEvent<'static> {
    /// Opens what was read from this stream.
    ///
    /// # Errors
    /// Where no key opens it, it was changed, or belongs elsewhere.
    pub fn open(vault: &Vault, stream: &Stream, logged: &Logged) -> Result<Self, KeptError> {
        let context = Context { purpose: Purpose::Event, parts: &place(stream, &logged.id) };
        let plain = vault.open(&context, &logged.sealed)?;
        serde_json::from_slice(plain.expose()).map_err(|_| KeptError::Form)
    }
}

impl Event {
    /// The event as an entry of the log, sealed for the part of it that goes with this shard's records.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn entry(&self, vault: &Vault, shard: Shard) -> Result<Entry, vault::Error> {
        let plain = serde_json::to_vec(&KeptEvent::from(self)).expect("texts, numbers and lists of texts are JSON");
        let (stream, id) = (Stream { log: AUDIT, shard }, self.id.entry());
        let context = Context { purpose: Purpose::Event, parts: &place(&stream, &id) };
        Ok(Entry { log: AUDIT, id, sealed: vault.seal(&context, &plain)? })
    }
}

/// What an entry is bound to.
fn place<'a>(stream: &'a Stream, id: &'a EntryId) -> [&'a [u8]; 3] {
    [stream.log.as_str().as_bytes(), std::slice::from_ref(&stream.shard.0), &id.0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{self, VaultKey},
        events::{Actor, Cause, EventIds, Kind},
        id::{CallerId, RequestId},
        secret::Secret,
        store::Position,
    };

    fn vault() -> Vault {
        let keys = vec![VaultKey { id: "a".into(), key: Secret::new([1; 32]) }];
        Vault::new(&config::Vault { keys })
    }

    fn event() -> Event {
        let caller = CallerId {
            issuer: Issuer::parse("https://auth.example.com/").unwrap(),
            subject: Subject::parse("ada").unwrap(),
        };
        let (service, account) = (ServiceName::parse("crm").unwrap(), Account::default());
        let at = Timestamp::from_millis(1_800_000_000_123);
        let request = RequestId::from_number(7);
        Event {
            id: EventIds::new("p1").next(at),
            at,
            cause: Cause::in_request(Actor::Upstream, request, Some([203, 0, 113, 7].into())),
            connection: ConnectionId { caller, service, account },
            kind: Kind::Invalidated,
            detail: Some("rejected_by_upstream"),
            token_version: Some(Version(5)),
            scopes: vec!["repo".to_owned()],
        }
    }

    #[test]
    fn an_event_is_read_back_from_its_place_and_from_no_other() {
        let (vault, event, stream) = (vault(), event(), Stream { log: AUDIT, shard: Shard(7) });
        let entry = event.entry(&vault, stream.shard).unwrap();
        for name in ["ada", "crm", "auth.example.com", "203.0.113.7"] {
            assert!(!entry.sealed.windows(name.len()).any(|part| part == name.as_bytes()), "{name} is in clear");
        }
        let logged = Logged { position: Position { at_ms: 1, nth: 0 }, id: entry.id, sealed: entry.sealed };
        let read = KeptEvent::open(&vault, &stream, &logged).unwrap();
        assert_eq!(read, KeptEvent::from(&event));
        assert_eq!(read.at(), event.at);
        let elsewhere = Stream { shard: Shard(8), ..stream };
        assert!(matches!(KeptEvent::open(&vault, &elsewhere, &logged), Err(KeptError::Vault(_))));
        let renamed = Logged { id: EntryId([1; 16]), ..logged };
        assert!(matches!(KeptEvent::open(&vault, &stream, &renamed), Err(KeptError::Vault(_))));
    }
}
