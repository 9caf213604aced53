//! One call to a service: what the request's head says it is, before anything is sent. Pure but for the JWT's keys; every
//! way out is a [`Refusal`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderName, Method, Version, header, request::Parts, uri::PathAndQuery};

use crate::{
    caller::{Caller, likely},
    clock::Timestamp,
    config::UpstreamProtocol,
    connection::{Credential, Want},
    id::{Account, CallerId},
    operation::Operation,
    policy::{self, Question},
    provider::{Service, Upstream, scopes::is_token},
    refusal::{ANYWHERE, Refusal, TooLarge},
};

use super::{
    acting,
    generation::{Generation, Route},
    methods,
    rate::Rates,
    target::{self, Proxied, Target},
    traits::{HopByHop, Traits},
    upstream::Protocol,
};

const VALETKEY_ACCOUNT: HeaderName = HeaderName::from_static("valetkey-account");
const VALETKEY_SCOPES: HeaderName = HeaderName::from_static("valetkey-scopes");
/// All scopes that a call names together, in bytes, as in `POST /connect-links`.
const MAX_SCOPES: usize = 2048;

/// A call whose caller isn't known yet.
pub struct Unclaimed {
    /// What it goes by.
    generation: Arc<Generation>,
    /// The service that is called.
    route: Arc<Route>,
    /// The target.
    target: Proxied,
    traits: Traits,
    /// Its target may hold what a URI can't.
    unusual: bool,
}

/// A call that may go on once it has a credential.
pub struct Call {
    /// What it goes by, to its end.
    pub generation: Arc<Generation>,
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
    /// What it needs of the connection to the upstream.
    pub protocol: Protocol,
    /// What its hop-by-hop headers leave to do.
    pub hop_by_hop: HopByHop,
    /// It says how long its body is, or that it ends somewhere.
    pub framed: bool,
    /// It may come from a span of somebody's trace.
    pub in_trace: bool,
    /// What the call carries.
    pub credential: Option<Arc<Credential>>,
    /// How far the upstream's refusals have been followed.
    pub recovery: Recovery,
    /// Where it goes, as it came.
    pub target: Proxied,
}

/// A request that is refused before it became a call.
pub struct RefusedRequest {
    /// The answer.
    pub refusal: Refusal,
    /// The service that it was for, where that is known.
    pub route: Option<Arc<Route>>,
}

impl From<Refusal> for RefusedRequest {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, route: None }
    }
}

/// How far a call has gone after its credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
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
            services: &self.generation.settings.services,
            service: &self.route.service,
            account: self.account.as_ref(),
            scopes: &self.scopes,
            operation: Some(self.operation()),
            waited: None,
        }
    }

    /// What it asks of the service's API.
    pub fn operation(&self) -> Operation<'_> {
        Operation { methods: self.methods(), path: self.target.path() }
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

    /// Whether the upstream can be sent it, the policy lets it through, and the caller is within their rate.
    fn may_go_on(&mut self, rates: &Rates, unusual: bool) -> Result<(), Refusal> {
        if unusual {
            self.protocol = self.protocol_for_unusual_target()?;
        }
        let service = &self.route.service;
        let claims = policy::looks_at_claims(&service.policy).then(|| self.caller.claims());
        let (operation, behalf_of) = (Some(self.operation()), self.caller.actor().map(|_| &self.caller.id));
        policy::judge(&Question { service, claims, operation, behalf_of })?;
        rates.take(service, &self.caller.id).map_err(|wait| Refusal::rate_limited(whole_seconds(wait)))
    }

    /// Where it goes: the credential's upstream, or before there is one the service's own.
    pub fn upstream(&self) -> &Upstream {
        self.credential.as_ref().map_or(&self.route.service.upstream, |credential| &credential.upstream)
    }

    /// What a URI can't hold goes upstream over HTTP/1.1: HTTP/2's client takes nothing but a URI.
    fn protocol_for_unusual_target(&self) -> Result<Protocol, Refusal> {
        if PathAndQuery::from_maybe_shared(self.upstream_target()).is_ok() {
            return Ok(self.protocol);
        }
        match (self.protocol, self.route.service.transport.protocol) {
            (Protocol::Http | Protocol::Dedicated, UpstreamProtocol::Auto | UpstreamProtocol::Http1) => {
                Ok(Protocol::Dedicated)
            }
            _ => Err(Refusal::bad_request(target::ODD)),
        }
    }

    /// Path and query as they go upstream.
    pub fn upstream_target(&self) -> Bytes {
        self.target.upstream(self.upstream().base())
    }
}

