//! The processes of a measurement: started on free loopback ports, pinned to cores, ended when dropped. Reads what the
//! kernel accounts to each.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How long a process may take to accept connections; under valgrind everything takes long.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// `USER_HZ`: fixed at 100 in Linux's interface to programs.
const TICKS_PER_SECOND: u64 = 100;

/// Why a process isn't there.
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

/// Which core a process may use.
#[derive(Debug, Clone, Copy)]
pub struct Core(pub usize);

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
}

impl Folder {
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

/// A program and its arguments.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it lies.
    pub program: PathBuf,
    /// What it is told.
    pub arguments: Vec<String>,
}

impl Line {
    /// The same, run by another program.
    #[must_use]
    pub fn under(self, program: PathBuf, options: &[String]) -> Self {
        let own = std::iter::once(self.program.display().to_string()).chain(self.arguments);
        Self { program, arguments: options.iter().cloned().chain(own).collect() }
    }
}

/// A running process; ended when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program on one core and waits until `address` accepts.
    ///
    /// # Errors
    /// Where it can't be started, or isn't up in time.
    pub fn start(
        name: &'static str,
        core: Core,
        line: &Line,
        address: SocketAddr,
        folder: &Folder,
    ) -> Result<Self, Error> {
        let log = folder.path().join(format!("{name}.log"));
        let file = fs::File::create(&log).tried(format!("writing {}", log.display()))?;
        let errors = file.try_clone().tried("sharing a log file")?;
        let child = Command::new("taskset")
            .arg("-c")
            .arg(core.0.to_string())
            .arg(&line.program)
            .args(&line.arguments)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn()
            .tried(format!("starting {name}"))?;
        let mut process = Self { child };
        let begun = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            let ended = process.child.try_wait().tried(format!("watching {name}"))?.is_some();
            if ended || begun.elapsed() > UP_WITHIN {
                let said = fs::read_to_string(&log).unwrap_or_default();
                eprintln!("{name} said:\n{said}");
                return Err(Error::Down(name, log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Its process id. `taskset` becomes the program itself, so this is the program's.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far, of all its threads, in user and kernel (proc(5), `utime` and `stime`).
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn cpu(&self) -> Result<Duration, Error> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).tried("reading a process's CPU time")?;
        // The name may hold spaces and parentheses; what follows the last one is regular.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// The memory it has resident now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most memory it ever had resident, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        fs::read_to_string(format!("/proc/{}/status", self.id()))
            .ok()
            .and_then(|status| {
                let line = status.lines().find(|line| line.starts_with(name))?;
                line.split_whitespace().nth(1)?.parse().ok()
            })
            .unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that has already ended can't be killed; either way it is reaped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where a program of this name lies: beside this one, or on `PATH` and where Debian keeps its servers.
pub fn program(name: &str) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|me| Some(me.parent()?.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|place| place.join(name)).collect::<Vec<_>>();
    beside
        .into_iter()
        .chain(places)
        .chain([Path::new("/usr/sbin").join(name), Path::new("/usr/bin").join(name)])
        .find(|path| path.is_file())
}
