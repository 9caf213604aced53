//! The first five minutes: what `valetkey init` writes, and the README's commands as they stand there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::ports::free_port;
use crate::support::valetkey::{printed, run};

/// The block of commands under this heading of the README.
fn readme_block(heading: &str) -> String {
    let readme = include_str!("../../README.md");
    let section = readme.split_once(&format!("## {heading}\n")).expect("the heading is there").1;
    let block = section.split_once("```sh\n").expect("it has a block").1;
    block.split_once("```").expect("the block ends").0.to_owned()
}

fn init(folder: &TempDir, arguments: &[&str]) -> std::process::Output {
    let out = folder.path().to_str().expect("UTF-8");
    run(&[&["init", "--out", out], arguments].concat())
}

#[test]
fn the_readmes_block_works_as_typed() {
    let (port, admin) = (free_port(), free_port());
    let typed = readme_block("Run it");
    assert!(typed.contains("valetkey init github ") && typed.contains("http://127.0.0.1:8080/"), "{typed}");
    // The machine's usual ports may be taken here.
    let script = typed
        .replace("valetkey init github ", &format!("valetkey init github --port {port} --admin-port {admin} "))
        .replace(":8080/", &format!(":{port}/"));
    let folder = TempDir::new().expect("a folder");
    let programs = TempDir::new().expect("a folder");
    symlink(env!("CARGO_BIN_EXE_valetkey"), programs.path().join("valetkey")).expect("a link");
    let path = std::env::var_os("PATH").expect("a path");
    let path = std::env::join_paths([programs.path().to_owned()].into_iter().chain(std::env::split_paths(&path)));
    let output = Command::new("bash")
        .args(["-c", &format!("set -e\ntrap 'kill -KILL %1' EXIT\n{script}")])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path.expect("no colon in it"))
        .output()
        .expect("bash runs");
    let (printed, stdout) = (printed(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(printed.contains(&format!("http://localhost:{port}/oauth/callback/github")), "{printed}");
    let answer = stdout.lines().last().and_then(|line| line.rfind("{\"status\"").map(|at| &line[at..]));
    let answer: Value = serde_json::from_str(answer.unwrap_or_default()).expect(&printed);
    assert_eq!(answer["status"], "auth_required", "{printed}");
    assert!(
        answer["auth_url"].as_str().expect("a link").starts_with(&format!("http://localhost:{port}/connect/github?"))
    );
}

#[test]
fn what_init_writes_is_right_and_only_its_owners() {
    let folder = TempDir::new().expect("a folder");
    let output = init(&folder, &["github", "gmail", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["callback_urls"]["gmail"], "http://localhost:8080/oauth/callback/gmail");
    assert!(told["next"][0].as_str().expect("a command").starts_with("valetkey serve --config "));
    let written: Vec<&str> = told["written"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(written.len(), 7, "{told}");
    for path in &written {
        assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600, "{path}");
    }
    let secrets = folder.path().join("secrets");
    assert_eq!(fs::metadata(&secrets).expect("it is there").permissions().mode() & 0o777, 0o700);
    let config = folder.path().join("valetkey.yaml");
    let checked = run(&["check", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!(checked.status.code(), Some(0), "{}", printed(&checked));
    assert!(!printed(&checked).contains("warning"), "{}", printed(&checked));
    // Neither the terminal nor the configuration has a key in it.
    for name in ["vault-key", "development-issuer", "admin-token"] {
        let key = fs::read_to_string(secrets.join(name)).expect("it is there");
        assert_eq!(key.len(), 44, "32 bytes in base64");
        assert!(!fs::read_to_string(&config).expect("it is there").contains(&key) && !printed(&output).contains(&key));
    }
}

#[test]
fn init_overwrites_nothing() {
    for there in ["valetkey.yaml", "secrets/vault-key"] {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join(there);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(&path, "mine").expect("written");
        let output = init(&folder, &["github"]);
        assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
        assert!(printed(&output).contains(there), "{}", printed(&output));
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "mine");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
        assert_eq!(left.len(), 1, "nothing else was written: {left:?}");
    }
}

#[test]
fn init_says_which_services_there_are() {
    let folder = TempDir::new().expect("a folder");
    for (arguments, said) in [
        (&["gihtub"][..], "did you mean \"github\"?"),
        (&["google"], "gmail"),
        (&["github", "github"], "twice"),
        (&["github", "--port", "9090"], "--admin-port"),
    ] {
        let output = init(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
        assert!(printed(&output).contains(said), "{}", printed(&output));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    assert_eq!(init(&folder, &[]).status.code(), Some(0), "a configuration without services is one, too");
}
