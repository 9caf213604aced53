//! Events as the store's log keeps them: sealed, each for its place and id, so that an entry that is moved elsewhere doesn't
//! open; and in there, who it is about, sealed once more under that person's own key. Reads and appends nothing.
//!
//! Form 2 is `2`, the tag of the person's key (8 bytes, in clear), and the vault's envelope. Form 1, which versions before
//! wrote, is the envelope alone (it begins with its own `1`) and names the person in it.

use std::{borrow::Cow, net::IpAddr};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    events::Event,
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    store::{Entry, EntryId, LogName, Logged, OwnerId, Shard, Stream, Version},
    vault::{self, Context, PersonalKey, Purpose, Vault},
};

/// The log of what happened to connections.
pub const AUDIT: LogName = LogName::new("audit");

/// What form 2 begins with. Part of what is stored.
const FORM_2: u8 = 2;

/// Says whose an entry is to whoever has that person's key.
pub type Tag = [u8; PersonalKey::TAG];

/// Whom an event is about, and what else tells of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who vouches for them.
    pub issuer: Issuer,
    /// Who they are.
    pub user: Subject,
    /// The label of the connection.
    pub account: Account,
    /// From which address the request came.
    pub address: Option<IpAddr>,
    /// Who acted in their name.
    pub by: Option<String>,
}

/// An event as it is kept. What a later version calls kinds and causes is read all the same: they are texts here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// Tells it from all others.
    pub id: EntryId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened, as the log calls it.
    pub kind: String,
    /// To which service; none where it is about the log itself.
    pub service: Option<ServiceName>,
    /// Whom it is about; none once they were erased.
    pub person: Option<Person>,
    /// Why or how, in a word.
    pub detail: Option<String>,
    /// The provider's own word for it.
    pub provider_error: Option<String>,
    /// To which of the connection's successive grants or keys.
    pub token_version: Option<Version>,
    /// Scopes that it is about.
    pub scopes: Vec<String>,
    /// What sort of actor it was.
    pub actor: String,
    /// In which request.
    pub request: Option<String>,
    /// How many events it stands for, where it stands for several.
    pub count: Option<u64>,
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

/// Form 2 as it is sealed.
#[derive(Serialize, Deserialize)]
struct Outer<'a> {
    #[serde(rename = "t")]
    at_ms: u64,
    #[serde(rename = "k", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    service: Option<Cow<'a, ServiceName>>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    provider_error: Option<Cow<'a, str>>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    token_version: Option<Version>,
    #[serde(rename = "x", default, skip_serializing_if = "<[String]>::is_empty")]
    scopes: Cow<'a, [String]>,
    #[serde(rename = "b", borrow)]
    actor: Cow<'a, str>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    request: Option<Cow<'a, str>>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Whose key opens what follows: the owner in hexadecimal digits.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
    /// [`Inner`] under that key, in base64url.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    person: Option<Cow<'a, str>>,
}

/// What of form 2 goes with the person.
#[derive(Serialize, Deserialize)]
struct Inner<'a> {
    #[serde(rename = "i")]
    issuer: Cow<'a, Issuer>,
    #[serde(rename = "u")]
    user: Cow<'a, Subject>,
    #[serde(rename = "a")]
    account: Cow<'a, Account>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    by: Option<Cow<'a, str>>,
}

/// Form 1 as it is sealed.
#[derive(Deserialize)]
struct Form1 {
    #[serde(rename = "t")]
    at_ms: u64,
    #[serde(rename = "i")]
    issuer: Issuer,
    #[serde(rename = "u")]
    user: Subject,
    #[serde(rename = "s")]
    service: ServiceName,
    #[serde(rename = "a")]
    account: Account,
    #[serde(rename = "k")]
    kind: String,
    #[serde(rename = "d", default)]
    detail: Option<String>,
    #[serde(rename = "g", default)]
    token_version: Option<Version>,
    #[serde(rename = "x", default)]
    scopes: Vec<String>,
    #[serde(rename = "b")]
    actor: String,
    #[serde(rename = "r", default)]
    request: Option<String>,
    #[serde(rename = "p", default)]
    address: Option<IpAddr>,
}

