//! Makes a token endpoint's answer regular: whatever a vendor sends becomes RFC 6749's JSON with status 200, or a plain
//! failure. Understands errors under status 200, tokens under 201, forms for JSON, tokens and errors inside other
//! objects, lists and commas for scopes, texts for numbers, ends for lives, byte-order marks, missing token types. What makes no sense is
//! a failure of the provider for now, never a verdict on the grant.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    error::{Fault, Kind, TokenError},
    words,
};
use crate::{
    clock::{Clock, Timestamp},
    provider::{OAuth, scopes},
};

/// Longest token. Headers carry no longer one.
const TOKEN_MAX: usize = 16 * 1024;
/// Longest life that is believed: ten years.
const LIFE_MAX: f64 = 315_360_000.0;
/// Token types that are of no use without a proof that only their holder can make (RFC 9449, RFC 7800 and drafts), and the
/// one for "no access token at all" (RFC 8693 §2.2.1). Vendors' own names for bearers (`bot`, `user`, `BearerToken`) are many.
const BOUND_TYPES: [&str; 5] = ["DPoP", "mac", "PoP", "hawk", "N_A"];
/// Longest wait that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The regular answer: 200 with a token.
pub(super) fn regular(oauth: &OAuth, response: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, TokenError> {
    let (parts, body) = response.into_parts();
    let body = Zeroizing::new(body);
    let (status, headers) = (parts.status, &parts.headers);
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return Err(TokenError::unavailable(Fault::TooMany, retry_after(headers)));
    }
    if comes_later(status) {
        return Err(TokenError::unavailable(Fault::Status, retry_after(headers)));
    }
    // Without a word of the endpoint's own only 401 speaks of the client; anything else may be a stranger on the way.
    let wordless =
        || if status == StatusCode::UNAUTHORIZED { TokenError::client("http_401") } else { TokenError::garbage() };
    let answer = object(headers, &body).ok_or_else(wordless)?;
    if status.is_success() && words::error_code(&answer).is_none() {
        let answer = Value::Object(answer);
        if let Some(object) = token_object(oauth, &answer) {
            return granted(&answer, object, headers);
        }
        let Value::Object(answer) = answer else { return Err(TokenError::garbage()) };
        return Err(words::refusal(oauth, &answer).map_or_else(wordless, |kind| told(kind, headers)));
    }
    Err(words::refusal(oauth, &answer).map_or_else(wordless, |kind| told(kind, headers)))
}

fn told(kind: Kind, headers: &HeaderMap) -> TokenError {
    match kind {
        Kind::Unavailable { fault, .. } => TokenError::unavailable(fault, retry_after(headers)),
        kind => TokenError { kind },
    }
}

/// Statuses that say nothing of the grant: out of order, too many, and redirects, which are never followed.
pub(super) fn comes_later(status: StatusCode) -> bool {
    status.is_server_error()
        || status.is_redirection()
        || status.is_informational()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY)
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

/// The object of an answer that holds a token.
fn token_object<'a>(oauth: &OAuth, answer: &'a Value) -> Option<&'a Value> {
    let has_token = |object: &&Value| object.get("access_token").is_some_and(|token| !is_nothing(token));
    oauth.token_objects.iter().filter_map(|pointer| answer.pointer(pointer)).find(has_token)
}

fn granted(answer: &Value, object: &Value, headers: &HeaderMap) -> Result<Response<Vec<u8>>, TokenError> {
    let mut regular = Map::new();
    let held = |name: &str| object.get(name).filter(|value| !is_nothing(value));
    let access = held("access_token").and_then(token).ok_or_else(TokenError::garbage)?;
    regular.insert("access_token".into(), access.into());
    let token_type = held("token_type").and_then(Value::as_str).unwrap_or("bearer").trim();
    if let Some(name) = BOUND_TYPES.iter().find(|name| name.eq_ignore_ascii_case(token_type)) {
        return Err(TokenError::unavailable(Fault::TokenType(name), None));
    }
    regular.insert("token_type".into(), "bearer".into());
    if let Some(refresh) = held("refresh_token") {
        regular.insert("refresh_token".into(), token(refresh).ok_or_else(TokenError::garbage)?.into());
    }
    let life = |lives: &[&str], ends: &[&str]| {
        let told = lives.iter().find_map(|name| seconds(object.get(*name)?));
        told.or_else(|| ends.iter().find_map(|name| seconds_until(object.get(*name)?, headers)))
    };
    if let Some(life) = life(&["expires_in"], &["expires_at", "expires_on"]) {
        regular.insert("expires_in".into(), life.into());
    }
    let refresh_lives = ["refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"];
    if let Some(life) = life(&refresh_lives, &["refresh_token_expires_at"]) {
        regular.insert("refresh_token_expires_in".into(), life.into());
    }
    let scope = ["scope", "scopes"].iter().find_map(|key| scope(object.get(*key)?));
    regular.extend(scope.map(|scope| ("scope".to_owned(), scope.into())));
    let id_token = object.get("id_token").or_else(|| answer.get("id_token"));
    regular.extend(id_token.and_then(Value::as_str).map(|token| ("id_token".to_owned(), token.into())));
    Ok(json_response(StatusCode::OK, &Value::Object(regular)))
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
    believed(number(value)?)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn believed(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and LIFE_MAX")]
    (seconds >= 1.0).then(|| seconds.min(LIFE_MAX) as u64)
}

/// The seconds until an end: a number of seconds or milliseconds since the epoch, or a date. Counted from the answer's own
/// `Date`, so that no clock of ours is compared with theirs. An end that is past says nothing, as a life of 0.
fn seconds_until(value: &Value, headers: &HeaderMap) -> Option<u64> {
    let dated = |text: &str| http_date(text).map(|time| time.unix_timestamp());
    let rfc3339 = |text: &str| i64::try_from(Timestamp::parse_rfc3339(text)?.seconds()).ok();
    let text = value.as_str().map(str::trim);
    let end = match text.and_then(|text| rfc3339(text).or_else(|| dated(text))) {
        Some(end) => end as f64,
        None => match number(value)? {
            // As seconds that would be the year 5138; as milliseconds the smaller ones are of 1973.
            millis if millis >= 1e11 => (millis / 1000.0).floor(),
            seconds => seconds,
        },
    };
    let now = headers.get(header::DATE).and_then(|date| dated(date.to_str().ok()?));
    let now = now.map_or_else(|| Clock::system().now().seconds() as f64, |now| now as f64);
    believed(end - now)
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
