//! Real servers for tests: started on free ports, killed by their own process id when dropped.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::RedisOptions;
use crate::secret::Secret;

mod certificates;
mod groups;
mod shim;

pub(crate) use certificates::Authority;
pub(crate) use groups::{Cluster, Watched};
pub(crate) use shim::{Shim, Way};

pub(crate) const PASSWORD: &str = "a-password-of-tests";

/// How long a server may take to answer its first ping.
const START: Duration = Duration::from_secs(20);

/// A port that nobody listens on and that the system gives to nobody: each test process has a block of its own below
/// the ephemeral ports, so that tests side by side don't take each other's.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = std::process::id() % 600 * 20 + TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (offset % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server process and its directory.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    directory: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// A server that asks for [`PASSWORD`].
    pub(crate) fn start() -> Self {
        Self::start_with(&["--requirepass", PASSWORD, "--masterauth", PASSWORD])
    }

    /// A server with these arguments on top of a port and a directory of its own.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("there is a temporary directory");
        Self::start_in(directory, free_port(), arguments)
    }

    pub(crate) fn start_in(directory: TempDir, port: u16, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = spawn(directory.path(), port, &arguments);
        let server = Self { child, port, directory, arguments };
        server.await_port();
        server
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let mut options = RedisOptions::standalone(format!("redis://127.0.0.1:{}", self.port));
        options.password = Some(Secret::new(PASSWORD.to_owned()));
        options
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is our process");
        self.child.wait().expect("it was killed");
    }

    /// Starts it again where it was, with what it wrote to the disk.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.directory.path(), self.port, &self.arguments);
        self.await_port();
    }

    /// Sends a signal by name, e.g. `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("there is a kill command").success());
    }

    /// Runs a command as administrator and answers the reply's lines.
    pub(crate) fn admin(&self, words: &[&str]) -> Vec<String> {
        ask(self.port, PASSWORD, words).expect("the server answers")
    }

    /// The same of a server that may hang up meanwhile, as one does that is demoted.
    pub(crate) fn try_admin(&self, words: &[&str]) -> io::Result<Vec<String>> {
        ask(self.port, PASSWORD, words)
    }

    fn await_port(&self) {
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "the server on port {} did not start", self.port);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path, port: u16, arguments: &[String]) -> Child {
    let log = File::create(directory.join("log")).expect("the directory is writable");
    let config = directory.join("redis.conf");
    if !config.exists() {
        fs::write(&config, "").expect("the directory is writable");
    }
    Command::new("redis-server")
        .arg(config)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

/// Sends one command over a connection of its own, after authenticating.
pub(crate) fn ask(port: u16, password: &str, words: &[&str]) -> io::Result<Vec<String>> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("the time is not zero");
    let mut replies = BufReader::new(socket.try_clone().expect("sockets can be shared"));
    for words in [&["AUTH", password][..], words] {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        socket.write_all(request.as_bytes())?;
        let mut lines = Vec::new();
        read_reply(&mut replies, &mut lines)?;
        if words[0] != "AUTH" {
            return Ok(lines);
        }
    }
    Ok(Vec::new())
}

/// Reads one reply of any shape as its lines, marks of errors and simple strings kept.
fn read_reply(replies: &mut impl BufRead, lines: &mut Vec<String>) -> io::Result<()> {
    let mut line = String::new();
    replies.read_line(&mut line)?;
    let line = line.trim_end().to_owned();
    match line.split_at_checked(1) {
        Some(("*", count)) => {
            for _ in 0..count.parse::<i64>().unwrap_or(0) {
                read_reply(replies, lines)?;
            }
        }
        Some(("$", length)) if !length.starts_with('-') => {
            let length: usize = length.parse().expect("it is a length");
            let mut text = vec![0; length + 2];
            replies.read_exact(&mut text)?;
            lines.push(String::from_utf8_lossy(&text[..length]).into_owned());
        }
        _ => lines.push(line),
    }
    Ok(())
}
