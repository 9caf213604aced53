//! What the operator writes: one struct a mapping of the YAML file, unknown keys refused. Every doc comment here is a
//! description in the JSON Schema and a line of the reference page. Nothing is required by serde, so that a file with
//! one wrong key can still be read for the problems of all others; what is required, the schema says.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Algorithm, Binding, Limits,
    units::{Count, Size, Span},
};
use crate::secret::SecretString;

mod alerts;
mod audit;
mod kubernetes;
mod notifications;
mod service;
mod storage;
mod telemetry;

pub use alerts::*;
pub use audit::*;
pub use kubernetes::*;
pub use notifications::*;
pub use service::*;
pub use storage::*;
pub use telemetry::*;

/// Valetkey's configuration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Valetkey configuration")]
pub struct RawConfig {
    /// Where browsers reach the connect pages, the callback and the dashboard. `https`; plain `http` only on loopback.
    #[schemars(required)]
    pub public_url: Option<String>,
    /// The application that people connect their accounts for.
    pub application: Option<RawBrandedApplication>,
    /// Where Valetkey listens. Without this key: `127.0.0.1:8080` for `proxy` and `connect`, `127.0.0.1:9090` for `admin`.
    #[schemars(length(min = 1))]
    pub listeners: Option<Vec<RawListener>>,
    /// What guards the routes under `/admin`. Without it they answer 404.
    pub admin: Option<RawAdmin>,
    /// Issuers of callers' JWTs, in order: the first whose issuer matches decides.
    #[schemars(required, length(min = 1))]
    pub callers: Option<Vec<RawCaller>>,
    /// The connect flow.
    pub connect: Option<RawConnect>,
    /// How a drain goes after SIGTERM.
    pub shutdown: Option<RawShutdown>,
    /// What is kept in memory.
    pub cache: Option<RawCache>,
    /// Where records are kept: exactly one of `redis` and `embedded`.
    #[schemars(required)]
    pub store: Option<RawStore>,
    /// What seals records before they are stored.
    #[schemars(required)]
    pub vault: Option<RawVault>,
    /// The services by the name that stands in `/proxy/{service}`.
    #[schemars(required)]
    pub services: Option<BTreeMap<String, RawService>>,
    /// Limits on requests. A service may set its own.
    pub limits: Option<RawLimits>,
    /// Networks of TLS terminators and load balancers before Valetkey, as `10.0.0.0/8` or `127.0.0.1`: from them `Forwarded`, or
    /// `X-Forwarded-Proto`, `-Host` and `-For`, say how a request came in and from where. They must set or remove all of these
    /// headers themselves. From any other address the headers are ignored.
    pub trusted_proxies: Option<Vec<String>>,
    /// When access tokens are renewed.
    pub refresh: Option<RawRefresh>,
    /// Who is told what happens to connections: webhooks for operators, mail for callers. Nobody by default.
    pub notifications: Option<RawNotifications>,
    /// What Valetkey tells of itself beside its metrics: traces, times in answers, lines in the log.
    pub telemetry: Option<RawTelemetry>,
    /// Who is told when something fails too often. The log and the metrics alone by default.
    pub alerts: Option<RawAlerts>,
    /// The audit log: what happened to connections.
    pub audit: Option<RawAudit>,
}

/// The application that people connect their accounts for, and how its pages look.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BrandedApplication")]
pub struct RawBrandedApplication {
    /// Its name as the connect page shows it.
    #[schemars(required, length(min = 1))]
    pub name: Option<String>,
    /// The colour of buttons and links, as `"#rrggbb"`. Texts in it and on it are kept readable, in light and dark.
    pub color: Option<String>,
    /// Shown beside the name: an SVG or PNG image of at most 64 KiB.
    pub logo_file: Option<PathBuf>,
    /// Where people get help: an `https` or `mailto` URL; plain `http` only on loopback.
    pub support_url: Option<String>,
}

/// The application that people connect their accounts for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Application")]
pub struct RawApplication {
    /// Its name as the connect page shows it.
    #[schemars(required, length(min = 1))]
    pub name: Option<String>,
}

