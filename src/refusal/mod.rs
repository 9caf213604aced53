//! Every refusal that Valetkey makes itself: which status, which code, which words, whether trying again can help, and
//! what else the client is told. The only place where a domain error becomes HTTP. It never holds a token, a key, a stack
//! trace or an internal address, because nothing that goes into it can: texts are written here, members are identifiers,
//! scopes and links.

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::{
    connection::Reason,
    consent::Link,
    id::{Account, Issuer, ServiceName},
    telemetry::metrics::RequestOutcome,
};

mod accept;
mod catalogue;
mod code;
mod from;
mod render;
#[cfg(test)]
mod tests;
mod wire;

pub use accept::prefers_html;
pub use catalogue::{Kind, catalogue};
pub use code::Code;
pub use render::{REQUEST_ID, STATUS};

/// `Allow` where nothing knows better: all methods but those that are served nowhere.
pub const ANYWHERE: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Asks for a name and a password, the JWT being the password (RFC 7617).
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"valetkey\"");

impl From<Code> for RequestOutcome {
    fn from(code: Code) -> Self {
        match code {
            Code::AuthRequired => Self::AuthRequired,
            Code::AdditionalScopesRequired => Self::AdditionalScopesRequired,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::Forbidden => Self::Forbidden,
            Code::UnknownService | Code::NotFound => Self::NotFound,
            Code::MethodNotAllowed => Self::MethodNotAllowed,
            Code::AccountRequired => Self::AccountRequired,
            Code::BadRequest => Self::BadRequest,
            Code::TooLarge => Self::TooLarge,
            Code::RateLimited => Self::RateLimited,
            Code::UpstreamUnreachable => Self::UpstreamUnreachable,
            Code::RefreshFailed => Self::RefreshFailed,
            Code::UpstreamTimeout => Self::UpstreamTimeout,
            Code::Unavailable => Self::Unavailable,
            Code::Error => Self::Error,
        }
    }
}

/// What was over its limit; each has an HTTP status of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLarge {
    /// The request's target: 414.
    Target,
    /// Its headers together: 431.
    Headers,
    /// Its body: 413.
    Body,
    /// The caller's JWT: 431.
    Token,
}

/// One answer of Valetkey's own to a request that it does not serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// HTTP status (RFC 9110 §15).
    pub status: StatusCode,
    /// The contract's `status`.
    pub code: Code,
    /// A sentence fit to show a person.
    pub message: String,
    /// Whether the same request may succeed later without anybody's doing.
    pub retryable: bool,
    /// Further members, in the order in which they are written.
    members: Vec<(&'static str, Value)>,
    /// Further headers.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Whom and what an answer about a connection speaks of.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The service that was called, also where another one owns the connection.
    pub service: &'a ServiceName,
    /// Its name as people know it.
    pub title: &'a str,
    /// The account that was meant.
    pub account: &'a Account,
}

