//! Where a run keeps its files, and the loopback addresses that it takes.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::failure::{Error, Tried};

/// A folder for configurations and logs, removed when dropped.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new one.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make() -> Result<Self, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("valetkey-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).tried("making a temporary folder")?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        fs::write(&path, content).tried(format!("writing {name}"))?;
        Ok(path)
    }

    /// Copies the files whose names begin so into another folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(&self, beginning: &str, into: &Path) -> Result<(), Error> {
        fs::create_dir_all(into).tried("making a folder for what is kept")?;
        for entry in fs::read_dir(&self.0).tried("listing the temporary folder")?.flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with(beginning) {
                fs::copy(entry.path(), into.join(name)).tried("keeping a file")?;
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A loopback address that is free now.
///
/// # Errors
/// Where there is none.
pub fn free_address() -> Result<SocketAddr, Error> {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).tried("looking for a free port")
}
