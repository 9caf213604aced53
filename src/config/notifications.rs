//! Whom notices go to, and by which way.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Language;
use crate::secret::{Secret, SecretString};

/// Who is told what happens to connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Notifications {
    /// Operators' endpoints.
    pub webhooks: Vec<Webhook>,
    /// Mail to the callers themselves.
    pub email: Option<Email>,
    /// How long to wait before each further attempt; when all are used up, the message is a dead letter.
    pub retries: Vec<Duration>,
    /// How long before a connection's expected end it is told, the longest first.
    pub before_end: Vec<Duration>,
}

impl Notifications {
    /// Whether there is anybody to tell.
    pub const fn is_empty(&self) -> bool {
        self.webhooks.is_empty() && self.email.is_none()
    }
}

/// What a notice can be about. The names are the `type` of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NoticeKind {
    /// The connection is lost; the person must connect again.
    #[serde(rename = "connection.invalid")]
    ConnectionInvalid,
    /// Renewing fails again and again, though nothing is lost yet. For operators only: webhooks, never mail.
    #[serde(rename = "connection.healing_failed")]
    HealingFailed,
    /// The connection will end by itself, unless the person connects again.
    #[serde(rename = "connection.ending")]
    ConnectionEnding,
    /// A lost connection of which was told works again. For operators only: webhooks, never mail.
    #[serde(rename = "connection.recovered")]
    ConnectionRecovered,
    /// A call needed more permissions than were granted.
    #[serde(rename = "connection.permissions_needed")]
    PermissionsNeeded,
    /// The API key that the connection rests on will be retired.
    #[serde(rename = "api_key.deprecated")]
    KeyDeprecated,
    /// It is still in use, and the day is near.
    #[serde(rename = "api_key.reminder")]
    KeyReminder,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ConnectionInvalid,
        Self::HealingFailed,
        Self::ConnectionEnding,
        Self::ConnectionRecovered,
        Self::PermissionsNeeded,
        Self::KeyDeprecated,
        Self::KeyReminder,
    ];

    /// Its name, as `type` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionInvalid => "connection.invalid",
            Self::HealingFailed => "connection.healing_failed",
            Self::ConnectionEnding => "connection.ending",
            Self::ConnectionRecovered => "connection.recovered",
            Self::PermissionsNeeded => "connection.permissions_needed",
            Self::KeyDeprecated => "api_key.deprecated",
            Self::KeyReminder => "api_key.reminder",
        }
    }

    /// Whether the person whose connection it is can do something about it.
    pub const fn concerns_the_person(self) -> bool {
        !matches!(self, Self::HealingFailed | Self::ConnectionRecovered)
    }
}

/// One endpoint for webhooks (Standard Webhooks).
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where it is.
    pub url: Url,
    /// Keys that sign, all of them at once: several while one takes the place of another. Never empty.
    pub secrets: Vec<Secret<Vec<u8>>>,
    /// What it is told.
    pub events: Vec<NoticeKind>,
    /// Whether plain `http` beyond loopback is allowed.
    pub allow_plain_http: bool,
}

/// Mail to callers.
#[derive(Debug, Clone, PartialEq)]
pub struct Email {
    /// The server that takes it.
    pub smtp: Smtp,
    /// From whom, as `Name <address>`; it parses.
    pub from: String,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// The language where the caller's is not known.
    pub language: Language,
    /// What is mailed.
    pub events: Vec<NoticeKind>,
}

/// An SMTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// An authority trusted beside the system's, in PEM.
    pub ca: Option<String>,
    /// User and password (RFC 4954).
    pub login: Option<(String, SecretString)>,
}

/// How a connection to an SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS (RFC 3207), and nothing without it.
    Required,
    /// Not at all.
    None,
}