impl Refusal {
    fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retryable: code.retryable(), members: vec![], headers: vec![] }
    }

    fn member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its `reason`, where it has one: a word for programs.
    pub fn reason(&self) -> Option<&str> {
        self.members.iter().find(|(name, _)| *name == "reason").and_then(|(_, value)| value.as_str())
    }

    /// The names of its further members, in the order in which they are written.
    pub fn member_names(&self) -> impl Iterator<Item = &'static str> {
        self.members.iter().map(|(name, _)| *name)
    }

    /// The names of the headers that only some refusals have.
    pub fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(name, _)| name)
    }

    fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 401 `auth_required`: there is no usable credential, and `link` is the way to one.
    pub fn auth_required(about: About<'_>, reason: Reason, link: &Link) -> Self {
        let title = about.title;
        let message = match reason {
            Reason::NotConnected => format!("Connect your {title} account to continue"),
            Reason::Expired | Reason::Revoked | Reason::RejectedByUpstream | Reason::RefreshInterrupted => {
                format!("{title} connection expired, please reconnect")
            }
            Reason::ApiKeyRetired => format!("API keys for {title} are no longer used, please connect your account"),
            Reason::Pending => format!("{title} connection waits for confirmation in the application"),
        };
        Self::new(StatusCode::UNAUTHORIZED, Code::AuthRequired, message)
            .member("auth_url", link.url.as_str())
            .member("service", about.service.as_str())
            .member("account", about.account.as_str())
            .member("reason", reason.name())
            .member("expires_in", link.expires_in)
            .header(header::WWW_AUTHENTICATE, connect_challenge(about.service))
    }

    /// 403 `additional_scopes_required`: the grant is alive but lacks `scopes`; `link` asks for them.
    pub fn additional_scopes_required(about: About<'_>, scopes: &[String], link: &Link) -> Self {
        let message = format!("This feature requires additional permissions: {}", scopes.join(", "));
        Self::new(StatusCode::FORBIDDEN, Code::AdditionalScopesRequired, message)
            .member("new_scopes", scopes.to_vec())
            .member("auth_url", link.url.as_str())
            .member("service", about.service.as_str())
            .member("account", about.account.as_str())
            .member("expires_in", link.expires_in)
    }

    /// 401 `unauthenticated`: the caller's own token is no good, for this reason (a word for programs).
    pub fn unauthenticated(reason: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message)
            .member("reason", reason)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
    }

    /// 401 `unauthenticated`: no token of the kind that is wanted was presented, so there is no `error` to tell of (RFC 6750
    /// §3.1).
    pub fn nothing_presented(message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message)
            .member("reason", "missing")
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// The same for callers, who may present their JWT as a password, too: git and wget send theirs only where `Basic` is
    /// asked for. It comes first and in a line of its own, because some clients read no further than one challenge.
    pub fn no_caller(message: &'static str) -> Self {
        let mut refusal = Self::nothing_presented(message);
        refusal.headers.insert(0, (header::WWW_AUTHENTICATE, BASIC));
        refusal
    }

    /// 403 `forbidden`: the operator's policy does not let this call through.
    pub fn forbidden(service: &ServiceName, title: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, format!("This use of {title} is not allowed"))
            .member("service", service.as_str())
    }

    /// 403 `forbidden`: a token that only reads was to change something.
    pub fn read_only() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::Forbidden,
            "This token only reads; use the other one to change something".to_owned(),
        )
    }

    /// 403 `forbidden`: the service's API keys are retired, and none is stored any more.
    pub fn api_keys_retired(service: &ServiceName, title: &str) -> Self {
        let message = format!("API keys for {title} are no longer used, please connect your account instead");
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, message).member("service", service.as_str())
    }

    /// 403 `forbidden`: the call names somebody for whom it is, and its caller may act for nobody.
    pub fn may_not_act(service: &ServiceName) -> Self {
        let message = "Only jobs that the operator lets act for others may name a person in the Valetkey-User header";
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, message).member("service", service.as_str())
    }

    /// 403 `forbidden`: the person for whom a job would act has not allowed it, or no longer does.
    pub fn not_while_away(service: &ServiceName) -> Self {
        let message =
            "This person has not allowed jobs to act for them while they are away: only they can, on their dashboard";
        Self::new(StatusCode::FORBIDDEN, Code::Forbidden, message).member("service", service.as_str())
    }

    /// 404 `unknown_service`. The name is not repeated: it may be anything.
    pub fn unknown_service() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::UnknownService, "There is no service of this name")
    }

    /// 404 `not_found`: no such route or thing.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, "There is nothing here")
    }

    /// 404 `not_found`: the caller has no such connection.
    pub fn no_connection(title: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, format!("There is no such {title} connection"))
    }

    /// 405 `method_not_allowed`, with the methods that the route knows where they are known here (RFC 9110 §15.5.6).
    pub fn method_not_allowed(allow: Option<&'static str>) -> Self {
        let refusal =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, "This method is not allowed here");
        match allow {
            Some(allow) => refusal.header(header::ALLOW, HeaderValue::from_static(allow)),
            None => refusal,
        }
    }

    /// 409 `account_required`: these accounts exist, and the request names none.
    pub fn account_required(title: &str, accounts: &[Account]) -> Self {
        let accounts: Vec<&str> = accounts.iter().map(Account::as_str).collect();
        let message = format!("Choose which {title} account to use: {}", accounts.join(", "));
        Self::new(StatusCode::CONFLICT, Code::AccountRequired, message).member("accounts", accounts)
    }

    /// 400 `bad_request`; the message says what is wrong without repeating what was sent.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::BadRequest, message)
    }

    /// 409 `bad_request`: these issuers have users, and the request names none of them.
    pub fn issuer_required(issuers: &[Issuer]) -> Self {
        let issuers: Vec<&str> = issuers.iter().map(Issuer::as_str).collect();
        Self::new(StatusCode::CONFLICT, Code::BadRequest, "Name the issuer of this user").member("issuers", issuers)
    }

    /// 409 `bad_request`: what an operator has counted is no longer there as it was: so many were, so many still are.
    pub fn set_changed(counted: usize, left: usize) -> Self {
        let message = "These connections have changed since they were counted: do the dry run again";
        Self::new(StatusCode::CONFLICT, Code::BadRequest, message).member("counted", counted).member("left", left)
    }

    /// 413, 414 or 431 `too_large`.
    pub fn too_large(what: TooLarge) -> Self {
        let (status, message) = match what {
            TooLarge::Target => (StatusCode::URI_TOO_LONG, "The address of this request is too long"),
            TooLarge::Headers => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers of this request are too large")
            }
            TooLarge::Token => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The sign-in token of this request is too long")
            }
            TooLarge::Body => (StatusCode::PAYLOAD_TOO_LARGE, "The body of this request is too large"),
        };
        Self::new(status, Code::TooLarge, message)
    }

    /// 429 `rate_limited`: the next call is allowed after this many seconds.
    pub fn rate_limited(retry_after_s: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, Code::RateLimited, "Too many requests, please try again shortly")
            .retry_after(retry_after_s)
    }

    /// 502 `upstream_unreachable`: connect, TLS or protocol failure.
    pub fn upstream_unreachable(title: &str) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            Code::UpstreamUnreachable,
            format!("{title} could not be reached, please try again"),
        )
    }

    /// 502 `refresh_failed`: the provider's token endpoint fails for now; the connection stays as it is.
    pub fn refresh_failed(title: &str) -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            Code::RefreshFailed,
            format!("{title} could not renew the connection just now, please try again"),
        )
    }

    /// 504 `upstream_timeout`.
    pub fn upstream_timeout(title: &str) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            Code::UpstreamTimeout,
            format!("{title} did not answer in time, please try again"),
        )
    }

    /// 503 `unavailable`: to be tried again after this many seconds; 0 means at once.
    pub fn unavailable(retry_after_s: u32) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Unavailable,
            "The service is briefly unavailable, please try again",
        )
        .retry_after(retry_after_s)
    }

    /// 500 `error`: anything that has no code of its own.
    pub fn error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Error, "Something went wrong. Please try again.")
    }
}

/// RFC 9110 §11.6.1. A service's name needs no quoting: its grammar has neither `"` nor `\`.
fn connect_challenge(service: &ServiceName) -> HeaderValue {
    HeaderValue::try_from(format!("Valetkey realm=\"{service}\", error=\"auth_required\""))
        .expect("a service's name has only lower-case letters, digits, '_' and '-'")
}
