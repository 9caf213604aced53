//! The request target, read once as the bytes that came: which door of Valetkey it means, and for the proxy which service,
//! account and path. Pure, and the same bytes that are checked here are the ones that go upstream: nothing is decoded and
//! encoded again, so there is no second reading to differ from the first.

use bytes::Bytes;
use bytestring::ByteString;
use memchr::{memchr, memchr2};

use crate::{
    id::{Account, ServiceName},
    operation::{NeverSent, Path},
    provider::BaseUrl,
};

/// Where a request wants to go.
#[derive(Debug)]
pub enum Target {
    /// To a service.
    Proxy(Proxied),
    /// Anywhere else: Valetkey's own pages and JSON.
    Own,
}

/// A target `/proxy/{service}[@{account}]/…`.
#[derive(Debug)]
pub struct Proxied {
    /// What follows service and account, up to the query, within all that came.
    path: Path,
    /// Where the service's name ends; where none can have this name, as if it were empty.
    name_end: usize,
    account: Option<Account>,
}

/// A target that is refused, in a sentence for its sender.
pub type Malformed = &'static str;

/// Before a service's name.
const PROXY: &str = "/proxy/";
/// What is said of a target that isn't ASCII, whose bytes aren't even text, or that can't be written where it should go.
pub const ODD: Malformed = "The path or query holds characters that must be percent-encoded";

impl Target {
    /// Reads a request target in origin form.
    ///
    /// # Errors
    /// Where it is of another form, holds raw control or non-ASCII bytes, or its path could leave the service's base URL.
    pub fn parse(raw: ByteString) -> Result<Self, Malformed> {
        // Folds take many bytes at a time, where `any` looks at one after the other.
        if raw.bytes().fold(false, |odd, byte| odd | !(0x21..=0x7e).contains(&byte) | (byte == b'#')) {
            return Err(ODD);
        }
        if !raw.starts_with('/') {
            return Err("Only targets that begin with a slash are served");
        }
        let end = memchr(b'?', raw.as_bytes()).unwrap_or(raw.len());
        let Some(rest) = raw[..end].strip_prefix(PROXY) else {
            let unnamed = &raw[..end] == PROXY.trim_end_matches('/');
            return if unnamed { Proxied::target(raw, end, None, end..end) } else { Ok(Self::Own) };
        };
        let name_end = rest.bytes().position(|byte| byte == b'/').unwrap_or(rest.len());
        let name = &rest[..name_end];
        let (name, account) = match name.bytes().position(|byte| byte == b'@') {
            Some(at) => {
                let account = Account::parse(&name[at + 1..]).map_err(|_| "The account in the path is malformed")?;
                (&name[..at], Some(account))
            }
            None => (name, None),
        };
        let name_length = if ServiceName::is_well_formed(name) { name.len() } else { 0 };
        Proxied::target(raw, PROXY.len() + name_length, account, PROXY.len() + name_end..end)
    }
}

impl Proxied {
    fn target(
        raw: ByteString,
        name_end: usize,
        account: Option<Account>,
        path: std::ops::Range<usize>,
    ) -> Result<Target, Malformed> {
        let leaves = |_: NeverSent| "The path could leave the service's base URL";
        Ok(Target::Proxy(Self { path: Path::within(raw, path).map_err(leaves)?, name_end, account }))
    }

    fn raw(&self) -> &ByteString {
        self.path.text()
    }

    /// The service's name as it was written, if one can have it; it may be unknown.
    pub fn service(&self) -> Option<&str> {
        self.raw().get(PROXY.len()..self.name_end).filter(|name| !name.is_empty())
    }

    /// The account.
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// `@account` as it came, for URLs that lead back; empty where none was named.
    pub fn form(&self) -> &str {
        &self.raw()[self.name_end..self.path.range().start]
    }

    /// The path below `base_url`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path and query as they came.
    pub fn below(&self) -> &str {
        &self.raw()[self.path.range().start..]
    }

    /// The target to send upstream: the base's path prefix, the path, the query, byte for byte.
    pub fn upstream(&self, base: &BaseUrl) -> Bytes {
        let below = self.below();
        let (path, query) = below.split_at(self.path.range().len());
        let prefix = base.path();
        if prefix.is_empty() && path.len() > 1 && !path.starts_with("//") {
            return self.raw().slice_ref(below).into_bytes();
        }
        let mut target = String::with_capacity(prefix.len() + path.len() + query.len() + 1);
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
        target.push_str(query);
        target.into()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<Target, Malformed> {
        Target::parse(raw.into())
    }

    fn target(raw: &str) -> Proxied {
        match parse(raw) {
            Ok(Target::Proxy(target)) => target,
            other => panic!("{raw}: {other:?}"),
        }
    }

    /// Service, account, path and query.
    fn proxied(raw: &str) -> (String, Option<String>, String, Option<String>) {
        let target = target(raw);
        let (path, query) = target.below().split_at(target.path.range().len());
        let service = target.service().unwrap_or_else(|| panic!("{raw}")).to_owned();
        let query = query.strip_prefix('?').map(str::to_owned);
        (service, target.account().map(ToString::to_string), path.to_owned(), query)
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
    fn urls_that_lead_back_name_the_account_as_it_came() {
        for (raw, form) in [("/proxy/crm", ""), ("/proxy/crm/a@b", ""), ("/proxy/crm@work?a", "@work")] {
            assert_eq!(target(raw).form(), form, "{raw}");
        }
        assert_eq!(target("/proxy/crm?a").path().as_str(), "/", "a path has its slash whenever it is judged");
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
            assert_eq!(target(raw).service(), None, "{raw}");
        }
        assert!(matches!(parse("/proxyx/a"), Ok(Target::Own)));
        assert!(matches!(parse("/connect/github?ticket=a"), Ok(Target::Own)));
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
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            assert_eq!(target(&format!("/proxy/crm{path}{query}")).upstream(&base), expected);
        }
    }

    #[test]
    fn the_target_of_a_request_line_is_taken_as_it_came() {
        assert_eq!(of_request_line(b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"), b"/a#b");
        assert_eq!(of_request_line(b"\r\nGET /a b HTTP/1.1\r\n"), b"/a b");
        assert_eq!(of_request_line(b"GET"), b"");
    }
}
