//! Events as lines of JSON, for collectors: on standard output or in a file that is rotated by its size. Written by a thread of its
//! own, and what it can't keep up with is lost, counted, and said in a line. A file that somebody moves away is opened anew.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use super::{gathered::DROPPED, shown::ShownEvent};
use crate::{
    clock::Clock,
    config::AuditFile,
    events::{Event, Sink},
};

/// How many lines wait at most.
const CAPACITY: usize = 10_000;

/// Writes lines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditWriter {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    /// All before it is written: said so.
    Flush(SyncSender<()>),
}

impl AuditWriter {
    /// Writes there.
    ///
    /// # Errors
    /// Where the file can't be written to.
    pub fn open(to: &AuditFile, clock: Clock) -> io::Result<Self> {
        let target = match to {
            AuditFile::Stdout => Target::Stdout,
            AuditFile::Path { path, size, count } => {
                Target::File { file: open(path)?, path: path.clone(), size: *size, count: *count }
            }
        };
        let (lines, waiting) = sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new().name("audit file".into()).spawn(move || work(target, &waiting, &counted, &clock))?;
        Ok(Self { lines, lost })
    }

    /// Writes a line. Never waits.
    pub fn write(&self, line: &str) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.lines.try_send(Message::Line(line.to_owned()))
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written that was told before. Blocking.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.send(Message::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Sink for AuditWriter {
    fn tell(&self, event: &Event) {
        if let Some(shown) = ShownEvent::of(event) {
            self.write(&shown.json());
        }
    }
}

enum Target {
    Stdout,
    File { file: File, path: PathBuf, size: u64, count: u32 },
}

fn work(mut target: Target, waiting: &Receiver<Message>, lost: &AtomicU64, clock: &Clock) {
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Flush(done) => drop(done.send(())),
            Message::Line(line) => {
                if let Err(error) = target.write(&line) {
                    lost.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "an event could not be written to audit.file");
                    continue;
                }
                let missing = lost.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    let line = serde_json::json!({
                        "time": clock.now(), "type": DROPPED, "metadata": { "count": missing },
                    });
                    if target.write(&line.to_string()).is_err() {
                        lost.fetch_add(missing, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

impl Target {
    fn write(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
            Self::File { file, path, size, count } => {
                let there = path.metadata();
                let here = file.metadata()?;
                if !there.is_ok_and(|there| is_same(&there, &here)) {
                    *file = open(path)?;
                } else if here.len() > 0 && here.len() + line.len() as u64 > *size {
                    rotate(path, *count)?;
                    *file = open(path)?;
                }
                file.write_all(line.as_bytes())
            }
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// It names people: nobody else reads it.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The file becomes `.1`, what was `.1` becomes `.2`; the last one goes.
fn rotate(path: &Path, count: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..count).rev() {
        match std::fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    std::fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(path: &Path, size: u64) -> AuditWriter {
        AuditWriter::open(&AuditFile::Path { path: path.into(), size, count: 2 }, Clock::system()).unwrap()
    }

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_full_file_is_numbered_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let writer = writer(&at("audit"), 12);
        for number in 0..8 {
            writer.write(&format!("line{number}"));
        }
        writer.flush();
        assert_eq!(lines(&at("audit")), ["line6", "line7"]);
        assert_eq!(lines(&at("audit.1")), ["line4", "line5"]);
        assert_eq!(lines(&at("audit.2")), ["line2", "line3"]);
        assert!(!at("audit.3").exists());
        assert_eq!(at("audit").metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let writer = writer(&at("audit"), 1000);
        writer.write("one");
        writer.flush();
        std::fs::rename(at("audit"), at("collected")).unwrap();
        writer.write("two");
        writer.flush();
        assert_eq!((lines(&at("collected")), lines(&at("audit"))), (vec!["one".into()], vec!["two".into()]));
    }
}
