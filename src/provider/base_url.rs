//! Where a service's API lies, taken apart once so that no byte of a request can move it.

use url::Url;

use crate::config::{
    Finding,
    urls::{self, PlainHttp, UrlRule},
};

/// An API's origin and path prefix, from configuration only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl BaseUrl {
    /// Takes a URL apart that was checked to be an `http` or `https` one without a query.
    pub fn of(url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        Self { tls: url.scheme() == "https", host, port, authority, path: url.path().to_owned() }
    }

    /// Parses an `https` URL, or an `http` one on loopback or where the operator allows it.
    ///
    /// # Errors
    /// What is wrong with it, without the URL's own text.
    pub fn parse(text: &str, allow_plain_http: bool) -> Result<Self, Vec<Finding>> {
        let plain_http = if allow_plain_http { PlainHttp::Allowed } else { PlainHttp::LoopbackUnlessAllowed };
        urls::parse(text, UrlRule { plain_http, query: false }).map(|url| Self::of(&url))
    }

    /// Whether TLS is spoken there.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The host's name or address, lower case, IPv6 in brackets: TLS server name and address to connect to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What goes into `Host`: without the port where it is the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path prefix: empty, or with a leading and without a trailing slash.
    pub fn path(&self) -> &str {
        self.path.trim_end_matches('/')
    }

    /// The path as it was configured, at least a slash.
    pub fn whole_path(&self) -> &str {
        &self.path
    }

    /// The whole, without a trailing slash.
    pub fn as_text(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path())
    }

    /// What of an absolute URL's path lies below this base: same scheme, host and port, and the prefix up to a segment's
    /// border. The result is empty or begins with a slash. `None` for what lies elsewhere.
    pub fn below<'u>(&self, url: &'u Url) -> Option<&'u str> {
        let same_origin = url.scheme() == if self.tls { "https" } else { "http" }
            && url.host_str() == Some(self.host.as_str())
            && url.port_or_known_default() == Some(self.port)
            && url.username().is_empty()
            && url.password().is_none();
        let rest = url.path().strip_prefix(self.path())?;
        (same_origin && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_taken_apart() {
        let base = BaseUrl::parse("https://API.example.com:8443/v3/", false).unwrap();
        assert_eq!(
            (base.tls(), base.host(), base.port(), base.authority(), base.path()),
            (true, "api.example.com", 8443, "api.example.com:8443", "/v3")
        );
        let base = BaseUrl::parse("https://api.example.com:443", false).unwrap();
        assert_eq!((base.port(), base.authority(), base.path()), (443, "api.example.com", ""));
        let base = BaseUrl::parse("http://[::1]:9000/", false).unwrap();
        assert_eq!((base.tls(), base.host(), base.authority()), (false, "[::1]", "[::1]:9000"));
        assert_eq!(base.as_text(), "http://[::1]:9000");
    }

    #[test]
    fn plain_http_is_for_loopback_unless_allowed() {
        for fine in ["http://localhost:1/", "http://127.0.0.1", "http://[::1]/x", "http://api.localhost"] {
            assert!(BaseUrl::parse(fine, false).is_ok(), "{fine}");
        }
        for bad in ["http://10.0.0.1", "http://example.com", "http://localhost.example.com", "http://127.0.0.1.nip.io"]
        {
            assert!(BaseUrl::parse(bad, false).is_err(), "{bad}");
            assert!(BaseUrl::parse(bad, true).is_ok(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_plain_base_is_refused() {
        for bad in ["", "api.example.com", "ftp://x/", "https://u@h/", "https://u:p@h/", "https://h/?q", "https://h/#f"]
        {
            assert!(BaseUrl::parse(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_same_origin_and_prefix_lie_below() {
        let base = BaseUrl::parse("https://api.example.com/v3", false).unwrap();
        let below = |text: &str| Url::parse(text).unwrap();
        assert_eq!(base.below(&below("https://api.example.com/v3/a?b")), Some("/a"));
        assert_eq!(base.below(&below("https://API.example.com:443/v3")), Some(""));
        for elsewhere in [
            "https://api.example.com/v33",
            "https://api.example.com/v3/../admin",
            "https://api.example.com:8443/v3/a",
            "http://api.example.com/v3/a",
            "https://api.example.com@evil.example/v3/a",
            "https://user@api.example.com/v3/a",
            "https://api.example.com.evil.example/v3/a",
        ] {
            assert_eq!(base.below(&below(elsewhere)), None, "{elsewhere}");
        }
    }
}
