//! One call to a service: what the request's head says it is, before anything is sent. Pure but for the JWT's keys; every
//! way out is a [`Refusal`].

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderName, Method, Version, header, request::Parts, uri::PathAndQuery};

use crate::{
    caller::{Caller, likely, presented},
    config::{Limits, UpstreamProtocol},
    connection::{Credential, Want},
    id::{Account, CallerId},
    provider::{
        Service, Upstream,
        policy::{self, Asked},
    },
    refusal::{ANYWHERE, Refusal, TooLarge},
};

use super::{
    Core, Route, methods,
    target::{self, Target},
    traits::{Hops, Traits},
    upstream::Manner,
};

const VALETKEY_ACCOUNT: HeaderName = HeaderName::from_static("valetkey-account");
const VALETKEY_SCOPES: HeaderName = HeaderName::from_static("valetkey-scopes");
/// All scopes that a call names together, in bytes, as in `POST /connect-links`.
const MAX_SCOPES: usize = 2048;

/// A call whose caller isn't known yet.
pub struct Unclaimed {
    /// The service that is called.
    route: Arc<Route>,
    /// The target as it came, and its parts.
    raw: ByteString,
    form: Range<usize>,
    path: Range<usize>,
    /// The account in the path.
    account: Option<Account>,
    traits: Traits,
    /// Its target may hold what a URI can't.
    unusual: bool,
}

/// A call that may go on once it has a credential.
pub struct Call {
    /// The service that is called.
    pub route: Arc<Route>,
    /// For whom.
    pub caller: Arc<Caller>,
    /// The account that was named.
    pub account: Option<Account>,
    /// Scopes that the application says it needs.
    pub scopes: Vec<String>,
    /// The method.
    pub method: Method,
    /// The methods as which it is judged, where it names others beside its own.
    judged_as: Option<Box<str>>,
    /// How the upstream is spoken to.
    pub manner: Manner,
    /// What of the request is meant for Valetkey alone.
    pub hops: Hops,
    /// It says how long its body is, or that it ends somewhere.
    pub framed: bool,
    /// What the call carries.
    pub credential: Option<Arc<Credential>>,
    /// How far the upstream's refusals have been followed.
    pub remedy: Remedy,
    /// The target as it came, checked to be ASCII, and its parts.
    raw: ByteString,
    form: Range<usize>,
    path: Range<usize>,
}

/// How far a call has gone after its credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It wasn't.
    None,
    /// Sent again with what the store held meanwhile.
    Replaced,
    /// Sent again with a renewed token: there is nothing more to try.
    Renewed,
    /// The refusal proved to be the upstream's own: whatever comes now is passed on.
    PassOn,
}

impl Call {
    /// What the call wants of `connection`.
    pub fn want(&self) -> Want<'_> {
        Want {
            caller: self.caller_id(),
            service: &self.route.service,
            account: self.account.as_ref(),
            scopes: &self.scopes,
            method: self.methods(),
            path: self.path(),
        }
    }

    /// The methods as which it is judged, with a space between them: `GET` also for `HEAD`.
    fn methods(&self) -> &str {
        match &self.judged_as {
            Some(methods) => methods,
            None => methods::judged(&self.method),
        }
    }

    /// Whose call it is.
    pub fn caller_id(&self) -> &CallerId {
        &self.caller.id
    }

    /// The path below `base_url`, without the query.
    pub fn path(&self) -> &str {
        let path = &self.raw[self.path.clone()];
        if path.is_empty() { "/" } else { path }
    }

    /// `@account` as the path had it, for URLs that lead back.
    pub fn form(&self) -> &str {
        &self.raw[self.form.clone()]
    }

    /// Where it goes: the credential's upstream, or before there is one the service's own.
    pub fn upstream(&self) -> &Upstream {
        self.credential.as_ref().map_or(&self.route.service.upstream, |credential| &credential.upstream)
    }

    /// What a URI can't hold goes upstream over HTTP/1.1: HTTP/2's client takes nothing but a URI.
    fn manner_of_unusual(&self) -> Result<Manner, Refusal> {
        if PathAndQuery::from_maybe_shared(self.target()).is_ok() {
            return Ok(self.manner);
        }
        match (self.manner, self.route.service.transport.protocol) {
            (Manner::Plain | Manner::Alone, UpstreamProtocol::Auto | UpstreamProtocol::Http1) => Ok(Manner::Alone),
            _ => Err(Refusal::bad_request(target::ODD)),
        }
    }

    /// Path and query as they go upstream.
    pub fn target(&self) -> Bytes {
        let below = &self.raw[self.path.start..];
        match target::upstream(self.upstream().base(), below, self.path.len()) {
            Cow::Borrowed(below) => self.raw.slice_ref(below).into_bytes(),
            Cow::Owned(target) => target.into(),
        }
    }
}

