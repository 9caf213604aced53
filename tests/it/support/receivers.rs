//! Where notices arrive: a real SMTP server (Python's aiosmtpd) and an operator's endpoint that verifies webhooks by npm's
//! `standardwebhooks`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::authorization_server::http;
use super::process::Process;
use super::{Answer, canary, wait};

/// What signs the webhooks of the tests.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_dGhlIHRlc3RzJyBvd24gd2ViaG9vayBzZWNyZXQh";

/// A server's process, and the line of JSON that it printed when it was ready.
struct Server {
    ready: Value,
    folder: TempDir,
    _process: Process,
}

impl Server {
    async fn start(name: &str, mut command: Command, settings: impl FnOnce(&TempDir) -> Value) -> Self {
        let folder = TempDir::new().expect("a folder");
        command.arg(settings(&folder).to_string()).stdin(Stdio::piped());
        let mut process = Process::start(name, command, folder.path());
        let ready = wait::until(&format!("the {name} is ready"), || {
            assert!(process.ended().is_none(), "the {name} ended: {}", process.output());
            let line = process.stdout();
            async move { line.ends_with('\n').then(|| serde_json::from_str(&line).expect("one line of JSON")) }
        })
        .await;
        Self { ready, folder, _process: process }
    }
}

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A mail server.
pub(crate) struct MailServer {
    /// Where it listens, on loopback.
    pub(crate) port: u64,
    server: Server,
}

impl MailServer {
    /// One that takes every mail.
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// One with further settings (smtp_server.py says which).
    pub(crate) async fn with(settings: Value) -> Self {
        let python = tests().join("python/.venv/bin/python");
        assert!(python.exists(), "tests/python has no .venv: run scripts/install-python-test-deps.sh, or `make test`");
        let mut command = Command::new(python);
        command.arg(tests().join("python/smtp_server.py"));
        let server = Server::start("mail-server", command, |folder| {
            let mut all = settings;
            all["mails"] = json!(folder.path().join("mails"));
            all
        })
        .await;
        Self { port: server.ready["port"].as_u64().expect("a port"), server }
    }

    /// What it has taken so far, in order.
    pub(crate) fn mails(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.server.folder.path().join("mails")).unwrap_or_default();
        // The last line may be half-written; one that is whole ends with a line feed.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits for a mail to this address.
    pub(crate) async fn mail_to(&self, address: &str) -> Value {
        let mail = wait::until(&format!("a mail to {address} has come"), || async {
            self.mails().into_iter().find(|mail| mail["envelope"]["to"] == json!([address]))
        })
        .await;
        assert_eq!(mail["defects"], json!([]), "Python's parser finds fault with it");
        register_ticket(mail["text"].as_str().expect("a text"));
        mail
    }
}

/// An operator's endpoint for webhooks.
pub(crate) struct Receiver {
    /// Its base URL; the endpoint is `/hook`.
    pub(crate) url: String,
    _server: Server,
}

impl Receiver {
    /// One that answers 204, on a port of its own.
    pub(crate) async fn start() -> Self {
        Self::at(0).await
    }

    /// One on this port.
    pub(crate) async fn at(port: u16) -> Self {
        canary::secret("the webhook secret", WEBHOOK_SECRET);
        let mut command = Command::new("node");
        command.arg(tests().join("node/webhook-receiver.mjs"));
        let server =
            Server::start("webhook-receiver", command, |_| json!({ "port": port, "secret": WEBHOOK_SECRET })).await;
        Self { url: server.ready["url"].as_str().expect("a URL").to_owned(), _server: server }
    }

    /// The endpoint.
    pub(crate) fn hook(&self) -> String {
        format!("{}/hook", self.url)
    }

    /// Everything received so far.
    pub(crate) async fn received(&self) -> Vec<Value> {
        let answer = http().get(format!("{}/received", self.url)).send().await.expect("the receiver answers");
        let all = Answer::read(answer).await.json();
        let all = all.as_array().expect("a list").clone();
        all.iter().filter_map(|hook| hook["body"]["data"]["link"].as_str()).for_each(register_ticket);
        all
    }

