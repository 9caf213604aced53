//! Alerts: whom they go to, by the same ways as notices.

use std::time::Duration;

use super::notifications;
use crate::config::{
    alerts::{AlertEmail, Alerts},
    context::Context,
    notifications::Email,
    problem::{Path, finding},
    raw::{RawAlertEmail, RawAlerts, RawDigest, RawEmail, RawWebhook},
    urls::{PlainHttp, UrlRule},
};

const FAILURES_ABOVE: u32 = 10;
const WINDOW: Duration = Duration::from_secs(3600);

/// `mail`: that of notices, whose server alerts may use.
pub(super) fn alerts(raw: RawAlerts, mail: Option<&Email>, path: &Path, cx: &mut Context<'_>) -> Alerts {
    let window = raw.window.map_or(WINDOW, |window| window.0);
    if !(Alerts::SHORTEST_WINDOW..=Alerts::LONGEST_WINDOW).contains(&window) {
        cx.report.problem(&path.key("window"), finding("This should be from `1s` to `7d`"));
    }
    let webhook = raw.webhook.and_then(|raw| {
        let (url, secret, secret_file) = (raw.url, raw.secret, raw.secret_file);
        let raw = RawWebhook { url, secret, secret_file, events: None, allow_plain_http: raw.allow_plain_http };
        notifications::webhook(raw, &path.key("webhook"), cx)
    });
    let email = raw.email.and_then(|raw| email(raw, mail, &path.key("email"), cx));
    let place = path.key(if raw.slack_webhook.is_some() { "slack_webhook" } else { "slack_webhook_file" });
    let slack_webhook = cx.secret(path, "slack_webhook", raw.slack_webhook, raw.slack_webhook_file).filter(|url| {
        let rule = UrlRule { plain_http: PlainHttp::Loopback, query: true };
        cx.url(&place, url.expose(), rule).is_some()
    });
    Alerts {
        failures_above: raw.failures_above.map_or(Some(FAILURES_ABOVE), |count| count.0),
        window,
        webhook,
        email,
        slack_webhook,
        digest: raw.digest == Some(RawDigest::Daily),
    }
}

fn email(raw: RawAlertEmail, mail: Option<&Email>, path: &Path, cx: &mut Context<'_>) -> Option<AlertEmail> {
    let mut to = Vec::new();
    for (at, text) in raw.to.unwrap_or_default().into_iter().enumerate() {
        to.extend(notifications::mailbox(text, &path.key("to").index(at), cx));
    }
    let is_own = raw.smtp_url.is_some() || cx.report.is_broken(&path.key("smtp_url"));
    let from = match (is_own, mail) {
        (true, _) => {
            if raw.from.is_none() && !cx.report.is_broken(&path.key("from")) {
                let hint = "such as `Valetkey <alerts@example.com>`";
                cx.report.problem(path, finding("`from` is missing beside `smtp_url`").hint(hint));
            }
            let raw = RawEmail {
                smtp_url: raw.smtp_url,
                password: raw.password,
                password_file: raw.password_file,
                ca_file: raw.ca_file,
                from: raw.from,
                reply_to: None,
                language: None,
                events: None,
            };
            notifications::email(raw, path, cx)?
        }
        (false, Some(mail)) => {
            let from = raw.from.and_then(|text| notifications::mailbox(text, &path.key("from"), cx));
            Email { from: from.unwrap_or_else(|| mail.from.clone()), reply_to: None, ..mail.clone() }
        }
        (false, None) => {
            let hint = "add `smtp_url` and `from` here, or `notifications.email`";
            cx.report.problem(path, finding("Nothing says which server sends this mail").hint(hint));
            return None;
        }
    };
    Some(AlertEmail { to, from })
}
