//! AES-256-GCM (NIST SP 800-38D), the one place that names the cipher.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use super::Error;
use crate::secret::{Secret, SecretBytes};

/// Bytes of a nonce.
pub(super) const NONCE: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// Ciphertext ‖ tag.
pub(super) fn seal(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = Vec::with_capacity(plaintext.len() + TAG);
    buffer.extend_from_slice(plaintext);
    // Fails only beyond GCM's limits: 64 GiB of plaintext, 2^61 bytes of associated data.
    Aes256Gcm::new(key.into()).encrypt_in_place(&(*nonce).into(), aad, &mut buffer).map_err(|_| Error::Corrupt)?;
    Ok(buffer)
}

/// The plaintext, in memory that is zeroed when dropped.
pub(super) fn open(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], ciphertext: &[u8]) -> Result<SecretBytes, Error> {
    let mut buffer = zeroize::Zeroizing::new(ciphertext.to_vec());
    Aes256Gcm::new(key.into()).decrypt_in_place(&(*nonce).into(), aad, &mut *buffer).map_err(|_| Error::Corrupt)?;
    Ok(Secret::new(std::mem::take(&mut *buffer)))
}
