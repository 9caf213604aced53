//! The OpenAPI document is true: schemathesis asks the running binary about every line of it, and finds no difference.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Alone, Rig, Store, jwt, valetkey};

/// A program of the tests' own Python.
fn python(program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/.venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run scripts/install-python-test-deps.sh", path.display());
    path
}

/// Runs a program to its end in a folder of its own; what it printed, and whether it was content.
async fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let folder = TempDir::new().expect("a folder");
    let output = Command::new(python(program))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("it runs");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}

/// Somebody with a connection, one with two, and a place for the rest.
async fn rig() -> Rig {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    for account in ["home", "work"] {
        let path = format!("/connections/calendar/api-key?account={account}");
        let stored = rig.request("ada", Method::PUT, &path).header("content-type", "application/json");
        assert_eq!(rig.send(stored.body(r#"{"api_key": "a key"}"#)).await.status, 204);
    }
    rig
}

/// The whole document against the whole API, through the proxy's own port.
async fn schemathesis(rig: &Rig, document: &str) -> (bool, String) {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/schemathesis.toml");
    let config = config.display().to_string();
    let arguments = ["--config-file", &config, "run", document, "--url", &rig.url, "--no-color"];
    run("st", &arguments, &[("VALETKEY_TOKEN", &jwt::of("ada"))]).await
}

#[tokio::test]
async fn schemathesis_finds_no_difference_between_the_document_and_the_binary() {
    let rig = rig().await;
    let (content, printed) = schemathesis(&rig, &format!("{}/openapi.json", rig.url)).await;
    assert!(content, "{printed}");
    for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"] {
        assert!(printed.contains(phase), "no phase {phase}: {printed}");
    }
}

/// The test above would see it: a document that forgets an answer, a member's type or a route's refusal is caught.
#[tokio::test]
async fn schemathesis_finds_what_is_wrong_with_a_document_that_forgets_something() {
    let rig = rig().await;
    let folder = TempDir::new().expect("a folder");
    let true_one = rig.anonymous(Method::GET, "/openapi.json");
    let mut document = rig.send(true_one).await.own();
    let responses = &mut document["paths"]["/connections/{service}"]["get"]["responses"];
    responses.as_object_mut().expect("a map").remove("404").expect("it was there");
    document["components"]["schemas"]["ConnectLink"]["properties"]["expires_in"]["type"] = json!("string");
    let path = folder.path().join("openapi.json");
    std::fs::write(&path, document.to_string()).expect("the file is written");
    let (content, printed) = schemathesis(&rig, &path.display().to_string()).await;
    assert!(!content, "{printed}");
    assert!(printed.contains("Undocumented HTTP status code"), "{printed}");
    assert!(printed.contains("Response violates schema"), "{printed}");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_the_same_wherever_it_is_read() {
    let rig = Alone::start(|config| config).await;
    let served = rig.send(rig.anonymous(Method::GET, "/openapi.json")).await;
    assert_eq!(served.header("content-type"), Some("application/json"));
    let copy = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let written: Value = serde_json::from_slice(&std::fs::read(&copy).expect("docs/openapi.json")).expect("JSON");
    assert_eq!(served.own(), written);
    let printed = valetkey::run(&["openapi"]);
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).expect("JSON"), written);
    let head = rig.send(rig.anonymous(Method::HEAD, "/openapi.json")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let (content, printed) =
        run("openapi-spec-validator", &["--schema", "3.1", &copy.display().to_string()], &[]).await;
    assert!(content, "{printed}");
}

#[tokio::test]
async fn a_listener_without_the_role_proxy_has_no_document() {
    let rig = Alone::start(|config| config).await;
    assert_eq!(rig.admin_get("/openapi.json").await.status, 404);
}
