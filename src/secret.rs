//! `Secret<T>`: the only home of tokens, keys, client secrets and passwords in memory. It has no `Display` and no
//! `Serialize`, prints `[secret]`, is zeroed when dropped, and is read by one word, [`Secret::expose`], so that every
//! reading can be found by searching for it. It never decides where a secret may go.
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

use serde::{Deserialize, Deserializer};
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
}
