//! What the operator writes: one struct a mapping of the YAML file, unknown keys refused. Every doc comment here is a
//! description in the JSON Schema and a line of the reference page. Nothing is required by serde, so that a file with
//! one wrong key can still be read for the problems of all others; what is required, the schema says.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Algorithm, ApiKeyPhase, Binding, ProviderFields, UpstreamProtocol,
    units::{Count, Size, Span},
};
use crate::secret::SecretString;

/// Valetkey's configuration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Valetkey configuration")]
pub struct RawConfig {
    /// Where browsers reach the connect pages, the callback and the dashboard. `https`; plain `http` only on loopback.
    #[schemars(required)]
    pub public_url: Option<String>,
    /// The application that people connect their accounts for.
    pub application: Option<RawApplication>,
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
    /// When access tokens are renewed.
    pub refresh: Option<RawRefresh>,
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

/// One listening address.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub struct RawListener {
    /// IP address and port, such as `127.0.0.1:8080` or `[::]:8080`.
    #[schemars(required)]
    pub address: Option<String>,
    /// What this address serves; several roles may share a port.
    #[schemars(required, length(min = 1))]
    pub serves: Option<Vec<RawRole>>,
    /// TLS, and HTTP/2 by ALPN, with this certificate.
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
}

/// An issuer of callers' JWTs (RFC 7519): exactly one of `jwks_url`, `jwks_file`, `public_key`, `public_key_file`, `secret`
/// and `secret_file` says what verifies them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Caller")]
pub struct RawCaller {
    /// The `iss` claim, compared byte for byte.
    #[schemars(required, length(min = 1, max = 2048))]
    pub issuer: Option<String>,
    /// One of the token's `aud` must equal this.
    #[schemars(required, length(min = 1))]
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
    /// The JWS algorithms (RFC 7518) that are believed. HS* only with `secret`.
    #[schemars(required, length(min = 1))]
    pub algorithms: Option<Vec<Algorithm>>,
    /// The claim that names the caller.
    #[schemars(length(min = 1), extend("default" = "sub"))]
    pub user_claim: Option<String>,
    /// Shown on the connect page to this issuer's callers, instead of the application above.
    pub application: Option<RawApplication>,
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
    /// Readiness is down for so long before listeners stop accepting.
    #[schemars(extend("default" = "5s"))]
    pub delay: Option<Span>,
    /// Requests in flight may take so long after that.
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
    /// How many credentials are kept.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10_000))]
    pub credentials: Option<usize>,
    /// How many verified JWTs are kept.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10_000))]
    pub callers: Option<usize>,
}

/// Where records are kept: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Store")]
pub struct RawStore {
    /// Redis: alone, behind Sentinel, or a Cluster. For any number of replicas.
    pub redis: Option<RawRedis>,
    /// A file on this machine, for one process.
    pub embedded: Option<RawEmbedded>,
}

/// Redis.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redis")]
pub struct RawRedis {
    /// `rediss://user@host:6379/0`; plain `redis://` on loopback, elsewhere with a warning. May be left out with `sentinel` or
    /// `cluster`.
    #[schemars(with = "Option<String>")]
    pub url: Option<SecretString>,
    /// The password of the URL's user.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// A file that holds it.
    pub password_file: Option<PathBuf>,
    /// For `rediss`: a private authority and a client certificate.
    pub tls: Option<RawRedisTls>,
    /// Sentinels that know where the master is.
    pub sentinel: Option<RawSentinel>,
    /// A Redis Cluster.
    pub cluster: Option<RawCluster>,
}

/// TLS towards Redis.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisTls")]
pub struct RawRedisTls {
    /// Trusted instead of the system's authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The client certificate, in PEM. With `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub key_file: Option<PathBuf>,
}

/// Redis Sentinel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sentinel")]
pub struct RawSentinel {
    /// The master's name.
    #[schemars(required, length(min = 1))]
    pub master: Option<String>,
    /// `host:port` of the sentinels.
    #[schemars(required, length(min = 1))]
    pub addresses: Option<Vec<String>>,
}

/// Redis Cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cluster")]
pub struct RawCluster {
    /// `host:port` of some of its nodes.
    #[schemars(required, length(min = 1))]
    pub addresses: Option<Vec<String>>,
}

/// The embedded store.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Embedded")]
pub struct RawEmbedded {
    /// The file; it is made where it doesn't exist.
    #[schemars(required)]
    pub path: Option<PathBuf>,
}

/// What seals records: the first of `keys` seals, all of them open. The key services are named by the format but not
/// supported by this version yet.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Vault")]
pub struct RawVault {
    /// Sealing keys; the first seals, all open.
    pub keys: Option<Vec<RawVaultKey>>,
    /// AWS Key Management Service. Not supported by this version yet.
    pub aws_kms: Option<RawAwsKms>,
    /// Azure Key Vault. Not supported by this version yet.
    pub azure_key_vault: Option<RawAzureKeyVault>,
    /// HashiCorp Vault's Transit engine. Not supported by this version yet.
    pub vault_transit: Option<RawVaultTransit>,
}

/// One sealing key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VaultKey")]
pub struct RawVaultKey {
    /// Its name, stored in clear beside what it sealed.
    #[schemars(required, regex(pattern = r"^[A-Za-z0-9._-]{1,64}$"))]
    pub id: Option<String>,
    /// 32 bytes in base64, as `valetkey keys generate` makes them.
    #[schemars(with = "Option<String>")]
    pub key: Option<SecretString>,
    /// A file that holds it.
    pub key_file: Option<PathBuf>,
}

