//! The configuration: what the operator wrote (`raw`), read with its line numbers and environment (`document`), and what it
//! means (the types here, filled by `resolve`). Every problem is reported at once, by path and line, never by value.
//! Plain data at the bottom of the tree: nothing here knows the modules that it configures, and each of them takes its
//! own part only. Does no I/O but to read the file, the `_file` secrets and the environment it is given.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::{
    id::{Issuer, ServiceName},
    secret::{Secret, SecretString},
};

mod catalogue;
mod document;
mod load;
mod problem;
pub mod provider;
mod raw;
#[cfg(test)]
mod reference;
mod resolve;
mod schema;
#[cfg(test)]
mod tests;
mod units;
mod validate;

pub use catalogue::{Catalogue, NoProviders};
pub use document::Env;
pub use load::{Loaded, load, parse};
pub use problem::{Position, Problem, Problems};
pub use schema::schema;
pub use provider::{ApiKeyPhase, ClientAuth, ErrorRules, Injection, Pkce, ProviderFields};

/// A whole configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where browsers reach the connect pages, the callback and the dashboard. No query, no fragment, no trailing slash.
    pub public_url: Url,
    /// The application's name as the pages show it.
    pub application: String,
    /// Where Valetkey listens, and for whom.
    pub listeners: Vec<Listener>,
    /// Guards `/admin`; `None`: those routes answer 404.
    pub admin_token: Option<SecretString>,
    /// Issuers of callers' JWTs, in order: the first whose issuer matches decides.
    pub callers: Vec<CallerIssuer>,
    /// The connect flow.
    pub connect: Connect,
    /// How long a drain takes.
    pub shutdown: Shutdown,
    /// What is kept in memory, and for how long.
    pub cache: Cache,
    /// Where records are kept.
    pub store: Store,
    /// What seals them.
    pub vault: Vault,
    /// The services by name; `provider::Services` makes them whole.
    pub services: BTreeMap<ServiceName, Service>,
    /// Limits on requests, unless a service says otherwise.
    pub limits: Limits,
    /// When access tokens are renewed.
    pub refresh: Refresh,
}

/// One listening address.
#[derive(Debug, Clone)]
pub struct Listener {
    /// IP address and port.
    pub address: SocketAddr,
    /// What it serves.
    pub serves: Roles,
    /// TLS (and HTTP/2 by ALPN) with this certificate.
    pub tls: Option<ListenerTls>,
}

/// What a listener serves; several roles may share a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// `/proxy/…` and the JSON API for applications.
    pub proxy: bool,
    /// Connect, callback and dashboard pages for browsers.
    pub connect: bool,
    /// Health, metrics and `/admin`.
    pub admin: bool,
}

/// A listener's certificate, as PEM files.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// The certificate and its chain.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// An issuer of callers' JWTs (RFC 7519) and what is believed of it (RFC 8725).
#[derive(Debug, Clone)]
pub struct CallerIssuer {
    /// The `iss` claim, compared byte for byte.
    pub issuer: Issuer,
    /// One of the token's `aud` must equal this.
    pub audience: String,
    /// What verifies signatures.
    pub keys: IssuerKeys,
    /// What the operator allows; a token's own `alg` only picks among them. Never empty; all of one family with `keys`.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the caller; `sub` by default.
    pub user_claim: String,
    /// Shown on the connect page instead of [`Config::application`].
    pub application: Option<String>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum IssuerKeys {
    /// A JWKS (RFC 7517) behind a URL, fetched in the background.
    JwksUrl(Url),
    /// A JWKS, read at start.
    Jwks(String),
    /// A public key in PEM.
    PublicKey(String),
    /// A shared secret of at least 32 bytes, for HS* only.
    Secret(SecretString),
}

/// A JWS algorithm (RFC 7518, RFC 8037) that may be allowed. `none` is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// The connect flow.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Who may use a connect link.
    pub binding: Binding,
    /// Under `binding: session`, how a browser proves whose it is; also lets a browser into the dashboard.
    pub session: Option<SessionProof>,
    /// Whether `GET /connect/{service}` shows a page before it sends the browser on.
    pub confirm: bool,
    /// Where a browser may be sent back to: exact origin, path prefix.
    pub return_to: Vec<Url>,
    /// How long a connect link lives.
    pub ticket_ttl: Duration,
    /// How long a connect link in a notification lives.
    pub notification_ttl: Duration,
}

/// Who may use a connect link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// Whoever holds it; the page names the caller.
    #[default]
    Link,
    /// Only a browser that proves to be the caller's.
    Session,
    /// Whoever holds it, but the connection is pending until the application confirms.
    Confirm,
}

/// How a browser proves whose it is.
#[derive(Debug, Clone)]
pub enum SessionProof {
    /// A cookie of this name that holds a JWT of a configured issuer.
    Cookie(String),
    /// A header of this name that holds one (set by a gateway).
    Header(String),
    /// A URL of the application that is asked with the browser's cookies.
    CheckUrl(Url),
}

/// How a drain goes on SIGTERM.
#[derive(Debug, Clone, Copy)]
pub struct Shutdown {
    /// Readiness is down, but new connections are still served.
    pub delay: Duration,
    /// What is in flight after that may take this long.
    pub grace: Duration,
}

/// What is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct Cache {
    /// How long cached credentials serve while the store can't be reached.
    pub offline_max: Duration,
    /// How many credentials are kept.
    pub credentials: usize,
    /// How many verified JWTs are kept.
    pub callers: usize,
}

