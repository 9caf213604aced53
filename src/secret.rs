//! `Secret<T>`: the only home of tokens, keys, client secrets and passwords in memory. It has no `Display` and no
//! `Serialize`, prints `[secret]`, is zeroed when dropped, and is read by two words that can be searched for: [`Secret::expose`],
//! and [`reveal`] in what is serialised to be sealed. It never decides where a secret may go.
//!
//! ```compile_fail
//! let secret = valetkey::secret::Secret::new(String::from("hush"));
//! println!("{secret}");
//! ```
//! ```compile_fail
//! let secret = valetkey::secret::Secret::new(String::from("hush"));
//! serde_json::to_string(&secret).unwrap();
//! ```

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that must not be printed, serialised or left in freed memory.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

/// A secret text, the usual kind.
pub type SecretString = Secret<String>;
/// Secret bytes.
pub type SecretBytes = Secret<Vec<u8>>;

impl<T: Zeroize> Secret<T> {
    /// Takes the value in.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether both hold the same bytes, in time that tells nothing of where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

/// Compared as [`Secret::matches`] does.
impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_ref())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl From<String> for SecretString {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for SecretString {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// A secret, or perhaps one, that [`reveal`] writes out.
pub trait Reveal {
    /// Writes it as if it were no secret.
    ///
    /// # Errors
    /// Those of the serialiser.
    fn reveal<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl<T: Zeroize + Serialize> Reveal for Secret<T> {
    fn reveal<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: Zeroize + Serialize> Reveal for Option<Secret<T>> {
    fn reveal<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Secret::expose).serialize(serializer)
    }
}

/// `#[serde(serialize_with = "secret::reveal")]`, for a field of what is sealed before it goes anywhere: the form at rest is that
/// of a plain value. The buffer that it is written to must be zeroed.
///
/// # Errors
/// Those of the serialiser.
pub fn reveal<S: Serializer>(secret: &impl Reveal, serializer: S) -> Result<S::Ok, S::Error> {
    secret.reveal(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        assert_eq!(format!("{:?}", SecretString::from("hush")), "[secret]");
    }

    #[test]
    fn secrets_match_only_their_own_bytes() {
        let secret = SecretString::from("hush");
        assert!(secret.matches(b"hush"));
        assert!(!secret.matches(b"hus"));
        assert!(!secret.matches(b"husj"));
    }

    #[test]
    fn a_revealed_secret_has_the_form_of_a_plain_text() {
        #[derive(Serialize, Deserialize)]
        struct Sealed {
            #[serde(serialize_with = "reveal")]
            one: SecretString,
            #[serde(serialize_with = "reveal", default, skip_serializing_if = "Option::is_none")]
            perhaps: Option<SecretString>,
            #[serde(serialize_with = "reveal")]
            always: Option<SecretString>,
        }
        for (perhaps, always, json) in [
            (None, None, r#"{"one":"hush","always":null}"#),
            (Some("a".into()), Some("b".into()), r#"{"one":"hush","perhaps":"a","always":"b"}"#),
        ] {
            let written = serde_json::to_string(&Sealed { one: "hush".into(), perhaps, always }).unwrap();
            assert_eq!(written, json);
            let read: Sealed = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
    }
}
