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

/// Every kind of secret that is known so far: to see that a test has met what it is about.
pub(crate) fn known() -> Vec<&'static str> {
    let mut kinds: Vec<_> = SECRETS.lock().expect("no test panics in here").iter().map(|(kind, _)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The forms in which a text may carry a secret: as it is, for a URL, in hex, and in base64, wherever in a longer text it
/// stands there.
fn forms(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let url: String = bytes
        .iter()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let mut forms = vec![value.to_owned(), url, hex.to_uppercase(), hex];
    for before in 0..3 {
        let mut shifted = vec![b'.'; before];
        shifted.extend_from_slice(bytes);
        // What shares a character with its neighbours is left out at both ends.
        let coded = STANDARD.encode(&shifted);
        let from = (before * 8).div_ceil(6);
        let coded = &coded[from..shifted.len() * 8 / 6];
        forms.extend([coded.to_owned(), coded.replace('+', "-").replace('/', "_")]);
    }
    forms
}

/// The kinds of secrets that `text` holds, in whichever form.
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
        .filter_map(|(kind, value)| {
            let form = forms(&value).into_iter().find(|form| text.contains(form.as_str()))?;
            let place = text.lines().find(|line| line.contains(&form)).unwrap_or_default();
            Some(format!("{kind} in: {}", place.replace(&form, "<<HERE>>")))
        })
        .collect()
}

#[test]
fn a_secret_is_found_in_whichever_form_it_is_told() {
    let value = secret("a canary's own", "canary+of/the=tests 0123456789");
    let coded = |before: &str| STANDARD.encode(format!("{before}{value}:and more"));
    for text in [
        format!("token={value};"),
        "token=canary%2Bof%2Fthe%3Dtests%200123456789;".to_owned(),
        "63616e6172792b6f662f7468653d74657374732030313233343536373839".to_owned(),
        "63616E6172792B6F662F7468653D74657374732030313233343536373839".to_owned(),
        coded(""),
        coded("a"),
        coded("ab"),
        coded("abc:").replace('+', "-").replace('/', "_"),
    ] {
        assert!(!found_in(&text).is_empty(), "{text}");
    }
    assert_eq!(found_in("nothing of the kind"), Vec::<String>::new());
}
