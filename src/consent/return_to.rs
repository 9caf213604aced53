//! `ReturnTo`: a place that a browser may be sent to, checked against the operator's list. Exact origin, path prefix that
//! ends at a segment's border, nothing that two readers of a URL could read differently.

use std::fmt;

use url::Url;

/// Longest `return_to`, in bytes.
const MAX: usize = 2048;
/// What Valetkey adds; taken out of what comes in, so that nobody else can say it.
const OURS: [&str; 2] = ["connected", "error"];

/// A URL on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(Url);

/// Why a `return_to` is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No absolute URL, or one that could be read in two ways.
    #[error("return_to is not a well-formed absolute URL")]
    Malformed,
    /// Not on the operator's list.
    #[error("return_to is not on the list in connect.return_to")]
    NotAllowed,
}

impl ReturnTo {
    /// Checks a URL against the list.
    ///
    /// # Errors
    /// Where it isn't well formed or on the list.
    pub fn parse(text: &str, allowed: &[Url]) -> Result<Self, Refused> {
        // The URL standard drops tabs and line breaks and takes `\` for `/`: what needs that is not meant honestly.
        let odd = |c: char| c.is_control() || c == '\\' || c == ' ';
        if text.len() > MAX || text.contains(odd) {
            return Err(Refused::Malformed);
        }
        let url = Url::parse(text).map_err(|_| Refused::Malformed)?;
        let plain = matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && !authority(text).contains('@');
        if !plain {
            return Err(Refused::Malformed);
        }
        if allowed.iter().any(|entry| entry.origin() == url.origin() && below(entry.path(), url.path())) {
            Ok(Self(url))
        } else {
            Err(Refused::NotAllowed)
        }
    }

    /// The URL with what Valetkey has to say: `connected={service}`, `error={code}`, `code={code}`. What a URL came in with
    /// under those names is dropped.
    pub fn with(&self, news: &[(&str, &str)]) -> Url {
        let mut url = self.0.clone();
        let ours = |name: &str| OURS.contains(&name) || news.iter().any(|(own, _)| *own == name);
        if url.query_pairs().any(|(name, _)| ours(&name)) {
            let kept: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(name, _)| !ours(name))
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
        url.query_pairs_mut().extend_pairs(news);
        url
    }

    /// Its origin, as policies name it.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// What lies between `://` and the path, as written: the URL standard forgets an empty `user@`.
fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// Whether `path` is `prefix` or lies below it. Both have been through the URL standard, so no `..` is left; an encoded
/// slash could hide one from us and show it to the application, so below a narrowed prefix it is refused.
fn below(prefix: &str, path: &str) -> bool {
    if prefix == "/" {
        return true;
    }
    let lower = path.to_ascii_lowercase();
    if lower.contains("%2f") || lower.contains("%5c") {
        return false;
    }
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ReturnTo, Refused> {
        let allowed = [
            "https://app.example.com/",
            "https://other.example/app",
            "https://third.example/app/",
            "http://localhost:3000/",
        ];
        ReturnTo::parse(text, &allowed.map(|url| Url::parse(url).unwrap()))
    }

    #[test]
    fn only_listed_origins_and_prefixes_are_followed() {
        for good in [
            "https://app.example.com",
            "https://app.example.com/a/b?c=d#e",
            "https://APP.example.com:443/",
            "https://other.example/app",
            "https://other.example/app/x",
            "https://other.example/app?x",
            "https://third.example/app/x",
            "http://localhost:3000/done",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "https://app.example.com.evil.example/",
            "https://app.example.com@evil.example/",
            "https://user@app.example.com/",
            "https://@app.example.com/",
            "https://app.example.com:8443/",
            "http://app.example.com/",
            "//app.example.com/",
            "/dashboard",
            "javascript:alert(1)",
            "data:text/html,x",
            "https:\\\\app.example.com/",
            "https://evil.example\\@app.example.com/",
            "https://app.example.com/\r\nSet-Cookie: x",
            "https://app.exam\tple.com/",
            " https://app.example.com/",
            "https://other.example/application",
            "https://other.example/app/../admin",
            "https://other.example/app/%2e%2e/admin",
            "https://other.example/app/..%2fadmin",
            "https://other.example/app/..%5Cadmin",
            "https://other.example/",
            "https://third.example/app",
            "http://localhost:3001/",
            "ftp://app.example.com/",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("https://app.example.com/{}", "a".repeat(MAX))).is_err());
    }

    #[test]
    fn only_valetkey_says_what_was_connected() {
        let url = parse("https://app.example.com/x?a=1&connected=bank&error=no#top").unwrap();
        assert_eq!(url.with(&[("connected", "github")]).as_str(), "https://app.example.com/x?a=1&connected=github#top");
        let url = parse("https://app.example.com/x?a=%20b").unwrap();
        assert_eq!(
            url.with(&[("error", "access_denied")]).as_str(),
            "https://app.example.com/x?a=%20b&error=access_denied"
        );
    }
}
