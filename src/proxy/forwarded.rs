//! Where a request came from, as a proxy before this one tells it: `Forwarded` (RFC 7239), or else `X-Forwarded-Proto`,
//! `-Host` and `-For`. Only what the operator's own proxies say counts; of several hops it is the outermost that one of them
//! vouches for. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, Version, header};
use ipnet::IpNet;
use pingora::proxy::Session;

use super::Gate;

const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The operator's own proxies. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trusted(std::sync::Arc<[IpNet]>);

/// The proxy's own origin as the client sees it: the request's scheme and `Host`.
pub struct Origin<'a> {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The request's `Host` (or `:authority`).
    pub host: &'a str,
}

/// What is known of how a request came in.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// The client's address, as far as somebody trusted knows it.
    pub address: IpAddr,
    /// The scheme that the client used, where it was told.
    pub scheme: Option<&'static str>,
    /// The `Host` that the client asked for, where it was told.
    pub host: Option<&'a str>,
}

/// One hop's word.
#[derive(Debug, Clone, Copy, Default)]
struct Hop<'a> {
    from: Option<IpAddr>,
    scheme: Option<&'static str>,
    host: Option<&'a str>,
}

/// Who is at the other end of the connection.
pub(super) fn peer(session: &Session) -> IpAddr {
    let address = session.client_addr().and_then(|address| address.as_inet());
    address.map_or(Ipv4Addr::UNSPECIFIED.into(), SocketAddr::ip)
}

impl Gate {
    /// The proxy's own origin as the client sees it.
    pub(super) fn origin<'s>(&self, session: &'s Session, trusted: &Trusted) -> Origin<'s> {
        let head = session.req_header();
        let host = match head.uri.authority() {
            Some(authority) if head.version >= Version::HTTP_2 => authority.as_str(),
            _ => head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        };
        let told = trusted.told(&head.headers, peer(session));
        let scheme = told.scheme.unwrap_or(if self.encrypted { "https" } else { "http" });
        Origin { scheme, host: told.host.unwrap_or(host) }
    }
}

impl Trusted {
    /// Trusts these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// Whether this peer's word counts.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// What this peer tells of the request.
    pub fn told<'a>(&self, headers: &'a HeaderMap, peer: IpAddr) -> Told<'a> {
        let mut told = Told { address: peer, scheme: None, host: None };
        if self.0.is_empty() || !self.contains(peer) {
            return told;
        }
        for hop in hops(headers).into_iter().rev() {
            (told.scheme, told.host) = (hop.scheme.or(told.scheme), hop.host.or(told.host));
            let Some(from) = hop.from else { break };
            told.address = from;
            if !self.contains(from) {
                break;
            }
        }
        told
    }
}

/// Each hop's word, the last one's last.
fn hops(headers: &HeaderMap) -> Vec<Hop<'_>> {
    if headers.contains_key(header::FORWARDED) {
        return listed(headers, &header::FORWARDED, Quotes::Hold).into_iter().map(forwarded).collect();
    }
    let list = |name| listed(headers, name, Quotes::AreText);
    let (addresses, schemes, hosts) = (list(&FOR), list(&PROTO), list(&HOST));
    // Some proxies add to these lists and some replace them: they are aligned at their ends.
    let count = addresses.len().max(schemes.len()).max(hosts.len());
    (0..count)
        .rev()
        .map(|back| Hop {
            from: from_end(&addresses, back).and_then(address),
            scheme: from_end(&schemes, back).and_then(scheme),
            host: from_end(&hosts, back).and_then(host),
        })
        .collect()
}

fn from_end<'a>(list: &[&'a str], back: usize) -> Option<&'a str> {
    list.iter().rev().nth(back).copied()
}

/// Whether what stands in quotes is one: so it is in `Forwarded` (RFC 7239 §4), and in no other of these headers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Hold,
    AreText,
}

/// The items of a header that is a list, over all of its lines, in order.
fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName, quotes: Quotes) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut items: Vec<_> = lines.rev().flat_map(|line| from_behind(line, ',', quotes)).map(str::trim).collect();
    items.retain(|item| !item.is_empty());
    items.reverse();
    items
}

/// The parts of a text, the last one first: a quote that a client left open must not swallow what trusted proxies appended.
fn from_behind(text: &str, separator: char, quotes: Quotes) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.rsplit(move |c| {
        quoted ^= c == '"' && quotes == Quotes::Hold;
        c == separator && !quoted
    })
}

