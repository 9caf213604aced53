//! The audit log: what happened, kept where it can't be changed unseen, and forgotten of whom it was once that person is
//! erased. docs/AUDIT.md has the format.
//!
//! - `line`: a line in this process's own log
//! - `entry`: an event as the store keeps it; `person`: the key that says whom it was about; `sealer`: from one to the other
//! - `gathered`: what goes with no change of a record, appended each second
//! - `chain`: hashes over entries, and what is signed of them; `keeper`: signing and cutting; `check`: whether it holds
//! - `shown`: an event as operators see it; `query`: finding them; `file`: lines of JSON for collectors

pub mod chain;
pub mod check;
mod entry;
mod file;
mod gathered;
mod keeper;
mod line;
mod person;
mod query;
mod sealer;
mod shown;
#[cfg(test)]
mod tests;

pub use entry::{AUDIT, KeptError, KeptEvent, Opened, Person, may_be_about};
pub use file::AuditWriter;
pub use gathered::Gathered;
pub use keeper::{KeepError, Keeper};
pub use line::AuditLog;
#[cfg(test)]
pub(crate) use person::once_stored;
pub use person::{KeyError, PersonalKeys};
pub use query::{AuditReader, Cursor, Filter, Page, Scan};
pub use sealer::Sealer;
pub use shown::{SCOPES_EXPANDED, ShownEvent, TYPES, type_of};
