//! The audit log: how much of it is kept, and where else it goes.

use std::{path::PathBuf, time::Duration};

/// The audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// How long entries are kept.
    pub retention: Duration,
    /// How many are kept at most, in all; `None`: however many.
    pub max_entries: Option<u64>,
    /// Where each event is also written as a line of JSON.
    pub file: Option<AuditFile>,
}

impl Audit {
    /// How long entries are kept where nobody says.
    pub const RETENTION: Duration = Duration::from_secs(400 * 86_400);
    /// How many are kept where nobody says: about 1.7 GB in Redis.
    pub const MAX_ENTRIES: u32 = 2_500_000;
}

impl Default for Audit {
    fn default() -> Self {
        Self { retention: Self::RETENTION, max_entries: Some(Self::MAX_ENTRIES.into()), file: None }
    }
}

/// Where events are written as lines of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditFile {
    /// To standard output.
    Stdout,
    /// To a file.
    Path {
        /// Its path.
        path: PathBuf,
        /// Once it is longer than this many bytes, another is begun.
        size: u64,
        /// How many full ones are kept beside it.
        count: u32,
    },
}
