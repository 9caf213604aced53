//! Listeners on Unix sockets: calls over them, who may connect, and what becomes of their files.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::valetkey::{printed, run};
use crate::support::{Alone, Config, Script, Upstream, Valetkey, canary, jwt, wait};

const KEY: &str = "an-api-key-of-the-unix-socket-tests";

/// A second proxy listener, at this path, and a service behind it that takes API keys.
fn with_socket(config: Config, path: &Path, upstream: &Upstream) -> Config {
    let mut listeners = config.get("listeners").clone();
    let socket = json!({ "unix": path, "serves": ["proxy", "connect", "admin"] });
    listeners.as_array_mut().expect("a list").push(socket);
    config.set("listeners", listeners).set("services.crm", json!({ "base_url": upstream.url(), "api_keys": {} }))
}

/// One request over the socket; the whole answer.
async fn exchange(path: &Path, head: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("somebody listens");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{head}Host: valetkey\r\nConnection: close\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    wait::within("the answer", stream.read_to_end(&mut answer)).await.expect("read");
    String::from_utf8(answer).expect("text")
}

struct Place {
    folder: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("valetkey.sock");
    Place { folder, path }
}

#[tokio::test]
async fn calls_come_over_a_unix_socket_and_its_file_goes_with_the_process() {
    let upstream = Upstream::start(|_| Script::text("over the socket")).await;
    let Place { folder, path } = place();
    // Left behind by a process that was killed.
    drop(UnixListener::bind(&path).expect("bound"));
    let mut alone = Alone::start(|config| with_socket(config, &path, &upstream)).await;
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    canary::secret("an API key", KEY);
    let authorization = format!("Authorization: Bearer {}\r\n", jwt::of("ada"));
    let put = format!("PUT /connections/crm/api-key HTTP/1.1\r\n{authorization}Content-Type: application/json\r\n");
    let stored = exchange(&path, &put, &json!({ "api_key": KEY }).to_string()).await;
    assert!(stored.starts_with("HTTP/1.1 204"), "{stored}");
    let called = exchange(&path, &format!("GET /proxy/crm/x?y HTTP/1.1\r\n{authorization}"), "").await;
    assert!(called.starts_with("HTTP/1.1 200") && called.ends_with("over the socket"), "{called}");
    let received = upstream.only();
    assert_eq!((received.target(), received.all("authorization")), ("/x?y", vec![format!("Bearer {KEY}").as_str()]));
    let refused = exchange(&path, "GET /proxy/crm/x HTTP/1.1\r\n", "").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let ready = exchange(&path, "GET /readyz HTTP/1.1\r\n", "").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(alone.logs().contains("client=0.0.0.0"), "who comes in there has no address: {}", alone.logs());

    alone.valetkey.terminate();
    assert!(alone.valetkey.process().exit().await.success());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[tokio::test]
async fn http_2_in_clear_and_several_requests_a_connection_come_over_a_unix_socket() {
    let upstream = Upstream::start(|_| Script::text("again")).await;
    let Place { folder: _folder, path } = place();
    let _alone = Alone::start(|config| with_socket(config, &path, &upstream)).await;
    let mut stream = UnixStream::connect(&path).await.expect("somebody listens");
    for _ in 0..3 {
        stream.write_all(b"GET /proxy/crm/x HTTP/1.1\r\nHost: v\r\n\r\n").await.expect("written");
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 401");
        let mut rest = vec![0; 4096];
        let mut text = String::new();
        while !text.ends_with('}') {
            let read = stream.read(&mut rest).await.expect("the rest");
            assert!(read > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&rest[..read]));
        }
    }
    // RFC 9113 §3.4: a preface and empty settings are answered by settings.
    let mut stream = UnixStream::connect(&path).await.expect("somebody listens");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("written");
    let mut frame = [0; 9];
    wait::within("settings", stream.read_exact(&mut frame)).await.expect("settings");
    assert_eq!(frame[3], 4, "SETTINGS");
}

#[tokio::test]
async fn a_socket_where_somebody_listens_is_left_to_them() {
    let upstream = Upstream::start(|_| Script::text("-")).await;
    let Place { folder, path } = place();
    let alone = Alone::start(|config| with_socket(config, &path, &upstream)).await;
    let data = TempDir::new().expect("a folder");
    let other = Valetkey::prepare(&with_socket(Alone::config(&data), &path, &upstream));
    let file = other.config_file().display().to_string();
    let output = tokio::task::spawn_blocking(move || run(&["serve", "--config", &file])).await.expect("no panic");
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(
        printed(&output).contains(&format!("can't listen on unix:{}: somebody", path.display())),
        "{}",
        printed(&output)
    );
    let refused = exchange(&path, "GET /proxy/crm/x HTTP/1.1\r\n", "").await;
    assert!(refused.starts_with("HTTP/1.1 401"), "the first one still answers: {refused}");
    drop((alone, folder));
}

#[tokio::test]
async fn the_health_command_asks_an_admin_listener_on_a_unix_socket() {
    let Place { folder: _folder, path } = place();
    let alone = Alone::start(|config| {
        let mut listeners = config.get("listeners").clone();
        // The first that serves `admin` is asked.
        let socket = json!({ "unix": path, "mode": "0600", "serves": ["admin"] });
        listeners.as_array_mut().expect("a list").push(socket);
        config.set("listeners", listeners)
    })
    .await;
    assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("valetkey.yaml");
    let only = alone.config.clone().set(
        "listeners",
        json!([
            { "address": alone.config.get("listeners.0.address"), "serves": ["proxy"] },
            { "unix": path, "serves": ["admin"] },
        ]),
    );
    std::fs::write(&file, only.text()).expect("written");
    let file = file.display().to_string();
    let output = tokio::task::spawn_blocking(move || run(&["health", "--config", &file])).await.expect("no panic");
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
}
