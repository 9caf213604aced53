//! A key of one person's own. What is sealed under it is lost to everybody once the key is gone: that is how something which
//! must stay in its place is forgotten all the same. Where the key lies, and when it goes, is its owner's affair.

use std::fmt;

use zeroize::Zeroizing;

use super::{Error, aead, derive::derive, prefixed, random};
use crate::secret::{Secret, SecretBytes};

/// A person's key. Nothing is used of it but what is derived from it.
#[derive(Clone)]
pub struct PersonalKey(Secret<[u8; 32]>);

impl PersonalKey {
    /// Bytes of a tag.
    pub const TAG: usize = 8;

    /// A new one.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn generate() -> Result<Self, Error> {
        random().map(Self::from_bytes)
    }

    /// The key as [`PersonalKey::expose`] gave it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The key itself, to be sealed by the vault and for nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Says of two things that both are this person's, and nothing else: the first bytes of HKDF-SHA256(key, `valetkey personal
    /// tag v1`).
    pub fn tag(&self) -> [u8; Self::TAG] {
        *self.derived("tag").first_chunk().expect("8 bytes are fewer than 32")
    }

    /// Seals for this associated data: nonce (12) ‖ ciphertext ‖ tag (16), AES-256-GCM under HKDF-SHA256(key, `valetkey personal
    /// seal v1`). Random nonces are safe for 2^32 texts of one person.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn seal(&self, plaintext: &[u8], aad: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let nonce: [u8; aead::NONCE] = random()?;
        let ciphertext = aead::seal(&self.derived("seal"), &nonce, &prefixed(aad.iter().copied()), plaintext)?;
        Ok([&nonce[..], &ciphertext].concat())
    }

    /// Opens what [`PersonalKey::seal`] made.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else.
    pub fn open(&self, sealed: &[u8], aad: &[&[u8]]) -> Result<SecretBytes, Error> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<{ aead::NONCE }>().ok_or(Error::Corrupt)?;
        aead::open(&self.derived("seal"), nonce, &prefixed(aad.iter().copied()), ciphertext)
    }

    fn derived(&self, what: &str) -> Zeroizing<[u8; 32]> {
        derive(self.expose(), &[], &format!("valetkey personal {what} v1"))
    }
}

impl fmt::Debug for PersonalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonalKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_key_sealed_no_other_opens_and_tags_stay_what_they_are() {
        let (key, other) = (PersonalKey::from_bytes([7; 32]), PersonalKey::generate().unwrap());
        let sealed = key.seal(b"ada", &[b"here"]).unwrap();
        assert_eq!(key.open(&sealed, &[b"here"]).unwrap().expose(), b"ada");
        assert!(key.open(&sealed, &[b"there"]).is_err() && other.open(&sealed, &[b"here"]).is_err());
        assert!(key.open(&sealed[..11], &[b"here"]).is_err());
        assert_eq!(data_encoding::HEXLOWER.encode(&key.tag()), "7fd41d1f29c18589");
        assert_ne!(key.tag(), other.tag());
        assert!(!format!("{key:?}").contains('7'));
    }
}
