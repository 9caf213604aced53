//! What belongs to one service alone and needs no provider to be understood.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{operation::PathPattern, secret::SecretString};

/// Time limits towards an upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
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
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// How many calls …
    pub requests: u32,
    /// … in this time …
    pub per: Duration,
    /// … and how many at once.
    pub burst: u32,
}

/// One rule of a service's policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRule {
    /// Allow or deny what matches.
    pub allow: bool,
    /// Methods, upper case; empty: all.
    pub methods: Vec<String>,
    /// Path patterns below `base_url`; empty: all.
    pub paths: Vec<PathPattern>,
    /// Claims of the caller's JWT that must have these values; empty: any caller.
    pub claims: BTreeMap<String, serde_json::Value>,
}

/// Limits on a request. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// All headers together. In [`Config::limits`](super::Config::limits) 32 KiB by default.
    pub header_bytes: Option<u64>,
    /// The request target. In [`Config::limits`](super::Config::limits) 8 KiB by default.
    pub uri_bytes: Option<u64>,
    /// The request's body.
    pub body_bytes: Option<u64>,
    /// Connections from one client address at the same time. The same for all services.
    pub connections_per_client: Option<u32>,
    /// A caller's JWT. In [`Config::limits`](super::Config::limits) 16 KiB by default. The same for all services.
    pub jwt_bytes: Option<u64>,
}
