//! What can go wrong with a call of our own. No text here holds a URL's query, a header or a body.

use std::{error::Error, io};

use crate::dns::Unresolved;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The deadline of the whole call passed.
    #[error("the call took too long")]
    Timeout,
    /// The name could not be resolved, or no address accepted a connection in time.
    #[error("no connection could be made")]
    Connect,
    /// The TLS handshake failed: the certificate, its name, or the protocol.
    #[error("the TLS handshake failed")]
    Tls,
    /// The answer's body is longer than the limit.
    #[error("the answer is too large")]
    TooLarge,
    /// The call was not made, because its target may not be called.
    #[error("the call was refused: {reason}")]
    Refused {
        /// What forbids it.
        reason: Refusal,
    },
    /// The connection broke, or what came back is not HTTP.
    #[error("the exchange broke off")]
    Protocol,
}

/// Why a target may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an absolute `http` or `https` URL with a host and without user information.
    #[error("the URL is not a plain http or https URL")]
    MalformedUrl,
    /// Plain `http` beyond loopback.
    #[error("plain http is for loopback only")]
    PlainHttp,
    /// A link-local, metadata, multicast or unspecified address.
    #[error("the address is link-local, a metadata service's or not a host's")]
    Address,
}

/// Why the client can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The extra authorities are not PEM certificates.
    #[error("the extra certificate authorities are not certificates in PEM")]
    Authorities,
    /// The system's trust store can't be used.
    #[error("the system's certificate authorities can't be read")]
    Tls,
}

impl OutboundError {
    /// Sorts the client's error by what caused it.
    pub(super) fn from_client(error: &reqwest::Error) -> Self {
        if cause::<Unresolved>(error) == Some(&Unresolved::Forbidden) {
            Self::Refused { reason: Refusal::Address }
        } else if error.is_connect() && cause::<rustls::Error>(error).is_some() {
            Self::Tls
        } else if error.is_connect() {
            Self::Connect
        } else if error.is_timeout() {
            Self::Timeout
        } else {
            Self::Protocol
        }
    }
}

/// The `E` among the causes. `io::Error` hides what it wraps from `source`, hence the second look.
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| self::cause::<E>(inner)) {
            return Some(found);
        }
        next = cause.source();
    }
    None
}
