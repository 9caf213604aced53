//! What wraps data keys: a ring of configured keys.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Error, aead, derive::derive, random};
use crate::{config::VaultKey, secret::Secret};

/// The key of one sealing.
pub type DataKey = Secret<[u8; 32]>;

/// Configured keys: the first wraps, all unwrap. What is given as `aad` is authenticated with the key.
#[derive(Debug, Clone)]
pub struct KeyRing {
    keys: Arc<[VaultKey]>,
}

const SALT: usize = 32;

impl KeyRing {
    /// A ring of these keys, of which configuration says that there is one at least.
    pub fn new(keys: &[VaultKey]) -> Self {
        Self { keys: keys.into() }
    }

    fn key(&self, id: &str) -> Result<&VaultKey, Error> {
        self.keys.iter().find(|key| key.id == id).ok_or_else(|| Error::UnknownKey { id: id.to_owned() })
    }

    /// The id of the key that wraps, written in clear beside what it wrapped.
    pub fn primary(&self) -> &str {
        self.keys.first().map_or("", |key| &key.id)
    }

    /// Wraps with the primary key.
    ///
    /// # Errors
    /// [`Error::NoRandomness`].
    pub fn wrap(&self, data_key: &DataKey, aad: &[u8]) -> Result<Vec<u8>, Error> {
        let salt: [u8; SALT] = random()?;
        let nonce: [u8; aead::NONCE] = random()?;
        let wrapping = wrapping_key(self.key(self.primary())?, &salt);
        let ciphertext = aead::seal(&wrapping, &nonce, aad, data_key.expose())?;
        Ok([&salt[..], &nonce, &ciphertext].concat())
    }

    /// Unwraps with the key of that id and no other.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] where the key is not in the ring, [`Error::Corrupt`] where it does not open this.
    pub fn unwrap(&self, key_id: &str, wrapped: &[u8], aad: &[u8]) -> Result<DataKey, Error> {
        let key = self.key(key_id)?;
        let (salt, rest) = wrapped.split_first_chunk::<SALT>().ok_or(Error::Corrupt)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<{ aead::NONCE }>().ok_or(Error::Corrupt)?;
        let opened = aead::open(&wrapping_key(key, salt), nonce, aad, ciphertext)?;
        let data_key = <[u8; 32]>::try_from(opened.expose().as_slice()).map_err(|_| Error::Corrupt)?;
        Ok(Secret::new(data_key))
    }
}

/// The key under which one data key is wrapped: HKDF-SHA256 (RFC 5869) of the ring's key with a salt of its own.
fn wrapping_key(key: &VaultKey, salt: &[u8; SALT]) -> Zeroizing<[u8; 32]> {
    derive(key.key.expose(), salt, "valetkey wrapping key v1")
}
