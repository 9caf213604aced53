//! What counters are called, and how a bucket holds an hour and a kind: counters know hours, so each kind has a bucket of its
//! own in each hour, side by side. Part of what is stored: change neither names nor widths.

use data_encoding::HEXLOWER;

use super::{Fingerprint, Stage};
use crate::{clock::Timestamp, id::ServiceName, vault::Root};

/// The counters of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    /// Attempts that reached a stage, by browser.
    Stage(Stage),
    /// Attempts that ended without a grant, once each.
    Failed,
    /// How they ended, once each and kind.
    Errors,
    /// How long those took that were completed.
    Durations,
    /// Attempts that were asked for this set of scopes, and how many of them were refused.
    Asked(Fingerprint),
}

impl Counter {
    /// How many kinds it tells apart at most.
    pub const fn width(self) -> u64 {
        match self {
            Self::Stage(Stage::Offered | Stage::Authorized) | Self::Failed => 1,
            Self::Stage(_) => 8,
            Self::Errors | Self::Durations => 64,
            Self::Asked(_) => 2,
        }
    }

    /// The bucket of a kind in an hour (since the epoch).
    pub const fn bucket(self, hour: u64, kind: u64) -> u64 {
        let width = self.width();
        // What a later version counts beside these.
        let kind = if kind < width { kind } else { 0 };
        hour * width + kind
    }

    /// Its name, which says nothing without the root.
    pub fn name(self, root: &Root, service: &ServiceName) -> String {
        let (what, which) = match self {
            Self::Stage(stage) => (stage.name(), String::new()),
            Self::Failed => ("failed", String::new()),
            Self::Errors => ("errors", String::new()),
            Self::Durations => ("durations", String::new()),
            Self::Asked(fingerprint) => ("asked", fingerprint.to_string()),
        };
        let parts = [service.as_str(), what, &which].map(str::as_bytes);
        HEXLOWER.encode(&root.blind("funnel", &parts))
    }
}

/// The hour since the epoch.
pub(super) const fn hour(at: Timestamp) -> u64 {
    at.seconds() / 3600
}
