//! The envelope's bytes, as the table above the vault has them. Knows no keys.

use super::{Error, aead};

/// The version written, and the only one read.
pub(super) const VERSION: u8 = 1;

/// Longest key id.
const KEY_ID_MAX: usize = 64;

/// An envelope taken apart.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) key_id: &'a str,
    pub(super) wrapped: &'a [u8],
    pub(super) nonce: &'a [u8; aead::NONCE],
    pub(super) ciphertext: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Fails only where the ring gives an id or a wrapped key that no envelope holds.
    pub(super) fn to_bytes(self) -> Result<Vec<u8>, Error> {
        let id_length = u8::try_from(self.key_id.len()).map_err(|_| Error::Corrupt)?;
        let wrapped_length = u16::try_from(self.wrapped.len()).map_err(|_| Error::Corrupt)?;
        let bytes = [
            &[VERSION, id_length],
            self.key_id.as_bytes(),
            &wrapped_length.to_be_bytes(),
            self.wrapped,
            self.nonce,
            self.ciphertext,
        ];
        Ok(bytes.concat())
    }

    pub(super) fn parse(sealed: &'a [u8]) -> Result<Self, Error> {
        let (&version, rest) = sealed.split_first().ok_or(Error::Corrupt)?;
        if version != VERSION {
            return Err(Error::UnsupportedVersion(version));
        }
        Self::parse_v1(rest).ok_or(Error::Corrupt)
    }

    fn parse_v1(rest: &'a [u8]) -> Option<Self> {
        let (&id_length, rest) = rest.split_first()?;
        let (id, rest) = rest.split_at_checked(id_length.into())?;
        let (wrapped_length, rest) = rest.split_first_chunk::<2>()?;
        let (wrapped, rest) = rest.split_at_checked(u16::from_be_bytes(*wrapped_length).into())?;
        let (nonce, ciphertext) = rest.split_first_chunk::<{ aead::NONCE }>()?;
        let well_formed = (1..=KEY_ID_MAX).contains(&id.len())
            && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && ciphertext.len() >= aead::TAG;
        if !well_formed {
            return None;
        }
        Some(Self { key_id: std::str::from_utf8(id).ok()?, wrapped, nonce, ciphertext })
    }
}
