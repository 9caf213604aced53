//! One call to a service: what the request's head says it is, before anything is sent. Pure but for the JWT's keys; every
//! way out is a [`Refusal`].

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method, Version, header, request::Parts};

use crate::{
    caller::{Caller, presented},
    connection::{Credential, Want},
    id::{Account, CallerId},
    provider::Service,
    refusal::{ANYWHERE, Refusal, TooLarge},
};

use super::{
    Core,
    policy::{self, Asked},
    target::{self, Target},
    upstream::Manner,
};

const VALETKEY_ACCOUNT: HeaderName = HeaderName::from_static("valetkey-account");
const VALETKEY_SCOPES: HeaderName = HeaderName::from_static("valetkey-scopes");
/// More scopes than anyone asks for.
const MAX_SCOPES: usize = 100;

/// Which door a request goes through.
pub enum Admitted {
    /// Valetkey's own pages and JSON.
    Own,
    /// A service.
    Call(Box<Call>),
}

/// A call that may go on once it has a credential.
pub struct Call {
    /// The service that is called.
    pub service: Arc<Service>,
    /// For whom.
    pub caller: Arc<Caller>,
    /// The account that was named.
    pub account: Option<Account>,
    /// Scopes that the application says it needs.
    pub scopes: Vec<String>,
    /// The method.
    pub method: Method,
    /// The path below `base_url`, without the query.
    pub path: String,
    /// What goes upstream.
    pub target: String,
    /// `@account` as the path had it, for URLs that lead back.
    pub form: String,
    /// How the upstream is spoken to.
    pub manner: Manner,
    /// What the call carries.
    pub credential: Option<Arc<Credential>>,
    /// How far the upstream's refusals have been followed.
    pub remedy: Remedy,
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
            service: &self.service,
            account: self.account.as_ref(),
            scopes: &self.scopes,
            method: self.method.as_str(),
            path: &self.path,
        }
    }

    /// Whose call it is.
    pub fn caller_id(&self) -> &CallerId {
        &self.caller.id
    }
}

/// Reads a request's head. `raw` is its target as it came.
///
/// # Errors
/// The answer to send instead.
pub async fn admit(core: &Core, head: &Parts, raw: &[u8], serves_proxy: bool) -> Result<Admitted, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::method_not_allowed(Some(ANYWHERE)));
    }
    within(raw.len(), core.limits.uri_bytes, TooLarge::Target)?;
    within(head_size(head), core.limits.header_bytes, TooLarge::Headers)?;
    let (service, account, form, path, query) = match target::parse(raw).map_err(Refusal::bad_request)? {
        Target::Proxy { service, account, prefix, path, query } if serves_proxy => {
            let form = prefix.find('@').map_or("", |at| &prefix[at..]);
            (service, account, form, path, query)
        }
        Target::Proxy { .. } | Target::Own => return Ok(Admitted::Own),
    };
    if head.method == Method::TRACE {
        return Err(Refusal::method_not_allowed(Some(ANYWHERE)));
    }
    let service =
        service.and_then(|name| core.services.get(name.as_str()).cloned()).ok_or_else(Refusal::unknown_service)?;
    within(raw.len(), service.limits.uri_bytes, TooLarge::Target)?;
    within(head_size(head), service.limits.header_bytes, TooLarge::Headers)?;
    let caller = authenticate(core, head, &service).await?;
    let account = agreed_account(head, account)?;
    let scopes = named_scopes(head)?;
    if let Some(length) = content_length(head) {
        within_body(length, core, &service)?;
    }
    let below = if path.is_empty() { "/" } else { path };
    let asked = Asked { method: head.method.as_str(), path: below, claims: &caller.claims };
    if !policy::allows(&service.policy, &asked) {
        return Err(Refusal::forbidden(&service.name, &service.title));
    }
    core.rates.take(&service, &caller.id).map_err(|wait| Refusal::rate_limited(whole_seconds(wait)))?;
    Ok(Admitted::Call(Box::new(Call {
        target: target::upstream(&service.base, path, query),
        path: below.to_owned(),
        form: form.to_owned(),
        method: head.method.clone(),
        manner: manner(head),
        service,
        caller,
        account,
        scopes,
        credential: None,
        remedy: Remedy::None,
    })))
}

async fn authenticate(core: &Core, head: &Parts, service: &Service) -> Result<Arc<Caller>, Refusal> {
    let own = service.api_key.header();
    let own = if *own == header::AUTHORIZATION { service.inject.header() } else { own };
    let token = presented(&head.headers, Some(own))?;
    let now = core.clock.now().seconds();
    Ok(core.callers.authenticate(&token, now).await?)
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
    let malformed = || Refusal::bad_request("The Valetkey-Scopes header is malformed");
    let mut scopes = Vec::new();
    for value in head.headers.get_all(VALETKEY_SCOPES) {
        let text = value.to_str().map_err(|_| malformed())?;
        scopes.extend(text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned));
    }
    if scopes.len() > MAX_SCOPES {
        return Err(malformed());
    }
    Ok(scopes)
}

fn manner(head: &Parts) -> Manner {
    let starts_with = |name: HeaderName, text: &[u8]| {
        head.headers.get(name).is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(text))
    };
    if head.version < Version::HTTP_2 && starts_with(header::UPGRADE, b"websocket") {
        Manner::Upgrade
    } else if starts_with(header::CONTENT_TYPE, b"application/grpc") {
        Manner::Grpc
    } else {
        Manner::Plain
    }
}

/// `Retry-After` in seconds, rounded up (RFC 9110 §10.2.3).
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

fn head_size(head: &Parts) -> usize {
    // As RFC 9113 §6.5.2 counts a field, less its overhead: name, value, and what stands between on the wire.
    head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
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
pub fn within_body(size: u64, core: &Core, service: &Service) -> Result<(), Refusal> {
    match service.limits.body_bytes.or(core.limits.body_bytes) {
        Some(limit) if size > limit => Err(Refusal::too_large(TooLarge::Body)),
        _ => Ok(()),
    }
}
