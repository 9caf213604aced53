//! What a token endpoint's refusal means. RFC 6749 §5.2 has one place for the word and few words; vendors have places and
//! words of their own. Only what is known to mean it ends a grant: a word that nobody knows never does, and in a place
//! that nobody has told of it isn't even a refusal.

use serde_json::{Map, Value};

use super::error::{Fault, Kind};
use crate::provider::{self, OAuth};

/// A refresh token or code that has ended, whatever member says so. The last four are OpenID Connect's (Core §3.1.2.6) for
/// a person who must come to the provider again.
const ENDED: &[&str] = &[
    "invalid_grant",
    "bad_refresh_token",
    "invalid_refresh_token",
    "expired_refresh_token",
    "revoked_refresh_token",
    "refresh_token_invalid",
    "refresh_token_expired",
    "refresh_token_revoked",
    "interaction_required",
    "login_required",
    "consent_required",
    "account_selection_required",
];
/// The same where `error` says it: of Zoho (<https://www.zoho.com/accounts/protocol/oauth/web-apps/access-token.html>) and
/// Slack (<https://api.slack.com/methods/oauth.v2.access>). Elsewhere in an answer they may speak of something else.
const ENDED_AS_ERROR: &[&str] = &["invalid_code", "code_already_used", "token_revoked", "token_expired"];
/// What Atlassian says of a refresh token that has ended, under `unauthorized_client`.
const ENDED_IN_PROSE: &[&str] = &["refresh_token is invalid"];
/// RFC 6749 §5.2: the client or its request is wrong.
const CLIENT: &[&str] =
    &["invalid_client", "unauthorized_client", "invalid_request", "unsupported_grant_type", "invalid_scope"];
/// Too many calls: Slack's words, and those of RFC 8628 §3.5 and its imitators.
const TOO_MANY: &[&str] =
    &["slow_down", "ratelimited", "rate_limited", "rate_limit_exceeded", "too_many_requests", "rate_limit"];
/// Out of order. RFC 6749 §4.1.2.1 has the first two for the authorization endpoint; token endpoints use them alike.
const OUT_OF_ORDER: &[&str] = &[
    "server_error",
    "temporarily_unavailable",
    "service_unavailable",
    "internal_error",
    "internal_server_error",
    "fatal_error",
    "request_timeout",
];
/// Where vendors put a word beside `error`: Fitbit, HubSpot and others.
const PLACES: &[&str] = &[
    "/errors/*/errorType",
    "/errors/*/code",
    "/errors/*/error",
    "/status",
    "/code",
    "/errorCode",
    "/error_code",
    "/errorType",
];

/// What an answer that brings no token says; `None` where it says nothing that is understood.
pub(super) fn refusal(oauth: &OAuth, answer: &Map<String, Value>) -> Option<Kind> {
    let pointed = texts(answer, oauth.token_error.iter().map(String::as_str));
    let known = |word: &String| known(oauth, word);
    if let Some(kind) = pointed.iter().find_map(known) {
        return Some(kind);
    }
    if let Some(code) = error_word(answer) {
        return Some(of_error(oauth, answer, code));
    }
    texts(answer, PLACES.iter().copied())
        .iter()
        .find_map(known)
        .or_else(|| faulty_field(answer))
        .or_else(|| answer.get("error").filter(|said| is_said(said)).map(|_| client("error")))
        // The configuration says that errors stand there.
        .or_else(|| pointed.first().map(|word| client(word)))
        .or_else(|| not_ok(answer).then(|| client("not_ok")))
}

/// The error code of an answer, if it has one: `error` as text or as an object with a code of its own, or `"ok": false`.
pub(super) fn error_code(answer: &Map<String, Value>) -> Option<String> {
    let other = || answer.get("error").filter(|said| is_said(said)).map(|_| "error");
    error_word(answer).or_else(other).or_else(|| not_ok(answer).then_some("not_ok")).map(checked)
}

fn of_error(oauth: &OAuth, answer: &Map<String, Value>, code: &str) -> Kind {
    let description = answer.get("error_description").and_then(Value::as_str).unwrap_or_default();
    match known(oauth, code) {
        Some(Kind::Client { .. }) if code == "unauthorized_client" && is_one_of(ENDED_IN_PROSE, description.trim()) => {
            ended(code)
        }
        Some(kind) => kind,
        None if is_one_of(ENDED_AS_ERROR, code) => ended(code),
        None if code == "access_denied" => Kind::Denied { code: checked(code) },
        None => client(code),
    }
}

/// A word that means the same wherever it stands. The configuration's own come first.
fn known(oauth: &OAuth, word: &str) -> Option<Kind> {
    let is_listed = |list: &[String]| list.iter().any(|listed| listed.eq_ignore_ascii_case(word));
    if is_listed(&oauth.invalid_grant) {
        return Some(ended(word));
    }
    if is_listed(&oauth.unavailable) {
        return Some(later(Fault::SaysSo));
    }
    if is_one_of(ENDED, word) {
        Some(ended(word))
    } else if is_one_of(TOO_MANY, word) {
        Some(later(Fault::TooMany))
    } else if is_one_of(OUT_OF_ORDER, word) {
        Some(later(Fault::SaysSo))
    } else if is_one_of(CLIENT, word) {
        Some(client(word))
    } else {
        None
    }
}

/// Strava's form (<https://developers.strava.com/docs/#error-handling>): which field of which resource is wrong, and how.
fn faulty_field(answer: &Map<String, Value>) -> Option<Kind> {
    answer.get("errors")?.as_array()?.iter().find_map(|error| {
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        match (text("field")?, text("code")?) {
            ("refresh_token" | "code", "invalid" | "expired" | "revoked") => Some(ended("invalid_grant")),
            ("client_id" | "client_secret", "invalid") => Some(client("invalid_client")),
            _ => None,
        }
    })
}

fn error_word(answer: &Map<String, Value>) -> Option<&str> {
    match answer.get("error")? {
        Value::String(code) => Some(code.as_str()).filter(|code| !code.is_empty()),
        Value::Object(inner) => {
            Some(["code", "type", "status"].iter().find_map(|key| inner.get(*key)?.as_str()).unwrap_or("error"))
        }
        _ => None,
    }
}

fn is_said(error: &Value) -> bool {
    !matches!(error, Value::Null | Value::Bool(false)) && error.as_str() != Some("")
}

fn not_ok(answer: &Map<String, Value>) -> bool {
    matches!(answer.get("ok"), Some(Value::Bool(false)))
}

fn is_one_of(list: &[&str], word: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn texts<'a>(answer: &Map<String, Value>, pointers: impl Iterator<Item = &'a str>) -> Vec<String> {
    serde_json::to_vec(answer).map(|body| provider::texts(&body, pointers)).unwrap_or_default()
}

fn ended(code: &str) -> Kind {
    Kind::InvalidGrant { code: checked(code) }
}

fn client(code: &str) -> Kind {
    Kind::Client { code: checked(code) }
}

fn later(fault: Fault) -> Kind {
    Kind::Unavailable { fault, retry_after: None }
}

/// A code fit for logs: short, and of the characters that codes are made of.
fn checked(code: &str) -> String {
    let well_formed =
        code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' '));
    if well_formed { code.to_owned() } else { "unrecognised".to_owned() }
}
