//! What Valetkey tells of itself, as the operator writes it.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{config::units::SpanOrNone, secret::SecretString};

/// What Valetkey tells of itself beside its metrics, which are always there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Telemetry")]
pub struct RawTelemetry {
    /// Where traces go. Nowhere by default.
    pub otlp: Option<RawOtlp>,
    /// Which part of calls is traced, and has a line in the log although all went well: from `0` (none) to `1` (all). A call that
    /// comes with a `traceparent` is traced as that says.
    #[schemars(range(min = 0.0, max = 1.0), extend("default" = 0.01))]
    pub sample: Option<f64>,
    /// Whether answers of upstreams say how long Valetkey and the upstream took (`Server-Timing`).
    #[schemars(extend("default" = false))]
    pub server_timing: Option<bool>,
    /// How often one of the replicas counts all connections, for `valetkey_connections`, `valetkey_connections_ending` and
    /// `valetkey_api_keys_in_use`; `none`: never.
    #[schemars(extend("default" = "5m"))]
    pub census: Option<SpanOrNone>,
}

/// A collector of traces: OTLP over HTTP, in protobuf.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Otlp")]
pub struct RawOtlp {
    /// Its URL, as `https://collector.example.com:4318`; `/v1/traces` is put behind it where it doesn't end so. `https`; plain `http` only
    /// on loopback.
    #[schemars(required)]
    pub endpoint: Option<String>,
    /// Headers of each request, such as `authorization`. They are secrets.
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: Option<BTreeMap<String, SecretString>>,
    /// A file with further headers, a line each: `NAME: VALUE`.
    pub headers_file: Option<PathBuf>,
    /// Allows plain `http` beyond loopback. Anyone on the network path can then read the traces, and the headers.
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
}
