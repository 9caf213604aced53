//! A real `redis-server`: a free port, a password, nothing kept on disk.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Process;
use super::{canary, ports, wait};

/// What may befall a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// SIGKILL; afterwards it is started again with what it held.
    Killed,
    /// SIGSTOP: connections stay open and nothing answers.
    Frozen,
    /// `CLIENT PAUSE` for three seconds.
    Paused,
    /// `maxmemory` reached under `noeviction`: reads work, writes don't.
    Full,
}

/// A running server. It may be stopped, paused and started again on the same port.
pub(crate) struct Redis {
    pub(crate) port: u16,
    pub(crate) password: String,
    process: Option<Process>,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    /// A port and a password with nothing behind them yet.
    pub(crate) fn reserved() -> Self {
        let password = canary::secret("the Redis password", "redis-Passw0rd-of-the-tests");
        Self {
            port: ports::free_port(),
            password,
            process: None,
            folder: TempDir::new().expect("a folder"),
            arguments: vec![],
        }
    }

    /// A server that answers.
    pub(crate) async fn start() -> Self {
        let mut redis = Self::reserved();
        redis.run().await;
        redis
    }

    /// More arguments for the next [`Redis::run`]; they win over the usual ones.
    pub(crate) fn arguments(&mut self, more: &[&str]) {
        self.arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    }

    /// From now on nothing that was acknowledged is lost by a kill.
    pub(crate) async fn keep(&mut self) {
        self.say(&["CONFIG", "SET", "appendfsync", "always"]).await;
        self.say(&["CONFIG", "SET", "appendonly", "yes"]).await;
        wait::until("the append-only file is whole", || async {
            let state = self.say(&["INFO", "persistence"]).await;
            let whole = ["aof_enabled:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0"];
            whole.iter().all(|sign| state.contains(sign)).then_some(())
        })
        .await;
        self.arguments(&["--appendonly", "yes", "--appendfsync", "always"]);
    }

    /// Starts the server; it is empty unless it was told to [`keep`](Redis::keep), or saved.
    pub(crate) async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--requirepass", &self.password])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments);
        self.process = Some(Process::start("redis-server", command, self.folder.path()));
        wait::until("redis-server answers", || async {
            (self.command(&["PING"]).await.ok()? == "+PONG\r\n").then_some(())
        })
        .await;
    }

    /// The file that it reads when it starts, and that `SAVE` writes.
    pub(crate) fn dump_file(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
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

    /// Begins an outage.
    pub(crate) async fn strike(&mut self, outage: Outage) {
        match outage {
            Outage::Killed => {
                if self.arguments.is_empty() {
                    self.say(&["SAVE"]).await;
                }
                self.stop();
            }
            Outage::Frozen => self.freeze(),
            Outage::Paused => drop(self.say(&["CLIENT", "PAUSE", "3000", "ALL"]).await),
            Outage::Full => {
                self.say(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
                self.say(&["CONFIG", "SET", "maxmemory", "1"]).await;
            }
        }
    }

    /// Ends it.
    pub(crate) async fn mend(&mut self, outage: Outage) {
        match outage {
            Outage::Killed => self.run().await,
            Outage::Frozen => self.thaw(),
            // Nobody is heard before the pause ends, not even who would end it.
            Outage::Paused => drop(self.say(&["PING"]).await),
            Outage::Full => drop(self.say(&["CONFIG", "SET", "maxmemory", "0"]).await),
        }
    }

    /// One command over a connection of its own; the raw answer.
    pub(crate) async fn command(&self, words: &[&str]) -> std::io::Result<String> {
        Self::ask(self.port, Some(&self.password), words).await
    }

    /// The same, of a server that is there and content.
    pub(crate) async fn say(&self, words: &[&str]) -> String {
        let answer = self.command(words).await.expect("redis answers");
        assert!(!answer.starts_with('-'), "{words:?}: {answer}");
        answer
    }

    /// Whether it is there and a master.
    pub(crate) async fn is_master(&self) -> bool {
        self.command(&["INFO", "replication"]).await.is_ok_and(|answer| answer.contains("role:master"))
    }

    /// One command to whoever listens there; the raw answer.
    pub(crate) async fn ask(port: u16, password: Option<&str>, words: &[&str]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let ask = |words: &[&str]| {
            let mut text = format!("*{}\r\n", words.len());
            for word in words {
                text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
            }
            text
        };
        if let Some(password) = password {
            stream.write_all(ask(&["AUTH", password]).as_bytes()).await?;
            let mut buffer = vec![0; 1 << 16];
            let read = stream.read(&mut buffer).await?;
            if !buffer[..read].starts_with(b"+OK") {
                return Err(std::io::Error::other(String::from_utf8_lossy(&buffer[..read]).into_owned()));
            }
        }
        stream.write_all(ask(words).as_bytes()).await?;
        stream.write_all(ask(&["QUIT"]).as_bytes()).await?;
        // A sentinel doesn't know that word.
        stream.shutdown().await?;
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
            elseif t == 'stream' then for _, e in ipairs(redis.call('XRANGE', k, '-', '+')) do out[#out+1] = e[2][2] end \
            elseif t == 'list' then for _, v in ipairs(redis.call('LRANGE', k, 0, -1)) do out[#out+1] = v end \
            end end return out";
        self.command(&["EVAL", SCRIPT, "0"]).await.expect("redis answers")
    }
}