/// AWS Key Management Service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "parsed so that the format holds; refused as not supported yet")]
#[schemars(rename = "AwsKms")]
pub struct RawAwsKms {
    /// Id, alias or ARN of the key.
    #[schemars(required)]
    pub key_id: Option<String>,
    /// The region.
    #[schemars(required)]
    pub region: Option<String>,
    /// Another endpoint than the region's.
    pub endpoint: Option<String>,
}

/// Azure Key Vault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "parsed so that the format holds; refused as not supported yet")]
#[schemars(rename = "AzureKeyVault")]
pub struct RawAzureKeyVault {
    /// The vault's URL.
    #[schemars(required)]
    pub vault_url: Option<String>,
    /// The key's name.
    #[schemars(required)]
    pub key: Option<String>,
}

/// HashiCorp Vault's Transit engine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "parsed so that the format holds; refused as not supported yet")]
#[schemars(rename = "VaultTransit")]
pub struct RawVaultTransit {
    /// The server's URL.
    #[schemars(required)]
    pub address: Option<String>,
    /// The key's name.
    #[schemars(required)]
    pub key: Option<String>,
    /// The token.
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// A file that holds it.
    pub token_file: Option<PathBuf>,
}

/// A service: one upstream API with an OAuth client. Beside these keys each provider field may be written, in place of or
/// instead of the provider's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Service")]
pub struct RawService {
    /// The provider it is built on. A service that bears a provider's name needs none; a custom one has none.
    pub provider: Option<String>,
    /// The service whose connections this one uses. One hop only.
    pub connection: Option<String>,
    /// The OAuth client's id (RFC 6749 §2.2).
    #[schemars(length(min = 1))]
    pub client_id: Option<String>,
    /// The OAuth client's secret; none for a public client.
    #[schemars(with = "Option<String>")]
    pub client_secret: Option<SecretString>,
    /// A file that holds it.
    pub client_secret_file: Option<PathBuf>,
    /// Lets plain `http` URLs through that are not on loopback. Tokens can then be read on the way.
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
    /// API keys beside or before OAuth. A service with this key and without `client_id` takes API keys only.
    pub api_keys: Option<RawApiKeys>,
    /// Time limits towards the upstream.
    pub timeouts: Option<RawTimeouts>,
    /// How the upstream is spoken to.
    pub upstream: Option<RawUpstream>,
    /// Whether the upstream's `Set-Cookie` is passed on.
    #[schemars(extend("default" = false))]
    pub response_cookies: Option<bool>,
    /// How many calls a caller may make.
    pub rate_limit: Option<RawRateLimit>,
    /// Who may call what: the first rule that matches decides; where none does, the call is allowed.
    pub policy: Option<Vec<RawRule>>,
    /// Limits on requests, where they differ from the common ones.
    pub limits: Option<RawLimits>,
    /// Provider fields.
    #[serde(flatten)]
    pub fields: ProviderFields,
}

/// API keys of a service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiKeys")]
pub struct RawApiKeys {
    /// How welcome they are.
    #[schemars(extend("default" = "allowed"))]
    pub phase: Option<ApiKeyPhase>,
    /// `YYYY-MM-DD`, with `phase: deprecated`: from this day (UTC) they are no longer used.
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))]
    pub retire_on: Option<String>,
}

/// Time limits towards an upstream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Timeouts")]
pub struct RawTimeouts {
    /// To connect; TCP and TLS together get twice this.
    #[schemars(extend("default" = "3s"))]
    pub connect: Option<Span>,
    /// Between two reads.
    #[schemars(extend("default" = "60s"))]
    pub read: Option<Span>,
    /// Between two writes.
    #[schemars(extend("default" = "30s"))]
    pub write: Option<Span>,
    /// An unused connection is kept so long.
    #[schemars(extend("default" = "60s"))]
    pub idle: Option<Span>,
}

/// How an upstream is spoken to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub struct RawUpstream {
    /// HTTP version.
    #[schemars(extend("default" = "auto"))]
    pub protocol: Option<UpstreamProtocol>,
    /// Trusted instead of the system's authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// A client certificate, in PEM. With `client_key_file`.
    pub client_certificate_file: Option<PathBuf>,
    /// Its private key, in PEM.
    pub client_key_file: Option<PathBuf>,
}

/// A token bucket for each caller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimit")]
pub struct RawRateLimit {
    /// So many calls …
    #[schemars(required, range(min = 1))]
    pub requests: Option<u32>,
    /// … in this time …
    #[schemars(required)]
    pub per: Option<Span>,
    /// … and so many at once; as many as `requests` by default.
    #[schemars(range(min = 1))]
    pub burst: Option<u32>,
}

/// One rule of a policy: exactly one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rule")]
pub struct RawRule {
    /// Allows the calls that match.
    pub allow: Option<RawMatch>,
    /// Forbids the calls that match.
    pub deny: Option<RawMatch>,
}

/// Which calls a rule is about; all of its keys must match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Match")]
pub struct RawMatch {
    /// HTTP methods; all without this key.
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<String>>,
    /// Paths below `base_url`, exact, or a prefix that ends in `*`; all without this key.
    #[schemars(length(min = 1))]
    pub paths: Option<Vec<String>>,
    /// Claims of the caller's JWT and the values they must have; any caller without this key.
    pub claims: Option<BTreeMap<String, serde_json::Value>>,
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
    /// Connections from one client address at the same time. No limit by default.
    pub connections_per_client: Option<Count>,
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
    /// One call to a token endpoint, as a whole.
    #[schemars(extend("default" = "10s"))]
    pub timeout: Option<Span>,
}
