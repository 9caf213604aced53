//! Where records are kept and what seals them, as the operator writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretString;

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
    /// What the names of all keys and channels begin with. Deployments that share a Redis or a Cluster need one each;
    /// replicas of one deployment have the same. A new prefix is an empty store.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9._-]+$"), extend("default" = "vk"))]
    pub prefix: Option<String>,
}

/// TLS towards Redis.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisTls")]
pub struct RawRedisTls {
    /// Certificate authorities trusted instead of the system's, in PEM.
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
    /// The file; created where it doesn't exist.
    #[schemars(required)]
    pub path: Option<PathBuf>,
}

/// What seals records.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Vault")]
pub struct RawVault {
    /// Sealing keys; the first seals, all open.
    pub keys: Option<Vec<RawVaultKey>>,
}

/// One sealing key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VaultKey")]
pub struct RawVaultKey {
    /// Its name, stored in clear with everything it sealed.
    #[schemars(required, regex(pattern = r"^[A-Za-z0-9._-]{1,64}$"))]
    pub id: Option<String>,
    /// 32 bytes in base64, as `valetkey keys generate` makes them.
    #[schemars(with = "Option<String>")]
    pub key: Option<SecretString>,
    /// A file that holds it.
    pub key_file: Option<PathBuf>,
}
