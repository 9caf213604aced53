//! Who is told when something fails too often, as the operator writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::units::{Count, Span},
    secret::SecretString,
};

/// Who is told when something fails too often: attempts to connect, refreshes, grants that are lost. The log and the metrics tell
/// it in any case. docs/OPERATIONS.md says what each error means.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Alerts")]
pub struct RawAlerts {
    /// An alert is raised where more than this many failures of one service and error fall into the window; `none`: never. `10` by
    /// default.
    pub failures_above: Option<Count>,
    /// The rolling window, from `1s` to `7d`. An alert is over once there were no more than `failures_above` in it for as long as a
    /// window again.
    #[schemars(extend("default" = "1h"))]
    pub window: Option<Span>,
    /// An endpoint that takes webhooks (Standard Webhooks): `alert.raised`, `alert.resolved` and `alert.digest`.
    pub webhook: Option<RawAlertWebhook>,
    /// Mail to operators.
    pub email: Option<RawAlertEmail>,
    /// An incoming webhook of Slack's, or of any chat that takes `{"text": …}`. `https`; plain `http` only on loopback.
    #[schemars(with = "Option<String>")]
    pub slack_webhook: Option<SecretString>,
    /// A file that holds it.
    pub slack_webhook_file: Option<PathBuf>,
    /// Whether what failed within a day is told every day at 07:00 UTC, to whoever gets alerts.
    #[schemars(extend("default" = "off"))]
    pub digest: Option<RawDigest>,
}

/// How often failures are told together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Digest")]
pub enum RawDigest {
    /// Once a day.
    Daily,
    /// Never.
    Off,
}

/// An endpoint that takes alerts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AlertWebhook")]
pub struct RawAlertWebhook {
    /// Where it is. `https`; plain `http` only on loopback, or with `allow_plain_http`.
    #[schemars(required)]
    pub url: Option<String>,
    /// The signing secret: `whsec_` and the base64 of 24 to 64 bytes. During a rotation several, separated by spaces or line
    /// breaks: each of them signs.
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretString>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// Whether plain `http` beyond loopback is allowed.
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
}

/// Mail to operators. Without `smtp_url`, by the server of `notifications.email`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AlertEmail")]
pub struct RawAlertEmail {
    /// To whom.
    #[schemars(required, length(min = 1))]
    pub to: Option<Vec<String>>,
    /// As in `notifications.email`.
    pub smtp_url: Option<String>,
    /// The password of the URL's user.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// A file that holds it.
    pub password_file: Option<PathBuf>,
    /// A private certificate authority, in PEM, trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// From whom: `Valetkey <alerts@example.com>`. Needed with `smtp_url`.
    #[schemars(length(min = 3))]
    pub from: Option<String>,
}
