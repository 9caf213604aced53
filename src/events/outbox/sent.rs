//! How an attempt to tell somebody ended, whatever the channel.

use std::time::Duration;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::events) enum Sent {
    /// The other side has it.
    Delivered,
    /// Perhaps later; not before this time, if one was asked for.
    NotNow(Option<Duration>),
    /// It will never be taken, for this reason.
    Never(&'static str),
}
