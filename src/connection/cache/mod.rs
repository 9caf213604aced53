//! What this process holds of its callers' connections, and until when it may believe it. Data behind locks: reads no store,
//! opens no record, and holds no refresh token.
//!
//! - `snapshot`: one caller's connections as of a moment, and all such snapshots; `held`: one connection there
//! - `credential`: the ready-made headers of one, and what has been seen of it; `few`: a list of usually one
//! - `retired`: what the clock makes of connections that rest on an API key

mod credential;
mod few;
mod held;
mod retired;
mod snapshot;

pub use credential::Credential;
pub(super) use credential::{Seen, refresh_at};
pub(super) use few::Few;
pub(super) use held::{Footing, Held};
pub(super) use retired::{retire, retired};
pub(super) use snapshot::{Rare, Selection, Snapshot, SnapshotCache};
