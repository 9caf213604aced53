//! The request target, read as the bytes that came: which door of Valetkey it means, and for the proxy which service,
//! account and path. Pure, and the same bytes that are checked here are the ones that go upstream: nothing is decoded and
//! encoded again, so there is no second reading to differ from the first.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::{
    id::{Account, ServiceName},
    provider::BaseUrl,
};

/// Where a request wants to go.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/proxy/{service}[@{account}]/…`.
    Proxy {
        /// The service's name as it was written; it may be unknown.
        service: Option<&'a str>,
        /// The account in the path.
        account: Option<Account>,
        /// `/proxy/{service}[@{account}]`, for links back here.
        prefix: &'a str,
        /// What follows, empty or with its leading slash, without the query.
        path: &'a str,
        /// After the question mark, where there is one.
        query: Option<&'a str>,
    },
    /// Anything else: Valetkey's own pages and JSON.
    Own,
}

/// A target that is refused, in a sentence for its sender.
pub type Malformed = &'static str;

const LEAVES: Malformed = "The path could leave the service's base URL";
/// What is said of a target that isn't ASCII, whose bytes aren't even text, or that can't be written where it should go.
pub const ODD: Malformed = "The path or query holds characters that must be percent-encoded";

/// Reads a request target in origin form.
///
/// # Errors
/// Where it is of another form, holds raw control or non-ASCII bytes, or its path could leave the service's base URL.
pub fn parse(text: &str) -> Result<Target<'_>, Malformed> {
    // Folds take many bytes at a time, where `any` looks at one after the other.
    if text.bytes().fold(false, |odd, byte| odd | !(0x21..=0x7e).contains(&byte) | (byte == b'#')) {
        return Err(ODD);
    }
    if !text.starts_with('/') {
        return Err("Only targets that begin with a slash are served");
    }
    let (path, query) = match memchr(b'?', text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let Some(rest) = path.strip_prefix("/proxy/") else {
        return if path == "/proxy" { Ok(unnamed(path, query)) } else { Ok(Target::Own) };
    };
    let name_end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
    let (name, below) = rest.split_at(name_end);
    let (service, account) = match name.bytes().position(|byte| byte == b'@') {
        Some(at) => {
            let account = Account::parse(&name[at + 1..]).map_err(|_| "The account in the path is malformed")?;
            (&name[..at], Some(account))
        }
        None => (name, None),
    };
    stays_below(below)?;
    let prefix = &path[..path.len() - below.len()];
    let service = Some(service).filter(|name| ServiceName::is_well_formed(name));
    Ok(Target::Proxy { service, account, prefix, path: below, query })
}

/// The target in the first line of an HTTP/1 request's head, as it came: what Pingora makes of it has lost a fragment, and
/// has its spaces escaped.
pub fn of_request_line(head: &[u8]) -> &[u8] {
    let head = head.trim_ascii_start();
    let line = &head[..memchr2(b'\r', b'\n', head).unwrap_or(head.len())];
    let after_method = line.iter().position(|byte| *byte == b' ').map_or(&[][..], |at| &line[at + 1..]);
    let end = after_method.iter().rposition(|byte| *byte == b' ').unwrap_or(after_method.len());
    &after_method[..end]
}

fn unnamed<'a>(path: &'a str, query: Option<&'a str>) -> Target<'a> {
    Target::Proxy { service: None, account: None, prefix: path, path: "", query }
}

/// Whether no reading of this path, decoded once, climbs out of the prefix that it is appended to.
fn stays_below(path: &str) -> Result<(), Malformed> {
    if !path.bytes().fold(false, |seen, byte| seen | (byte == b'%') | (byte == b'.') | (byte == b'\\')) {
        return Ok(());
    }
    if path.contains('\\') {
        return Err(LEAVES);
    }
    for segment in path.split('/') {
        if !segment.contains(['%', '.']) {
            continue;
        }
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(segment).collect();
        if decoded.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\') {
            return Err(LEAVES);
        }
        // An encoded slash makes segments of its own for a server that decodes before it resolves.
        for part in decoded.split(|byte| *byte == b'/') {
            let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
            if matches!(name, b"." | b"..") {
                return Err(LEAVES);
            }
        }
    }
    Ok(())
}

