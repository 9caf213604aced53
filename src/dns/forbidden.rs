//! Addresses that nobody calls: link-local ones, metadata services', and those of no host. Names are checked after resolution and
//! the connection is made to the very addresses that were checked, so that a name can't answer differently the second
//! time. Private networks are allowed, since operators run identity providers there. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::loopback::{is_loopback_address, is_loopback_name};

/// What of a name's addresses may be called. A name that means loopback leads nowhere else (RFC 6761 §6.3): plain `http` is let
/// through to it.
pub(super) fn permitted(name: &str, mut found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let local = is_loopback_name(name);
    found.retain(|address| may_be_called(address.ip()) && (!local || is_loopback_address(address.ip())));
    found
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

    #[test]
    fn forbidden_addresses_are_dropped_from_an_answer() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let mixed = vec![address("169.254.169.254"), address("192.0.2.1"), address("::ffff:169.254.169.254")];
        assert_eq!(permitted("idp.example", mixed), [address("192.0.2.1")]);
        assert_eq!(permitted("idp.example", vec![address("fe80::1")]), []);
    }

    #[test]
    fn a_loopback_name_leads_to_loopback_only() {
        let found = || ["10.0.0.1:80", "127.0.0.1:80"].map(|text| text.parse().unwrap()).to_vec();
        for name in ["crm.localhost", "localhost", "CRM.LocalHost."] {
            assert_eq!(permitted(name, found()), ["127.0.0.1:80".parse().unwrap()], "{name}");
            assert_eq!(permitted(name, found()[..1].to_vec()), [], "{name}");
        }
        assert_eq!(permitted("crm.example", found()).len(), 2);
    }
}
