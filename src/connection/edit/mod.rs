//! Changing records safely: each change is a read, a pure change of state and a compare-and-set, tried again where someone
//! else was quicker, and nothing that was left half-done is built upon. Whoever wants to change a record goes through here.
//!
//! - `editor`: one change; `moves`: another label, step by step; `saver`: grants that only this process has

mod editor;
mod moves;
mod saver;

pub(super) use editor::Editor;
pub(super) use moves::Moves;
pub use moves::Renamed;
pub(super) use saver::Saver;
