//! Alerts: what they mean, and what can't be meant.

use std::time::Duration;

use super::{super::*, each_is_one_problem, with};

const SECRET: &str = "whsec_dGhlIHRlc3RzJyBvd24gd2ViaG9vayBzZWNyZXQh";

fn config(alerts: &str, more: &str) -> Result<Alerts, Problems> {
    with(&format!("alerts: {{ {alerts} }}\n{more}")).map(|config| config.alerts)
}

#[test]
fn without_a_word_more_than_ten_an_hour_are_too_many_and_only_the_log_tells_it() {
    let alerts = config("", "").unwrap();
    assert_eq!((alerts.failures_above, alerts.window, alerts.digest), (Some(10), Duration::from_secs(3600), false));
    assert!(alerts.webhook.is_none() && alerts.email.is_none() && alerts.slack_webhook.is_none());
    assert_eq!(config("failures_above: none, window: 5s, digest: daily", "").unwrap().failures_above, None);
}

#[test]
fn mail_goes_by_its_own_server_or_by_that_of_notices() {
    let own = "email: { to: [ops@example.com], smtp_url: 'smtps://mail.example.com', from: v@example.com }";
    let own = config(own, "").unwrap().email.unwrap();
    assert_eq!(
        (own.to.as_slice(), own.from.smtp.host.as_str()),
        (&["ops@example.com".to_owned()][..], "mail.example.com")
    );
    let mail = "notifications: { email: { smtp_url: 'smtps://other.example.com', from: a@example.com } }\n";
    let shared = config("email: { to: [ops@example.com] }", mail).unwrap().email.unwrap();
    assert_eq!((shared.from.smtp.host.as_str(), shared.from.from.as_str()), ("other.example.com", "a@example.com"));
}

#[test]
fn what_cannot_be_meant_is_told_and_no_secret_with_it() {
    each_is_one_problem(
        |text| config(text, ""),
        &[
            ("window: 900ms".to_owned(), "alerts.window"),
            ("window: 8d".to_owned(), "alerts.window"),
            ("failures_above: 0".to_owned(), "alerts.failures_above"),
            ("digest: weekly".to_owned(), "alerts.digest"),
            ("slack_webhook: 'http://chat.example.com/hush-hush'".to_owned(), "alerts.slack_webhook"),
            ("webhook: { url: 'https://ops.example.com/', secret: hush-hush }".to_owned(), "alerts.webhook.secret"),
            (format!("webhook: {{ url: 'http://ops.example.com/', secret: {SECRET} }}"), "alerts.webhook.url"),
            ("email: { to: [ops@example.com] }".to_owned(), "alerts.email"),
            ("email: { to: [ops@example.com], smtp_url: 'smtps://mail.example.com' }".to_owned(), "alerts.email"),
        ],
    );
}
