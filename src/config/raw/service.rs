//! A service as the operator writes it.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::RawLimits;
use crate::{
    config::{
        ApiKeyPhase, ProviderFields, UpstreamProtocol,
        units::{Span, SpanOrNone},
    },
    secret::SecretString,
};

/// A service: one upstream API with an OAuth client. Beside these keys each provider field may be written, all of them for
/// a custom service, or some in place of the provider's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Service")]
pub struct RawService {
    /// The provider it is built on. A service with a provider's name needs none; a custom one has none.
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
    /// Allows plain `http` URLs that are not on loopback. Anyone on the network path can then read the tokens.
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
    /// API keys beside or before OAuth. A service with this key and without `client_id` takes API keys only.
    pub api_keys: Option<RawApiKeys>,
    /// Time limits towards the upstream.
    pub timeouts: Option<RawTimeouts>,
    /// How the upstream is spoken to.
    pub upstream: Option<RawUpstream>,
    /// Whether cookies pass both ways: the upstream's `Set-Cookie`, with its path below `/proxy/{service}` and without a
    /// domain, and the client's `Cookie`, without Valetkey's own cookies and the one that `connect.session` names.
    #[schemars(extend("default" = false))]
    pub response_cookies: Option<bool>,
    /// Whether the upstream learns which trace a call is part of: `traceparent`, `tracestate` and `baggage` pass, with Valetkey's own span
    /// in between where the call is traced. They may tell of other programs and people.
    #[schemars(extend("default" = false))]
    pub trace_context: Option<bool>,
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
    /// `YYYY-MM-DD`, with `phase: deprecated`: from this day (UTC) they are no longer used, without a restart. With
    /// `phase: retired`: since when, for `delete_after`.
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"))]
    pub retire_on: Option<String>,
    /// What the dashboard says that OAuth gives people, a line each, instead of its own words.
    #[schemars(length(max = 8))]
    pub benefits: Option<Vec<String>>,
    /// How long before `retire_on` the deprecation begins: then everyone still on a key is told.
    #[schemars(extend("default" = "30d"))]
    pub notice_ahead: Option<Span>,
    /// How long before `retire_on` those who are still on a key are reminded.
    #[schemars(length(max = 16), extend("default" = ["30d", "14d", "7d", "1d"]))]
    pub reminders: Option<Vec<Span>>,
    /// How long after `retire_on` keys are deleted, a day after the log has said which; `none`: they stay, unused.
    #[schemars(extend("default" = "none"))]
    pub delete_after: Option<SpanOrNone>,
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
    /// How long an unused connection is kept.
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
    /// How many calls …
    #[schemars(required, range(min = 1))]
    pub requests: Option<u32>,
    /// … in this time …
    #[schemars(required)]
    pub per: Option<Span>,
    /// … and how many at once; as many as `requests` by default.
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
