//! Makes a token endpoint's answer regular: whatever a vendor sends becomes RFC 6749's JSON with status 200 or 400, or a
//! plain failure. Understands errors under status 200, tokens under 201, forms for JSON, tokens and errors inside other
//! objects, lists and commas for scopes, texts for numbers, byte-order marks, missing token types. What makes no sense is
//! a failure of the provider for now, never a verdict on the grant.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::error::{Fault, TokenError};
use crate::provider::{OAuth, scopes};

/// Longest token. Headers carry no longer one.
const TOKEN_MAX: usize = 16 * 1024;
/// Longest life that is believed: ten years.
const LIFE_MAX: f64 = 315_360_000.0;
/// Longest wait that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The regular answer: 200 with a token, or 400 with `error`.
pub(super) fn regular(oauth: &OAuth, response: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, TokenError> {
    let (parts, body) = response.into_parts();
    let body = Zeroizing::new(body);
    let status = parts.status;
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return Err(TokenError::unavailable(Fault::TooMany, retry_after(&parts.headers)));
    }
    if comes_later(status) {
        return Err(TokenError::unavailable(Fault::Status, retry_after(&parts.headers)));
    }
    let Some(answer) = object(&parts.headers, &body) else {
        // Without a word of the endpoint's own only 401 speaks of the client; anything else may be a stranger on the way.
        return if status == StatusCode::UNAUTHORIZED { Ok(refused("http_401")) } else { Err(TokenError::garbage()) };
    };
    if let Some(code) = error_code(&answer) {
        if code == "slow_down" {
            return Err(TokenError::unavailable(Fault::TooMany, retry_after(&parts.headers)));
        }
        if says_unavailable(oauth, &code) {
            return Err(TokenError::unavailable(Fault::SaysSo, retry_after(&parts.headers)));
        }
        return Ok(refused(&code));
    }
    if status == StatusCode::UNAUTHORIZED {
        return Ok(refused("http_401"));
    }
    if !status.is_success() {
        return Err(TokenError::garbage());
    }
    granted(oauth, &Value::Object(answer)).ok_or_else(TokenError::garbage)
}

/// Statuses that say nothing of the grant: out of order, too many, and redirects, which are never followed.
pub(super) fn comes_later(status: StatusCode) -> bool {
    status.is_server_error()
        || status.is_redirection()
        || status.is_informational()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY)
}

fn says_unavailable(oauth: &OAuth, code: &str) -> bool {
    // RFC 6749 §4.1.2.1 has these for the authorization endpoint; token endpoints use them alike.
    matches!(code, "server_error" | "temporarily_unavailable") || oauth.unavailable.iter().any(|word| word == code)
}

/// The body as one object: JSON, whatever its content type says, or a form that has what such answers have.
pub(super) fn object(headers: &HeaderMap, body: &[u8]) -> Option<Map<String, Value>> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let is_json = body.trim_ascii_start().first() == Some(&b'{');
    if is_json {
        return serde_json::from_slice(body).ok();
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let markup = body.trim_ascii_start().first() == Some(&b'<') || content_type.to_ascii_lowercase().contains("html");
    let text = std::str::from_utf8(body).ok().filter(|_| !markup)?;
    let form: Map<String, Value> = url::form_urlencoded::parse(text.trim().as_bytes())
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    (form.contains_key("access_token") || form.contains_key("error")).then_some(form)
}

/// The error code of an answer, if it has one: `error` as text or as an object with a code of its own, or `"ok": false`.
pub(super) fn error_code(answer: &Map<String, Value>) -> Option<String> {
    let said = match answer.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::String(code)) => Some(code.as_str()).filter(|code| !code.is_empty()),
        Some(Value::Object(inner)) => {
            Some(["code", "type", "status"].iter().find_map(|key| inner.get(*key)?.as_str()).unwrap_or("error"))
        }
        Some(_) => Some("error"),
    };
    let not_ok = matches!(answer.get("ok"), Some(Value::Bool(false)));
    said.or(not_ok.then_some("not_ok")).map(checked_code)
}

