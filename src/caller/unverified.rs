//! What is read of a JWT before anything about it is known to be true. It may pick the issuer and the key that are asked
//! next, and nothing else: no key, URL or algorithm is ever taken from it (`jku`, `jwk`, `x5u` and `x5c` aren't even read).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Reason;
use crate::config::Algorithm;

/// Something read from a JWT that nobody has vouched for.
#[derive(Debug)]
pub(super) struct Unverified<T>(T);

/// A part of a JWT that can be read before verification.
pub(super) trait Part: DeserializeOwned {
    /// Which of the three segments it is.
    const SEGMENT: usize;
}

/// What picks a key (RFC 7515 §4.1).
#[derive(Debug, Deserialize)]
pub(super) struct JoseHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

/// What picks an issuer (RFC 7519 §4.1.1).
#[derive(Debug, Deserialize)]
pub(super) struct IssuerHint {
    iss: Option<Cow<'static, str>>,
}

impl Part for JoseHeader {
    const SEGMENT: usize = 0;
}

impl Part for IssuerHint {
    const SEGMENT: usize = 1;
}

/// All claims of a token that was verified before; what reads it answers for that.
pub(super) fn claims(token: &str) -> Option<Map<String, Value>> {
    let json = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&json).ok()
}

impl<T: Part> Unverified<T> {
    /// Reads it.
    ///
    /// # Errors
    /// [`Reason::Malformed`] where the segment is not base64url of a JSON object, [`Reason::Invalid`] where a member that
    /// matters is of another type or comes twice.
    pub(super) fn read(token: &str) -> Result<Self, Reason> {
        let segment = token.split('.').nth(T::SEGMENT).ok_or(Reason::Malformed)?;
        let json = URL_SAFE_NO_PAD.decode(segment).map_err(|_| Reason::Malformed)?;
        serde_json::from_slice(&json).map(Self).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Reason::Invalid,
            _ => Reason::Malformed,
        })
    }
}

impl Unverified<JoseHeader> {
    /// The algorithm it asks for, if it is one that could be allowed. `none` isn't, and neither is any under a `crit`:
    /// no extension is understood here (RFC 7515 §4.1.11).
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        if self.0.crit.is_some() {
            return None;
        }
        Some(match self.0.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "HS384" => Algorithm::HS384,
            "HS512" => Algorithm::HS512,
            "RS256" => Algorithm::RS256,
            "RS384" => Algorithm::RS384,
            "RS512" => Algorithm::RS512,
            "PS256" => Algorithm::PS256,
            "PS384" => Algorithm::PS384,
            "PS512" => Algorithm::PS512,
            "ES256" => Algorithm::ES256,
            "ES384" => Algorithm::ES384,
            "EdDSA" => Algorithm::EdDSA,
            _ => return None,
        })
    }

    /// The key it names.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }
}

impl Unverified<IssuerHint> {
    /// The issuer it names.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.0.iss.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Result<Unverified<JoseHeader>, Reason> {
        Unverified::read(&format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(json)))
    }

    #[test]
    fn only_algorithms_that_could_be_allowed_are_read() {
        assert_eq!(header(r#"{"alg":"ES256"}"#).unwrap().algorithm(), Some(Algorithm::ES256));
        for json in [r#"{"alg":"none"}"#, r#"{"alg":"es256"}"#, r#"{"alg":"RSA1_5"}"#, r#"{"alg":""}"#] {
            assert_eq!(header(json).unwrap().algorithm(), None, "{json}");
        }
    }

    #[test]
    fn a_critical_extension_is_never_understood() {
        for json in [r#"{"alg":"ES256","crit":["exp"]}"#, r#"{"alg":"ES256","crit":[]}"#, r#"{"alg":"ES256","crit":1}"#]
        {
            assert_eq!(header(json).unwrap().algorithm(), None, "{json}");
        }
    }

    #[test]
    fn odd_headers_are_refused_without_a_panic() {
        for json in ["", "[", "null", "1", r#""x""#] {
            assert!(header(json).is_err(), "{json}");
        }
        for json in [r#"{}"#, r#"{"alg":1}"#, r#"{"alg":"ES256","alg":"none"}"#, r#"{"alg":"ES256","kid":7}"#] {
            assert_eq!(header(json).unwrap_err(), Reason::Invalid, "{json}");
        }
        assert_eq!(Unverified::<JoseHeader>::read("!.e30.c2ln").unwrap_err(), Reason::Malformed);
        assert_eq!(Unverified::<IssuerHint>::read("e30").unwrap_err(), Reason::Malformed);
    }
}
