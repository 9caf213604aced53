//! Headers that must not pass, in both directions, and those that are added to answers. Pure functions on `http` types;
//! RFC 9110 §7.6.1 for hop-by-hop headers. Injection is `inject`'s, links are `rewrite`'s, and
//! the cookies of services that opted in to them are `cookies`'s.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
/// On every answer: the type that it names is the type that it has.
pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Whether a header of the client's request goes upstream, beside hop-by-hop headers, which Pingora strips, and the
/// credentials' own. A match on texts, which the compiler sorts by length: this is asked of every header.
fn is_sent(name: &str, in_trace: bool) -> bool {
    match name {
        // Who traces whom is nobody's business but the operator's.
        "traceparent" | "tracestate" | "baggage" => in_trace,
        "authorization" | "cookie" | "cookie2" | "forwarded" | "via" | "x-real-ip" | "keep-alive" => false,
        // They name another path than the one that was judged.
        "x-original-url" | "x-rewrite-url" | "x-override-url" => false,
        _ => !(name.starts_with("valetkey-") || name.starts_with("x-forwarded-") || name.starts_with("proxy-")),
    }
}

/// Whether a header of the upstream's answer would reach beyond this answer into the client's relation with Valetkey.
fn reaches_beyond(name: &str) -> bool {
    match name {
        "clear-site-data"
        | "strict-transport-security"
        | "alt-svc"
        | "service-worker-allowed"
        | "nel"
        | "report-to"
        | "public-key-pins"
        | "proxy-authenticate"
        | "proxy-connection"
        | "keep-alive" => true,
        _ => name.starts_with("valetkey-"),
    }
}

/// The headers of a request that don't go upstream. `credentials` are the headers that the service's own credentials
/// travel in: the client's are its own token, or nothing that an upstream should see. `replaced` will be overwritten. `in_trace`: the
/// upstream may know which trace it is part of. Allocates only where there is something to drop.
pub fn request_headers_to_drop(
    headers: &HeaderMap,
    credentials: [&HeaderName; 2],
    replaced: &[(Arc<HeaderName>, HeaderValue)],
    in_trace: bool,
) -> Vec<HeaderName> {
    let stays = |name: &HeaderName| replaced.iter().any(|(replaced, _)| **replaced == *name);
    let unwanted =
        |name: &&HeaderName| (!is_sent(name.as_str(), in_trace) || credentials.contains(name)) && !stays(name);
    headers.keys().filter(unwanted).cloned().collect()
}

/// What a response needs to know of the call it answers.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Whether `Set-Cookie` passes.
    pub cookies: bool,
    /// Whether this is a 101 whose `Upgrade` and `Connection` belong to the tunnel.
    pub tunnel: bool,
}

/// What a look at each header of an answer showed, in one pass.
#[derive(Debug, Default)]
pub struct Seen {
    /// Don't reach the client: hop-by-hop headers, those that `Connection` names, and those that speak for an origin which
    /// isn't the upstream's.
    pub drop: Vec<HeaderName>,
    /// There may be URLs to rewrite.
    pub urls: bool,
    /// There is a `Cache-Control`.
    pub cache_control: bool,
    /// There is a `Vary`.
    pub vary: bool,
    /// There is one content type, and it is none that a browser might run.
    pub tame: bool,
}

