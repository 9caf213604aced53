//! Beside an application: `await` and the command that waits, `/quitquitquit`, and `env`.

use std::path::Path;
use std::process::{Command, Output};

use reqwest::{Method, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lifecycle::{behind, ends_with_calls_in_flight, holding};
use crate::support::authorization_server::http;
use crate::support::process::Process;
use crate::support::redis::Redis;
use crate::support::valetkey::{command, printed, run};
use crate::support::{Alone, Answer, Valetkey, ports, rig, wait};

/// `valetkey await`, asking `valetkey`, with these arguments.
fn awaiting(valetkey: &Valetkey, arguments: &[&str]) -> Command {
    let mut command = command();
    command.args(["await", "--address", valetkey.admin.trim_start_matches("http://")]).args(arguments);
    command
}

async fn ended(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("no panic")
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", printed(output));
}

async fn quit(admin: &str) -> Answer {
    Answer::read(http().post(format!("{admin}/quitquitquit")).send().await.expect("an answer")).await
}

async fn until_printed(process: &Process, what: &str) {
    wait::until(&format!("it prints {what}"), || async { process.stdout().contains(what).then_some(()) }).await;
}

#[tokio::test]
async fn await_becomes_the_command_once_valetkey_is_ready() {
    let folder = TempDir::new().expect("a folder");
    let mut valetkey = Valetkey::prepare(&Alone::config(&folder));
    let waiting = awaiting(&valetkey, &["--", "sh", "-c", "echo $$ is here; exit 7"]);
    let mut waiting = Process::start("await", waiting, folder.path());
    valetkey.run().await;
    let status = waiting.exit().await;
    assert_eq!(status.code(), Some(7), "{}", waiting.output());
    assert_eq!(waiting.stdout(), format!("{} is here\n", waiting.id()), "the same process, and nothing beside");
    assert_exit(&ended(awaiting(&valetkey, &[])).await, 0);
    assert_exit(&ended(awaiting(&valetkey, &["--", "/no/such/program"])).await, 127);
    let signalled = ended(awaiting(&valetkey, &["--", "sh", "-c", "kill -TERM $$"])).await;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&signalled.status), Some(15));
}

#[tokio::test]
async fn await_gives_up_in_time_and_says_what_it_waited_for() {
    let folder = TempDir::new().expect("a folder");
    let (config, unused) = (Alone::config(&folder), folder.path().join("ran"));
    let valetkey = Valetkey::prepare(&config);
    let touch = format!("touch {}", unused.display());
    let output = ended(awaiting(&valetkey, &["--timeout", "300ms", "--", "sh", "-c", &touch])).await;
    assert_exit(&output, 1);
    let said = printed(&output);
    assert!(said.contains("Gave up after 300ms: ") && said.contains("doesn't answer: Connection refused"), "{said}");
    assert!(!unused.exists(), "the command ran");
    let file = valetkey.config_file().display().to_string();
    let output = ended(command_of(&["await", "--timeout", "200ms", "--config", &file])).await;
    assert_exit(&output, 1);
    assert!(printed(&output).contains(valetkey.admin.trim_start_matches("http://")), "{}", printed(&output));
    assert_exit(&run(&["await", "--config", "/nowhere/valetkey.yaml"]), 2);
    assert_exit(&run(&["await", "--quit"]), 2);
}

fn command_of(arguments: &[&str]) -> Command {
    let mut command = command();
    command.args(arguments);
    command
}

#[tokio::test]
async fn await_can_do_without_the_store() {
    let unused = TempDir::new().expect("a folder");
    let config = rig::with_redis(Alone::config(&unused).without("store.embedded"), &Redis::reserved());
    let mut valetkey = Valetkey::prepare(&config);
    valetkey.run().await;
    assert_exit(&ended(awaiting(&valetkey, &["--expect", "listening"])).await, 0);
    let output = ended(awaiting(&valetkey, &["--timeout", "500ms"])).await;
    assert_exit(&output, 1);
    assert!(printed(&output).contains("answers 503: {\"status\":\"starting\""), "{}", printed(&output));
}

#[tokio::test]
async fn a_signal_ends_the_waiting() {
    let folder = TempDir::new().expect("a folder");
    let valetkey = Valetkey::prepare(&Alone::config(&folder));
    let mut waiting = Process::start("await", awaiting(&valetkey, &["--", "true"]), folder.path());
    // It has its handlers once it asks; before that the signal would end it all the same, by itself.
    let status = format!("/proc/{}/status", waiting.id());
    wait::until("it takes signals", || async {
        let status = std::fs::read_to_string(&status).expect("it runs");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("Linux has it");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask");
        (caught & (1 << (15 - 1)) != 0).then_some(())
    })
    .await;
    waiting.signal("TERM");
    assert_eq!(waiting.exit().await.code(), Some(143), "{}", waiting.output());
}

