//! The peer of a call: address, TLS, HTTP version, time limits, and the key under which its connection may be shared. Two
//! services never share connections, nor two upstreams of one, nor two TLS configurations: the pool doesn't look at the CA
//! (docs/PINGORA.md 9).

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use pingora::{
    protocols::{ALPN, TcpKeepalive},
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer as _},
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::{
    config::UpstreamProtocol,
    dns::Name,
    provider::{BaseUrl, Service, Upstream},
};

use super::{streams::CalmConnector, traits::HopByHop};

/// What a call needs of the connection to its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// An ordinary call.
    Http,
    /// gRPC: HTTP/2, whatever the scheme.
    Grpc,
    /// Asks for an upgrade, or has a target that no URI can hold: HTTP/1.1 on a connection of its own.
    Dedicated,
}

/// The trust and identity of one service towards its upstream, read once.
#[derive(Clone, Default)]
struct Tls {
    ca: Option<Arc<[WrappedX509]>>,
    client: Option<Arc<CertKey>>,
}

/// A service's certificates are no certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(&'static str);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls(ca: {}, client: {})", self.ca.is_some(), self.client.is_some())
    }
}

impl Tls {
    /// Reads the PEM texts of a service's configuration.
    ///
    /// # Errors
    /// Where they hold no certificate or key.
    fn read(service: &Service) -> Result<Self, BadCertificate> {
        let ca = match &service.transport.ca {
            None => None,
            Some(pem) => {
                let certificates = certificates(pem, "upstream.ca_file holds no certificate")?;
                Some(certificates.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect())
            }
        };
        let client = match &service.transport.client_certificate {
            None => None,
            Some((pem, key)) => {
                let certificates = certificates(pem, "upstream.client_certificate_file holds no certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
                    .map_err(|_| BadCertificate("upstream.client_key_file holds no private key"))?;
                Some(Arc::new(CertKey::new(certificates, key.secret_der().to_vec())))
            }
        };
        Ok(Self { ca, client })
    }
}

/// The certificates of a PEM text, each proved readable: what parses them later would panic.
fn certificates(pem: &str, otherwise: &'static str) -> Result<Vec<Vec<u8>>, BadCertificate> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates: Vec<Vec<u8>> =
        read.map_err(|_| BadCertificate(otherwise))?.iter().map(|der| der.to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    let sound = |der: &Vec<u8>| roots.add(CertificateDer::from(der.clone())).is_ok();
    if certificates.is_empty() || !certificates.iter().all(sound) {
        return Err(BadCertificate(otherwise));
    }
    Ok(certificates)
}

/// An upstream as the proxy reaches it: its name, which is resolved ahead of calls, and a peer for each protocol, ready but for
/// its address.
pub struct Destination {
    name: Name,
    peers: [HttpPeer; 3],
}

impl Destination {
    /// Makes an upstream of this service ready.
    ///
    /// # Errors
    /// Where the service's certificates can't be used.
    pub fn new(service: &Service, upstream: &Upstream) -> Result<Self, BadCertificate> {
        let (tls, base) = (Tls::read(service)?, upstream.base());
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let peer = |protocol| peer(service, base, &tls, nowhere, protocol);
        Ok(Self {
            name: Name::new(base.host(), base.port()),
            peers: [Protocol::Http, Protocol::Grpc, Protocol::Dedicated].map(peer),
        })
    }

    /// Its name, for addresses.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The peer for a call at `address`.
    pub fn at(&self, address: SocketAddr, protocol: Protocol, hop_by_hop: HopByHop) -> HttpPeer {
        let mut peer = self.peers[protocol as usize].clone();
        peer._address = address.into();
        if hop_by_hop != HopByHop::Other {
            // Pingora would look for ten headers of which none is there, or only one that `forward` takes out.
            peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::preserve();
        }
        peer
    }
}

/// The peer for a call to `service` below `base`, at `address`.
fn peer(service: &Service, base: &BaseUrl, tls: &Tls, address: SocketAddr, protocol: Protocol) -> HttpPeer {
    let encrypted = base.tls();
    let sni = if encrypted { base.host().trim_matches(['[', ']']).to_owned() } else { String::new() };
    let mut peer = HttpPeer::new(address, encrypted, sni);
    let limits = &service.timeouts;
    peer.group_key = group_key(service, base, protocol);
    peer.client_cert_key.clone_from(&tls.client);
    let options = &mut peer.options;
    options.ca.clone_from(&tls.ca);
    options.connection_timeout = Some(limits.connect);
    options.total_connection_timeout = Some(limits.connect * 2);
    options.read_timeout = Some(limits.read);
    options.write_timeout = Some(limits.write);
    options.idle_timeout = Some(limits.idle);
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        user_timeout: Duration::ZERO,
    });
    match http_version(service.transport.protocol, encrypted, protocol) {
        Version::Negotiated => options.alpn = ALPN::H2H1,
        Version::Http1 => options.alpn = ALPN::H1,
        Version::Http2 => options.set_http_version(2, 2),
    }
    debug_assert!(!peer.is_tls() || !peer.sni().is_empty(), "TLS without a name would not be verified");
    if protocol != Protocol::Dedicated {
        return peer;
    }
    // TLS is made below the stream that Pingora writes to.
    let mut above = HttpPeer::new(address, false, String::new());
    above.group_key = peer.group_key;
    above.options = peer.options.clone();
    // Such a stream can't be used again; it shouldn't wait for that either.
    above.options.idle_timeout = Some(Duration::ZERO);
    above.options.custom_l4 = Some(Arc::new(CalmConnector(peer)));
    above
}

#[derive(Debug, PartialEq, Eq)]
enum Version {
    Negotiated,
    Http1,
    Http2,
}

const fn http_version(configured: UpstreamProtocol, encrypted: bool, protocol: Protocol) -> Version {
    match (protocol, configured) {
        (Protocol::Dedicated, _) | (_, UpstreamProtocol::Http1) => Version::Http1,
        (_, UpstreamProtocol::H2 | UpstreamProtocol::H2c) | (Protocol::Grpc, UpstreamProtocol::Auto) => Version::Http2,
        (Protocol::Http, UpstreamProtocol::Auto) if encrypted => Version::Negotiated,
        (Protocol::Http, UpstreamProtocol::Auto) => Version::Http1,
    }
}

/// Only calls with the same key may use each other's connections.
fn group_key(service: &Service, base: &BaseUrl, protocol: Protocol) -> u64 {
    let mut hasher = DefaultHasher::new();
    service.name.hash(&mut hasher);
    base.hash(&mut hasher);
    service.transport.ca.hash(&mut hasher);
    service.transport.client_certificate.as_ref().map(|(certificate, _)| certificate).hash(&mut hasher);
    service.transport.protocol.hash(&mut hasher);
    protocol.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_version_follows_configuration_scheme_and_call() {
        use Protocol::{Dedicated, Grpc, Http};
        use UpstreamProtocol::{Auto, H2, H2c, Http1};
        for (configured, encrypted, protocol, expected) in [
            (Auto, true, Http, Version::Negotiated),
            (Auto, false, Http, Version::Http1),
            (Auto, false, Grpc, Version::Http2),
            (Auto, true, Grpc, Version::Http2),
            (Auto, true, Dedicated, Version::Http1),
            (Http1, true, Http, Version::Http1),
            (H2, true, Http, Version::Http2),
            (H2c, false, Http, Version::Http2),
        ] {
            assert_eq!(
                http_version(configured, encrypted, protocol),
                expected,
                "{configured:?} {encrypted} {protocol:?}"
            );
        }
    }
}
