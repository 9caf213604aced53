//! Where our own calls may go. Names are checked after resolution and the connection is made to the very addresses that
//! were checked, so that a name can't answer differently the second time. Private networks are allowed, since operators
//! run identity providers there; link-local and metadata addresses never are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Refusal;
use crate::config::loopback::{is_loopback, is_loopback_address, is_loopback_name};

/// Every address of a name is one that may not be called.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that may not be called")]
pub(super) struct ForbiddenAddress;

/// Resolves by the system's resolver and drops what may not be called.
#[derive(Debug)]
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(permitted(name.as_str(), found)?)
        })
    }
}

/// The addresses that may be called. A name that [`is_loopback_name`] leads nowhere but to loopback (RFC 6761 §6.3): plain
/// `http` to it is allowed.
fn permitted(name: &str, found: Vec<SocketAddr>) -> Result<Addrs, ForbiddenAddress> {
    let local = is_loopback_name(name);
    let mut rest: Vec<SocketAddr> = found;
    rest.retain(|address| may_be_called(address.ip()) && (!local || is_loopback_address(address.ip())));
    if rest.is_empty() {
        return Err(ForbiddenAddress);
    }
    Ok(Box::new(rest.into_iter()))
}

/// Checks all of a target that can be seen before its name is resolved.
pub(super) fn check_target(url: &Url, allow_plain_http: bool) -> Result<(), Refusal> {
    let host = url.host().ok_or(Refusal::MalformedUrl)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::MalformedUrl);
    }
    let address = match host {
        Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        Host::Domain(_) => None,
    };
    if address.is_some_and(|address| !may_be_called(address)) {
        return Err(Refusal::Address);
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if allow_plain_http || is_loopback(url) => Ok(()),
        "http" => Err(Refusal::PlainHttp),
        _ => Err(Refusal::MalformedUrl),
    }
}

/// Whether this address may be called at all: it isn't link-local, a metadata service's, or no host's.
pub fn may_be_called(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !is_forbidden_v4(v4),
        IpAddr::V6(v6) => !is_forbidden_v6(v6),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    /// Metadata services outside 169.254/16: Alibaba Cloud's, Oracle Cloud's, Azure's platform endpoint.
    const METADATA: [Ipv4Addr; 3] =
        [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
    address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0
        || METADATA.contains(&address)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    /// Amazon's and Google's metadata services.
    const METADATA: [Ipv6Addr; 2] =
        [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
    address.is_unicast_link_local()
        || address.is_multicast()
        || address.is_unspecified()
        || METADATA.contains(&address)
        || embedded_v4(address).is_some_and(is_forbidden_v4)
}

/// The IPv4 address that a translating network would reach: NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => (g, h),
        [0x2002, ..] => (b, c),
        // `::1` and `::` are not addresses of this kind.
        [0, 0, 0, 0, 0, 0] if g != 0 => (g, h),
        _ => return None,
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str) -> Result<(), Refusal> {
        check_target(&Url::parse(url).unwrap(), false)
    }

    #[test]
    fn metadata_addresses_are_refused_in_every_spelling() {
        for url in [
            "https://169.254.169.254/",
            "https://2852039166/",
            "https://0xa9.0xfe.0xa9.0xfe/",
            "https://0251.0376.0251.0376/",
            "https://169.254.43518/",
            "https://[::ffff:169.254.169.254]/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https://[2002:a9fe:a9fe::1]/",
            "https://[::169.254.169.254]/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
            "https://[febf::1]/",
            "https://[ff02::1]/",
            "https://[::]/",
            "https://0.0.0.0/",
            "https://0/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://100.100.100.200/",
        ] {
            assert_eq!(verdict(url), Err(Refusal::Address), "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_or_by_permission() {
        for url in
            ["http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]/", "http://localhost/", "http://a.LOCALHOST./"]
        {
            assert_eq!(verdict(url), Ok(()), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://example.com/", "http://localhost.example.com/", "http://notlocalhost/"]
        {
            assert_eq!(verdict(url), Err(Refusal::PlainHttp), "{url}");
            assert_eq!(check_target(&Url::parse(url).unwrap(), true), Ok(()), "{url}");
        }
        let metadata = Url::parse("http://169.254.169.254/").unwrap();
        assert_eq!(check_target(&metadata, true), Err(Refusal::Address));
    }

    #[test]
    fn other_schemes_and_user_information_are_refused() {
        for url in [
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://u:p@example.com/",
            "data:,x",
        ] {
            assert_eq!(verdict(url), Err(Refusal::MalformedUrl), "{url}");
        }
    }

    #[test]
    fn private_networks_may_be_called_over_tls() {
        for url in ["https://10.0.0.1/", "https://192.168.1.1/", "https://[fd00::1]/", "https://100.64.0.1/"] {
            assert_eq!(verdict(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn resolution_drops_forbidden_addresses_and_fails_when_none_is_left() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = vec![address("169.254.169.254"), address("192.0.2.1")];
        let left: Vec<_> = permitted("idp.example", mixed).ok().unwrap().collect();
        assert_eq!(left, [address("192.0.2.1")]);
        assert!(permitted("idp.example", vec![address("fe80::1")]).is_err());
        assert!(permitted("localhost", vec![address("192.0.2.1")]).is_err(), "localhost must not lead elsewhere");
    }
}
