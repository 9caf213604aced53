//! Who is told what happens to connections, as the operator writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::{Language, notifications::NoticeKind, units::Span},
    secret::SecretString,
};

/// Who is told what happens to connections. docs/NOTIFICATIONS.md says when, how often and in which form.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Notifications")]
pub struct RawNotifications {
    /// Endpoints that take webhooks (Standard Webhooks).
    pub webhooks: Option<Vec<RawWebhook>>,
    /// Mail to callers whose address is known (`callers[].email_claim`).
    pub email: Option<RawEmail>,
    /// How long before a connection's expected end its person and the endpoints are told (`connection.ending`); whole days, none
    /// for never. `[14d, 3d]` by default.
    #[schemars(length(max = 10))]
    pub before_end: Option<Vec<Span>>,
    /// How long to wait before each further attempt to deliver; after the last one a message is a dead letter. `[5s, 30s, 2m,
    /// 10m, 1h, 6h]` by default.
    #[schemars(length(max = 20))]
    pub retries: Option<Vec<Span>>,
}

/// An endpoint that takes webhooks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Webhook")]
pub struct RawWebhook {
    /// Where it is. `https`; plain `http` only on loopback, or with `allow_plain_http`.
    #[schemars(required)]
    pub url: Option<String>,
    /// The signing secret: `whsec_` and the base64 of 24 to 64 bytes. During a rotation several, separated by spaces or line
    /// breaks: each of them signs.
    #[schemars(with = "Option<String>")]
    pub secret: Option<SecretString>,
    /// A file that holds it.
    pub secret_file: Option<PathBuf>,
    /// What this endpoint is told. Everything by default.
    #[schemars(length(min = 1))]
    pub events: Option<Vec<NoticeKind>>,
    /// Whether plain `http` beyond loopback is allowed.
    #[schemars(extend("default" = false))]
    pub allow_plain_http: Option<bool>,
}

/// Mail to callers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Email")]
pub struct RawEmail {
    /// `smtps://user@host:465` (TLS from the first byte) or `smtp://user@host:587` (STARTTLS, and nothing without it). `?tls=none`
    /// turns TLS off; on loopback it is off unless the URL has `?tls=required`.
    #[schemars(required)]
    pub smtp_url: Option<String>,
    /// The password of the URL's user.
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// A file that holds it.
    pub password_file: Option<PathBuf>,
    /// A private certificate authority, in PEM, trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// From whom: `Acme Helpdesk <no-reply@example.com>`.
    #[schemars(required, length(min = 3))]
    pub from: Option<String>,
    /// `Reply-To`.
    pub reply_to: Option<String>,
    /// The language where the caller's is not known (`callers[].language_claim`).
    #[schemars(extend("default" = "en"))]
    pub language: Option<Language>,
    /// What is mailed. Everything that concerns the person by default.
    #[schemars(length(min = 1))]
    pub events: Option<Vec<NoticeKind>>,
}
