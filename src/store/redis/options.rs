//! How to reach Redis, in plain values; the configuration maps to them. Checked as far as can be without a network.

use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates};

use crate::secret::Secret;

/// Where Redis is and how to talk to it.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://` or `rediss://` (TLS), host, port, database. For Sentinel and Cluster, scheme and database count and
    /// the host doesn't. May hold user and password, hence secret.
    pub url: Secret<String>,
    /// ACL user; wins over the URL's.
    pub username: Option<String>,
    /// Password; wins over the URL's.
    pub password: Option<Secret<String>>,
    /// Certificates, for `rediss://`.
    pub tls: TlsOptions,
    /// What stands at the other end.
    pub topology: Topology,
    /// What the names of all keys and channels begin with, before a colon.
    pub prefix: String,
    /// Time limits.
    pub limits: Limits,
}

impl RedisOptions {
    /// One server at `url`, everything else as usual.
    pub fn standalone(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            username: None,
            password: None,
            tls: TlsOptions::default(),
            topology: Topology::Standalone,
            prefix: "vk".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Certificates, all PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Who must have signed the server's certificate; without it the system's roots.
    pub ca_pem: Option<Vec<u8>>,
    /// The client's certificate chain, for servers that ask for one.
    pub cert_pem: Option<Vec<u8>>,
    /// The client's key, with `cert_pem`.
    pub key_pem: Option<Secret<Vec<u8>>>,
}

/// What kind of Redis.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server, or one address behind which the master is.
    Standalone,
    /// A master that sentinels name.
    Sentinel {
        /// The master's name.
        master: String,
        /// The sentinels, `host:port` each.
        addresses: Vec<String>,
        /// The sentinels' own ACL user.
        username: Option<String>,
        /// The sentinels' own password.
        password: Option<Secret<String>>,
    },
    /// A Redis Cluster.
    Cluster {
        /// Some of its nodes, `host:port` each.
        addresses: Vec<String>,
    },
}

/// Time limits of the network.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For opening a connection, with TLS and authentication.
    pub connect: Duration,
    /// For one answer.
    pub response: Duration,
    /// For a whole operation, repetitions and reconnecting included.
    pub overall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(1), overall: Duration::from_millis(2500) }
    }
}

/// Settings that cannot work. Never holds the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The URL isn't one of Redis.
    #[error("the Redis URL is not valid: it must be redis://host:port/database or rediss://host:port/database")]
    Url,
    /// An address of a sentinel or node isn't `host:port`.
    #[error("\"{0}\" is not host:port")]
    Address(String),
    /// No address at all.
    #[error("at least one address is needed")]
    NoAddress,
    /// Certificates for a connection that has no TLS.
    #[error("TLS certificates are given, but the Redis URL does not begin with rediss://")]
    TlsWithoutTls,
    /// One half of a client certificate.
    #[error("a client certificate needs both the certificate and its key")]
    HalfCertificate,
    /// PEM that can't be read.
    #[error("the TLS certificates or the key cannot be read as PEM")]
    Pem,
    /// A cluster has one database.
    #[error("Redis Cluster has only database 0")]
    ClusterDatabase,
}

/// The settings after checking: how to make a connection to any address.
#[derive(Clone)]
pub(super) struct Recipe {
    base: ConnectionInfo,
    certificates: Option<TlsCertificates>,
    pub(super) limits: Limits,
}

impl Recipe {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, OptionsError> {
        let url = options.url.expose().as_str();
        let base = url.into_connection_info().map_err(|_| OptionsError::Url)?;
        // The library's own introduction of itself isn't worth a permission.
        let mut settings = base.redis_settings().clone().set_skip_set_lib_name();
        if let Some(username) = &options.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &options.password {
            settings = settings.set_password(password.expose());
        }
        let base = base.set_redis_settings(settings);
        let has_tls = matches!(base.addr(), ConnectionAddr::TcpTls { .. });
        let certificates = certificates(&options.tls, has_tls)?;
        let recipe = Self { base, certificates, limits: options.limits.clone() };
        // Certificates are parsed when a client is made, so that mistakes show now.
        recipe.client(recipe.base.addr().clone())?;
        Ok(recipe)
    }

    pub(super) fn database(&self) -> i64 {
        self.base.redis_settings().db()
    }

    pub(super) fn certificates(&self) -> Option<&TlsCertificates> {
        self.certificates.as_ref()
    }

    /// A client of the URL's own address.
    pub(super) fn own_client(&self) -> Result<Client, OptionsError> {
        self.client(self.base.addr().clone())
    }

    /// A client of another address, otherwise with the same settings.
    pub(super) fn client_at(&self, host: &str, port: u16) -> Result<Client, OptionsError> {
        self.client(self.address(host, port))
    }

    fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        match self.base.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        }
    }

    /// The same recipe for servers with their own accounts and no databases: sentinels.
    pub(super) fn for_sentinels(&self, username: Option<&str>, password: Option<&Secret<String>>) -> Self {
        let mut settings = redis::RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(username) = username {
            settings = settings.set_username(username);
        }
        if let Some(password) = password {
            settings = settings.set_password(password.expose());
        }
        Self { base: self.base.clone().set_redis_settings(settings), ..self.clone() }
    }

    fn client(&self, address: ConnectionAddr) -> Result<Client, OptionsError> {
        let info = self.base.clone().set_addr(address);
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()).map_err(|_| OptionsError::Pem),
            None => Client::open(info).map_err(|_| OptionsError::Url),
        }
    }

    /// A client for the subscriber, which is a connection of the older protocol whatever the others speak.
    pub(super) fn subscriber(client: &Client) -> Result<Client, OptionsError> {
        let info = client.get_connection_info().clone();
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        Client::open(info.set_redis_settings(settings)).map_err(|_| OptionsError::Url)
    }
}

/// Splits `host:port`; IPv6 addresses stand in brackets.
pub(super) fn host_and_port(address: &str) -> Result<(String, u16), OptionsError> {
    // An address with a scheme or an account could hold a password, which must not be repeated.
    if address.contains(['@', '/']) {
        return Err(OptionsError::Address("an address with a scheme or an account".to_owned()));
    }
    let wrong = || OptionsError::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() {
        return Err(wrong());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
}

fn certificates(tls: &TlsOptions, has_tls: bool) -> Result<Option<TlsCertificates>, OptionsError> {
    let client_tls = match (&tls.cert_pem, &tls.key_pem) {
        (Some(cert), Some(key)) => {
            Some(redis::ClientTlsConfig { client_cert: cert.clone(), client_key: key.expose().clone() })
        }
        (None, None) => None,
        _ => return Err(OptionsError::HalfCertificate),
    };
    let root_cert = tls.ca_pem.clone();
    if !has_tls && (client_tls.is_some() || root_cert.is_some()) {
        return Err(OptionsError::TlsWithoutTls);
    }
    // The client would take a file without a certificate for "trust nobody".
    let readable = |pem: &Vec<u8>| CertificateDer::pem_slice_iter(pem).next().is_some_and(|first| first.is_ok());
    if !root_cert.iter().chain(&tls.cert_pem).all(readable) {
        return Err(OptionsError::Pem);
    }
    Ok((client_tls.is_some() || root_cert.is_some()).then_some(TlsCertificates { client_tls, root_cert }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &RedisOptions) -> Option<OptionsError> {
        Recipe::new(options).err()
    }

    #[test]
    fn a_url_of_another_kind_is_refused_and_not_repeated() {
        let error = refusal(&RedisOptions::standalone("http://valetkey:hush@host")).expect("it is no Redis URL");
        assert_eq!(error, OptionsError::Url);
        assert!(!error.to_string().contains("hush"));
    }

    #[test]
    fn certificates_need_tls_and_both_halves() {
        let mut options = RedisOptions::standalone("redis://localhost:6379");
        options.tls.cert_pem = Some(b"x".to_vec());
        assert_eq!(refusal(&options), Some(OptionsError::HalfCertificate));
        options.tls.key_pem = Some(Secret::new(b"x".to_vec()));
        assert_eq!(refusal(&options), Some(OptionsError::TlsWithoutTls));
        options.url = Secret::new("rediss://localhost:6379".to_owned());
        assert_eq!(refusal(&options), Some(OptionsError::Pem));
    }

    #[test]
    fn addresses_are_host_and_port() {
        assert_eq!(host_and_port("redis-0:26379"), Ok(("redis-0".to_owned(), 26379)));
        assert_eq!(host_and_port("[::1]:6379"), Ok(("::1".to_owned(), 6379)));
        assert!(host_and_port("redis-0").is_err());
        assert!(host_and_port(":6379").is_err());
        assert!(host_and_port("host:port").is_err());
        let error = host_and_port("redis://u:hush@host:1").expect_err("it has a scheme");
        assert!(!error.to_string().contains("hush"));
    }

    #[test]
    fn the_option_wins_over_the_urls_account() {
        let mut options = RedisOptions::standalone("redis://a:b@localhost/2");
        options.username = Some("valetkey".into());
        options.password = Some(Secret::new("hush".into()));
        let recipe = Recipe::new(&options).expect("the settings are right");
        assert_eq!(recipe.base.redis_settings().username(), Some("valetkey"));
        assert_eq!(recipe.base.redis_settings().password(), Some("hush"));
        assert_eq!(recipe.database(), 2);
        assert!(!format!("{options:?}").contains("hush"));
    }
}
