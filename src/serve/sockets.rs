//! Unix sockets to listen on: taken without a moment in which anybody else may connect, stale ones replaced, live ones left
//! alone, and removed at the end. Accepts nothing itself.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;

/// A socket's file, removed with this value, unless another process has put its own in its place meanwhile.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Drop for Claim {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at this path, for whom these permissions let in; ready for an asynchronous runtime.
///
/// # Errors
/// Where somebody listens there, where something else lies there, or where the system says no.
pub fn claim(path: &Path, mode: u32) -> io::Result<(UnixListener, Claim)> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "something that is no socket lies there"));
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "somebody listens there")),
            // Left behind by a process that was killed.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        },
    }
    // It gets its permissions where nobody else can reach it, and its name after that.
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("the system has no randomness"))?;
    let private = path.with_file_name(format!(".vk-{}", HEXLOWER.encode(&random)));
    DirBuilder::new().mode(0o700).create(&private)?;
    let nameless = private.join("s");
    let taken = UnixListener::bind(&nameless).and_then(|listener| {
        listener.set_nonblocking(true)?;
        fs::set_permissions(&nameless, Permissions::from_mode(mode))?;
        fs::rename(&nameless, path)?;
        Ok(listener)
    });
    let _ = fs::remove_file(&nameless);
    let _ = fs::remove_dir(&private);
    let listener = taken?;
    let file = identity(path)?;
    Ok((listener, Claim { path: path.to_owned(), file }))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_its_permissions_and_goes_with_its_claim() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.sock");
        let (_listener, claimed) = claim(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(claimed);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("valetkey.sock");
        drop(UnixListener::bind(&path).unwrap());
        let (_listener, first) = claim(&path, 0o600).unwrap();
        assert_eq!(claim(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        // Another process may have come after the listener closed.
        drop(_listener);
        let (_second, _claimed) = claim(&path, 0o600).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "notes").unwrap();
        assert_eq!(claim(&path, 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "notes");
    }
}
