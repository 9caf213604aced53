//! The configuration: what the operator wrote (`raw`), read with its line numbers and environment (`document`), and what it
//! means (the types here, filled by `resolve`). Services stay as they were written, in a [`Draft`]: `provider` makes them
//! whole, and notes what is wrong with them in the same report. Every problem is reported at once, by path and line, never
//! by value. Plain data at the bottom of the tree: nothing here knows the modules that it configures, and each of them
//! takes its own part only. Does no I/O but to read the file, the files that it names and the environment it is given.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::{
    id::Issuer,
    secret::{Secret, SecretString},
};

mod admin;
mod alerts;
mod api_keys;
mod audit;
pub mod brand;
mod context;
mod document;
mod draft;
mod files;
mod language;
mod listen;
pub mod loopback;
mod notifications;
mod pods;
mod problem;
pub mod provider;
mod raw;
#[cfg(test)]
mod reference;
mod resolve;
mod schema;
mod service;
mod telemetry;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod units;
pub mod urls;
mod validate;

pub use admin::Admin;
pub use alerts::{AlertEmail, Alerts};
pub use api_keys::ApiKeys;
pub use audit::{Audit, AuditFile};
pub use brand::Brand;
pub(crate) use context::{Context, or};
pub use document::Env;
pub use draft::{Draft, load, parse};
pub use files::FilesRead;
pub use language::Language;
pub use listen::Listen;
pub use notifications::{Email, NoticeKind, Notifications, Smtp, SmtpTls, Webhook};
pub use pods::{ClusterKeys, Pods, ServiceAccounts};
#[cfg(test)]
pub(crate) use problem::Report;
pub use problem::{Finding, Path, Position, Problem, Problems, finding, nearest};
pub use provider::{ApiKeyPhase, ClientAuth, ErrorRules, Injection, Pkce, ProviderFields};
pub(crate) use raw::{RawApiKeys, RawLimits, RawMatch, RawRateLimit, RawRule, RawService, RawTimeouts, RawUpstream};
pub use schema::schema;
pub use service::{Limits, PolicyRule, RateLimit, Timeouts, Upstream, UpstreamProtocol};
pub use telemetry::{Otlp, Telemetry};

/// A whole configuration, checked, but for its services, which are `provider`'s.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where browsers reach the connect pages, the callback and the dashboard. No query, no fragment, no trailing slash.
    pub public_url: Url,
    /// The application's name as the pages show it.
    pub application: String,
    /// How the pages look.
    pub brand: Brand,
    /// Where Valetkey listens, and for whom.
    pub listeners: Vec<Listener>,
    /// Guards `/admin`; `None`: those routes answer 404.
    pub admin: Option<Admin>,
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
    /// Limits on requests, unless a service says otherwise.
    pub limits: Limits,
    /// Peers whose word counts for the scheme, host and address of a request (RFC 7239).
    pub trusted_proxies: Vec<IpNet>,
    /// When access tokens are renewed.
    pub refresh: Refresh,
    /// Who is told what happens to connections.
    pub notifications: Notifications,
    /// What Valetkey tells of itself.
    pub telemetry: Telemetry,
    /// Who is told when something fails too often.
    pub alerts: Alerts,
    /// How much is kept of what happened.
    pub audit: Audit,
}

/// One listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where.
    pub listen: Listen,
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

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [(self.proxy, "proxy"), (self.connect, "connect"), (self.admin, "admin")];
        let served: Vec<&str> = names.into_iter().filter_map(|(serves, name)| serves.then_some(name)).collect();
        f.write_str(&served.join(", "))
    }
}

/// A listener's certificate, in PEM.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// The certificate and its chain.
    pub certificate: String,
    /// Its private key.
    pub key: SecretString,
}

/// An issuer of callers' JWTs (RFC 7519) and what is believed of it (RFC 8725).
#[derive(Debug, Clone, PartialEq)]
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
    /// Where its callers are pods: which.
    pub pods: Option<Pods>,
    /// Shown on the connect page instead of [`Config::application`].
    pub application: Option<String>,
    /// The claim with the caller's mail address, for notices; without it they get none.
    pub email_claim: Option<String>,
    /// The claim with the caller's language, for notices.
    pub language_claim: Option<String>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq)]
pub enum IssuerKeys {
    /// A JWKS (RFC 7517) behind a URL, fetched in the background.
    JwksUrl(Url),
    /// A Kubernetes cluster's JWKS, fetched in the background.
    Cluster(ClusterKeys),
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
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cache {
    /// How long cached credentials serve while the store can't be reached.
    pub offline_max: Duration,
    /// How many credentials are kept.
    pub credentials: usize,
    /// How many verified JWTs are kept.
    pub callers: usize,
}

/// Where records are kept.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// `redis://` or `rediss://`, with user and database but without the password.
    pub url: Url,
    /// The password of the URL's user.
    pub password: Option<SecretString>,
    /// For `rediss`: a private CA and a client certificate, in PEM.
    pub tls: RedisTls,
    /// Who answers at that address.
    pub topology: RedisTopology,
    /// What the names of all keys and channels begin with.
    pub prefix: String,
}

/// A private CA and a client certificate, in PEM.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RedisTls {
    /// Trusted instead of the system's authorities.
    pub ca: Option<String>,
    /// The client certificate.
    pub certificate: Option<String>,
    /// Its key.
    pub key: Option<SecretString>,
}

/// Who answers for Redis.
#[derive(Debug, Clone, Default, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Vault {
    /// Never empty.
    pub keys: Vec<VaultKey>,
}

/// One sealing key.
#[derive(Debug, Clone, PartialEq)]
pub struct VaultKey {
    /// Written in clear beside what it sealed; 1 to 64 of `[A-Za-z0-9._-]`.
    pub id: String,
    /// AES-256.
    pub key: Secret<[u8; 32]>,
}

/// When access tokens are renewed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refresh {
    /// A token with less than this left is renewed in the background while it is still used; never more than a fifth
    /// of its lifetime.
    pub window: Duration,
    /// The whole of one call to a token endpoint.
    pub timeout: Duration,
}

impl Refresh {
    /// A replica that waits for an answer has the connection's lease for longer than this, whatever becomes of the store.
    pub const TIMEOUT_MAX: Duration = Duration::from_secs(12);
}

impl Default for Refresh {
    fn default() -> Self {
        Self { window: Duration::from_secs(300), timeout: Duration::from_secs(10) }
    }
}
