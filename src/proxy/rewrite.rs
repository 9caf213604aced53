//! URLs in an upstream's answers, made the proxy's own where they fall under a base URL that the caller reaches through the
//! same connection, so that pagination and redirects stay inside. `Location`, `Content-Location`, `Link`; pure. Nothing is
//! ever followed, and what lies elsewhere is left as it is.

use http::{HeaderName, HeaderValue, header};
use url::{Position, Url};

use crate::provider::BaseUrl;

/// The headers whose URLs are rewritten.
pub const REWRITTEN: [HeaderName; 3] = [header::LOCATION, header::CONTENT_LOCATION, header::LINK];

/// One base URL and the way to it through this proxy.
#[derive(Debug, Clone)]
pub struct Way<'a> {
    /// The upstream's.
    pub base: &'a BaseUrl,
    /// The proxy's, without a trailing slash: `http://127.0.0.1:8080/proxy/github@work`.
    pub proxied: String,
}

/// Rewrites one header's value. `path` is the request's below the base, `ways` begins with the called service's own; `None`:
/// it stays as it is.
pub fn value(name: &HeaderName, value: &HeaderValue, path: &str, ways: &[Way<'_>]) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let rewritten = if *name == header::LINK { links(text, path, ways)? } else { target(text, path, ways)? };
    HeaderValue::from_str(&rewritten).ok()
}

/// Each `<target>` of a `Link` header (RFC 8288 §3); parameters stay.
fn links(text: &str, path: &str, ways: &[Way<'_>]) -> Option<String> {
    let (mut out, mut rest, mut changed) = (String::with_capacity(text.len() + 32), text, false);
    let mut quoted = false;
    while let Some(at) = rest.find(['<', '"', '\\']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if from.starts_with('\\') {
            // In a quoted string it takes the next character's meaning away (RFC 9110 §5.6.4); elsewhere it has none.
            let end = if quoted { from.char_indices().nth(2).map_or(from.len(), |(at, _)| at) } else { 1 };
            out.push_str(&from[..end]);
            rest = &from[end..];
            continue;
        }
        if from.starts_with('"') || quoted {
            quoted ^= from.starts_with('"');
            out.push_str(&from[..1]);
            rest = &from[1..];
            continue;
        }
        let Some(end) = from.find('>') else { break };
        let reference = &from[1..end];
        out.push('<');
        match target(reference, path, ways) {
            Some(rewritten) => {
                changed = true;
                out.push_str(&rewritten);
            }
            None => out.push_str(reference),
        }
        out.push('>');
        rest = &from[end + 1..];
        continue;
    }
    if let Some(at) = rest.find('<').filter(|_| !quoted) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// One URL reference.
fn target(text: &str, path: &str, ways: &[Way<'_>]) -> Option<String> {
    let own = ways.first()?;
    // A backslash is a slash to browsers; nobody means one in a URL.
    if text.contains('\\') {
        return None;
    }
    if text.starts_with('/') && !text.starts_with("//") {
        return Some(root_relative(text, own, ways));
    }
    let absolute = if text.starts_with("//") {
        Url::parse(&format!("{}:{text}", if own.base.tls() { "https" } else { "http" })).ok()?
    } else {
        match Url::parse(text) {
            Ok(absolute) => absolute,
            Err(url::ParseError::RelativeUrlWithoutBase) => return relative(text, path, ways),
            Err(_) => return None,
        }
    };
    through(&absolute, tail(text), ways)
}

/// A root-relative target means the upstream's root, not the proxy's.
fn root_relative(text: &str, own: &Way<'_>, ways: &[Way<'_>]) -> String {
    let scheme = if own.base.tls() { "https" } else { "http" };
    let absolute = format!("{scheme}://{}{text}", own.base.authority());
    Url::parse(&absolute).ok().and_then(|url| through(&url, tail(text), ways)).unwrap_or(absolute)
}

/// A target relative to the request's own URL. Where that is the base itself, the proxy's may lack or have a slash that the
/// upstream's doesn't, and where the target climbs, the two climb to different places: it is resolved as the upstream's.
fn relative(text: &str, path: &str, ways: &[Way<'_>]) -> Option<String> {
    let own = ways.first()?;
    let step = &text[..text.len() - tail(text).len()];
    let climbs = step.to_ascii_lowercase().replace("%2e", ".").contains("..");
    let at_base = matches!(path, "" | "/");
    if step.is_empty() || !(at_base || climbs) {
        return None;
    }
    let scheme = if own.base.tls() { "https" } else { "http" };
    let requested = match at_base {
        true => format!("{scheme}://{}{}", own.base.authority(), own.base.whole_path()),
        false => format!("{}{path}", own.base.as_text()),
    };
    let absolute = Url::parse(&requested).ok()?.join(text).ok()?;
    let elsewhere = || format!("{}{}", &absolute[..Position::AfterPath], tail(text));
    Some(through(&absolute, tail(text), ways).unwrap_or_else(elsewhere))
}

/// The URL through the first way under which it falls; `tail` is its query and fragment as they were written.
fn through(url: &Url, tail: &str, ways: &[Way<'_>]) -> Option<String> {
    ways.iter().find_map(|way| {
        let below = way.base.below(url)?;
        Some(format!("{}{below}{tail}", way.proxied))
    })
}

/// Query and fragment, byte for byte.
fn tail(text: &str) -> &str {
    text.find(['?', '#']).map_or("", |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(name: &HeaderName, text: &str) -> Option<String> {
        answered("https://api.example.com/v3", "/a/b", name, text)
    }

    fn answered(base: &str, path: &str, name: &HeaderName, text: &str) -> Option<String> {
        let base = BaseUrl::parse(base, false).unwrap();
        let uploads = BaseUrl::parse("https://uploads.example.com", false).unwrap();
        let ways = [
            Way { base: &base, proxied: "http://127.0.0.1:8080/proxy/crm@work".into() },
            Way { base: &uploads, proxied: "http://127.0.0.1:8080/proxy/crm-uploads@work".into() },
        ];
        let value = value(name, &HeaderValue::from_str(text).unwrap(), path, &ways)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn urls_under_a_base_become_the_proxys() {
        for (from, to) in [
            ("https://api.example.com/v3/a?page=2#x", "http://127.0.0.1:8080/proxy/crm@work/a?page=2#x"),
            ("https://api.example.com:443/v3", "http://127.0.0.1:8080/proxy/crm@work"),
            ("/v3/a%2Fb", "http://127.0.0.1:8080/proxy/crm@work/a%2Fb"),
            ("//api.example.com/v3/a", "http://127.0.0.1:8080/proxy/crm@work/a"),
            ("https://uploads.example.com/f/1", "http://127.0.0.1:8080/proxy/crm-uploads@work/f/1"),
            ("/login", "https://api.example.com/login"),
        ] {
            assert_eq!(rewritten(&header::LOCATION, from).as_deref(), Some(to), "{from}");
        }
    }

    #[test]
    fn urls_elsewhere_stay_as_they_are() {
        for text in [
            "https://api.example.com.evil.example/v3/a",
            "https://api.example.com@evil.example/v3",
            "https://user@api.example.com/v3/a",
            "https://api.example.com:8443/v3/a",
            "http://api.example.com/v3/a",
            "https://api.example.com/v33",
            "//evil.example/v3",
            "/\\evil.example",
            "next?page=2",
            "",
        ] {
            assert_eq!(rewritten(&header::LOCATION, text), None, "{text}");
        }
    }

    #[test]
    fn relative_urls_lead_where_the_upstreams_would() {
        let (bare, slashed) = ("https://api.example.com/v3", "https://api.example.com/v3/");
        let below = |path: &str| Some(format!("http://127.0.0.1:8080/proxy/crm@work/{path}"));
        for (base, path, from, to) in [
            (slashed, "/", "x?q=1#f", below("x?q=1#f")),
            (slashed, "/", "./x", below("x")),
            (bare, "/", "v3/x", below("x")),
            (bare, "/", "x?q=1", Some("https://api.example.com/x?q=1".into())),
            (bare, "/a/b", "../../v3/x", below("x")),
            (bare, "/a/b", "%2E./x", below("x")),
            (bare, "/a/b", "../../x", Some("https://api.example.com/x".into())),
            (bare, "/a/b", "x", None),
            (bare, "/", "?page=2", None),
            (bare, "/", "#x", None),
            (bare, "/", "", None),
            (bare, "/", "mailto:x@example.com", None),
        ] {
            assert_eq!(answered(base, path, &header::LOCATION, from), to, "{base} {path} {from}");
        }
    }

    #[test]
    fn every_target_of_a_link_header_is_looked_at() {
        let link = "<https://api.example.com/v3/i?page=2>; rel=\"next\", <https://elsewhere.example/>; rel=\"a<b>\", </v3/i>; rel=first";
        assert_eq!(
            rewritten(&header::LINK, link).as_deref(),
            Some(
                "<http://127.0.0.1:8080/proxy/crm@work/i?page=2>; rel=\"next\", <https://elsewhere.example/>; rel=\"a<b>\", \
                 <http://127.0.0.1:8080/proxy/crm@work/i>; rel=first"
            )
        );
        assert_eq!(
            rewritten(&header::LINK, r#"</v3/a>; title="a \" b", </v3/b>; title="\\", </v3/c>"#).as_deref(),
            Some(concat!(
                r#"<http://127.0.0.1:8080/proxy/crm@work/a>; title="a \" b", "#,
                r#"<http://127.0.0.1:8080/proxy/crm@work/b>; title="\\", <http://127.0.0.1:8080/proxy/crm@work/c>"#
            ))
        );
        assert_eq!(rewritten(&header::LINK, "<https://elsewhere.example/>; rel=next"), None);
        assert_eq!(rewritten(&header::LINK, "<https://api.example.com/v3/i"), None);
    }
}