#[tokio::test]
async fn with_quit_valetkey_ends_after_the_command_whose_exit_code_stays() {
    let mut alone = Alone::start(|config| config).await;
    let output = ended(awaiting(&alone, &["--quit=on-success", "--", "sh", "-c", "exit 3"])).await;
    assert_exit(&output, 3);
    assert!(alone.valetkey.process().ended().is_none(), "whoever tries the command again still needs it");
    assert_eq!(alone.admin_get("/readyz").await.status, 200);
    let output = ended(awaiting(&alone, &["--quit", "--", "sh", "-c", "echo done; kill -KILL $$"])).await;
    assert_exit(&output, 128 + 9);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    assert!(output.stderr.is_empty(), "{}", printed(&output));
    assert_eq!(alone.valetkey.process().exit().await.code(), Some(0));
    // It is gone; the code stays the command's.
    let output = ended(awaiting(&alone, &["--quit", "--timeout", "1ms", "--", "true"])).await;
    assert_exit(&output, 1);
    assert!(printed(&output).contains("wasn't told to end: Connection refused"), "{}", printed(&output));
}

#[tokio::test]
async fn with_quit_the_command_hears_the_signals_of_its_parent() {
    let folder = TempDir::new().expect("a folder");
    let mut alone = Alone::start(|config| config).await;
    let script = "trap 'echo again' USR1; trap 'kill $!; exit 5' TERM; sleep 600 & echo begun; wait; wait";
    let mut parent = Process::start("await", awaiting(&alone, &["--quit", "--", "sh", "-c", script]), folder.path());
    until_printed(&parent, "begun").await;
    parent.signal("USR1");
    until_printed(&parent, "again").await;
    assert!(alone.valetkey.process().ended().is_none());
    parent.signal("TERM");
    assert_eq!(parent.exit().await.code(), Some(5), "{}", parent.output());
    assert_eq!(alone.valetkey.process().exit().await.code(), Some(0));
}