/// Looks at each header of an answer once.
pub fn look(headers: &HeaderMap, answered: Answered) -> Seen {
    let mut seen = Seen::default();
    let (mut nominated, mut tame) = (Vec::new(), None);
    for (name, value) in headers {
        let text = name.as_str();
        let unwanted = match text {
            "set-cookie" | "set-cookie2" => !answered.cookies,
            "upgrade" | "trailer" => !answered.tunnel,
            "connection" => {
                nominate(value, &mut nominated);
                false
            }
            "content-type" => {
                tame = Some(tame.is_none() && is_harmless(value));
                false
            }
            "cache-control" => {
                seen.cache_control = true;
                false
            }
            "vary" => {
                seen.vary = true;
                false
            }
            "location" | "content-location" | "link" => {
                seen.urls = true;
                false
            }
            _ => reaches_beyond(text),
        };
        if unwanted && !seen.drop.contains(name) {
            seen.drop.push(name.clone());
        }
    }
    for nominee in nominated {
        let named = headers.keys().find(|name| name.as_str() == nominee);
        seen.drop.extend(named.filter(|name| !framing(name)).cloned());
    }
    // A type that is taken out by a nomination is none.
    seen.tame = tame.unwrap_or(false) && !seen.drop.contains(&header::CONTENT_TYPE);
    seen
}

/// Takes out of an answer's trailers what must not reach the client as a header either, and the fields that RFC 9110 §6.5.1
/// keeps out of trailers: cookies, framing, and what decides how a body is read, cached or guarded.
pub fn scrub_trailers(trailers: &mut HeaderMap) {
    let unwanted = |name: &&HeaderName| {
        let text = name.as_str();
        framing(name) || reaches_beyond(text) || never_a_trailer(text)
    };
    let drop: Vec<HeaderName> = trailers.keys().filter(unwanted).cloned().collect();
    for name in drop {
        trailers.remove(name);
    }
}

fn never_a_trailer(name: &str) -> bool {
    matches!(
        name,
        "set-cookie"
            | "set-cookie2"
            | "connection"
            | "upgrade"
            | "trailer"
            | "location"
            | "content-location"
            | "link"
            | "refresh"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "content-security-policy"
            | "content-disposition"
            | "x-content-type-options"
            | "cache-control"
            | "expires"
            | "vary"
            | "www-authenticate"
    )
}

/// What a `Connection` header names, beside its two own words.
fn nominate(value: &HeaderValue, nominated: &mut Vec<String>) {
    if matches!(value.as_bytes(), b"keep-alive" | b"close") {
        return;
    }
    let names = value.to_str().unwrap_or_default().split(',').map(|name| name.trim().to_ascii_lowercase());
    nominated.extend(names);
}

/// Framing is Pingora's; a nomination can't take it away.
fn framing(name: &HeaderName) -> bool {
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE, header::DATE]
        .contains(name)
}

/// `Cache-Control` for an answer to one caller that had none.
pub const PRIVATE: HeaderValue = HeaderValue::from_static("private");

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
    HeaderValue::from_str(&text).unwrap_or(PRIVATE)
}