/// One listener: an address or a Unix socket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct RawListener {
    /// IP address and port, such as `127.0.0.1:8080` or `[::]:8080`.
    pub address: Option<String>,
    /// In place of an address: the path of a Unix socket. One that a killed process left behind is replaced. Who comes in there
    /// has no address: logs show `0.0.0.0`, and `limits.connections_per_client` doesn't count.
    #[schemars(length(min = 1))]
    pub unix: Option<PathBuf>,
    /// The socket's permissions, in octal and in quotes: whoever may write to it may connect.
    #[schemars(regex(pattern = r"^0?[0-7]{3}$"), extend("default" = "0660"))]
    pub mode: Option<String>,
    /// What it serves; several roles may share a listener.
    #[schemars(required, length(min = 1))]
    pub serves: Option<Vec<RawRole>>,
    /// TLS, and HTTP/2 by ALPN, with this certificate. When its files change, new connections are shown the new one.
    pub tls: Option<RawListenerTls>,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Role")]
pub enum RawRole {
    /// `/proxy/…` and the JSON API for applications.
    Proxy,
    /// The connect pages, the callback and the dashboard for browsers.
    Connect,
    /// Health, metrics and `/admin`.
    Admin,
}

/// A listener's certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerTls")]
pub struct RawListenerTls {
    /// The certificate and its chain, in PEM.
    #[schemars(required)]
    pub certificate_file: Option<PathBuf>,
    /// Its private key, in PEM.
    #[schemars(required)]
    pub key_file: Option<PathBuf>,
}

/// What guards the admin routes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub struct RawAdmin {
    /// The bearer token of the routes under `/admin`.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A file that holds it.
    pub token_file: Option<PathBuf>,
    /// A token that reads all of it and changes nothing.
    #[schemars(with = "Option<String>")]
    pub read_token: Option<SecretString>,
    /// A file that holds it.
    pub read_token_file: Option<PathBuf>,
}

/// An issuer of callers' JWTs (RFC 7519): exactly one of `jwks_url`, `jwks_file`, `public_key`, `public_key_file`, `secret`
/// and `secret_file` says what verifies them. Or `kubernetes` stands for all of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Caller", extend(
    "if" = { "required": ["kubernetes"] },
    "else" = { "required": ["issuer", "audience", "algorithms"] },
))]
pub struct RawCaller {
    /// The `iss` claim, compared byte for byte.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: Option<String>,
    /// One of the token's `aud` must equal this.
    #[schemars(length(min = 1))]
    pub audience: Option<String>,
    /// A JWKS (RFC 7517) that is fetched in the background. `https`; plain `http` only on loopback.
    pub jwks_url: Option<String>,
    /// A JWKS in a file.
    pub jwks_file: Option<PathBuf>,
    /// A public key in PEM.
    pub public_key: Option<String>,
    /// A file that holds it.
    pub public_key_file: Option<PathBuf>,
    /// A shared secret for HS256, HS384 and HS512: the text's own bytes, at least 32.
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretString>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// The JWS algorithms (RFC 7518) that are accepted. HS* only with `secret`.
    #[schemars(length(min = 1))]
    pub algorithms: Option<Vec<Algorithm>>,
    /// The claim that names the caller.
    #[schemars(length(min = 1), extend("default" = "sub"))]
    pub user_claim: Option<String>,
    /// Shown on the connect page to this issuer's callers, instead of the application above.
    pub application: Option<RawApplication>,
    /// The claim with the caller's mail address (`email`), for notifications by mail: kept sealed, renewed with each new JWT. An address
    /// that `email_verified` says is unverified is not taken.
    #[schemars(length(min = 1))]
    pub email_claim: Option<String>,
    /// The claim with the caller's language (`locale`), for notifications.
    #[schemars(length(min = 1))]
    pub language_claim: Option<String>,
    /// In place of all these but `application`: pods of a Kubernetes cluster, by the tokens of their ServiceAccounts.
    pub kubernetes: Option<RawKubernetes>,
}

