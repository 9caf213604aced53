//! Opening the database file: only for its owner, only for one process, and with words that say what to do when it
//! can't be. It never changes the directory.

use std::fs::{File, OpenOptions, Permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, StorageError};

/// What the page cache may take. Records are small and hot ones are cached above the store.
const CACHE_BYTES: usize = 64 << 20;

/// Why the embedded store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the file.
    #[error(
        "{} is open in another process: the embedded store belongs to one Valetkey at a time; stop the other one, or use Redis for several replicas",
        path.display()
    )]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The path names something that isn't a plain file.
    #[error("{} is not a regular file (symbolic links are not followed)", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write the file and that can't be changed.
    #[error("{} has mode {mode:04o}, which lets others read it, and it cannot be made 0600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else than a database of ours.
    #[error("{} is not a Valetkey store, or is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system said no.
    #[error("{} cannot be opened: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Opens the database, made if there is none.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    let existed = path.symlink_metadata().is_ok();
    let file = private_file(path)?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let backend = FileBackend::new(file).map_err(|error| explain(path, error))?;
    let database = builder.create_with_backend(backend).map_err(|error| explain(path, error))?;
    if !existed {
        sync_directory(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    }
    Ok(database)
}

/// The file, open for us alone. A mode that is too wide is narrowed: Kubernetes widens it at each mount with `fsGroup`.
fn private_file(path: &Path) -> Result<File, OpenError> {
    let not_a_file = || OpenError::NotAFile { path: path.to_owned() };
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(not_a_file());
    }
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    let (opened, named) = (file.metadata().map_err(io)?, symlink_metadata(path).map_err(io)?);
    if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(not_a_file());
    }
    if opened.mode() & 0o077 != 0 {
        let narrowed = file.set_permissions(Permissions::from_mode(0o600));
        let mode = file.metadata().map_err(io)?.mode() & 0o7777;
        if narrowed.is_err() || mode & 0o077 != 0 {
            return Err(OpenError::Exposed { path: path.to_owned(), mode });
        }
        tracing::warn!(path = %path.display(), "the store's file could be read by others; its mode is 0600 now");
    }
    Ok(file)
}

/// Makes the new file's name itself survive a power cut.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

fn explain(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::Locked { path },
        DatabaseError::Storage(StorageError::Io(source)) => {
            if source.kind() == io::ErrorKind::InvalidData {
                return OpenError::Damaged { path, reason: source.to_string() };
            }
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}
