//! The cookies of a service that opted in to them, both ways: the upstream's are mended so that a client sends them back to
//! this service only, and of the client's only those go upstream that are nobody's proof of who is calling. Pure.

use http::{HeaderMap, HeaderValue, header};

use crate::provider::BaseUrl;

/// Where an answer's cookies come from, and where the client is to send them.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The upstream's base URL.
    pub base: &'a BaseUrl,
    /// `/proxy/{service}[@{account}]`, without a trailing slash.
    pub proxied: &'a str,
    /// The request's path below both.
    pub path: &'a str,
}

/// A `Set-Cookie` as the client may have it. `None`: it would set a cookie that is Valetkey's own, or the application's
/// proof of who its user is, which is called `session`.
pub fn mended(value: &HeaderValue, place: Place<'_>, session: Option<&str>) -> Option<HeaderValue> {
    let mut parts = value.as_bytes().split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    if is_private(pair, session) {
        return None;
    }
    let mut out = pair.trim_ascii().to_vec();
    let mut path = None;
    for part in parts {
        let (name, value) = halves(part);
        if name.eq_ignore_ascii_case(b"path") {
            // The last one counts (RFC 6265 §5.3).
            path = Some(value);
        } else if !name.is_empty() && !name.eq_ignore_ascii_case(b"domain") {
            // The upstream's domain isn't this host's: a cookie without one is sent back to where it came from.
            out.extend_from_slice(b"; ");
            out.extend_from_slice(part.trim_ascii());
        }
    }
    out.extend_from_slice(b"; Path=");
    out.extend_from_slice(place.proxied.as_bytes());
    match path.filter(|path| path.starts_with(b"/")) {
        Some(path) => out.extend_from_slice(place.below(path)),
        None => out.extend_from_slice(place.directory()),
    }
    HeaderValue::from_bytes(&out).ok()
}

/// The `Cookie` header that goes upstream: the client's cookies but for Valetkey's own and the one called `session`. `None`
/// where nothing is left.
pub fn for_upstream(headers: &HeaderMap, session: Option<&str>) -> Option<HeaderValue> {
    let mut out = Vec::new();
    // HTTP/2 may bring each in a header of its own (RFC 9113 §8.2.3).
    for line in headers.get_all(header::COOKIE) {
        for pair in line.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
            if pair.is_empty() || is_private(pair, session) {
                continue;
            }
            if !out.is_empty() {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(pair);
        }
    }
    let mut value = HeaderValue::from_bytes(&out).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether `name=value` is one of the cookies that Valetkey's own pages go by, or the application's proof.
fn is_private(pair: &[u8], session: Option<&str>) -> bool {
    const OWN: [&[u8]; 2] = [b"valetkey-browser", b"valetkey-session"];
    // Some browsers store a cookie without a name so that it is sent back like one with it.
    let pair = pair.trim_ascii_start();
    let (name, _) = halves(pair.strip_prefix(b"=").unwrap_or(pair));
    let bare = match name.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"__host-") => &name[7..],
        _ => name,
    };
    OWN.iter().any(|own| bare.eq_ignore_ascii_case(own))
        || session.is_some_and(|session| name.eq_ignore_ascii_case(session.as_bytes()))
}

/// What stands before the first `=` and after it, without spaces around.
fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
        None => (pair.trim_ascii(), b""),
    }
}

impl<'a> Place<'a> {
    /// What of an upstream's cookie path lies below the base. Empty for a path outside: the client has no other way there
    /// than through this service, so the cookie is for all of it.
    fn below<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        match path.strip_prefix(self.base.path().as_bytes()) {
            // The base's own root is that of the service, also for `/proxy/crm` without a slash.
            Some(b"/") | None => b"",
            Some(rest) if rest.starts_with(b"/") => rest,
            Some(_) => b"",
        }
    }

    /// The path of a cookie that names none (RFC 6265 §5.1.4), said outright: the client would take that of
    /// `/proxy/crm` to be `/proxy`, and send the cookie to every service.
    fn directory(&self) -> &'a [u8] {
        // A semicolon would begin another attribute.
        let path = self.path.split(';').next().unwrap_or_default();
        &path.as_bytes()[..path.rfind('/').unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cookie: &'static str, base: &str, path: &str) -> Option<String> {
        let base = BaseUrl::parse(base, false).unwrap();
        let place = Place { base: &base, proxied: "/proxy/crm@work", path };
        let mended = mended(&HeaderValue::from_static(cookie), place, Some("app"))?;
        Some(mended.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_services_cookie_is_for_that_service_only() {
        for (cookie, expected) in [
            ("s=1; path=/; HttpOnly", "s=1; HttpOnly; Path=/proxy/crm@work"),
            ("s=1; Path=/api", "s=1; Path=/proxy/crm@work"),
            ("s=1; Path=/api/", "s=1; Path=/proxy/crm@work"),
            ("s=1;PATH = /api/x/y ;Secure", "s=1; Secure; Path=/proxy/crm@work/x/y"),
            ("s=1; Path=/x", "s=1; Path=/proxy/crm@work"),
            ("s=1; Path=/apis/x", "s=1; Path=/proxy/crm@work"),
            ("s=1; Path=/api/a; Path=/api/b", "s=1; Path=/proxy/crm@work/b"),
            ("s=1; Domain=.example.com; SameSite=None", "s=1; SameSite=None; Path=/proxy/crm@work/a"),
            ("s=\"a=b\"; Path=; Max-Age=9", "s=\"a=b\"; Max-Age=9; Path=/proxy/crm@work/a"),
            ("path=/; domain=x", "path=/; Path=/proxy/crm@work/a"),
        ] {
            assert_eq!(set(cookie, "https://api.example.com/api", "/a/b").as_deref(), Some(expected), "{cookie}");
        }
        assert_eq!(
            set("s=1; Path=/x", "https://api.example.com", "/").as_deref(),
            Some("s=1; Path=/proxy/crm@work/x"),
            "a base without a path"
        );
        for root in ["/", "/a", "/a;Domain=x/b"] {
            assert_eq!(set("s=1", "https://api.example.com", root).as_deref(), Some("s=1; Path=/proxy/crm@work"));
        }
    }

    #[test]
    fn no_service_sets_a_cookie_of_ours_or_the_applications_proof() {
        for (cookie, own) in [
            ("__Host-valetkey-session=x; Path=/; Secure", true),
            ("valetkey-browser = x", true),
            ("=__Host-valetkey-session=x", true),
            ("App=x", true),
            ("SAP_SESSIONID=s1; path=/", false),
            ("valetkey-sessions=x", false),
            ("application=x", false),
        ] {
            assert_eq!(set(cookie, "https://api.example.com", "/").is_none(), own, "{cookie}");
        }
    }

    #[test]
    fn what_proves_who_is_calling_does_not_go_upstream() {
        let upstream = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            for_upstream(&headers, Some("app")).map(|value| value.to_str().unwrap().to_owned())
        };
        let ours = "valetkey-session=s; __Host-valetkey-browser=b;app=jwt";
        assert_eq!(upstream(&[]), None);
        assert_eq!(upstream(&[ours, ""]), None);
        assert_eq!(
            upstream(&["a=1; =valetkey-session=x", ours, "b=\"2=3\";  c"]).as_deref(),
            Some("a=1; b=\"2=3\"; c")
        );
    }
}
