//! Who may ask and order what under `/admin`.

use crate::config::{
    Admin,
    context::Context,
    problem::{Path, finding},
    raw::RawAdmin,
};

/// A shorter token is warned of.
const SHORTEST: usize = 16;

pub(super) fn admin(raw: RawAdmin, path: &Path, cx: &mut Context<'_>) -> Option<Admin> {
    cx.require_one(path, &[("token", raw.token.is_some()), ("token_file", raw.token_file.is_some())]);
    let token = cx.secret(path, "token", raw.token, raw.token_file);
    let read_token = cx.secret(path, "read_token", raw.read_token, raw.read_token_file);
    for (key, token) in [("token", &token), ("read_token", &read_token)] {
        if token.as_ref().is_some_and(|token| token.expose().len() < SHORTEST) {
            let finding = finding(format!("This token is shorter than {SHORTEST} bytes: it could be guessed"));
            cx.report.warning(&path.key(key), finding.hint("make one with `openssl rand -base64 32`"));
        }
    }
    if read_token.is_some() && token == read_token {
        let finding = finding("This token is the same as `token`: whoever has it may change everything");
        cx.report.problem(&path.key("read_token"), finding.hint("make another with `openssl rand -base64 32`"));
        return None;
    }
    Some(Admin { token: token?, read_token })
}
