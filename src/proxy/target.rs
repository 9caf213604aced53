//! The request target, read as the bytes that came: which door of Valetkey it means, and for the proxy which service,
//! account and path. Pure, and the same bytes that are checked here are the ones that go upstream: nothing is decoded and
//! encoded again, so there is no second reading to differ from the first (CONTRACT §2 and §7 "Paths").

use crate::id::{Account, ServiceName};

/// Where a request wants to go.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/proxy/{service}[@{account}]/…`.
    Proxy {
        /// The service's name as it was written; it may be unknown.
        service: Option<ServiceName>,
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
const ODD: Malformed = "The path holds characters that must be percent-encoded";

/// Reads a request target in origin form.
///
/// # Errors
/// Where it is of another form, holds raw control or non-ASCII bytes, or its path could leave the service's base URL.
pub fn parse(raw: &[u8]) -> Result<Target<'_>, Malformed> {
    if raw.iter().any(|byte| !(0x21..=0x7e).contains(byte) || *byte == b'#') {
        return Err(ODD);
    }
    let text = std::str::from_utf8(raw).map_err(|_| ODD)?;
    if !text.starts_with('/') {
        return Err("Only targets that begin with a slash are served");
    }
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let Some(rest) = path.strip_prefix("/proxy/") else {
        return if path == "/proxy" { Ok(unnamed(path, query)) } else { Ok(Target::Own) };
    };
    let name_end = rest.find('/').unwrap_or(rest.len());
    let (name, below) = rest.split_at(name_end);
    let (service, account) = match name.split_once('@') {
        Some((service, account)) => {
            let account = Account::parse(account).map_err(|_| "The account in the path is malformed")?;
            (service, Some(account))
        }
        None => (name, None),
    };
    stays_below(below)?;
    let prefix = &path[..path.len() - below.len()];
    Ok(Target::Proxy { service: ServiceName::parse(service).ok(), account, prefix, path: below, query })
}

fn unnamed<'a>(path: &'a str, query: Option<&'a str>) -> Target<'a> {
    Target::Proxy { service: None, account: None, prefix: path, path: "", query }
}

/// Whether no reading of this path, decoded once, climbs out of the prefix that it is appended to.
fn stays_below(path: &str) -> Result<(), Malformed> {
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

/// The target to send upstream: the base's path prefix, the path, the query, byte for byte.
pub fn upstream(base: &str, path: &str, query: Option<&str>) -> String {
    let path = if path.is_empty() && base.is_empty() { "/" } else { path };
    // "/proxy/crm" and "/proxy/crm/" are base_url itself; below an empty prefix, "//x" would name a host to some readers.
    let path = match path {
        "/" if !base.is_empty() => "",
        path if base.is_empty() && path.starts_with("//") => path.trim_start_matches('/'),
        path => path,
    };
    let mut target = String::with_capacity(base.len() + path.len() + query.map_or(0, |query| query.len() + 1) + 1);
    target.push_str(base);
    if base.is_empty() && !path.starts_with('/') {
        target.push('/');
    }
    target.push_str(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(raw: &str) -> (String, Option<String>, String, Option<String>) {
        match parse(raw.as_bytes()) {
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
            assert!(parse(format!("/proxy/crm{path}").as_bytes()).is_err(), "{path}");
        }
    }

    #[test]
    fn odd_targets_are_refused() {
        for raw in [
            &b"http://evil/proxy/x"[..],
            b"*",
            b"",
            b"/proxy/crm/\xc3\xa4",
            b"/proxy/crm/a#b",
            b"/proxy/crm/a b",
            b"/proxy/crm@/x",
            b"/proxy/crm@a%40b/x",
        ] {
            assert!(parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn names_that_are_no_service_are_unknown_not_guessed() {
        for raw in
            ["/proxy", "/proxy/", "/proxy//evil", "/proxy/svc.evil/", "/proxy/svc:80/", "/proxy/Sv/", "/proxy/sv%63/"]
        {
            assert!(matches!(parse(raw.as_bytes()), Ok(Target::Proxy { service: None, .. })), "{raw}");
        }
        assert_eq!(parse(b"/proxyx/a"), Ok(Target::Own));
        assert_eq!(parse(b"/connect/github?ticket=a"), Ok(Target::Own));
    }

    #[test]
    fn the_upstream_target_is_base_path_and_query() {
        for (base, path, query, expected) in [
            ("/api", "", None, "/api"),
            ("/api", "/", None, "/api"),
            ("/api", "/x", Some("a"), "/api/x?a"),
            ("", "", None, "/"),
            ("", "/", Some(""), "/?"),
            ("", "//evil", None, "/evil"),
            ("/api", "//x", None, "/api//x"),
        ] {
            assert_eq!(upstream(base, path, query), expected);
        }
    }
}
