//! Headers that must not pass, in both directions, and those that are added to answers. Pure functions on `http` types;
//! RFC 9110 §7.6.1 for hop-by-hop headers, CONTRACT §2 for the rest. Injection is `inject`'s, links are `rewrite`'s.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Of the client's request, beside hop-by-hop headers, which Pingora strips, and the credentials' own headers.
const NOT_SENT: [HeaderName; 14] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::FORWARDED,
    header::VIA,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("cookie2"),
];

/// Of the upstream's answer: what would reach beyond this answer into the client's relation with Valetkey.
const NOT_PASSED: [HeaderName; 10] = [
    HeaderName::from_static("clear-site-data"),
    header::STRICT_TRANSPORT_SECURITY,
    header::ALT_SVC,
    HeaderName::from_static("service-worker-allowed"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("public-key-pins"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
];

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The headers of a request that don't go upstream. `credentials` are the headers that the service's own credentials
/// travel in: the client's are its own token, or nothing that an upstream should see.
pub fn request_headers_to_drop(headers: &HeaderMap, credentials: [&HeaderName; 2]) -> Vec<HeaderName> {
    let unwanted = |name: &&HeaderName| {
        let text = name.as_str();
        NOT_SENT.contains(name)
            || credentials.contains(name)
            || text.starts_with("valetkey-")
            || text.starts_with("x-forwarded-")
            || text.starts_with("proxy-")
    };
    headers.keys().filter(unwanted).cloned().collect()
}

/// What a response needs to know of the call it answers.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Whether `Set-Cookie` is let through.
    pub cookies: bool,
    /// Whether this is a 101 whose `Upgrade` and `Connection` belong to the tunnel.
    pub tunnel: bool,
}

/// The headers of an answer that don't reach the client: hop-by-hop ones, those that `Connection` names, and those that
/// speak for an origin which isn't the upstream's.
pub fn response_headers_to_drop(headers: &HeaderMap, answered: Answered) -> Vec<HeaderName> {
    let nominated: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let unwanted = |name: &&HeaderName| {
        let text = name.as_str();
        NOT_PASSED.contains(name)
            || text.starts_with("valetkey-")
            || (!answered.cookies && (**name == header::SET_COOKIE || text == "set-cookie2"))
            || (!answered.tunnel && **name == header::UPGRADE)
            || (!answered.tunnel && **name == header::TRAILER)
            || (nominated.iter().any(|nominee| nominee == text) && !framing(name))
    };
    headers.keys().filter(unwanted).cloned().collect()
}

/// Framing is Pingora's; a nomination can't take it away.
fn framing(name: &HeaderName) -> bool {
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE, header::DATE]
        .contains(name)
}

/// `Cache-Control` for an answer to one caller: no shared cache may keep it (RFC 9111 §5.2.2).
pub fn cache_control(headers: &HeaderMap) -> HeaderValue {
    let kept: Vec<&str> = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(directives)
        .filter(|directive| {
            let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
            !matches!(name.as_str(), "public" | "private" | "s-maxage" | "proxy-revalidate" | "")
        })
        .collect();
    let text = if kept.is_empty() { "private".to_owned() } else { format!("private, {}", kept.join(", ")) };
    HeaderValue::from_str(&text).unwrap_or(const { HeaderValue::from_static("private") })
}

/// The comma-separated directives of a value; commas in quotes don't count.
fn directives(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value
        .split(move |c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .map(str::trim)
}

/// What an answer that a browser might run gets on top: the upstream's markup must not act in Valetkey's origin.
pub fn markup_guard(status: StatusCode, headers: &HeaderMap) -> Option<[(HeaderName, HeaderValue); 2]> {
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return None;
    }
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let markup = match essence.as_deref() {
        None | Some("") => true,
        Some(kind) => {
            matches!(
                kind,
                "text/html" | "application/xhtml+xml" | "image/svg+xml" | "text/xml" | "application/xml" | "text/xsl"
            ) || kind.ends_with("+xml")
        }
    };
    markup.then_some([(header::CONTENT_SECURITY_POLICY, SANDBOX), (header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn names(dropped: Vec<HeaderName>) -> Vec<String> {
        let mut names: Vec<String> = dropped.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn the_callers_own_headers_stay_here() {
        let request = headers(&[
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("valetkey-scopes", "a"),
            ("x-forwarded-anything", "1"),
            ("cookie", "a=b"),
            ("proxy-foo", "1"),
            ("accept", "*/*"),
            ("x-custom", "1"),
        ]);
        let key = HeaderName::from_static("x-api-key");
        let dropped = names(request_headers_to_drop(&request, [&header::AUTHORIZATION, &key]));
        assert_eq!(
            dropped,
            ["authorization", "cookie", "proxy-foo", "valetkey-scopes", "x-api-key", "x-forwarded-anything"]
        );
    }

    #[test]
    fn answers_lose_what_reaches_beyond_them() {
        let answer = headers(&[
            ("connection", "x-hop, content-length"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("set-cookie", "a=b"),
            ("upgrade", "h2c"),
            ("nel", "x"),
            ("valetkey-status", "forged"),
            ("etag", "x"),
        ]);
        let dropped = |cookies, tunnel| names(response_headers_to_drop(&answer, Answered { cookies, tunnel }));
        assert_eq!(dropped(false, false), ["nel", "set-cookie", "upgrade", "valetkey-status", "x-hop"]);
        assert_eq!(dropped(true, true), ["nel", "valetkey-status", "x-hop"]);
    }

    #[test]
    fn no_shared_cache_may_keep_an_answer() {
        for (upstream, expected) in [
            ("", "private"),
            ("public, max-age=60, s-maxage=600", "private, max-age=60"),
            ("no-store", "private, no-store"),
            ("private=\"x, y\", immutable", "private, immutable"),
            ("max-age=1, proxy-revalidate", "private, max-age=1"),
        ] {
            assert_eq!(cache_control(&headers(&[("cache-control", upstream)])), expected, "{upstream}");
        }
        assert_eq!(cache_control(&HeaderMap::new()), "private");
    }

    #[test]
    fn only_markup_is_put_in_a_sandbox() {
        for (kind, guarded) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/HTML", true),
            ("image/svg+xml", true),
            ("application/atom+xml", true),
            ("application/json", false),
            ("text/plain", false),
            ("text/event-stream", false),
        ] {
            assert_eq!(markup_guard(StatusCode::OK, &headers(&[("content-type", kind)])).is_some(), guarded, "{kind}");
        }
        assert!(markup_guard(StatusCode::OK, &HeaderMap::new()).is_some());
        assert!(markup_guard(StatusCode::NO_CONTENT, &HeaderMap::new()).is_none());
    }
}
