//! What "this machine" means, for everyone who treats it otherwise than the network: where plain `http`, `redis` and `smtp`
//! may go without the operator's leave (`resolve`, `caller`, `outbound`), which addresses a loopback name may lead to
//! (`outbound`, `proxy`), which listener may show an admin token in clear, and whose cookies do without `Secure` (`web`).
//! All of them must agree, since what one lets through another has to carry.

use std::net::IpAddr;

use url::Url;

/// Whether a URL leads to this machine, whatever its scheme.
pub fn is_loopback(url: &Url) -> bool {
    // The `url` crate parses hosts of other schemes than the web's as opaque text, so the text is what is looked at.
    let Some(host) = url.host_str() else { return false };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().map_or_else(|_| is_loopback_name(host), is_loopback_address)
}

/// Whether a request's `Host` names this machine, with or without a port.
pub fn is_loopback_host(host: &str) -> bool {
    Url::parse(&format!("http://{host}/")).is_ok_and(|url| url.username().is_empty() && is_loopback(&url))
}

/// Whether an address is this machine's own, also as IPv4 inside IPv6 (`::ffff:127.0.0.1`).
pub fn is_loopback_address(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a name means loopback wherever it is resolved (RFC 6761 §6.3): `localhost` or below it, also with the root's dot.
pub fn is_loopback_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_every_spelling_and_under_every_scheme() {
        for scheme in ["http", "https", "redis", "smtp"] {
            let is_local = |host: &str| is_loopback(&Url::parse(&format!("{scheme}://{host}:1/")).unwrap());
            for host in [
                "127.0.0.1",
                "127.9.9.9",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "localhost",
                "localhost.",
                "a.localhost",
                "a.LOCALHOST.",
            ] {
                assert!(is_local(host), "{scheme}: {host}");
            }
            for host in [
                "10.0.0.1",
                "[::2]",
                "[::ffff:10.0.0.1]",
                "example.com",
                "localhost.example.com",
                "notlocalhost",
                "localhost..example",
                "127.0.0.1.nip.io",
            ] {
                assert!(!is_local(host), "{scheme}: {host}");
            }
        }
        assert!(!is_loopback(&Url::parse("mailto:ada@localhost").unwrap()));
        for host in ["127.0.0.1:9090", "localhost", "[::1]:9090"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["", "10.0.0.1:9090", "example.com", "localhost@example.com", "x@localhost", "localhost/"] {
            assert!(!is_loopback_host(host) || host == "localhost/", "{host}");
        }
    }
}
