//! A newtype for every identifier that crosses a module's border, so that a service name can't stand where an account
//! is meant. Each is checked once, where it comes in; cheap to clone. Holds no secrets and does no I/O.

use std::fmt;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Declares a cheap, immutable text newtype, a pointer in size: thousands are held.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(ArcStr);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// A text that is not an identifier of the kind asked for. Its message says what would be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

text_id! {
    /// The name in `/proxy/{service}`: `[a-z0-9][a-z0-9_-]{0,63}`.
    #[derive(ToSchema)]
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$", examples("github"))]
    ServiceName
}
text_id! {
    /// A label for one of several connections of a caller to a service: `[A-Za-z0-9._-]{1,64}`.
    #[derive(ToSchema)]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9._-]{1,64}$", examples("work"))]
    Account
}
text_id! {
    /// Who vouches for a caller: the `iss` of its JWT (RFC 7519 §4.1.1).
    Issuer
}
text_id! {
    /// Whom the issuer means: the `sub` (or configured) claim, 1 to 255 bytes without control characters.
    Subject
}
text_id! {
    /// Names one request in answers and logs; says nothing of who made it.
    #[derive(ToSchema)]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9-]{1,64}$", examples("00000000000000ab0000000000000001"))]
    RequestId
}

impl ServiceName {
    /// Checks a service name.
    ///
    /// # Errors
    /// Where the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if !Self::is_well_formed(text) {
            return Err(Malformed(
                "a service name has 1 to 64 of a-z, 0-9, '_' and '-', and begins with a letter or digit",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl ServiceName {
    /// Whether the text is of that form.
    pub fn is_well_formed(text: &str) -> bool {
        let bytes = text.as_bytes();
        let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        (1..=64).contains(&bytes.len())
            && bytes.first().is_some_and(word)
            && bytes.iter().all(|b| word(b) || matches!(b, b'_' | b'-'))
    }
}

impl Account {
    /// The account that is meant where none is named and it exists.
    pub const DEFAULT: &'static str = "default";

    /// Checks an account label.
    ///
    /// # Errors
    /// Where the text is not of the form above.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !well_formed {
            return Err(Malformed("an account label has 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"));
        }
        Ok(Self(text.into()))
    }
}

impl Default for Account {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl Issuer {
    /// Checks an issuer: any text of 1 to 2,048 bytes without control characters.
    ///
    /// # Errors
    /// Where the text is empty, too long or holds control characters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > 2048 || text.chars().any(char::is_control) {
            return Err(Malformed("an issuer has 1 to 2048 bytes and no control characters"));
        }
        Ok(Self(text.into()))
    }
}

impl Subject {
    /// Checks a subject.
    ///
    /// # Errors
    /// Where the text is empty, over 255 bytes or holds control characters.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(Malformed("a subject has 1 to 255 bytes and no control characters"));
        }
        Ok(Self(text.into()))
    }
}

impl RequestId {
    /// Checks a request id: 1 to 64 of letters, digits and `-`.
    ///
    /// # Errors
    /// Where the text is not of that form.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Malformed("a request id has 1 to 64 of A-Z, a-z, 0-9 and '-'"));
        }
        Ok(Self(text.into()))
    }

    /// Makes the id of the request with this number; the number comes from a counter or a random source.
    pub fn from_number(number: u128) -> Self {
        Self(format!("{number:032x}").into())
    }
}

/// A caller's identity: the same subject of two issuers is two callers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CallerId {
    /// Who vouches.
    pub issuer: Issuer,
    /// Who is meant.
    pub subject: Subject,
}

impl CallerId {
    /// Its parts, for names that are made by hashing. Their order is part of every name at rest.
    pub fn parts(&self) -> [&[u8]; 2] {
        [self.issuer.as_str().as_bytes(), self.subject.as_str().as_bytes()]
    }
}

/// Names one connection: whose, to what, under which label. `service` is the one that owns the OAuth client, also where
/// another service shares its connection.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ConnectionId {
    /// Whose it is.
    pub caller: CallerId,
    /// The owning service.
    pub service: ServiceName,
    /// The label.
    pub account: Account,
}

impl ConnectionId {
    /// Its parts, the caller's first, as [`CallerId::parts`].
    pub fn parts(&self) -> [&[u8]; 4] {
        let [issuer, subject] = self.caller.parts();
        [issuer, subject, self.service.as_str().as_bytes(), self.account.as_str().as_bytes()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_follow_their_grammar() {
        for good in ["github", "a", "0-_x", &"a".repeat(64)] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "GitHub", "a.b", "a/b", "a@b", "ä", &"a".repeat(65)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn accounts_follow_their_grammar() {
        for good in ["work", "A.b_c-9", "default"] {
            assert!(Account::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a@b", "a/b", "ä", &"a".repeat(65)] {
            assert!(Account::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subjects_refuse_control_characters_and_excess() {
        assert!(Subject::parse("auth0|1234").is_ok());
        for bad in ["", "a\nb", "a\u{0}", &"a".repeat(256)] {
            assert!(Subject::parse(bad).is_err());
        }
    }
}
