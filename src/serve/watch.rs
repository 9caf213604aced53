//! Notices that the configuration's file, or a file that it names, holds something else than was read, and has it read again
//! once the files have come to rest. It looks, twice a second, and isn't told: the system's notices (inotify) come from no
//! network file system, follow a name no further than the first of the links that Kubernetes swaps, and are limited for all
//! processes of a user together, so that looking would be needed beside them. A look is one question to the system for each
//! file; contents are read only where an answer differs from the last, and only another content is a change. Decides nothing
//! about it: `reload` does.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc, thread, time::Duration};

use tokio::task::spawn_blocking;

use super::reload::{Reloader, SETTLE};
use crate::config::FilesRead;

/// How long between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Files that are never at rest are read after so many times [`SETTLE`] all the same.
const PATIENCE: usize = 50;

/// Has the configuration read again whenever its files change, for ever.
pub async fn watch(reloader: Arc<Reloader>) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let reloader = Arc::clone(&reloader);
        // Files are read, and a file system may hang.
        let looked = spawn_blocking(move || {
            watch.look(&reloader);
            watch
        });
        watch = looked.await.unwrap_or_default();
    }
}

/// What the system said of each file, in the order of their names.
#[derive(Debug, Default)]
struct Watch {
    seen: Vec<Option<Stamp>>,
    /// It said the same the time before: what a file holds may change twice within one tick of the system's clock.
    at_rest: bool,
}

/// What is another one whenever a file holds something else. Links are followed: where one leads elsewhere, the file is
/// another one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watch {
    fn look(&mut self, reloader: &Reloader) {
        let files = reloader.files();
        if !self.differ(&files) {
            return;
        }
        self.come_to_rest(&files);
        // Somebody else may have had them read meanwhile.
        let files = reloader.files();
        let changed = files.changed();
        if changed.is_empty() {
            return;
        }
        let names: Vec<_> = changed.iter().map(|file| file.display().to_string()).collect();
        tracing::info!(files = names.join(" "), "the configuration's files have changed");
        reloader.reload();
    }

    /// Whether a file holds something else than was read.
    fn differ(&mut self, files: &FilesRead) -> bool {
        let stamps = stamps(files);
        let same = stamps == self.seen;
        let known = same && self.at_rest;
        (self.seen, self.at_rest) = (stamps, same);
        !known && !files.changed().is_empty()
    }

    /// Waits until nobody writes any more.
    fn come_to_rest(&mut self, files: &FilesRead) {
        for _ in 0..PATIENCE {
            thread::sleep(SETTLE);
            let stamps = stamps(files);
            if stamps == self.seen {
                return;
            }
            (self.seen, self.at_rest) = (stamps, false);
        }
    }
}

fn stamps(files: &FilesRead) -> Vec<Option<Stamp>> {
    files.names().map(stamp).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = fs::metadata(file).ok()?;
    Some(Stamp {
        file: (found.dev(), found.ino()),
        bytes: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::config;

    /// What is read of this file, which is no configuration.
    fn read(file: &Path) -> FilesRead {
        config::load(file, &|_| None).finish().unwrap_err().files
    }

    #[test]
    fn another_content_is_a_change_and_a_touch_is_none() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("valetkey.yaml");
        fs::write(&file, "one").unwrap();
        let (files, mut watch) = (read(&file), Watch::default());
        assert!(!watch.differ(&files));
        assert!(!watch.at_rest, "what was seen once may have been written a moment ago");
        assert!(!watch.differ(&files));
        assert!(watch.at_rest);
        fs::write(&file, "one").unwrap();
        fs::rename(&file, folder.path().join("away")).unwrap();
        fs::copy(folder.path().join("away"), &file).unwrap();
        assert!(!watch.differ(&files), "another file with the same in it");
        fs::write(&file, "two").unwrap();
        assert!(watch.differ(&files));
        assert!(watch.differ(&files), "for as long as nobody reads it");
        assert!(!watch.differ(&read(&file)));
        fs::remove_file(&file).unwrap();
        assert!(watch.differ(&files));
    }

    #[test]
    fn a_link_that_is_swapped_is_followed() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["1", "2", "3"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("secret"), if version == "3" { "new" } else { "old" }).unwrap();
        }
        symlink("..data/secret", at("secret")).unwrap();
        let lead_to = |version: &str| {
            symlink(version, at("..tmp")).unwrap();
            fs::rename(at("..tmp"), at("..data")).unwrap();
        };
        lead_to("1");
        let (files, mut watch) = (read(&at("secret")), Watch::default());
        assert!(!watch.differ(&files) && !watch.differ(&files));
        lead_to("2");
        assert!(!watch.differ(&files), "the same in another file");
        lead_to("3");
        assert!(watch.differ(&files));
    }
}
