//! The open database, and opening it again: after a failed read or write of the disk redb refuses all further work until
//! the file is reopened, so a full disk would otherwise need a restart.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redb::Database;

use super::{Failure, file};
use crate::store::Error;

/// Where the open database is kept.
pub(super) struct Slot {
    path: PathBuf,
    database: ArcSwapOption<Database>,
    closed: AtomicBool,
    reopening: Mutex<()>,
}

impl Slot {
    pub(super) fn new(path: PathBuf, database: Database) -> Self {
        Self {
            path,
            database: ArcSwapOption::from_pointee(database),
            closed: AtomicBool::new(false),
            reopening: Mutex::new(()),
        }
    }

    /// Works on the database; a failure of the disk has it reopened by whoever comes next.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Error> {
        let database = self.open()?;
        work(&database).map_err(|failure| {
            let (error, reopen) = explain(failure);
            if reopen {
                let current = self.database.load();
                if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &database)) {
                    self.database.store(None);
                }
            }
            error
        })
    }

    fn open(&self) -> Result<Arc<Database>, Error> {
        if let Some(database) = self.database.load_full() {
            return Ok(database);
        }
        let _one_at_a_time = self.reopening.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::unavailable("the embedded store is closed"));
        }
        if let Some(database) = self.database.load_full() {
            return Ok(database);
        }
        let database = file::open(&self.path).map(Arc::new).map_err(|error| {
            tracing::warn!(%error, "the embedded store could not be reopened");
            Error::unavailable("the embedded store could not be reopened")
        })?;
        tracing::info!("the embedded store was reopened after a failure of the disk");
        self.database.store(Some(Arc::clone(&database)));
        Ok(database)
    }

    /// Lets go of the file, as soon as readers have finished.
    pub(super) fn close(&self) {
        let _one_at_a_time = self.reopening.lock();
        self.closed.store(true, Ordering::Release);
        self.database.store(None);
    }
}

/// The error to tell, and whether the database must be opened again.
fn explain(failure: Failure) -> (Error, bool) {
    let error = match failure {
        Failure::Store(error) => return (error, false),
        Failure::Database(error) => error,
    };
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            (Error::Refused { reason: "the disk is full".into(), passing: true }, true)
        }
        redb::Error::Io(error) => (Error::unavailable(format!("the disk failed: {}", error.kind())), true),
        redb::Error::Corrupted(_) => (Error::Corrupt { what: "the embedded store's file" }, false),
        redb::Error::PreviousIo | redb::Error::Backend(_) => (Error::unavailable("the disk failed before"), true),
        redb::Error::ValueTooLarge(_) => {
            (Error::Refused { reason: "the value is too large".into(), passing: false }, false)
        }
        _ => (Error::unavailable("the embedded database failed"), true),
    }
}
