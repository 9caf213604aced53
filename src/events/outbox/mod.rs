//! What is to be told to people and to operators' endpoints, until it is told or given up. Never decides what is worth
//! telling; that is `notice`'s affair.
//!
//! - `inbox`, `queue`: what waits, bounded; `notifier`: tells it; `handover`: what of it outlives a process, sealed
//! - `webhook`, `mail`: the ways it goes; `sent`: how an attempt ended

mod handover;
mod inbox;
mod mail;
mod notifier;
mod queue;
mod sent;
mod webhook;

pub use inbox::Inbox;
pub use mail::MailError;
pub(in crate::events) use mail::{Mail, Mailer};
pub use notifier::{Notifier, Parts};
pub(in crate::events) use sent::Sent;
pub(in crate::events) use webhook::Endpoints;
