//! Records: what is kept of a connection, sealed. The only room that seals, opens and writes them.
//!
//! - `form`: a record, and its seal; `grant`: what it holds; `state`: what it is for; `at_rest`: its spelling in the store; `change`: which
//!   changes each state allows, and how they change it, one pure function
//! - `view`: what of it people, calls and the cache may have; `due`: when somebody should look at it; `ends`: when it will end by itself
//! - `records`: reading and writing, with one write protocol; `unsaved`: grants that the store doesn't have yet; `landing`: no
//!   new grant is ever lost; `notices`: which changes are our own; `unreadable`: what can't be opened; `tombstone`: unusable
//!   at once
//! - `facts`: what is told of changes, and appended to the log with them
//! - `root`: the shared secret that names and tickets derive from; `version`: numbers that nobody else chooses

mod at_rest;
pub(super) mod change;
pub(super) mod due;
mod ends;
pub(super) mod facts;
pub(super) mod form;
mod grant;
pub(super) mod landing;
mod notices;
pub(super) mod records;
pub(super) mod root;
pub(super) mod state;
pub(super) mod tombstone;
pub(super) mod unreadable;
mod unsaved;
mod version;
pub(super) mod view;
