//! The audit log, as the operator writes it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::units::{Count, Size, Span};

/// The audit log: how much is kept, and where else it goes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Audit")]
pub struct RawAudit {
    /// How long the store keeps entries. What is older goes within the hour.
    #[schemars(extend("default" = "400d"))]
    pub retention: Option<Span>,
    /// How many entries the store keeps at most, in all; one takes about 700 bytes. Where there are more, the oldest of the fullest of
    /// 256 parts go first, so that whoever causes many loses their own.
    #[schemars(extend("default" = 2_500_000))]
    pub max_entries: Option<Count>,
    /// Where each event is also written as a line of JSON, for collectors: `stdout`, or the path of a file. It names people in the
    /// clear, and erasing them doesn't reach it.
    #[schemars(length(min = 1))]
    pub file: Option<String>,
    /// Once the file is longer than this, it is renamed to end in `.1`, those before it in `.2` and so on, and a new one is begun.
    #[schemars(extend("default" = "64MiB"))]
    pub file_size: Option<Size>,
    /// How many full files are kept beside it.
    #[schemars(range(min = 1, max = 1000), extend("default" = 8))]
    pub file_count: Option<u32>,
}