/// An entry that the vault has opened; whom it is about their own key may say.
pub struct Opened {
    event: KeptEvent,
    sealed: Option<Personal>,
}

struct Personal {
    owner: OwnerId,
    tag: Tag,
    sealed: Vec<u8>,
    place: Place,
}

/// What an entry is bound to: log, shard, id.
struct Place(&'static str, [u8; 1], [u8; 16]);

impl Place {
    fn of(stream: &Stream, id: EntryId) -> Self {
        Self(stream.log.as_str(), [stream.shard.0], id.0)
    }

    fn parts(&self) -> [&[u8]; 3] {
        [self.0.as_bytes(), &self.1, &self.2]
    }
}

/// Whether this may be an entry about the person whose key has this tag. Form 1 says nothing of that.
pub fn may_be_about(logged: &Logged, tag: Option<Tag>) -> bool {
    match logged.sealed.split_first() {
        Some((&FORM_2, rest)) => tag.is_some_and(|tag| rest.starts_with(&tag)),
        _ => true,
    }
}

impl Opened {
    /// Opens what was read from this stream.
    ///
    /// # Errors
    /// Where no key opens it, it was changed, or belongs elsewhere.
    pub fn open(vault: &Vault, stream: &Stream, logged: &Logged) -> Result<Self, KeptError> {
        let place = Place::of(stream, logged.id);
        let Some((&FORM_2, rest)) = logged.sealed.split_first() else {
            let context = Context { purpose: Purpose::Event, parts: &place.parts() };
            let plain = vault.open(&context, &logged.sealed)?;
            return Self::form_1(logged.id, plain.expose()).ok_or(KeptError::Form);
        };
        let (tag, envelope) = rest.split_first_chunk::<{ PersonalKey::TAG }>().ok_or(KeptError::Form)?;
        let [log, shard, id] = place.parts();
        let context = Context { purpose: Purpose::Event, parts: &[log, shard, id, &[FORM_2], tag] };
        let plain = vault.open(&context, envelope)?;
        Self::form_2(place, *tag, plain.expose()).ok_or(KeptError::Form)
    }

    fn form_1(id: EntryId, plain: &[u8]) -> Option<Self> {
        let form: Form1 = serde_json::from_slice(plain).ok()?;
        let Form1 { at_ms, issuer, user, service, account, kind, detail, .. } = form;
        let Form1 { token_version, scopes, actor, request, address, .. } = form;
        let person = Person { issuer, user, account, address, by: None };
        let event = KeptEvent {
            id,
            at: Timestamp::from_millis(at_ms),
            kind,
            service: Some(service),
            person: Some(person),
            detail,
            provider_error: None,
            token_version,
            scopes,
            actor,
            request,
            count: None,
        };
        Some(Self { event, sealed: None })
    }

    fn form_2(place: Place, tag: Tag, plain: &[u8]) -> Option<Self> {
        let outer: Outer<'_> = serde_json::from_slice(plain).ok()?;
        let sealed = match (&outer.owner, &outer.person) {
            (Some(owner), Some(person)) => {
                let owner = OwnerId(HEXLOWER.decode(owner.as_bytes()).ok()?.try_into().ok()?);
                let sealed = BASE64URL_NOPAD.decode(person.as_bytes()).ok()?;
                Some(Personal { owner, tag, sealed, place: Place(place.0, place.1, place.2) })
            }
            _ => None,
        };
        let event = KeptEvent {
            id: EntryId(place.2),
            at: Timestamp::from_millis(outer.at_ms),
            kind: outer.kind.into_owned(),
            service: outer.service.map(Cow::into_owned),
            person: None,
            detail: outer.detail.map(Cow::into_owned),
            provider_error: outer.provider_error.map(Cow::into_owned),
            token_version: outer.token_version,
            scopes: outer.scopes.into_owned(),
            actor: outer.actor.into_owned(),
            request: outer.request.map(Cow::into_owned),
            count: outer.count,
        };
        Some(Self { event, sealed })
    }

    /// The event but for the person.
    pub const fn event(&self) -> &KeptEvent {
        &self.event
    }

    /// Whose key says whom it is about, where it takes one.
    pub fn owner(&self) -> Option<&OwnerId> {
        self.sealed.as_ref().map(|sealed| &sealed.owner)
    }

    /// The event with whom it is about, as far as this key says: the person's present one, if there is any. An older one is gone
    /// with whom it was about.
    pub fn with(self, key: Option<&PersonalKey>) -> KeptEvent {
        let Self { mut event, sealed } = self;
        if let Some((sealed, key)) = sealed.zip(key)
            && key.tag() == sealed.tag
        {
            event.person = key.open(&sealed.sealed, &sealed.place.parts()).ok().and_then(|plain| {
                let Inner { issuer, user, account, address, by } = serde_json::from_slice(plain.expose()).ok()?;
                let (issuer, user, account) = (issuer.into_owned(), user.into_owned(), account.into_owned());
                Some(Person { issuer, user, account, address, by: by.map(Cow::into_owned) })
            });
        }
        event
    }
}

/// The event as an entry of the log, for the part of it that goes with this owner's records; whom it is about is sealed under
/// `key`.
///
/// # Errors
/// Those of the vault.
pub fn seal(vault: &Vault, owner: &OwnerId, key: &PersonalKey, event: &Event) -> Result<Entry, vault::Error> {
    let ConnectionId { caller: CallerId { issuer, subject }, service, account } = &event.connection;
    let stream = Stream { log: AUDIT, shard: Shard(owner.0[0]) };
    let place = Place::of(&stream, event.id.entry());
    let inner = Inner {
        issuer: Cow::Borrowed(issuer),
        user: Cow::Borrowed(subject),
        account: Cow::Borrowed(account),
        address: event.cause.address,
        by: event.cause.by.as_ref().map(|by| by.as_str().into()),
    };
    let outer = Outer {
        at_ms: event.at.millis(),
        kind: event.kind.name().into(),
        service: Some(Cow::Borrowed(service)),
        detail: event.detail.map(Cow::Borrowed),
        provider_error: event.provider_error.as_deref().map(Cow::Borrowed),
        token_version: event.token_version,
        scopes: Cow::Borrowed(&event.scopes),
        actor: event.cause.actor.name().into(),
        request: event.cause.request.as_ref().map(|request| request.as_str().into()),
        count: None,
        owner: Some(HEXLOWER.encode(&owner.0).into()),
        person: Some(BASE64URL_NOPAD.encode(&key.seal(&json(&inner), &place.parts())?).into()),
    };
    seal_outer(vault, &place, key.tag(), &outer)
}

/// An entry about the log itself, in this shard's part of it: so many events were lost.
///
/// # Errors
/// Those of the vault.
pub fn seal_count(
    vault: &Vault,
    shard: Shard,
    id: EntryId,
    (at, kind, count): (Timestamp, &str, u64),
) -> Result<Entry, vault::Error> {
    let place = Place::of(&Stream { log: AUDIT, shard }, id);
    let outer = Outer {
        at_ms: at.millis(),
        kind: kind.into(),
        service: None,
        detail: None,
        provider_error: None,
        token_version: None,
        scopes: Cow::Borrowed(&[]),
        actor: "nobody".into(),
        request: None,
        count: Some(count),
        owner: None,
        person: None,
    };
    seal_outer(vault, &place, Tag::default(), &outer)
}

fn seal_outer(vault: &Vault, place: &Place, tag: Tag, outer: &Outer<'_>) -> Result<Entry, vault::Error> {
    let [log, shard, id] = place.parts();
    let context = Context { purpose: Purpose::Event, parts: &[log, shard, id, &[FORM_2], &tag] };
    let envelope = vault.seal(&context, &json(outer))?;
    Ok(Entry { log: AUDIT, id: EntryId(place.2), sealed: [&[FORM_2][..], &tag, &envelope].concat() })
}

fn json(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("texts, numbers and lists of texts are JSON")
}