/// Whether no cache at all may keep an answer.
pub fn is_no_store(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(directives).any(|directive| directive.eq_ignore_ascii_case("no-store"))
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

/// What an answer that a browser might run gets on top: the upstream's markup must not act in Valetkey's origin. `tame`
/// is what [`look`] saw of its type.
pub fn markup_guard(status: StatusCode, tame: bool) -> Option<HeaderValue> {
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    (!tame && !bodiless).then_some(SANDBOX)
}

/// Whether no browser runs a body of this type. A list of what is known to be harmless: browsers sniff, take the last of
/// several types, and make something of types that are none.
fn is_harmless(content_type: &HeaderValue) -> bool {
    const HARMLESS: [&[u8]; 7] = [
        b"application/json",
        b"application/octet-stream",
        b"application/grpc",
        b"application/x-ndjson",
        b"text/plain",
        b"text/event-stream",
        b"text/csv",
    ];
    const FAMILIES: [&[u8]; 4] = [b"image/", b"audio/", b"video/", b"application/grpc+"];
    let bytes = content_type.as_bytes();
    let end = bytes.iter().position(|byte| *byte == b';').unwrap_or(bytes.len());
    let kind = bytes[..end].trim_ascii();
    let starts = |family: &[u8]| kind.len() > family.len() && kind[..family.len()].eq_ignore_ascii_case(family);
    let ends = |end: &[u8]| kind.len() > end.len() && kind[kind.len() - end.len()..].eq_ignore_ascii_case(end);
    let known = HARMLESS.iter().any(|harmless| kind.eq_ignore_ascii_case(harmless))
        || ends(b"+json")
        || FAMILIES.iter().any(|family| starts(family)) && !ends(b"+xml");
    known && bytes.is_ascii() && !bytes.contains(&b',')
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
        let dropped = |replaced| {
            let replaced = [(Arc::new(replaced), HeaderValue::from_static("t"))];
            names(request_headers_to_drop(&request, [&header::AUTHORIZATION, &key], &replaced, true))
        };
        assert_eq!(dropped(key.clone()).len(), 5, "what is set anyway need not be dropped");
        assert_eq!(
            dropped(header::ACCEPT_RANGES),
            ["authorization", "cookie", "proxy-foo", "valetkey-scopes", "x-api-key", "x-forwarded-anything"]
        );
    }

    #[test]
    fn a_trace_is_nobodys_business_unless_the_operator_says_so() {
        let request =
            headers(&[("traceparent", "00"), ("tracestate", "a=b"), ("baggage", "user=ada"), ("accept", "*/*")]);
        let dropped = |in_trace| names(request_headers_to_drop(&request, [&header::AUTHORIZATION; 2], &[], in_trace));
        assert_eq!(dropped(false), ["baggage", "traceparent", "tracestate"]);
        assert_eq!(dropped(true), Vec::<String>::new());
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
        let dropped = |cookies, tunnel| names(look(&answer, Answered { cookies, tunnel }).drop);
        assert_eq!(dropped(false, false), ["nel", "set-cookie", "upgrade", "valetkey-status", "x-hop"]);
        assert_eq!(dropped(true, true), ["nel", "valetkey-status", "x-hop"]);
    }

    #[test]
    fn trailers_say_nothing_that_a_header_may_not_and_nothing_that_belongs_before_a_body() {
        let mut trailers = headers(&[
            ("grpc-status", "0"),
            ("server-timing", "x"),
            ("set-cookie", "a=b"),
            ("valetkey-status", "forged"),
            ("alt-svc", "x"),
            ("content-type", "text/html"),
            ("content-length", "1"),
            ("cache-control", "public"),
        ]);
        scrub_trailers(&mut trailers);
        assert_eq!(names(trailers.keys().cloned().collect()), ["grpc-status", "server-timing"]);
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
    fn all_but_plainly_harmless_types_are_put_in_a_sandbox() {
        for (kind, guarded) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/HTML", true),
            ("image/svg+xml", true),
            ("application/atom+xml", true),
            ("application/json, text/html", true),
            ("application/json; a=b, text/html", true),
            ("unknown/unknown", true),
            ("application/unknown", true),
            ("*/*", true),
            ("text", true),
            ("multipart/x-mixed-replace", true),
            ("application/json", false),
            ("application/problem+json; charset=utf-8", false),
            ("Text/Plain", false),
            ("image/png", false),
            ("application/grpc+proto", false),
            ("text/event-stream", false),
            ("", true),
            (" ; charset=utf-8", true),
        ] {
            let seen = look(&headers(&[("content-type", kind)]), Answered { cookies: false, tunnel: false });
            assert_eq!(markup_guard(StatusCode::OK, seen.tame).is_some(), guarded, "{kind}");
        }
        let tame = |lines| look(&headers(lines), Answered { cookies: false, tunnel: false }).tame;
        assert!(!tame(&[]));
        assert!(!tame(&[("connection", "content-type"), ("content-type", "application/json")]), "it is taken out");
        assert!(markup_guard(StatusCode::NO_CONTENT, false).is_none());
    }

    #[test]
    fn no_store_is_known_in_any_case() {
        assert!(is_no_store(&headers(&[("cache-control", "max-age=0, No-Store")])));
        assert!(!is_no_store(&headers(&[("cache-control", "max-age=9")])));
    }
}