#[tokio::test]
async fn quitquitquit_drains_as_sigterm_does() {
    let (upstream, release) = holding().await;
    let shutdown = json!({ "delay": "1s", "grace": "20s" });
    let mut rig = behind(&upstream, |config| config.set("shutdown", shutdown)).await;
    let admin = rig.admin.clone();
    let told = async || {
        let answer = quit(&admin).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{\"status\":\"draining\"}"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        // Twice is no more than once: a second signal would have ended it at once.
        wait::until("readiness has fallen", || async { (rig_status(&admin).await == 503).then_some(()) }).await;
        assert_eq!(quit(&admin).await.status, 200);
    };
    ends_with_calls_in_flight(&mut rig, &upstream, &release, told).await;
}

async fn rig_status(admin: &str) -> u16 {
    http().get(format!("{admin}/readyz")).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn the_answer_to_quitquitquit_comes_before_the_end() {
    for _ in 0..5 {
        let mut alone = Alone::start(|config| config).await;
        assert_eq!(quit(&alone.admin).await.status, 200);
        assert_eq!(alone.valetkey.process().exit().await.code(), Some(0));
    }
}

#[tokio::test]
async fn quitquitquit_is_for_programs_on_this_machine_only() {
    let shared = format!("127.0.0.1:{}", ports::free_port());
    let mut alone = Alone::start(|config| {
        let mut listeners = config.get("listeners").clone();
        listeners.as_array_mut().expect("a list").push(json!({ "address": shared, "serves": ["admin", "proxy"] }));
        config.set("listeners", listeners)
    })
    .await;
    // Whoever may call the proxy, also through something in front of it, can't end it.
    for base in [alone.url.clone(), format!("http://{shared}")] {
        quit(&base).await.refusal(404, "not_found");
    }
    let url = format!("{}/quitquitquit", alone.admin);
    // Any page that a browser on this machine shows could send this much.
    for (name, value) in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let answer = http().post(&url).header(name, value).header(header::CONTENT_TYPE, "text/plain").send().await;
        Answer::read(answer.expect("an answer")).await.refusal(404, "not_found");
    }
    let answer = Answer::read(http().request(Method::GET, &url).send().await.expect("an answer")).await;
    answer.refusal(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert!(alone.valetkey.process().ended().is_none());
    assert_eq!(alone.admin_get("/readyz").await.status, 200);
}

#[tokio::test]
async fn quitquitquit_comes_over_a_unix_socket_too() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("admin.sock");
    let mut alone = Alone::start(|config| {
        let mut listeners = config.get("listeners").clone();
        listeners.as_array_mut().expect("a list").push(json!({ "unix": path, "serves": ["admin"] }));
        config.set("listeners", listeners)
    })
    .await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.expect("somebody listens");
    stream.write_all(b"POST /quitquitquit HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n").await.expect("written");
    let mut answer = String::new();
    wait::within("the answer", stream.read_to_string(&mut answer)).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(alone.valetkey.process().exit().await.code(), Some(0));
}

#[track_caller]
fn shown(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_exit(&output, 0);
    String::from_utf8(output.stdout).expect("text")
}

/// A configuration with a service on GitHub and these listeners, as a file.
fn github(folder: &TempDir, listeners: &Value) -> String {
    let config = Alone::config(folder)
        .set("services.hub", json!({ "provider": "github", "client_id": "c", "client_secret": "s" }))
        .set("services.crm.base_url_env", json!(["CRM_API", "CRM_BASE_URL"]))
        .set("listeners", listeners.clone());
    let file = folder.path().join("valetkey.yaml");
    std::fs::write(&file, config.text()).expect("written");
    file.display().to_string()
}

#[test]
fn env_says_where_a_service_is_called() {
    let folder = TempDir::new().expect("a folder");
    let file = github(
        &folder,
        &json!([
            { "address": "127.0.0.1:9999", "serves": ["admin"] },
            { "address": "0.0.0.0:8123", "serves": ["proxy"] },
            { "unix": "/run/it's/proxy.sock", "serves": ["proxy"] },
        ]),
    );
    let text = shown(&["env", "hub", "--config", &file]);
    let url = "http://127.0.0.1:8123/proxy/hub";
    let expected = format!(
        "export VALETKEY_HUB_URL='{url}'\nexport GITHUB_API_URL='{url}'\nexport VALETKEY_SOCKET='/run/it'\\''s/proxy.sock'\n"
    );
    assert_eq!(text, expected);
    // A shell takes it.
    let script = format!("{text}\nprintf '%s %s' \"$GITHUB_API_URL\" \"$VALETKEY_SOCKET\"");
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{url} /run/it's/proxy.sock"));

    let said: Value = serde_json::from_str(&shown(&["env", "crm", "--json", "--config", &file])).expect("JSON");
    let url = "http://127.0.0.1:8123/proxy/crm";
    let variables = json!({
        "VALETKEY_CRM_URL": url, "CRM_API": url, "CRM_BASE_URL": url, "VALETKEY_SOCKET": "/run/it's/proxy.sock",
    });
    let expected =
        json!({ "service": "crm", "base_url": url, "socket": "/run/it's/proxy.sock", "variables": variables });
    assert_eq!(said, expected);
    let unknown = run(&["env", "nothing", "--config", &file]);
    assert_exit(&unknown, 2);
    assert!(printed(&unknown).contains("no service nothing"), "{}", printed(&unknown));
}

#[test]
fn env_promises_nothing_that_cannot_be_reached() {
    let folder = TempDir::new().expect("a folder");
    let only_socket = github(&folder, &json!([{ "unix": "/run/v.sock", "serves": ["proxy"] }]));
    let expected = "export VALETKEY_HUB_URL='http://localhost/proxy/hub'\nexport VALETKEY_SOCKET='/run/v.sock'\n";
    assert_eq!(shown(&["env", "hub", "--config", &only_socket]), expected);
    let no_proxy = github(&folder, &json!([{ "address": "127.0.0.1:9999", "serves": ["admin"] }]));
    assert_exit(&run(&["env", "hub", "--config", &no_proxy]), 2);
    let certified = certified(folder.path());
    let listener = json!({ "address": "[::1]:8443", "serves": ["proxy"], "tls": certified });
    let text = shown(&["env", "hub", "--config", &github(&folder, &json!([listener]))]);
    assert!(text.contains("VALETKEY_HUB_URL='https://[::1]:8443/proxy/hub'"), "{text}");
}

/// A certificate of its own, as `tls` takes it.
fn certified(folder: &Path) -> Value {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    json!({ "certificate_file": certificate, "key_file": key })
}

#[test]
fn env_needs_no_configuration_where_the_service_is_a_providers() {
    let url = "http://127.0.0.1:8080/proxy/github";
    let expected = format!("export VALETKEY_GITHUB_URL='{url}'\nexport GITHUB_API_URL='{url}'\n");
    assert_eq!(shown(&["env", "github"]), expected);
    let text = shown(&["env", "my-crm", "--address", "valetkey.identity.svc:8080"]);
    assert_eq!(text, "export VALETKEY_MY_CRM_URL='http://valetkey.identity.svc:8080/proxy/my-crm'\n");
    for wrong in
        [&["env", "Not A Name"][..], &["env", "crm", "--address", "host/path"], &["env", "crm", "--address", "u@h"]]
    {
        assert_exit(&run(wrong), 2);
    }
}
