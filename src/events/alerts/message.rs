//! What is told, and to whom: one message a recipient, made once and kept until it is delivered.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{meaning, spikes::Spike, window::Sum};
use crate::{
    clock::Timestamp,
    config::{Alerts, units},
    events::failures::Failure,
};

/// How many lines a digest has.
const LINES: usize = 20;

/// To whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Recipient {
    /// The endpoint for webhooks.
    Webhook,
    /// The chat.
    Slack,
    /// This address.
    Mail(String),
}

/// A message that has yet to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    /// The same for each attempt, on each replica, and for each recipient.
    #[serde(rename = "i")]
    pub id: String,
    #[serde(rename = "r")]
    pub recipient: Recipient,
    /// Its subject, where it is mail.
    #[serde(rename = "s")]
    pub subject: String,
    /// What is sent: JSON, or a mail's text.
    #[serde(rename = "b")]
    pub body: String,
    /// When it was made, in milliseconds since the epoch.
    #[serde(rename = "t")]
    pub at: u64,
    #[serde(rename = "a", default)]
    pub attempts: u32,
    /// When it is to be tried next.
    #[serde(rename = "d")]
    pub due: u64,
}

/// What there is to tell, before it is told to anybody.
pub(super) struct News {
    kind: &'static str,
    subject: String,
    text: String,
    data: Value,
}

impl News {
    /// Something fails too often.
    pub fn raised(spike: &Spike, sum: &Sum, settings: &Alerts) -> Self {
        let Spike { service, error, .. } = spike;
        let (above, window) = (settings.failures_above.unwrap_or(0), units::shown(settings.window));
        let subject = format!("{service}: {error}, {} times within {window}", sum.count);
        let mut text = format!(
            "{service}: {error} happened {} times within {window}, which is more than {above}.\nFirst at {}, last at {}.\n",
            sum.count, sum.first_at, sum.last_at
        );
        if let Some(request) = &sum.request {
            let _ = writeln!(text, "A request in which it did: {request}");
        }
        let _ = write!(text, "{} {}", meaning::of(error), runbook(error));
        let data = json!({
            "service": service,
            "error": error,
            "count": sum.count,
            "failures_above": above,
            "window_seconds": settings.window.as_secs_f64(),
            "first_at": sum.first_at,
            "last_at": sum.last_at,
            "request_id": sum.request,
            "meaning": meaning::of(error),
            "runbook": runbook(error),
        });
        Self { kind: "alert.raised", subject, text, data }
    }

    /// It is over; `sum`: all of it.
    pub fn over(spike: &Spike, sum: &Sum, settings: &Alerts) -> Self {
        let Spike { service, error, .. } = spike;
        let (above, window) = (settings.failures_above.unwrap_or(0), units::shown(settings.window));
        let subject = format!("{service}: {error} is over");
        let text = format!(
            "{service}: {error} is over: no more than {above} within {window} for as long. All in all {} times, first at {}, \
             last at {}.",
            sum.count, sum.first_at, sum.last_at
        );
        let data = json!({
            "service": service,
            "error": error,
            "count": sum.count,
            "failures_above": above,
            "window_seconds": settings.window.as_secs_f64(),
            "raised_at": Timestamp::from_millis(spike.raised),
            "first_at": sum.first_at,
            "last_at": sum.last_at,
            "request_id": sum.request,
        });
        Self { kind: "alert.resolved", subject, text, data }
    }

    /// What failed in a day.
    pub fn digest(failures: &[Failure], now: Timestamp) -> Self {
        let all: u64 = failures.iter().map(|failure| failure.count).sum();
        let subject = format!("{all} failures within a day");
        let mut text = match failures {
            [] => "Nothing failed within the last 24 hours.".to_owned(),
            _ => format!("{all} failures within the last 24 hours:\n"),
        };
        for failure in failures.iter().take(LINES) {
            let alerted = if failure.alerted { ", alerted" } else { "" };
            let _ = writeln!(text, "{:>7}  {}: {}{alerted}", failure.count, failure.service, failure.error);
        }
        if failures.len() > LINES {
            let _ = writeln!(text, "and {} more kinds: `valetkey report failures`", failures.len() - LINES);
        }
        let data = json!({ "until": now, "count": all, "failures": failures });
        Self { kind: "alert.digest", subject, text: text.trim_end().to_owned(), data }
    }

    /// Its text, for the log.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As messages for everybody who is to be told.
    pub fn messages(self, settings: &Alerts, now: Timestamp) -> Vec<Message> {
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_err() {
            return Vec::new();
        }
        let id = format!("msg_{}", HEXLOWER.encode(&random));
        let Self { kind, subject, text, data } = self;
        let message = |recipient, body| Message {
            id: id.clone(),
            recipient,
            subject: format!("[Valetkey] {subject}"),
            body,
            at: now.millis(),
            attempts: 0,
            due: now.millis(),
        };
        let mut messages = Vec::new();
        if settings.webhook.is_some() {
            let body = json!({ "type": kind, "timestamp": now, "data": data });
            messages.push(message(Recipient::Webhook, body.to_string()));
        }
        if settings.slack_webhook.is_some() {
            messages.push(message(Recipient::Slack, json!({ "text": format!("[Valetkey] {text}") }).to_string()));
        }
        for address in settings.email.iter().flat_map(|email| &email.to) {
            messages.push(message(Recipient::Mail(address.clone()), text.clone()));
        }
        messages
    }
}

/// Where there is more.
fn runbook(error: &str) -> String {
    format!("docs/OPERATIONS.md, “{}”", meaning::class(error))
}
