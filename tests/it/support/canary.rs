//! What must never appear in a log: every secret that a test has made or met registers here, and each Valetkey process
//! is searched for all of them when it ends.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

static SECRETS: Mutex<Vec<(&'static str, String)>> = Mutex::new(Vec::new());
static FILES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Registers a secret and returns it. `kind` names it in the failure, in place of the value.
pub(crate) fn secret(kind: &'static str, value: impl Into<String>) -> String {
    let value = value.into();
    if value.len() >= 12 {
        let mut secrets = SECRETS.lock().expect("no test panics in here");
        if !secrets.iter().any(|(_, known)| *known == value) {
            secrets.push((kind, value.clone()));
        }
    }
    value
}

/// Registers a file with a secret a line, written by another process.
pub(crate) fn file(path: &Path) {
    FILES.lock().expect("no test panics in here").push(path.to_owned());
}

/// The kinds of secrets that `text` holds, plain or in base64.
pub(crate) fn found_in(text: &str) -> Vec<String> {
    let mut known = SECRETS.lock().expect("no test panics in here").clone();
    for path in FILES.lock().expect("no test panics in here").iter() {
        let lines = std::fs::read_to_string(path).unwrap_or_default();
        known.extend(
            lines.lines().filter(|line| line.len() >= 12).map(|line| ("issued token or code", line.to_owned())),
        );
    }
    known
        .into_iter()
        .filter(|(_, value)| {
            text.contains(value.as_str()) || text.contains(STANDARD.encode(value).trim_end_matches('='))
        })
        .map(|(kind, value)| {
            let place = text.lines().find(|line| line.contains(&value)).unwrap_or("(in base64)");
            format!("{kind} in: {}", place.replace(&value, "<<HERE>>"))
        })
        .collect()
}