/// Where records are kept.
#[derive(Debug, Clone)]
pub enum Store {
    /// Redis: alone, behind Sentinel, or a Cluster.
    Redis(Redis),
    /// A file on this machine, for one process.
    Embedded {
        /// The file; made where it doesn't exist.
        path: PathBuf,
    },
}

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://` or `rediss://`, with user and database but without the password.
    pub url: Url,
    /// The password of the URL's user.
    pub password: Option<SecretString>,
    /// For `rediss`: a private CA and a client certificate, in PEM.
    pub tls: RedisTls,
    /// Who answers at that address.
    pub topology: RedisTopology,
}

/// A private CA and a client certificate, in PEM.
#[derive(Debug, Clone, Default)]
pub struct RedisTls {
    /// Trusted instead of the system's authorities.
    pub ca: Option<String>,
    /// The client certificate.
    pub certificate: Option<String>,
    /// Its key.
    pub key: Option<SecretString>,
}

/// Who answers for Redis.
#[derive(Debug, Clone, Default)]
pub enum RedisTopology {
    /// One server, at the URL.
    #[default]
    Standalone,
    /// Sentinels that know where the master is.
    Sentinel {
        /// The master's name.
        master: String,
        /// `host:port` of the sentinels.
        addresses: Vec<String>,
    },
    /// A Redis Cluster.
    Cluster {
        /// `host:port` of some of its nodes.
        addresses: Vec<String>,
    },
}

/// What seals records: the first key seals, all open.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Never empty.
    pub keys: Vec<VaultKey>,
}

/// One sealing key.
#[derive(Debug, Clone)]
pub struct VaultKey {
    /// Written in clear beside what it sealed; 1 to 64 of `[A-Za-z0-9._-]`.
    pub id: String,
    /// AES-256.
    pub key: Secret<[u8; 32]>,
}

/// A service as configured: a provider's name, and what differs from it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The provider; none where every field is written inline. A service that bears a provider's name is built on it.
    pub provider: Option<String>,
    /// The service whose connections this one uses.
    pub connection: Option<ServiceName>,
    /// The OAuth client (RFC 6749 §2.2). None: the service takes API keys only, or uses another's connection.
    pub client_id: Option<String>,
    /// Its secret; none for a public client.
    pub client_secret: Option<SecretString>,
    /// Provider fields, inline or overriding.
    pub fields: ProviderFields,
    /// Whether `http` URLs beyond loopback are let through.
    pub allow_plain_http: bool,
    /// API keys beside or before OAuth.
    pub api_keys: ApiKeys,
    /// Time limits upstream.
    pub timeouts: Timeouts,
    /// How the upstream is spoken to.
    pub upstream: Upstream,
    /// Whether the upstream's `Set-Cookie` is passed on.
    pub response_cookies: bool,
    /// At most this many calls a caller.
    pub rate_limit: Option<RateLimit>,
    /// First match decides; default allow.
    pub policy: Vec<PolicyRule>,
    /// Limits: the service's own, and [`Config::limits`] where it has none. Complete in itself.
    pub limits: Limits,
}

/// API keys of a service.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys {
    /// How welcome they are.
    pub phase: ApiKeyPhase,
    /// `YYYY-MM-DD`, under `deprecated`: from this day (UTC) they are retired.
    pub retire_on: Option<String>,
}

/// Time limits towards an upstream.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// TCP and TLS together get twice this.
    pub connect: Duration,
    /// Between two reads.
    pub read: Duration,
    /// Between two writes.
    pub write: Duration,
    /// An unused connection is kept this long.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(60),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// HTTP version.
    pub protocol: UpstreamProtocol,
    /// Trusted instead of the system's authorities: certificates in PEM.
    pub ca: Option<String>,
    /// Client certificate and its key, in PEM.
    pub client_certificate: Option<(String, SecretString)>,
}

/// HTTP version towards an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// ALPN on TLS; on plain HTTP HTTP/1.1, but h2c for `application/grpc`.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 over TLS only.
    H2,
    /// HTTP/2 in clear, prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// A token bucket a caller and service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// So many calls …
    pub requests: u32,
    /// … in this time …
    pub per: Duration,
    /// … and so many at once.
    pub burst: u32,
}

/// One rule of a service's policy.
#[derive(Debug, Clone)]
pub struct PolicyRule {
    /// Allow or deny what matches.
    pub allow: bool,
    /// Methods, upper case; empty: all.
    pub methods: Vec<String>,
    /// Path patterns below `base_url`: exact, or a prefix that ends in `*`; empty: all.
    pub paths: Vec<String>,
    /// Claims of the caller's JWT that must have these values; empty: any caller.
    pub claims: BTreeMap<String, serde_json::Value>,
}

/// Limits on a request. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// All headers together. In [`Config::limits`] 32 KiB by default.
    pub header_bytes: Option<u64>,
    /// The request target. In [`Config::limits`] 8 KiB by default.
    pub uri_bytes: Option<u64>,
    /// The request's body.
    pub body_bytes: Option<u64>,
    /// Connections from one client address at the same time.
    pub connections_per_client: Option<u32>,
}

/// When access tokens are renewed.
#[derive(Debug, Clone, Copy)]
pub struct Refresh {
    /// A token with less than this left is renewed in the background while it is still used; never more than a fifth
    /// of its lifetime.
    pub window: Duration,
    /// The whole of one call to a token endpoint.
    pub timeout: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { window: Duration::from_secs(300), timeout: Duration::from_secs(10) }
    }
}
