//! Debian's Prometheus, as an operator would run it: it scrapes a Valetkey once a second.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::authorization_server::http;
use super::process::Process;
use super::{Answer, Valetkey, ports, wait};

/// A running server.
pub(crate) struct Prometheus {
    url: String,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// One that scrapes the admin listener of this Valetkey. `features`: what is to be enabled, with commas between.
    pub(crate) async fn of(valetkey: &Valetkey, features: &str) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), ports::free_port());
        let target = valetkey.admin.trim_start_matches("http://");
        let config = format!(
            "{{\"global\": {{\"scrape_interval\": \"1s\"}}, \"scrape_configs\": [{{\"job_name\": \"valetkey\", \
             \"static_configs\": [{{\"targets\": [\"{target}\"]}}]}}]}}"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("the file is written");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--enable-feature={features}"));
        let process = Process::start("prometheus", command, folder.path());
        let prometheus = Self { url: format!("http://127.0.0.1:{port}"), _process: process, _folder: folder };
        prometheus.until("up == 1").await;
        prometheus
    }

    /// What a query gives.
    pub(crate) async fn query(&self, query: &str) -> Vec<Value> {
        self.ask("query", &[("query", query)])
            .await
            .as_ref()
            .and_then(|data| data["result"].as_array().cloned())
            .unwrap_or_default()
    }

    /// What its API answers; `None` while it starts.
    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let request = http().get(format!("{}/api/v1/{what}", self.url)).query(parameters);
        let answer = Answer::read(request.send().await.ok()?).await;
        if answer.status != 200 {
            assert_ne!(answer.status, 400, "{}", answer.text());
            return None;
        }
        Some(answer.json()["data"].clone())
    }

    /// Waits until a query gives anything. The first of it.
    pub(crate) async fn until(&self, query: &str) -> Value {
        wait::until(&format!("Prometheus knows {query}"), || async { self.query(query).await.into_iter().next() }).await
    }

    /// Waits for an exemplar of this series. The labels of one.
    pub(crate) async fn exemplar(&self, query: &str) -> Value {
        wait::until(&format!("there are exemplars of {query}"), || async {
            let all = self.ask("query_exemplars", &[("query", query), ("start", "0"), ("end", "9999999999")]).await?;
            Some(all[0]["exemplars"][0]["labels"].clone()).filter(|labels| !labels.is_null())
        })
        .await
    }

    /// What the last scrape of each target went wrong with.
    pub(crate) async fn errors(&self) -> Vec<String> {
        let targets = self.ask("targets", &[]).await.expect("it answers");
        let targets = targets["activeTargets"].as_array().expect("a list").clone();
        targets.iter().map(|target| target["lastError"].as_str().expect("a text").to_owned()).collect()
    }
}

/// What `promtool check metrics` finds fault with.
pub(crate) fn faults(metrics: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs: scripts/install-test-deps.sh installs it");
    promtool.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { said } else { format!("{said}(it ended with {})", output.status) }
}
