//! The processes of a measurement: started on free loopback ports, pinned to cores, ended when dropped. Reads what the
//! kernel accounts to each.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    failure::{Error, Tried},
    folder::Folder,
};

/// How long a process may take to accept connections; under valgrind everything takes long.
const UP_WITHIN: Duration = Duration::from_secs(90);

/// The cores that a process may use, as `taskset -c` takes them.
#[derive(Debug, Clone, Copy)]
pub struct Core(pub &'static str);

/// The core of the proxies …
pub const PROXY: Core = Core("1");
/// … and of upstream, Redis and driver.
pub const REST: Core = Core("0");
/// Both, where several replicas share the machine with all others.
pub const BOTH: Core = Core("0,1");
/// Where programs lie that are missing.
const HINT: &str = "scripts/install-bench-deps.sh installs what is missing";

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
        let log = folder.path().join(format!("{name}.{}.log", address.port()));
        let file = fs::File::create(&log).tried(format!("writing {}", log.display()))?;
        let errors = file.try_clone().tried("sharing a log file")?;
        let child = Command::new("taskset")
            .arg("-c")
            .arg(core.0)
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

    /// CPU time used so far, in user and kernel, by the threads that it has (sched(7)'s account, in nanoseconds).
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn cpu(&self) -> Result<Duration, Error> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).tried("reading a process's threads")?;
        // A thread may end just now; those that do the work don't.
        let on_cpu = |thread: fs::DirEntry| {
            let account = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            account.split_whitespace().next()?.parse::<u64>().ok()
        };
        Ok(Duration::from_nanos(threads.flatten().filter_map(on_cpu).sum()))
    }

    /// The memory it has resident now, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// Of that, pages of files: the program and its libraries.
    pub fn files_kib(&self) -> u64 {
        self.status_kib("RssFile:")
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

/// The same, for programs that a run can't do without.
///
/// # Errors
/// Where it isn't here.
pub fn needed(name: &str) -> Result<PathBuf, String> {
    program(name).ok_or_else(|| format!("{name} is not here; {HINT}"))
}

/// A program as it is, not under another.
pub fn same(line: Line) -> Line {
    line
}
