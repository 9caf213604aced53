//! The closed set of statuses that refusals have. Knows neither HTTP nor words.

/// The `status` of a refusal, as clients compare it. The set is closed: docs/ERRORS.md lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// There is no usable credential; the person must connect.
    AuthRequired,
    /// The grant lacks scopes; the person must grant more.
    AdditionalScopesRequired,
    /// The caller's own token is missing, bad or expired.
    Unauthenticated,
    /// A policy forbids this caller or call.
    Forbidden,
    /// No service has this name.
    UnknownService,
    /// No such route or thing.
    NotFound,
    /// The route knows no such method.
    MethodNotAllowed,
    /// Several accounts, and none was named.
    AccountRequired,
    /// The request is malformed.
    BadRequest,
    /// Target, headers or body are over their limit.
    TooLarge,
    /// The caller is over its rate.
    RateLimited,
    /// The upstream could not be reached.
    UpstreamUnreachable,
    /// The provider's token endpoint fails for now.
    RefreshFailed,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The store or the keys are away, or this replica is draining.
    Unavailable,
    /// Anything else.
    Error,
}

impl Code {
    /// All of them, in the contract's order.
    pub const ALL: [Self; 16] = [
        Self::AuthRequired,
        Self::AdditionalScopesRequired,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::UnknownService,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::AccountRequired,
        Self::BadRequest,
        Self::TooLarge,
        Self::RateLimited,
        Self::UpstreamUnreachable,
        Self::RefreshFailed,
        Self::UpstreamTimeout,
        Self::Unavailable,
        Self::Error,
    ];

    /// The text that clients compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequired => "auth_required",
            Self::AdditionalScopesRequired => "additional_scopes_required",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::UnknownService => "unknown_service",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AccountRequired => "account_required",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::RefreshFailed => "refresh_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Unavailable => "unavailable",
            Self::Error => "error",
        }
    }

    /// Whether the same request may succeed later without anybody's doing.
    pub const fn retryable(self) -> bool {
        match self {
            Self::RateLimited
            | Self::UpstreamUnreachable
            | Self::RefreshFailed
            | Self::UpstreamTimeout
            | Self::Unavailable
            | Self::Error => true,
            Self::AuthRequired
            | Self::AdditionalScopesRequired
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::UnknownService
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::AccountRequired
            | Self::BadRequest
            | Self::TooLarge => false,
        }
    }
}
