//! A directory as Kubernetes mounts a ConfigMap or a Secret: each name is a link through `..data`, and a change swaps that one
//! link, so that all files change at one moment.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Such a directory.
pub(crate) struct Mount {
    folder: PathBuf,
    version: usize,
}

impl Mount {
    /// Mounts these files, by name and text, in a folder that is there.
    pub(crate) fn new(folder: &Path, files: &[(&str, &str)]) -> Self {
        let mut mount = Self { folder: folder.to_owned(), version: 0 };
        mount.swap(files);
        mount
    }

    /// The path of one of its files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Puts these in place of all that are there, in the order in which a kubelet does it.
    pub(crate) fn swap(&mut self, files: &[(&str, &str)]) {
        let data = self.folder.join("..data");
        let old = fs::read_link(&data).ok().map(|old| self.folder.join(old));
        self.version += 1;
        let new = format!("..{}", self.version);
        fs::create_dir(self.folder.join(&new)).expect("a folder");
        for (name, text) in files {
            fs::write(self.folder.join(&new).join(name), text).expect("written");
        }
        let beside = self.folder.join("..data_tmp");
        symlink(&new, &beside).expect("a link");
        fs::rename(&beside, &data).expect("renamed");
        for (name, _) in files {
            let link = self.path(name);
            if !link.is_symlink() {
                drop(fs::remove_file(&link));
                symlink(Path::new("..data").join(name), &link).expect("a link");
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(old).expect("removed");
        }
    }
}
