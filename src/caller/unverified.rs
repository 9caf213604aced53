//! What is read of a JWT before anything about it is known to be true. It may pick the issuer and the key that are asked
//! next, and nothing else: no key, URL or algorithm is ever taken from it (`jku`, `jwk`, `x5u` and `x5c` aren't even read).
//! Only a key that accepts the signature lets the claims out, so that they need not be read a second time.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Reason, signature::Verifier};
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

/// All claims; a JWT that names one twice is refused (RFC 7519 §4).
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unique;

        impl<'de> Visitor<'de> for Unique {
            type Value = Claims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = map.next_entry()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim comes twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }

        deserializer.deserialize_map(Unique)
    }
}

impl Part for JoseHeader {
    const SEGMENT: usize = 0;
}

impl Part for Claims {
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
        let json = std::str::from_utf8(&json).map_err(|_| Reason::Malformed)?;
        serde_json::from_str(json).map(Self).map_err(|error| match error.classify() {
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

    /// The same as it stands there.
    pub(super) fn named_algorithm(&self) -> &str {
        &self.0.alg
    }

    /// The key it names.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.0.kid.as_deref()
    }
}

impl Unverified<Claims> {
    /// The issuer it names (RFC 7519 §4.1.1).
    pub(super) fn issuer(&self) -> Option<&str> {
        self.0.0.get("iss")?.as_str()
    }

    /// The claims, which were read from `token`, once this key has accepted its signature (RFC 7515 §5.2).
    ///
    /// # Errors
    /// [`Reason::Invalid`] where it doesn't.
    pub(super) fn verified(self, token: &str, key: &Verifier) -> Result<Map<String, Value>, Reason> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Reason::Invalid)?;
        if key.accepts(signed.as_bytes(), &signature) { Ok(self.0.0) } else { Err(Reason::Invalid) }
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
    fn a_claim_that_comes_twice_leaves_no_choice_of_reading() {
        let claims = |json: &str| Unverified::<Claims>::read(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(json)));
        assert_eq!(claims(r#"{"iss":"a","exp":1}"#).unwrap().issuer(), Some("a"));
        for json in
            [r#"{"iss":"a","iss":"a"}"#, r#"{"iss":"a","sub":"x","sub":"y"}"#, r#"{"iss":"a","i\u0073s":"b"}"#, "[]"]
        {
            assert_eq!(claims(json).unwrap_err(), Reason::Invalid, "{json}");
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
        assert_eq!(Unverified::<Claims>::read("e30").unwrap_err(), Reason::Malformed);
    }
}
