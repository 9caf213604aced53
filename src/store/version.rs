//! Versions of a record and how they lie in storage: eight bytes, big endian, in front of the sealed value. Comparing
//! those bytes compares the numbers, so no backend ever has to do arithmetic on them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;

/// A record's version. The writer chooses it, always larger than the one before.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version after `previous`: `max(previous + 1, now)`, with `now_micros` in microseconds since the epoch, so
    /// that a number isn't used again even after the record was deleted.
    pub fn next(previous: Option<Self>, now_micros: u64) -> Self {
        Self(previous.map_or(now_micros, |Self(previous)| now_micros.max(previous.saturating_add(1))))
    }
}

/// A stored value and its version.
#[derive(Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The version.
    pub version: Version,
    /// The sealed bytes.
    pub value: Vec<u8>,
}

impl Versioned {
    /// Splits what lies in storage.
    pub(super) fn decode(stored: &[u8]) -> Result<Self, Error> {
        let (version, value) = stored.split_first_chunk::<8>().ok_or(Error::Corrupt { what: "a record's version" })?;
        Ok(Self { version: Version(u64::from_be_bytes(*version)), value: value.to_vec() })
    }
}

/// What lies in storage for this version and value.
pub(super) fn encode(version: Version, value: &[u8]) -> Vec<u8> {
    [version.0.to_be_bytes().as_slice(), value].concat()
}

/// The value is sealed, and still nobody's business in a log: only its length is shown.
impl fmt::Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned").field("version", &self.version.0).field("bytes", &self.value.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_larger_than_the_last_and_no_earlier_than_now() {
        assert_eq!(Version::next(None, 100), Version(100));
        assert_eq!(Version::next(Some(Version(7)), 100), Version(100));
        assert_eq!(Version::next(Some(Version(100)), 100), Version(101));
        assert_eq!(Version::next(Some(Version(900)), 100), Version(901));
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let stored = encode(Version(u64::MAX - 1), b"sealed");
        let read = Versioned::decode(&stored).expect("it is long enough");
        assert_eq!(read, Versioned { version: Version(u64::MAX - 1), value: b"sealed".to_vec() });
        assert!(Versioned::decode(&stored[..7]).is_err());
        assert!(!format!("{read:?}").contains("sealed"));
    }
}
