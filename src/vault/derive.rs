//! Keys from one root secret that all replicas share: blind index keys, so that the store's keys say nothing of whom they
//! belong to, and the keys of tickets and states that travel through browsers. Separate labels give unrelated keys.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{Error, Purpose, Signer, aead, prefixed, random};
use crate::secret::{Secret, SecretBytes};

/// What every text sealed by a root begins with.
const PREFIX: &str = "v1.";
const SALT: usize = 16;
/// Longest text that is sealed, and that [`Root::open`] looks at. URLs hold far shorter ones. What waits in the store holds
/// two tokens, each of up to 16 KiB, and what else belongs to a consent; base64 makes that a third longer.
const TEXT_MAX: usize = 128 * 1024;

/// The shared secret. Kept in the store, sealed for [`Purpose::Root`].
#[derive(Clone)]
pub struct Root {
    secret: Secret<[u8; 32]>,
    // Keyed once: blinding is on the way of every look-up in the store.
    index: Arc<hmac::Key>,
}

impl Root {
    /// A new secret.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn generate() -> Result<Self, Error> {
        random().map(Self::from_bytes)
    }

    /// The secret as [`Root::expose`] gave it.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let secret = Secret::new(bytes);
        let key = derive(secret.expose(), &[], "valetkey blind index v1");
        Self { secret, index: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*key)) }
    }

    /// The secret itself, to be sealed into the store and for nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// A name that reveals nothing without the root: HMAC-SHA256 of label and parts, length-prefixed, cut to 128 bits.
    /// The same input gives the same name on every replica.
    pub fn blind(&self, label: &str, parts: &[&[u8]]) -> [u8; 16] {
        let named = prefixed(std::iter::once(label.as_bytes()).chain(parts.iter().copied()));
        let digest = hmac::sign(&self.index, &named);
        *digest.as_ref().first_chunk().expect("16 bytes are fewer than SHA-256's 32")
    }

    /// Seals into URL-safe text: `v1.` and base64url of salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16), AES-256-GCM
    /// under HKDF-SHA256(root, salt, purpose). The salt keeps random nonces below their limit for as long as a root lives.
    ///
    /// # Errors
    /// [`Error::NoRandomness`]; [`Error::TooLong`] for what would not open again.
    pub fn seal(&self, purpose: Purpose, plaintext: &[u8], aad: &[&[u8]]) -> Result<String, Error> {
        let sealed = SALT + aead::NONCE + plaintext.len() + aead::TAG;
        if base64::encoded_len(sealed, false).is_none_or(|length| PREFIX.len() + length > TEXT_MAX) {
            return Err(Error::TooLong);
        }
        let salt: [u8; SALT] = random()?;
        let nonce: [u8; aead::NONCE] = random()?;
        let key = self.sealing_key(purpose, &salt);
        let ciphertext = aead::seal(&key, &nonce, &bound(purpose, aad), plaintext)?;
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&salt[..], &nonce, &ciphertext].concat())))
    }

    /// Opens what [`Root::seal`] made for this purpose with this associated data.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything else.
    pub fn open(&self, purpose: Purpose, text: &str, aad: &[&[u8]]) -> Result<SecretBytes, Error> {
        if text.len() > TEXT_MAX {
            return Err(Error::Corrupt);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(Error::Corrupt)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Error::Corrupt)?;
        let (salt, rest) = bytes.split_first_chunk::<SALT>().ok_or(Error::Corrupt)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<{ aead::NONCE }>().ok_or(Error::Corrupt)?;
        aead::open(&self.sealing_key(purpose, salt), nonce, &bound(purpose, aad), ciphertext)
    }

    /// Signs for all replicas, for what `label` says; the key is HKDF-SHA256(root, `valetkey signing key v1 ‖ label`).
    pub fn signer(&self, label: &str) -> Signer {
        Signer::from_seed(&derive(self.secret.expose(), &[], &format!("valetkey signing key v1 {label}")))
    }

    fn sealing_key(&self, purpose: Purpose, salt: &[u8; SALT]) -> Zeroizing<[u8; 32]> {
        derive(self.secret.expose(), salt, &format!("valetkey sealed text v1 {}", purpose.label()))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root([secret])")
    }
}

fn bound(purpose: Purpose, aad: &[&[u8]]) -> Vec<u8> {
    prefixed([PREFIX.as_bytes(), purpose.label().as_bytes()].into_iter().chain(aad.iter().copied()))
}

/// HKDF-SHA256 (RFC 5869). What comes up on the way is zeroed.
pub(super) fn derive(secret: &[u8; 32], salt: &[u8], label: &str) -> Zeroizing<[u8; 32]> {
    let mut output = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[label.as_bytes()], HKDF_SHA256)
        .and_then(|key| key.fill(&mut *output))
        .expect("32 bytes are fewer than HKDF-SHA256's 8160");
    output
}