/// The connect flow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Connect")]
pub struct RawConnect {
    /// Who may use a connect link.
    #[schemars(extend("default" = "link"))]
    pub binding: Option<Binding>,
    /// How a browser proves whose it is: exactly one of its keys. Needed for `binding: session`; also lets a browser into the
    /// dashboard.
    pub session: Option<RawSession>,
    /// Whether a connect link shows a page that says who connects what before it goes on to the provider.
    #[schemars(extend("default" = true))]
    pub confirm: Option<bool>,
    /// Where a browser may be sent back to: absolute URLs, the origin compared exactly, the path as a prefix.
    pub return_to: Option<Vec<String>>,
    /// How long a connect link lives.
    #[schemars(extend("default" = "10m"))]
    pub ticket_ttl: Option<Span>,
    /// How long a connect link in a notification lives.
    #[schemars(extend("default" = "7d"))]
    pub notification_ttl: Option<Span>,
}

/// How a browser proves whose it is: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Session")]
pub struct RawSession {
    /// The name of a cookie that holds a JWT of a configured issuer.
    pub cookie: Option<String>,
    /// The name of a header that holds one, set by a gateway.
    pub header: Option<String>,
    /// A URL of the application, asked with the browser's cookies: 200 `{issuer, user}` or 401. `https`; plain `http` only on
    /// loopback.
    pub check_url: Option<String>,
}

/// How a drain goes after SIGTERM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Shutdown")]
pub struct RawShutdown {
    /// How long readiness is down before listeners stop accepting.
    #[schemars(extend("default" = "5s"))]
    pub delay: Option<Span>,
    /// How long requests in flight may take after that.
    #[schemars(extend("default" = "30s"))]
    pub grace: Option<Span>,
}

/// What is kept in memory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cache")]
pub struct RawCache {
    /// How long cached credentials serve while the store is away.
    #[schemars(extend("default" = "1h"))]
    pub offline_max: Option<Span>,
    /// How many callers' credentials are kept. Set it to about twice the number of callers who are active at the same time:
    /// eviction is probabilistic, and a caller who was evicted costs a read of the store at the next call. Each takes about 1 KiB.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 50_000))]
    pub credentials: Option<usize>,
    /// How many verified JWTs are kept, until they expire.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 50_000))]
    pub callers: Option<usize>,
}

/// Limits on requests.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct RawLimits {
    /// All headers together. `32KiB` by default.
    pub header_bytes: Option<Size>,
    /// The request target, with its query. `8KiB` by default.
    pub uri_bytes: Option<Size>,
    /// The body. No limit by default.
    pub body_bytes: Option<Size>,
    /// Connections from one client address at the same time; `trusted_proxies` don't count. No limit by default. A listener's
    /// affair: on a service it has no effect.
    pub connections_per_client: Option<Count>,
    /// A caller's JWT. `16KiB` by default. On a service it has no effect.
    pub jwt_bytes: Option<Size>,
}

impl RawLimits {
    /// Limits as written, and the others from `below`.
    pub fn over(&self, below: Limits) -> Limits {
        Limits {
            header_bytes: self.header_bytes.map_or(below.header_bytes, |size| size.0),
            uri_bytes: self.uri_bytes.map_or(below.uri_bytes, |size| size.0),
            body_bytes: self.body_bytes.map_or(below.body_bytes, |size| size.0),
            connections_per_client: self.connections_per_client.map_or(below.connections_per_client, |count| count.0),
            jwt_bytes: self.jwt_bytes.map_or(below.jwt_bytes, |size| size.0),
        }
    }
}

/// When access tokens are renewed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Refresh")]
pub struct RawRefresh {
    /// A token with less than this left is renewed in the background while it is still used; never more than a fifth of its
    /// lifetime.
    #[schemars(extend("default" = "5m"))]
    pub window: Option<Span>,
    /// How long one call to a token endpoint may take, as a whole; at most 12 seconds, well within the refresh lease.
    #[schemars(extend("default" = "10s"))]
    pub timeout: Option<Span>,
}
