//! Why a caller is not believed, and why an issuer can't be.

use crate::{id::Issuer, telemetry::metrics::CallerRejection};

/// No caller could be told from what was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", .reason.text())]
pub struct Unauthenticated {
    /// Why.
    pub reason: Reason,
}

impl From<Reason> for Unauthenticated {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

/// Why a caller is not believed. Tells strangers nothing of which check failed: expiry is only told of a token whose
/// signature is good, and all the rest is [`Reason::Invalid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no JWT where one may stand.
    Missing,
    /// What stands there is not one JWT.
    Malformed,
    /// It is longer than the operator lets one be.
    TooLong,
    /// It was good, and has expired.
    Expired,
    /// It will be good, by its `nbf` or `iat`.
    NotYetValid,
    /// Its issuer, audience, algorithm, key, signature or claims are not believed.
    Invalid,
    /// The issuer's keys can't be had for now; nobody knows whether it is good. Not the caller's fault.
    KeysUnavailable,
}

impl Reason {
    /// The word for machines, as in the `reason` member of an answer.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Invalid => "invalid",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// As the metrics count it.
    pub(super) fn rejection(self) -> CallerRejection {
        match self {
            Self::Missing => CallerRejection::Missing,
            Self::Malformed => CallerRejection::Malformed,
            Self::TooLong => CallerRejection::TooLong,
            Self::Expired => CallerRejection::Expired,
            Self::NotYetValid => CallerRejection::NotYetValid,
            Self::Invalid => CallerRejection::Invalid,
            Self::KeysUnavailable => CallerRejection::KeysUnavailable,
        }
    }

    /// A sentence for people, always the same for the same reason.
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => "no token was presented",
            Self::Malformed => "what was presented is not one JWT",
            Self::TooLong => "the token is longer than is taken",
            Self::Expired => "the token has expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::Invalid => "the token is not valid",
            Self::KeysUnavailable => "the issuer's keys are not available",
        }
    }
}

/// Why a JWT was refused, for the log of the operator: which check, what it found, and what it wanted. It may hold single
/// claims, cut short; never the token.
#[derive(Debug)]
pub(super) struct Doubt {
    /// What the caller is told.
    pub(super) reason: Reason,
    check: &'static str,
    found: String,
    wanted: String,
}

/// The most of a claim that is told.
const TOLD: usize = 120;

impl Doubt {
    pub(super) fn new(reason: Reason, check: &'static str, found: &str, wanted: impl Into<String>) -> Self {
        Self { reason, check, found: found.chars().take(TOLD).collect(), wanted: wanted.into() }
    }

    /// Tells the operator. What came from outside is written with its control characters escaped.
    pub(super) fn log(&self) {
        let (code, check, wanted) = (self.reason.code(), self.check, &self.wanted);
        tracing::info!(reason = code, check, found = ?self.found, wanted = ?wanted, "a JWT was refused");
    }
}

impl From<Reason> for Doubt {
    fn from(reason: Reason) -> Self {
        Self::new(reason, "form", reason.text(), "a JWT in three parts of base64url, JSON in the first two")
    }
}

/// An issuer's configuration can't serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("callers[{index}] ({issuer}): {problem}")]
pub struct IssuerError {
    /// Its place in the configuration, from 0.
    pub index: usize,
    /// Its name.
    pub issuer: Issuer,
    /// What is wrong.
    pub problem: IssuerProblem,
}

/// What is wrong with an issuer's keys and algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerProblem {
    /// No algorithm is allowed.
    #[error("`algorithms` is empty")]
    NoAlgorithms,
    /// HS* without a secret, or a secret without HS*: whoever verifies HS* can also sign.
    #[error("HS* algorithms go with `secret`, and no others do")]
    SecretMismatch,
    /// RFC 8725 §3.5.
    #[error("`secret` has less than 32 bytes")]
    ShortSecret,
    /// Neither RSA, nor P-256, P-384 or Ed25519, or not PEM at all.
    #[error("`public_key` is not a public key in PEM that fits `algorithms`")]
    UnreadableKey,
    /// RFC 7518 §3.3.
    #[error("an RSA key has less than 2048 bits")]
    ShortRsaKey,
    /// Another curve or kind of key.
    #[error("an algorithm of `algorithms` does not fit `public_key`")]
    UnfitAlgorithm,
    /// Not a JSON object with `keys`.
    #[error("the JWKS is not a JSON Web Key Set")]
    UnreadableKeySet,
    /// Over 100 keys.
    #[error("the JWKS has more than 100 keys")]
    TooManyKeys,
    /// Every key is of another use, kind or algorithm, or too short.
    #[error("the JWKS has no signing key that fits `algorithms`")]
    NoUsableKey,
    /// Plain `http` beyond loopback, or no web address at all.
    #[error("`jwks_url` must be https (http on loopback only)")]
    InsecureUrl,
    /// No certificate that can be used.
    #[error("`ca_file` holds no certificate that can be used")]
    UnreadableAuthority,
}
