//! Why the store didn't do as asked. No error holds a value, a key's meaning, a password or a URL.

use std::borrow::Cow;

/// A store operation that failed. Unless it says otherwise the outcome of a write is unknown: it may have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be reached, doesn't answer in time or isn't fit to serve now (loading, a replica, failing over).
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What is known of the cause.
        reason: Cow<'static, str>,
    },
    /// The store answered and refused: permissions, password, memory, disk.
    #[error("the store refused: {reason}")]
    Refused {
        /// The server's error code or the cause in words.
        reason: Cow<'static, str>,
        /// Whether the same request may succeed later without anybody changing the configuration (memory or disk full).
        passing: bool,
    },
    /// The lease under which something was to be written is another's by now, or nobody's: nothing was written.
    #[error("a lease was lost before what was to be written under it was written")]
    LeaseLost,
    /// What is stored cannot be what was written.
    #[error("the store holds something corrupt: {what}")]
    Corrupt {
        /// What was being read.
        what: &'static str,
    },
}

impl Error {
    pub(super) fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    /// Whether trying again later can help without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::LeaseLost => true,
            Self::Refused { passing, .. } => *passing,
            Self::Corrupt { .. } => false,
        }
    }
}
