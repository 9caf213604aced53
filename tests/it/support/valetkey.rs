//! The real binary, as an operator would run it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;

use super::authorization_server::http;
use super::process::Process;
use super::{Answer, Config, canary, jwt, wait};

/// A `valetkey serve` of one configuration file.
pub(crate) struct Valetkey {
    /// Where callers and browsers reach it.
    pub(crate) url: String,
    /// Its admin listener.
    pub(crate) admin: String,
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    environment: Vec<(String, String)>,
    runner: Vec<String>,
    client: reqwest::Client,
}

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_valetkey");

/// The binary with a clean environment.
pub(crate) fn command() -> Command {
    under(BINARY)
}

/// The binary of another version, which `VALETKEY_BEFORE` names where one wants to try it; else the one under test.
pub(crate) fn before() -> PathBuf {
    std::env::var_os("VALETKEY_BEFORE").map_or_else(|| BINARY.into(), PathBuf::from)
}

/// Another program with a clean environment.
fn under(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

/// Runs a subcommand to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("valetkey runs")
}

/// What a subcommand printed, both streams.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Valetkey {
    /// Starts it and waits for `/readyz`.
    pub(crate) async fn start(config: &Config) -> Self {
        let mut valetkey = Self::prepare(config);
        valetkey.run().await;
        valetkey.ready().await;
        valetkey
    }

    /// Writes the configuration; nothing runs yet.
    pub(crate) fn prepare(config: &Config) -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("valetkey.yaml"), config.text()).expect("the file is written");
        let address = |index: usize| {
            let address = config.get(&format!("listeners.{index}.address"));
            format!("http://{}", address.as_str().expect("an address"))
        };
        Self {
            url: address(0),
            admin: address(1),
            process: None,
            folder,
            program: BINARY.into(),
            environment: Vec::new(),
            runner: Vec::new(),
            client: http(),
        }
    }

    /// Adds a variable to its environment.
    pub(crate) fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Is this binary from its next start on.
    pub(crate) fn program(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// Runs it under another program from now on: its path and arguments.
    pub(crate) fn under(&mut self, runner: &[String]) {
        self.runner = runner.to_vec();
    }

    /// Starts the process and waits for its `/healthz`.
    pub(crate) async fn run(&mut self) {
        let mut command = under(&self.program);
        if let Some((program, arguments)) = self.runner.split_first() {
            let own = command.get_program().to_owned();
            command = under(program);
            command.args(arguments).arg(own);
        }
        command.args(["serve", "--config"]).arg(self.config_file()).env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = self.process.insert(Process::start("valetkey", command, self.folder.path()));
        let (client, url) = (http(), format!("{}/healthz", self.admin));
        wait::until("valetkey is alive", || {
            let ended = process.ended().map(|status| format!("valetkey ended with {status}: {}", process.output()));
            let request = client.get(&url).send();
            async move {
                assert_eq!(ended, None);
                request.await.ok().filter(|answer| answer.status().is_success()).map(|_| ())
            }
        })
        .await;
        wait::until("its listeners accept", || async {
            tokio::net::TcpStream::connect(self.url.trim_start_matches("http://")).await.ok().map(|_| ())
        })
        .await;
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) async fn ready(&self) {
        let (client, url) = (http(), format!("{}/readyz", self.admin));
        wait::until("valetkey is ready", || async {
            client.get(&url).send().await.ok().filter(|answer| answer.status() == 200).map(|_| ())
        })
        .await;
    }

    /// The answer of the admin listener to a GET.
    pub(crate) async fn admin_get(&self, path: &str) -> Answer {
        Answer::read(http().get(format!("{}{path}", self.admin)).send().await.expect("the admin listener answers"))
            .await
    }

    /// A request as `user`, with a fresh JWT.
    pub(crate) fn request(&self, user: &str, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(jwt::of(user))
    }

    /// A request without a JWT.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"))).await
    }

    /// GET as `user`.
    pub(crate) async fn get(&self, user: &str, path: &str) -> Answer {
        self.send(self.request(user, Method::GET, path)).await
    }

    /// POST of bytes as `user`.
    pub(crate) async fn post(&self, user: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(user, Method::POST, path).body(body)).await
    }

    /// POST of JSON as `user`.
    pub(crate) async fn post_json(&self, user: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(user, Method::POST, path).header("content-type", "application/json");
        self.send(request.body(body.to_string())).await
    }

    /// Its configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("valetkey.yaml")
    }

    /// The process.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.as_ref().expect("it runs").signal("TERM");
    }

    /// SIGHUP: reads its configuration again.
    pub(crate) fn reload(&self) {
        self.process.as_ref().expect("it runs").signal("HUP");
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// All that it has logged so far.
    pub(crate) fn logs(&self) -> String {
        ["valetkey.out", "valetkey.err"]
            .iter()
            .map(|name| {
                String::from_utf8_lossy(&std::fs::read(self.folder.path().join(name)).unwrap_or_default()).into_owned()
            })
            .collect()
    }

    /// Fails the test if anything secret was logged, or a panic.
    #[track_caller]
    pub(crate) fn assert_logs_are_clean(&self) {
        let logs = self.logs();
        assert_eq!(canary::found_in(&logs), Vec::<String>::new(), "secrets in the log");
        assert!(!logs.contains("panicked at"), "a panic: {logs}");
    }
}

impl Drop for Valetkey {
    fn drop(&mut self) {
        self.process = None;
        if !std::thread::panicking() {
            self.assert_logs_are_clean();
        }
    }
}
