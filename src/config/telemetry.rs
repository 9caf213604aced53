//! What Valetkey tells of itself.

use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::secret::SecretString;

/// What Valetkey tells of itself, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Telemetry {
    /// Where traces go; `None`: nobody gets any.
    pub otlp: Option<Otlp>,
    /// Which part of calls is traced, and has a line in the log where all went well: 0 to 1.
    pub sample: f64,
    /// Whether answers say how long what took.
    pub server_timing: bool,
    /// How often connections are counted; `None`: never.
    pub census: Option<Duration>,
}

/// A collector of traces, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// Where traces are posted to, path and all.
    pub traces_url: Url,
    /// Headers of each request: they may be credentials.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// Whether plain `http` beyond loopback is allowed.
    pub allow_plain_http: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp: None, sample: 0.01, server_timing: false, census: Some(Duration::from_secs(300)) }
    }
}