/// The target to send upstream: the base's path prefix, the path, the query, byte for byte. `below` is what followed the
/// service's name as it came, path and query in one.
pub fn upstream<'a>(base: &BaseUrl, below: &'a str, path_length: usize) -> Cow<'a, str> {
    let (path, rest) = below.split_at(path_length);
    let prefix = base.path();
    if prefix.is_empty() && path.len() > 1 && !path.starts_with("//") {
        return Cow::Borrowed(below);
    }
    let query = rest.strip_prefix('?');
    let mut target = String::with_capacity(prefix.len() + path.len() + query.map_or(0, |query| query.len() + 1) + 1);
    if matches!(path, "" | "/") {
        // "/proxy/crm" and "/proxy/crm/" are base_url itself.
        target.push_str(base.whole_path());
    } else if prefix.is_empty() {
        // "//x" would name a host to some readers.
        target.push('/');
        target.push_str(path.trim_start_matches('/'));
    } else {
        target.push_str(prefix);
        target.push_str(path);
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Cow::Owned(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(raw: &str) -> (String, Option<String>, String, Option<String>) {
        match parse(raw) {
            Ok(Target::Proxy { service: Some(service), account, path, query, .. }) => (
                service.to_string(),
                account.map(|account| account.to_string()),
                path.to_owned(),
                query.map(str::to_owned),
            ),
            other => panic!("{raw}: {other:?}"),
        }
    }

    #[test]
    fn service_account_path_and_query_are_told_apart() {
        let case = |raw: &str| proxied(raw);
        assert_eq!(
            case("/proxy/github/repos/x?a=1&a=2"),
            ("github".into(), None, "/repos/x".into(), Some("a=1&a=2".into()))
        );
        assert_eq!(case("/proxy/crm@work/a"), ("crm".into(), Some("work".into()), "/a".into(), None));
        assert_eq!(case("/proxy/crm"), ("crm".into(), None, String::new(), None));
        assert_eq!(case("/proxy/crm/"), ("crm".into(), None, "/".into(), None));
        assert_eq!(case("/proxy/crm?"), ("crm".into(), None, String::new(), Some(String::new())));
    }

    #[test]
    fn encodings_are_left_alone() {
        for path in ["/a%2Fb", "/%252e%252e/x", "/a%20b+c", "/...", "/.a", "/a..b", "/x;y=1", "/%e4", "//x"] {
            let (_, _, rest, _) = proxied(&format!("/proxy/crm{path}"));
            assert_eq!(rest, path);
        }
    }

    #[test]
    fn paths_that_could_climb_out_are_refused() {
        for path in [
            "/..",
            "/../x",
            "/a/../b",
            "/.",
            "/./x",
            "/%2e%2e",
            "/%2E%2e/x",
            "/.%2e",
            "/..;",
            "/..;a=b/x",
            "/.;x",
            "/a%2f..%2fb",
            "/..%2f",
            "/%2e%2e%2f",
            "/..%5cx",
            "/a\\b",
            "/%5c..",
            "/%00",
            "/a%0d%0a",
            "/%7f",
            "/a%2F%2e%2E",
        ] {
            assert!(parse(&format!("/proxy/crm{path}")).is_err(), "{path}");
        }
    }

    #[test]
    fn odd_targets_are_refused() {
        for raw in [
            "http://evil/proxy/x",
            "*",
            "",
            "/proxy/crm/ä",
            "/proxy/crm/a#b",
            "/proxy/crm/a b",
            "/proxy/crm@/x",
            "/proxy/crm@a%40b/x",
        ] {
            assert!(parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn names_that_are_no_service_are_unknown_not_guessed() {
        for raw in
            ["/proxy", "/proxy/", "/proxy//evil", "/proxy/svc.evil/", "/proxy/svc:80/", "/proxy/Sv/", "/proxy/sv%63/"]
        {
            assert!(matches!(parse(raw), Ok(Target::Proxy { service: None, .. })), "{raw}");
        }
        assert_eq!(parse("/proxyx/a"), Ok(Target::Own));
        assert_eq!(parse("/connect/github?ticket=a"), Ok(Target::Own));
    }

    #[test]
    fn the_upstream_target_is_base_path_and_query() {
        for (base, path, query, expected) in [
            ("/api", "", None, "/api"),
            ("/api", "/", None, "/api"),
            ("/api/", "", None, "/api/"),
            ("/api/", "/x", None, "/api/x"),
            ("/api", "/x", Some("a"), "/api/x?a"),
            ("", "", None, "/"),
            ("", "/", Some(""), "/?"),
            ("", "//evil", None, "/evil"),
            ("", "/x", Some("a=/?b"), "/x?a=/?b"),
            ("/api", "//x", None, "/api//x"),
        ] {
            let base = BaseUrl::parse(&format!("https://api.example.com{base}"), false).unwrap();
            let below = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
            assert_eq!(upstream(&base, &below, path.len()), expected);
        }
    }

    #[test]
    fn the_target_of_a_request_line_is_taken_as_it_came() {
        assert_eq!(of_request_line(b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"), b"/a#b");
        assert_eq!(of_request_line(b"\r\nGET /a b HTTP/1.1\r\n"), b"/a b");
        assert_eq!(of_request_line(b"GET"), b"");
    }
}