/// A code fit for logs: short, and of the characters that codes are made of.
fn checked_code(code: &str) -> String {
    let well_formed =
        code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b' '));
    if well_formed { code.to_owned() } else { "unrecognised".to_owned() }
}

fn granted(oauth: &OAuth, answer: &Value) -> Option<Response<Vec<u8>>> {
    let has_token = |object: &&Value| object.get("access_token").is_some_and(|token| !is_nothing(token));
    let object = oauth.token_objects.iter().filter_map(|pointer| answer.pointer(pointer)).find(has_token)?;
    let mut regular = Map::new();
    regular.insert("access_token".into(), token(object.get("access_token")?)?.into());
    let token_type = object.get("token_type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
    regular.insert("token_type".into(), token_type.unwrap_or("bearer").into());
    if let Some(refresh) = object.get("refresh_token").filter(|value| !is_nothing(value)) {
        regular.insert("refresh_token".into(), token(refresh)?.into());
    }
    if let Some(life) = object.get("expires_in").and_then(seconds) {
        regular.insert("expires_in".into(), life.into());
    }
    let refresh_life = ["refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"];
    if let Some(life) = refresh_life.iter().find_map(|key| seconds(object.get(*key)?)) {
        regular.insert("refresh_token_expires_in".into(), life.into());
    }
    let scope = ["scope", "scopes"].iter().find_map(|key| scope(object.get(*key)?));
    regular.extend(scope.map(|scope| ("scope".to_owned(), scope.into())));
    let id_token = object.get("id_token").or_else(|| answer.get("id_token"));
    regular.extend(id_token.and_then(Value::as_str).map(|token| ("id_token".to_owned(), token.into())));
    Some(json_response(StatusCode::OK, &Value::Object(regular)))
}

fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null) || value.as_str() == Some("")
}

/// A token: RFC 6749 appendix A.12 has visible characters and spaces. What a header can't carry is no token.
fn token(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| {
        (1..=TOKEN_MAX).contains(&text.len())
            && text.bytes().all(|b| (b' '..=b'~').contains(&b))
            && text.trim() == *text
    })
}

/// A number of seconds, also as a text or fraction. What is not positive says nothing: some vendors mean "for ever" by
/// it, and no token is made to be dead. What is too much is cut.
fn seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and LIFE_MAX")]
    (number >= 1.0).then(|| number.min(LIFE_MAX) as u64)
}

/// Scopes as RFC 6749 §3.3 writes them; `None` where there is none.
fn scope(value: &Value) -> Option<String> {
    let listed = match value {
        Value::String(text) => scopes::words(text),
        Value::Array(list) => list.iter().filter_map(Value::as_str).flat_map(scopes::words).collect(),
        _ => return None,
    };
    (!listed.is_empty()).then(|| listed.join(" "))
}

fn refused(code: &str) -> Response<Vec<u8>> {
    json_response(StatusCode::BAD_REQUEST, &json!({ "error": code }))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Vec<u8>> {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// How long to wait (RFC 9110 §10.2.3), cut to 15 minutes. A date counts from the answer's own `Date`, so that no clock
/// of ours is compared with theirs.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok()).map(str::trim);
    let asked = text(header::RETRY_AFTER)?;
    let wait = match asked.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More digits than a number holds.
        Err(_) if !asked.is_empty() && asked.bytes().all(|b| b.is_ascii_digit()) => RETRY_AFTER_MAX,
        Err(_) => (http_date(asked)? - http_date(text(header::DATE)?)?).try_into().unwrap_or(Duration::ZERO),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// RFC 9110 §5.6.7, in the one form that may be sent.
fn http_date(text: &str) -> Option<time::OffsetDateTime> {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::PrimitiveDateTime::parse(text, &format).ok().map(time::PrimitiveDateTime::assume_utc)
}
