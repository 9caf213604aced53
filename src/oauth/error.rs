//! What can go wrong at a token endpoint, by who can mend it.

use std::time::Duration;

/// A call without a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct TransportError {
    /// What happened.
    pub kind: Fault,
}

/// What happened to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Its time was over.
    #[error("no answer in time")]
    Timeout,
    /// No connection could be made.
    #[error("no connection")]
    Connect,
    /// TLS failed.
    #[error("TLS failed")]
    Tls,
    /// The answer was longer than any such answer is.
    #[error("the answer was too large")]
    TooLarge,
    /// The call was not made: its target may not be called.
    #[error("the target may not be called")]
    Refused,
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke")]
    Protocol,
    /// A status that says to come back later: 5xx but 503, a redirect.
    #[error("the provider is out of order")]
    Status,
    /// Too many calls, or none for now (429, 503, `slow_down`; RFC 9110 §15.6.4): this one was not carried out.
    #[error("the provider takes no more calls for now")]
    TooMany,
    /// An answer that makes no sense: markup, nothing, a cut or malformed one, a token that is none.
    #[error("the provider's answer makes no sense")]
    Garbage,
    /// An error code that says to come back later.
    #[error("the provider says it is out of order")]
    SaysSo,
    /// A token that no bearer header can carry (RFC 6749 §7.1).
    #[error("the provider's token is of the type {0}, and no bearer")]
    TokenType(&'static str),
}

/// Why there is no token. Holds nothing of any request's or answer's body but a checked error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct TokenError {
    /// Who can mend it.
    pub kind: Kind,
}

/// Who can mend a failure at the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The person, by connecting again: the code or refresh token is no longer valid. The only kind that ends a connection.
    #[error("the grant is no longer valid ({code})")]
    InvalidGrant {
        /// The provider's word.
        code: String,
    },
    /// The operator: the client, its registration or the request is wrong.
    #[error("the provider refuses this OAuth client ({code})")]
    Client {
        /// The provider's word, or `http_401` and the like.
        code: String,
    },
    /// Nobody: someone said no.
    #[error("access was denied ({code})")]
    Denied {
        /// The provider's word.
        code: String,
    },
    /// Time: the provider can't be reached or makes no sense.
    #[error("the token endpoint is unavailable: {fault}")]
    Unavailable {
        /// What happened.
        fault: Fault,
        /// How long the provider asks to wait, at most 15 minutes.
        retry_after: Option<Duration>,
    },
}

impl TokenError {
    pub(super) fn unavailable(fault: Fault, retry_after: Option<Duration>) -> Self {
        Self { kind: Kind::Unavailable { fault, retry_after } }
    }

    pub(super) fn garbage() -> Self {
        Self::unavailable(Fault::Garbage, None)
    }

    pub(super) fn client(code: &str) -> Self {
        Self { kind: Kind::Client { code: code.to_owned() } }
    }

    /// Whether the provider speaks of the client, and so to everybody: not of this grant. Other words may well mean that
    /// one alone, whatever RFC 6749 says of them: Atlassian's `unauthorized_client` is a refresh token that has ended.
    pub fn is_about_client(&self) -> bool {
        let Kind::Client { code } = &self.kind else { return false };
        let words = ["invalid_client", "incorrect_client_credentials", "invalid_client_id", "bad_client_secret"];
        words.contains(&code.as_str()) || code == "http_401"
    }

    /// Whether the same call may succeed later, so that nothing should be given up for this.
    pub fn is_transient(&self) -> bool {
        matches!(&self.kind, Kind::Unavailable { fault, .. } if !matches!(fault, Fault::TokenType(_)))
    }

    /// Whether the provider may have done what was asked though no token came: a refresh token that serves once may be
    /// spent.
    pub fn may_have_happened(&self) -> bool {
        match self.kind {
            Kind::Unavailable { fault, .. } => {
                !matches!(fault, Fault::Connect | Fault::Tls | Fault::Refused | Fault::TooMany)
            }
            Kind::InvalidGrant { .. } | Kind::Client { .. } | Kind::Denied { .. } => false,
        }
    }
}

impl From<TransportError> for TokenError {
    fn from(error: TransportError) -> Self {
        Self::unavailable(error.kind, None)
    }
}
