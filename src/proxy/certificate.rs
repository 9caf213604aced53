//! The certificate that a listener shows to whoever connects from now on. Another one may take its place while it listens:
//! what is connected already goes on. Reads no files and picks no moment; `serve` does.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::config::ListenerTls;

/// A certificate with its key, ready to be shown.
#[derive(Debug, Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl Certificate {
    /// Makes a certificate ready. `None` where it and its key can't be used for TLS.
    pub fn new(tls: &ListenerTls) -> Option<Self> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(tls.certificate.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(tls.key.expose().as_bytes()).ok()?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain.ok()?, key, &provider).ok().map(|key| Self(Arc::new(key)))
    }
}

/// What a listener shows now.
#[derive(Debug)]
pub struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    /// Begins with this certificate.
    pub fn new(certificate: Certificate) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(certificate.0)))
    }

    /// From now on it is this one.
    pub fn replace(&self, certificate: Certificate) {
        self.0.store(certificate.0);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
