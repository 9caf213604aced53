//! Who is told when something fails too often.

use std::time::Duration;

use super::{Email, Webhook};
use crate::secret::SecretString;

/// When something fails too often, and who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// More failures than this of one service and error in the window are too many; `None`: however many.
    pub failures_above: Option<u32>,
    /// The rolling window.
    pub window: Duration,
    /// An endpoint for webhooks (Standard Webhooks).
    pub webhook: Option<Webhook>,
    /// Mail.
    pub email: Option<AlertEmail>,
    /// An incoming webhook of Slack's, or one that is like it. Whoever knows the URL may post there.
    pub slack_webhook: Option<SecretString>,
    /// Whether the failures of a day are told every day.
    pub digest: bool,
}

impl Alerts {
    /// A shorter window is refused.
    pub const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
    /// A longer one, too: batches are kept no longer.
    pub const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 86_400);
}

/// Mail to operators.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEmail {
    /// To whom; each parses.
    pub to: Vec<String>,
    /// The server, and from whom.
    pub from: Email,
}