/// `for=192.0.2.60;proto=http;host=example.com`.
fn forwarded(element: &str) -> Hop<'_> {
    let mut hop = Hop::default();
    for pair in from_behind(element, ';', Quotes::Hold) {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match name.trim() {
            name if name.eq_ignore_ascii_case("for") => hop.from = address(value),
            name if name.eq_ignore_ascii_case("proto") => hop.scheme = scheme(value),
            name if name.eq_ignore_ascii_case("host") => hop.host = host(value),
            _ => {}
        }
    }
    hop
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.trim_start_matches('[').trim_end_matches(']');
    let address = plain.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|known| text.eq_ignore_ascii_case(known))
}

/// A name or an address, with a port or without: nothing else may get into a URL.
fn host(text: &str) -> Option<&str> {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (!text.is_empty() && text.len() <= 255 && text.bytes().all(sound)).then_some(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const CLIENT: &str = "203.0.113.7";

    fn told(lines: &[(&'static str, &'static str)], peer: &str) -> (String, Option<&'static str>, Option<String>) {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = lines.iter().map(pair).collect();
        let trusted = Trusted::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let told = trusted.told(&headers, peer.parse().unwrap());
        (told.address.to_string(), told.scheme, told.host.map(str::to_owned))
    }

    #[test]
    fn a_terminators_word_counts_in_either_form() {
        let expected = (CLIENT.to_owned(), Some("https"), Some("api.example.com".to_owned()));
        for lines in [
            &[("forwarded", "for=203.0.113.7;proto=https;host=api.example.com")][..],
            &[("forwarded", "For=\"203.0.113.7:4711\"; Proto=HTTPS; Host=\"api.example.com\"")],
            &[
                ("x-forwarded-for", "203.0.113.7"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "api.example.com"),
            ],
        ] {
            for peer in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
                assert_eq!(told(lines, peer), expected, "{lines:?}");
            }
        }
    }

    #[test]
    fn a_quote_that_a_client_left_open_hides_nothing_that_was_appended() {
        for lines in [
            &[("forwarded", r#"for="x, for=203.0.113.7;proto=https"#)][..],
            &[("forwarded", r#"for="x"#), ("forwarded", "for=203.0.113.7;proto=https")],
            &[("x-forwarded-for", r#""x, 203.0.113.7"#), ("x-forwarded-proto", "https")],
            &[("x-forwarded-for", r#"1.2.3.4", 203.0.113.7"#), ("x-forwarded-proto", r#"http",https"#)],
        ] {
            assert_eq!(told(lines, "10.1.2.3"), (CLIENT.to_owned(), Some("https"), None), "{lines:?}");
        }
    }

    #[test]
    fn a_strangers_word_counts_for_nothing() {
        for lines in [
            &[("forwarded", "for=10.0.0.1;proto=https;host=evil.example")][..],
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")],
        ] {
            assert_eq!(told(lines, CLIENT), (CLIENT.to_owned(), None, None));
        }
    }

    #[test]
    fn of_several_hops_the_outermost_counts_that_somebody_trusted_vouches_for() {
        let address = |list| told(&[("x-forwarded-for", list)], "10.0.0.1").0;
        assert_eq!(address("1.2.3.4, 203.0.113.7"), CLIENT, "what the client claimed is left of it");
        assert_eq!(address("1.2.3.4, 203.0.113.7, 10.9.9.9"), CLIENT);
        assert_eq!(address("10.0.0.7, 10.0.0.8"), "10.0.0.7");
        assert_eq!(address("1.2.3.4, unknown, 10.9.9.9"), "10.9.9.9");
        let forwarded =
            "host=evil.example;proto=http;for=1.2.3.4, for=203.0.113.7;proto=https;host=a.example, for=10.9.9.9";
        let expected = (CLIENT.to_owned(), Some("https"), Some("a.example".to_owned()));
        assert_eq!(told(&[("forwarded", forwarded)], "10.0.0.1"), expected);
        let both = [("x-forwarded-for", "1.2.3.4, 203.0.113.7"), ("x-forwarded-proto", "http, https")];
        assert_eq!(told(&both, "10.0.0.1").1, Some("https"));
    }

    #[test]
    fn what_is_no_host_or_scheme_is_passed_over() {
        for host in ["evil.example/x", "a b", "a@b", "", "a\\b"] {
            assert_eq!(told(&[("x-forwarded-host", host), ("x-forwarded-proto", "ftp")], "10.0.0.1").2, None, "{host}");
        }
        let v6 = told(&[("forwarded", "for=\"[2001:db8::1]:4711\";host=\"[2001:db8::2]:8443\"")], "10.0.0.1");
        assert_eq!((v6.0.as_str(), v6.2.as_deref()), ("2001:db8::1", Some("[2001:db8::2]:8443")));
    }
}
