//! The files that a configuration was made of, and what they held when they were read: so that whoever looks at them later can
//! tell another content from a mere touch. Keeps no contents, only a hash of each under a key of this process; never decides
//! what a change means.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fs::{self, File},
    hash::BuildHasher,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// No configuration, secret, certificate or JWKS is larger; a larger file is another one than was meant.
pub const LARGEST_FILE: u64 = 1 << 20;

/// The files that were read, or could not be.
#[derive(Clone, Default)]
pub struct FilesRead {
    hashing: RandomState,
    /// A hash of what each held; none where it couldn't be read.
    held: BTreeMap<PathBuf, Option<u64>>,
}

impl FilesRead {
    /// Reads a file, and notes what it held. Of a file larger than [`LARGEST_FILE`] it gives one byte more than that. What is read
    /// twice in a row counts as it was first. A pipe, such as a shell's `<(…)`, holds nothing a second time and isn't noted.
    ///
    /// # Errors
    /// Where it can't be read; it is noted all the same, as it may be there later.
    pub(super) fn read(&mut self, file: &Path) -> io::Result<Vec<u8>> {
        let read = bytes(file);
        if read.is_err() || is_regular(file) {
            let hash = read.as_ref().ok().map(|bytes| self.hashing.hash_one(bytes));
            self.held.entry(file.to_owned()).or_insert(hash);
        }
        read
    }

    /// The files, by name.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.held.keys().map(PathBuf::as_path)
    }

    /// Those that now hold something else than was read. Reads them all.
    pub fn changed(&self) -> Vec<&Path> {
        let bytes = |file: &Path| if is_regular(file) { bytes(file).ok() } else { None };
        let holds = |file: &Path| bytes(file).map(|bytes| self.hashing.hash_one(bytes));
        self.held.iter().filter(|(file, held)| holds(file) != **held).map(|(file, _)| file.as_path()).collect()
    }
}

/// Hashes are nobody's affair: a short secret could be guessed from one.
impl std::fmt::Debug for FilesRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn is_regular(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file())
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_told_from_a_touch_and_a_missing_file_is_waited_for() {
        let folder = tempfile::TempDir::new().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::write(&one, "a secret").unwrap();
        let mut files = FilesRead::default();
        assert_eq!(files.read(&one).unwrap(), b"a secret");
        assert_eq!(files.read(&two).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.names().collect::<Vec<_>>(), [&one, &two]);
        assert_eq!(files.changed(), Vec::<&Path>::new());
        fs::remove_file(&one).unwrap();
        assert_eq!(files.changed(), [&one]);
        fs::write(&one, "a secret").unwrap();
        assert_eq!(files.changed(), Vec::<&Path>::new(), "written anew, with nothing else in it");
        fs::write(&two, "").unwrap();
        assert_eq!(files.changed(), [&two]);
        assert!(!format!("{files:?}").contains("Some"), "no hash is shown");
    }

    #[test]
    fn what_is_no_file_is_read_once() {
        let mut files = FilesRead::default();
        files.read(Path::new("/dev/null")).unwrap();
        assert_eq!(files.names().count(), 0);
    }

    #[test]
    fn what_changed_between_two_readings_of_a_file_shows() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("file");
        let mut files = FilesRead::default();
        fs::write(&file, "one").unwrap();
        files.read(&file).unwrap();
        fs::write(&file, "two").unwrap();
        files.read(&file).unwrap();
        assert_eq!(files.changed(), [&file]);
    }
}
