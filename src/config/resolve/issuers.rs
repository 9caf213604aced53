//! What holds for every issuer of callers' JWTs, whoever its callers are: its name, and its keys where a file has them.

use std::path::PathBuf;

use crate::{
    config::{
        IssuerKeys,
        context::Context,
        problem::{Path, finding},
    },
    id::Issuer,
};

pub(super) fn issuer(text: &str, path: &Path, cx: &mut Context<'_>) -> Option<Issuer> {
    match Issuer::parse(text) {
        Ok(issuer) => Some(issuer),
        Err(malformed) => {
            cx.report.problem(&path.key("issuer"), finding(format!("This can't be: {malformed}")));
            None
        }
    }
}

pub(super) fn jwks_file(file: PathBuf, path: &Path, cx: &mut Context<'_>) -> Option<IssuerKeys> {
    let text = cx.file(path, file)?;
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
    if !parsed.is_ok_and(|jwks| jwks.get("keys").is_some_and(serde_json::Value::is_array)) {
        cx.report.problem(path, finding("This file holds no JWKS").hint("it should be JSON such as `{\"keys\": […]}`"));
        return None;
    }
    Some(IssuerKeys::Jwks(text))
}
