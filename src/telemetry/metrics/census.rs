//! What all replicas share and one of them has counted: connections, by service. The others tell the same, so that no replica's
//! end makes it untrue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::labels::{ConnectionState, EndsWithin};
use crate::{clock::Timestamp, id::ServiceName};

/// How many days ahead are told one by one.
pub const DAYS_AHEAD: usize = 28;

/// How many connections there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// When they were counted.
    pub at: Timestamp,
    /// By service.
    pub services: BTreeMap<ServiceName, Tally>,
}

/// How many connections of one service there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// By how they stand, in [`ConnectionState`]'s order.
    pub by_state: [u64; ConnectionState::ALL.len()],
    /// Those whose calls go out with an API key.
    pub on_api_key: u64,
    /// Those that end within a span, in [`EndsWithin`]'s order.
    pub ending: [u64; EndsWithin::ALL.len()],
    /// Those that end within the first day from when they were counted, within the second, and so on for four weeks.
    #[serde(default)]
    pub ending_by_day: [u64; DAYS_AHEAD],
}

impl Tally {
    /// One more that stands so.
    pub fn count(&mut self, state: ConnectionState) {
        self.by_state[state as usize] += 1;
    }
}
