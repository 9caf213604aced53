//! How parts of the bench fail. Any failure ends the run: half a table says nothing.

use std::{io, path::PathBuf};

/// Any failure: all of them end the run.
pub type Failure = Box<dyn std::error::Error>;

/// Why a process or a file isn't there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be started, or its files can't be written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// It doesn't accept connections in time.
    #[error("{0} didn't come up; its output is in {1}")]
    Down(&'static str, PathBuf),
}

/// Adds what was tried to an I/O error.
pub trait Tried<T> {
    /// Says what was tried.
    ///
    /// # Errors
    /// The same, with its story.
    fn tried(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what: what.into(), source })
    }
}
