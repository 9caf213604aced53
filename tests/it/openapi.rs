//! The OpenAPI document is true: schemathesis asks the running binary about every line of it, and finds no difference.

use std::collections::BTreeMap;
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

/// The document as the binary serves it, but closed: where it lists members, others are none of its own. That is too
/// strict for clients, who are to bear new members, and just right for finding members that nobody has described.
async fn document(rig: &Rig) -> Value {
    let mut document = rig.send(rig.anonymous(Method::GET, "/openapi.json")).await.own();
    let schemas = document["components"]["schemas"].as_object_mut().expect("a map");
    for schema in schemas.values_mut() {
        close(schema);
        schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten().for_each(close);
    }
    document
}

fn close(schema: &mut Value) {
    if schema.get("properties").is_some() {
        schema["additionalProperties"] = json!(false);
    }
}

/// What schemathesis said, and what it saw.
struct Seen {
    content: bool,
    printed: String,
    /// Method, path and status of each answer.
    answers: Vec<(String, String, u16)>,
}

/// The whole document against the whole API, through the proxy's own port.
async fn schemathesis(rig: &Rig, document: &Value) -> Seen {
    let folder = TempDir::new().expect("a folder");
    let inside = |name: &str| folder.path().join(name).display().to_string();
    let (file, report) = (inside("openapi.json"), inside("report.har"));
    std::fs::write(&file, document.to_string()).expect("the file is written");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/schemathesis.toml");
    let config = config.display().to_string();
    let arguments =
        ["--config-file", &config, "run", &file, "--url", &rig.url, "--no-color", "--report-har-path", &report];
    let (content, printed) = run("st", &arguments, &[("VALETKEY_TOKEN", &jwt::of("ada"))]).await;
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap_or_default()).unwrap_or_default();
    let entries = report["log"]["entries"].as_array().cloned().unwrap_or_default();
    let answers = entries.iter().filter_map(|entry| {
        let url = reqwest::Url::parse(entry["request"]["url"].as_str()?).ok()?;
        let status = u16::try_from(entry["response"]["status"].as_u64()?).ok()?;
        Some((entry["request"]["method"].as_str()?.to_owned(), url.path().to_owned(), status))
    });
    Seen { content, printed, answers: answers.collect() }
}

impl Seen {
    /// How often an operation gave each answer.
    fn statuses(&self, method: &str, template: &str) -> BTreeMap<u16, usize> {
        let fits = |path: &str| {
            let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
            let same = |part: Option<&str>, want: Option<&str>| {
                part.is_some() == want.is_some() && (part == want || want.is_some_and(|want| want.starts_with('{')))
            };
            (0..=template.matches('/').count() + 1).all(|_| same(parts.next(), wanted.next()))
        };
        let mut statuses = BTreeMap::new();
        for (_, _, status) in self.answers.iter().filter(|(seen, path, _)| seen == method && fits(path)) {
            *statuses.entry(*status).or_default() += 1;
        }
        statuses
    }
}

#[tokio::test]
async fn schemathesis_finds_no_difference_between_the_document_and_the_binary() {
    let rig = rig().await;
    let document = document(&rig).await;
    let seen = schemathesis(&rig, &document).await;
    assert!(seen.content, "{}", seen.printed);
    // It has been everywhere: each operation was seen to do what it is for, and to refuse.
    for (method, path, expected) in [
        ("GET", "/connections", &[200, 401][..]),
        ("GET", "/connections/{service}", &[200, 400, 401, 404]),
        ("DELETE", "/connections/{service}", &[204, 400, 401, 404]),
        ("PUT", "/connections/{service}/api-key", &[204, 400, 401, 404]),
        ("DELETE", "/connections/{service}/api-key", &[204, 400, 401, 404]),
        ("POST", "/connections/confirm", &[400, 404]),
        ("POST", "/connect-links", &[200, 400, 401, 404]),
        ("POST", "/dashboard-links", &[200, 401]),
        ("POST", "/preflight", &[200, 400, 401]),
        ("GET", "/openapi.json", &[200]),
        ("PATCH", "/connections/{service}", &[405]),
        ("TRACE", "/connections", &[405]),
    ] {
        let statuses = seen.statuses(method, path);
        let missing: Vec<_> = expected.iter().filter(|status| !statuses.contains_key(status)).collect();
        assert!(missing.is_empty(), "{method} {path} never answered {missing:?}, but {statuses:?}: {}", seen.printed);
    }
}

/// The test above would see it: a document that forgets an answer, or mistakes a member's type, is caught.
#[tokio::test]
async fn schemathesis_finds_what_is_wrong_with_a_document_that_forgets_something() {
    let rig = rig().await;
    let mut document = document(&rig).await;
    let responses = &mut document["paths"]["/connections/{service}"]["get"]["responses"];
    responses.as_object_mut().expect("a map").remove("404").expect("it was there");
    document["components"]["schemas"]["ConnectLink"]["properties"]["expires_in"]["type"] = json!("string");
    let seen = schemathesis(&rig, &document).await;
    assert!(!seen.content, "{}", seen.printed);
    for found in ["Undocumented status code", "Response violates schema"] {
        assert!(seen.printed.contains(found), "{}", seen.printed);
    }
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
