//! Throwaway certificates: an authority, a server's and a client's.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::secret::Secret;
use crate::store::redis::TlsOptions;

/// A certificate and its key, PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        // OpenSSL takes a certificate that bears its issuer's name for a self-signed one.
        parameters.distinguished_name.push(DnType::CommonName, "authority of tests");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("there are random numbers");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("the parameters are right"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, to serve with or to be a client with.
    pub(crate) fn issue(&self, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("the names are right");
        parameters.distinguished_name.push(DnType::CommonName, "holder of tests");
        parameters.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("there are random numbers");
        let certificate = parameters.signed_by(&key, &self.0).expect("the parameters are right");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// What a client needs that trusts this authority and was given a certificate by it.
    pub(crate) fn client(&self) -> TlsOptions {
        let pair = self.issue(&["valetkey"], ExtendedKeyUsagePurpose::ClientAuth);
        TlsOptions {
            ca_pem: Some(self.pem().into_bytes()),
            cert_pem: Some(pair.certificate.into_bytes()),
            key_pem: Some(Secret::new(pair.key.into_bytes())),
        }
    }
}