/// Reads a request's head as far as it can be without knowing who calls. `raw` is its target as it came, `unusual` whether
/// it may hold what a URI can't. `None`: it is for Valetkey's own pages and JSON.
///
/// # Errors
/// The answer to send instead.
pub fn read(
    core: &Core,
    head: &Parts,
    (raw, unusual): (Bytes, bool),
    serves_proxy: bool,
) -> Result<Option<Unclaimed>, Refusal> {
    methods::check(&head.method)?;
    if head.method == Method::CONNECT {
        return Err(Refusal::method_not_allowed(Some(ANYWHERE)));
    }
    let traits = Traits::of(&head.headers);
    let length = raw.len();
    let fits = |limits: &Limits| {
        within(length, limits.uri_bytes, TooLarge::Target)?;
        within(traits.size, limits.header_bytes, TooLarge::Headers)
    };
    if !traits.host && head.version == Version::HTTP_11 {
        return Err(Refusal::bad_request("The request has no Host header"));
    }
    let raw = ByteString::try_from(raw).map_err(|_| Refusal::bad_request(target::ODD))?;
    let (name, account, form, path) = match target::parse(&raw).map_err(Refusal::bad_request)? {
        Target::Proxy { service, account, prefix, path, .. } if serves_proxy => {
            let at = prefix.bytes().position(|byte| byte == b'@').unwrap_or(prefix.len());
            (service, account, at..prefix.len(), prefix.len()..prefix.len() + path.len())
        }
        Target::Proxy { .. } | Target::Own if unusual => return Err(Refusal::bad_request(target::ODD)),
        Target::Proxy { .. } | Target::Own => return fits(&core.limits).map(|()| None),
    };
    if head.method == Method::TRACE {
        return Err(Refusal::method_not_allowed(Some(ANYWHERE)));
    }
    let Some(route) = name.and_then(|name| core.routes.get(name)) else {
        fits(&core.limits)?;
        return Err(Refusal::unknown_service());
    };
    fits(&route.service.limits)?;
    Ok(Some(Unclaimed { route: Arc::clone(route), raw, form, path, account, traits, unusual }))
}

impl Unclaimed {
    /// The caller, where the JWT was verified before.
    pub fn known_caller(&self, core: &Core, head: &Parts, now: u64) -> Option<Arc<Caller>> {
        core.callers.cached(likely(&head.headers, self.traits.ours)?, now)
    }

    /// The caller; waits where the JWT's keys must be fetched.
    ///
    /// # Errors
    /// The answer to send instead.
    pub async fn authenticate(&self, core: &Core, head: &Parts) -> Result<Arc<Caller>, Refusal> {
        let service = &self.route.service;
        let own = service.api_key.header();
        let own = if *own == header::AUTHORIZATION { service.inject.header() } else { own };
        let token = presented(&head.headers, Some(own))?;
        let now = core.clock.now().seconds();
        Ok(core.callers.authenticate(&token, now).await?)
    }