/// Reads a request's head as far as it can be without knowing who calls. `raw` is its target as it came, `unusual` whether
/// it may hold what a URI can't. `None`: it is for Valetkey's own pages and JSON.
///
/// # Errors
/// The answer to send instead.
pub fn read(
    generation: &Arc<Generation>,
    head: &Parts,
    (raw, unusual): (Bytes, bool),
    serves_proxy: bool,
) -> Result<Option<Unclaimed>, RefusedRequest> {
    if head.method == Method::CONNECT {
        return Err(Refusal::method_not_allowed(Some(ANYWHERE)).into());
    }
    let traits = Traits::of(&head.headers);
    if !traits.host && head.version == Version::HTTP_11 {
        return Err(Refusal::bad_request("The request has no Host header").into());
    }
    let length = raw.len();
    let raw = ByteString::try_from(raw).map_err(|_| Refusal::bad_request(target::ODD))?;
    let target = match Target::parse(raw).map_err(Refusal::bad_request)? {
        Target::Proxy(target) if serves_proxy => Some(target),
        Target::Proxy(_) | Target::Own => None,
    };
    let route = target.as_ref().and_then(|target| generation.route(target.service()?));
    let fits = || {
        methods::check(&head.method)?;
        let limits = route.map_or(&generation.settings.limits, |route| &route.service.limits);
        if target.is_some() && head.method == Method::TRACE {
            return Err(Refusal::method_not_allowed(Some(ANYWHERE)));
        }
        if target.is_none() && unusual {
            return Err(Refusal::bad_request(target::ODD));
        }
        within(length, limits.uri_bytes, TooLarge::Target)?;
        within(traits.size, limits.header_bytes, TooLarge::Headers)
    };
    fits().map_err(|refusal| RefusedRequest { refusal, route: route.cloned() })?;
    match (target, route) {
        (Some(target), Some(route)) => {
            let (generation, route) = (Arc::clone(generation), Arc::clone(route));
            Ok(Some(Unclaimed { generation, route, target, traits, unusual }))
        }
        (Some(_), None) => Err(Refusal::unknown_service().into()),
        (None, _) => Ok(None),
    }
}

impl Unclaimed {
    /// Whether it names somebody for whom its caller acts.
    pub fn is_for_another(&self) -> bool {
        self.traits.for_another
    }

    /// Whether it may come from a span of somebody's trace.
    pub fn is_in_trace(&self) -> bool {
        self.traits.in_trace
    }

    /// The caller for whom it is, where one was verified who acts for them.
    ///
    /// # Errors
    /// The answer to send instead.
    pub async fn meant(&self, head: &Parts, caller: Arc<Caller>, now: Timestamp) -> Result<Arc<Caller>, Refusal> {
        if !self.is_for_another() {
            return Ok(caller);
        }
        let going_by = (&self.generation.settings, &self.route.service.name);
        acting::named_by(&caller, &head.headers, going_by, now).await
    }

    /// The caller, where the JWT was verified before.
    pub fn known_caller(&self, head: &Parts, now: Timestamp) -> Option<Arc<Caller>> {
        self.generation.settings.callers.cached(likely(&head.headers, self.traits.ours)?, now)
    }

    /// The caller at `now`, in seconds; waits where the JWT's keys must be fetched.
    ///
    /// # Errors
    /// The answer to send instead.
    pub async fn authenticate(&self, head: &Parts, now: Timestamp) -> Result<Arc<Caller>, Refusal> {
        let service = &self.route.service;
        let own = service.api_key.header();
        let own = if *own == header::AUTHORIZATION { service.inject.header() } else { own };
        Ok(self.generation.settings.callers.presented_by(&head.headers, Some(own), now).await?)
    }

