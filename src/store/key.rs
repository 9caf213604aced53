//! The names records go by: hashes, made elsewhere. Nothing here can be turned back into a person or a service.

use std::fmt;

use data_encoding::HEXLOWER;

use super::{Error, Shard};

/// Sixteen bytes of HMAC of (issuer, subject). All records of an owner live in one Redis hash slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub [u8; 16]);

/// Sixteen bytes of HMAC of (service, account), unique within its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub [u8; 16]);

/// A record's whole name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// Whose record it is.
    pub owner: OwnerId,
    /// Which of the owner's records.
    pub record: RecordId,
}

impl Key {
    /// The shard that it is in: the first byte of its owner, so that all of an owner is in one.
    pub const fn shard(&self) -> Shard {
        Shard(self.owner.0[0])
    }

    /// Owner and record in a row: how indexes name a record.
    pub fn to_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.owner.0);
        bytes[16..].copy_from_slice(&self.record.0);
        bytes
    }

    /// The reverse of [`Key::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] where `bytes` aren't exactly 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (owner, record) = bytes.split_at_checked(16).ok_or(Error::Corrupt { what: "a record's name" })?;
        Ok(Self { owner: OwnerId(sixteen(owner)?), record: RecordId(sixteen(record)?) })
    }

    /// Reads 64 hexadecimal digits, as change notices carry them.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return None;
        }
        HEXLOWER.decode_mut(text, &mut bytes).ok()?;
        Self::from_bytes(&bytes).ok()
    }
}

/// An owner's bytes as an index holds them.
pub(super) fn owner_from_bytes(bytes: &[u8]) -> Result<OwnerId, Error> {
    sixteen(bytes).map(OwnerId)
}

/// A record's bytes as a hash field holds them.
pub(super) fn record_from_bytes(bytes: &[u8]) -> Result<RecordId, Error> {
    sixteen(bytes).map(RecordId)
}

fn sixteen(bytes: &[u8]) -> Result<[u8; 16], Error> {
    bytes.try_into().map_err(|_| Error::Corrupt { what: "a record's name" })
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    HEXLOWER.encode_write(bytes, f)
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

/// Both hashes in a row, 64 hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.owner, self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_bytes_and_hex() {
        let key = Key { owner: OwnerId([0xab; 16]), record: RecordId([7; 16]) };
        assert_eq!(Key::from_bytes(&key.to_bytes()).ok(), Some(key));
        assert_eq!(Key::from_hex(key.to_string().as_bytes()), Some(key));
    }

    #[test]
    fn a_name_of_another_length_is_corrupt() {
        assert!(Key::from_bytes(&[1; 31]).is_err());
        assert!(Key::from_bytes(&[1; 33]).is_err());
        assert!(Key::from_bytes(&[]).is_err());
        assert_eq!(Key::from_hex(&[b'a'; 62]), None);
        assert_eq!(Key::from_hex(&[b'a'; 65]), None);
        assert_eq!(Key::from_hex(&[b'g'; 64]), None);
    }
}
