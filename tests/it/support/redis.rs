//! A real `redis-server`: a free port, a password, nothing kept on disk.

use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Process;
use super::{canary, ports, wait};

/// A running server. It may be stopped, paused and started again on the same port.
pub(crate) struct Redis {
    pub(crate) port: u16,
    pub(crate) password: String,
    process: Option<Process>,
    folder: TempDir,
}

impl Redis {
    /// A port and a password with nothing behind them yet.
    pub(crate) fn reserved() -> Self {
        let password = canary::secret("the Redis password", "redis-Passw0rd-of-the-tests");
        Self { port: ports::free_port(), password, process: None, folder: TempDir::new().expect("a folder") }
    }

    /// A server that answers.
    pub(crate) async fn start() -> Self {
        let mut redis = Self::reserved();
        redis.run().await;
        redis
    }

    /// Starts the server; it is empty.
    pub(crate) async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--requirepass", &self.password])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(self.folder.path());
        self.process = Some(Process::start("redis-server", command, self.folder.path()));
        wait::until("redis-server answers", || async {
            (self.command(&["PING"]).await.ok()? == "+PONG\r\n").then_some(())
        })
        .await;
    }

    /// Kills the server; what it held is lost.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Freezes it: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) {
        self.process.as_ref().expect("runs").signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.as_ref().expect("runs").signal("CONT");
    }

    /// One command over a connection of its own; the raw answer (up to 1 MiB).
    pub(crate) async fn command(&self, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let ask = |words: &[&str]| {
            let mut text = format!("*{}\r\n", words.len());
            for word in words {
                text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            text
        };
        stream.write_all(ask(&["AUTH", &self.password]).as_bytes()).await?;
        let mut buffer = vec![0; 1 << 20];
        let read = stream.read(&mut buffer).await?;
        if !buffer[..read].starts_with(b"+OK") {
            return Err(std::io::Error::other(String::from_utf8_lossy(&buffer[..read]).into_owned()));
        }
        stream.write_all(ask(words).as_bytes()).await?;
        stream.write_all(ask(&["QUIT"]).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        Ok(text.strip_suffix("+OK\r\n").unwrap_or(&text).to_owned())
    }

    /// Every key and string value, as text: to search for what must not be in clear.
    pub(crate) async fn dump(&self) -> String {
        const SCRIPT: &str = "local out = {} for _, k in ipairs(redis.call('KEYS', '*')) do out[#out+1] = k \
            local t = redis.call('TYPE', k).ok \
            if t == 'string' then out[#out+1] = redis.call('GET', k) \
            elseif t == 'hash' then for _, v in ipairs(redis.call('HGETALL', k)) do out[#out+1] = v end \
            elseif t == 'set' then for _, v in ipairs(redis.call('SMEMBERS', k)) do out[#out+1] = v end \
            elseif t == 'zset' then for _, v in ipairs(redis.call('ZRANGE', k, 0, -1)) do out[#out+1] = v end \
            elseif t == 'list' then for _, v in ipairs(redis.call('LRANGE', k, 0, -1)) do out[#out+1] = v end \
            end end return out";
        self.command(&["EVAL", SCRIPT, "0"]).await.expect("redis answers")
    }
}