    /// Waits for one of this type about this user.
    pub(crate) async fn hook_about(&self, kind: &str, user: &str) -> Value {
        wait::until(&format!("{kind} about {user} has come"), || async {
            let is_it = |hook: &Value| hook["body"]["type"] == kind && hook["body"]["data"]["user"] == user;
            self.received().await.into_iter().find(is_it)
        })
        .await
    }

    /// Changes what it answers.
    pub(crate) async fn set(&self, settings: Value) {
        let request = http().post(format!("{}/settings", self.url)).body(settings.to_string());
        assert_eq!(request.send().await.expect("the receiver answers").status(), 200);
    }
}

/// The connect link in a text.
pub(crate) fn link_in(text: &str) -> String {
    let links: Vec<_> = text.split_whitespace().filter(|word| word.contains("/connect/")).collect();
    assert_eq!(links.len(), 1, "{text}");
    links[0].to_owned()
}

/// Logs are searched for it.
fn register_ticket(text: &str) {
    if let Some((_, rest)) = text.split_once("ticket=") {
        let ticket: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != '&' && *c != '"').collect();
        canary::secret("a ticket", ticket);
    }
}

/// What a collector of the tests must be shown.
pub(crate) const COLLECTOR_TOKEN: &str = "otlp-token-of-the-tests-0123456789";

/// A collector of traces, which reads them by OpenTelemetry's own types.
pub(crate) struct Collector {
    /// Where it listens, without a path.
    pub(crate) url: String,
    server: Server,
}

/// One span, as the collector has read it.
#[derive(Debug, Clone)]
pub(crate) struct Span(pub(crate) Value);

impl Span {
    /// One of its fields.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// One of its attributes.
    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        let all = self.0["attributes"].as_array()?;
        let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
        value["stringValue"].as_str().or(value["intValue"].as_str())
    }

    /// When it began and ended, in nanoseconds since the epoch.
    pub(crate) fn times(&self) -> (u64, u64) {
        let time = |field| self.text(field).parse().expect("a number");
        (time("startTimeUnixNano"), time("endTimeUnixNano"))
    }
}

impl Collector {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// One with further settings (otlp_receiver.py says which).
    pub(crate) async fn with(settings: Value) -> Self {
        canary::secret("the collector's token", COLLECTOR_TOKEN);
        let python = tests().join("python/.venv/bin/python");
        assert!(python.exists(), "tests/python has no .venv: run scripts/install-python-test-deps.sh, or `make test`");
        let mut command = Command::new(python);
        command.arg(tests().join("python/otlp_receiver.py"));
        let scheme = if settings["certificate"].is_string() { "https" } else { "http" };
        let server = Server::start("collector", command, |folder| {
            let mut all = settings;
            all["requests"] = json!(folder.path().join("requests"));
            all
        })
        .await;
        Self { url: format!("{scheme}://127.0.0.1:{}", server.ready["port"]), server }
    }

    /// The requests that it has got so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.server.folder.path().join("requests")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The spans that it has taken so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.requests().iter().filter(|request| request["answer"] == 200) {
            assert_eq!(request["unknown"], json!([]), "OpenTelemetry's types know all of it");
            for resource in request["resource_spans"].as_array().expect("a list") {
                for scope in resource["scopeSpans"].as_array().expect("a list") {
                    spans.extend(scope["spans"].as_array().expect("a list").iter().cloned().map(Span));
                }
            }
        }
        spans
    }

    /// Waits for a trace in which a call of this path has ended. All of its spans.
    pub(crate) async fn trace_of(&self, path: &str) -> Vec<Span> {
        wait::until(&format!("the trace of {path} has come"), || async {
            let spans = self.spans();
            let call = spans.iter().find(|span| span.attribute("url.path") == Some(path))?;
            let trace = call.text("traceId").to_owned();
            Some(spans.iter().filter(|span| span.text("traceId") == trace).cloned().collect())
        })
        .await
    }
}