    /// The call of this caller, if it may go on.
    ///
    /// # Errors
    /// The answer to send instead.
    pub fn claimed(self, rates: &Rates, head: &Parts, caller: Arc<Caller>) -> Result<Call, RefusedRequest> {
        let asks = match self.asks(head) {
            Ok(asks) => asks,
            Err(refusal) => return Err(self.refused(refusal)),
        };
        let Self { generation, route, target, traits, unusual } = self;
        let mut call = Call {
            generation,
            method: head.method.clone(),
            judged_as: asks.judged_as,
            route,
            caller,
            account: asks.account,
            scopes: asks.scopes,
            protocol: if traits.decides_protocol { protocol(head) } else { Protocol::Http },
            hop_by_hop: traits.hop_by_hop,
            framed: traits.content_length || traits.hop_by_hop == HopByHop::Other,
            in_trace: traits.in_trace,
            target,
            credential: None,
            recovery: Recovery::None,
        };
        match call.may_go_on(rates, unusual) {
            Ok(()) => Ok(call),
            Err(refusal) => Err(RefusedRequest { refusal, route: Some(call.route) }),
        }
    }

    /// It is refused.
    pub fn refused(self, refusal: Refusal) -> RefusedRequest {
        RefusedRequest { refusal, route: Some(self.route) }
    }

    /// What its headers ask for.
    fn asks(&self, head: &Parts) -> Result<Asks, Refusal> {
        let (traits, account) = (&self.traits, self.target.account().cloned());
        let (account, scopes) =
            if traits.ours { (agreed_account(head, account)?, named_scopes(head)?) } else { (account, Vec::new()) };
        if traits.content_length {
            within_body(content_length(head)?, &self.route.service)?;
        }
        let judged_as =
            if traits.overridden { Some(methods::with_overrides(&head.method, &head.headers)?) } else { None };
        Ok(Asks { account, scopes, judged_as })
    }
}

/// What a call's headers ask for.
struct Asks {
    account: Option<Account>,
    scopes: Vec<String>,
    judged_as: Option<Box<str>>,
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
        size += value.len();
        if size > MAX_SCOPES {
            return Err(Refusal::bad_request("The Valetkey-Scopes header holds at most 2 KiB"));
        }
        let text = value.to_str().map_err(|_| malformed())?;
        let named = || text.split([' ', ',']).filter(|scope| !scope.is_empty());
        if !named().all(is_token) {
            return Err(malformed());
        }
        scopes.extend(named().map(str::to_owned));
    }
    Ok(scopes)
}

fn protocol(head: &Parts) -> Protocol {
    let rest = |name: HeaderName, text: &[u8]| {
        let (begin, rest) = head.headers.get(name)?.as_bytes().split_at_checked(text.len())?;
        begin.eq_ignore_ascii_case(text).then(|| rest.first().copied())
    };
    if head.version < Version::HTTP_2 && rest(header::UPGRADE, b"websocket").is_some() {
        return Protocol::Dedicated;
    }
    // `application/grpc-web` is another protocol, over any HTTP.
    match rest(header::CONTENT_TYPE, b"application/grpc") {
        Some(None | Some(b';' | b'+' | b' ' | b'\t')) => Protocol::Grpc,
        _ => Protocol::Http,
    }
}

/// `Retry-After` in seconds, rounded up (RFC 9110 §10.2.3).
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

/// The length that a body is said to have, the largest number there is where it has more digits. Anything but digits (RFC 9112
/// §6.3: a list, a sign) goes no further: Pingora would pass it on as it is, and where the next server reads it otherwise a body
/// would be taken for a request.
fn content_length(head: &Parts) -> Result<u64, Refusal> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let text = value.filter(digits).ok_or_else(|| Refusal::bad_request("Content-Length must be one whole number"))?;
    Ok(text.parse().unwrap_or(u64::MAX))
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