    /// The call of this caller, if it may go on.
    ///
    /// # Errors
    /// The answer to send instead.
    pub fn claimed(self, core: &Core, head: &Parts, caller: Arc<Caller>) -> Result<Call, Refusal> {
        let Self { route, raw, form, path, account, traits, unusual } = self;
        let (account, scopes) =
            if traits.ours { (agreed_account(head, account)?, named_scopes(head)?) } else { (account, Vec::new()) };
        if traits.content_length
            && let Some(length) = content_length(head)
        {
            within_body(length, &route.service)?;
        }
        let manner = if traits.manner { manner(head) } else { Manner::Plain };
        let judged_as =
            if traits.overridden { Some(methods::with_overrides(&head.method, &head.headers)?) } else { None };
        let mut call = Call {
            method: head.method.clone(),
            judged_as,
            route,
            caller,
            account,
            scopes,
            manner,
            hops: traits.hops,
            framed: traits.content_length || traits.hops == Hops::Some,
            raw,
            form,
            path,
            credential: None,
            remedy: Remedy::None,
        };
        if unusual {
            call.manner = call.manner_of_unusual()?;
        }
        let service = &call.route.service;
        if !service.policy.is_empty() {
            let asked = Asked { methods: call.methods(), path: call.path(), claims: call.caller.claims() };
            if !policy::allows(&service.policy, &asked) {
                return Err(Refusal::forbidden(&service.name, &service.title));
            }
        }
        core.rates.take(service, &call.caller.id).map_err(|wait| Refusal::rate_limited(whole_seconds(wait)))?;
        Ok(call)
    }
}

fn agreed_account(head: &Parts, in_path: Option<Account>) -> Result<Option<Account>, Refusal> {
    let mut values = head.headers.get_all(VALETKEY_ACCOUNT).iter();
    let Some(value) = values.next() else { return Ok(in_path) };
    let account = value.to_str().ok().and_then(|text| Account::parse(text.trim()).ok());
    let account = account.ok_or_else(|| Refusal::bad_request("The Valetkey-Account header is malformed"))?;
    if values.next().is_some() || in_path.is_some_and(|named| named != account) {
        return Err(Refusal::bad_request("Path and headers name different accounts"));
    }
    Ok(Some(account))
}

fn named_scopes(head: &Parts) -> Result<Vec<String>, Refusal> {
    let malformed = || Refusal::bad_request("The Valetkey-Scopes header holds scopes with spaces between them");
    let (mut scopes, mut size) = (Vec::new(), 0);
    for value in head.headers.get_all(VALETKEY_SCOPES) {
        // RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
        if !value.as_bytes().iter().all(|byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            return Err(malformed());
        }
        size += value.len();
        if size > MAX_SCOPES {
            return Err(Refusal::bad_request("The Valetkey-Scopes header holds at most 2 KiB"));
        }
        let text = value.to_str().map_err(|_| malformed())?;
        scopes.extend(text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned));
    }
    Ok(scopes)
}

fn manner(head: &Parts) -> Manner {
    let rest = |name: HeaderName, text: &[u8]| {
        let (begin, rest) = head.headers.get(name)?.as_bytes().split_at_checked(text.len())?;
        begin.eq_ignore_ascii_case(text).then(|| rest.first().copied())
    };
    if head.version < Version::HTTP_2 && rest(header::UPGRADE, b"websocket").is_some() {
        return Manner::Alone;
    }
    // `application/grpc-web` is another protocol, over any HTTP.
    match rest(header::CONTENT_TYPE, b"application/grpc") {
        Some(None | Some(b';' | b'+' | b' ' | b'\t')) => Manner::Grpc,
        _ => Manner::Plain,
    }
}

/// `Retry-After` in seconds, rounded up (RFC 9110 §10.2.3).
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn within(size: usize, limit: Option<u64>, what: TooLarge) -> Result<(), Refusal> {
    match limit {
        Some(limit) if size as u64 > limit => Err(Refusal::too_large(what)),
        _ => Ok(()),
    }
}

/// Whether a body of this size (so far) may pass.
///
/// # Errors
/// 413 `too_large`.
pub fn within_body(size: u64, service: &Service) -> Result<(), Refusal> {
    match service.limits.body_bytes {
        Some(limit) if size > limit => Err(Refusal::too_large(TooLarge::Body)),
        _ => Ok(()),
    }
}
