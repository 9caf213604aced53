//! Webhooks and mail: what they mean, and what can't be meant.

use std::time::Duration;

use super::{super::*, each_is_one_problem, with};

const SECRET: &str = "whsec_dGhlIHRlc3RzJyBvd24gd2ViaG9vayBzZWNyZXQh";
const FROM: &str = "from: Acme <no-reply@example.com>";

fn config(notifications: &str) -> Result<Notifications, Problems> {
    with(&format!("notifications: {{ {notifications} }}")).map(|config| config.notifications)
}

fn smtp(url: &str, more: &str) -> Smtp {
    config(&format!("email: {{ smtp_url: '{url}', {FROM} {more} }}")).unwrap().email.unwrap().smtp
}

#[test]
fn a_webhook_has_one_secret_or_several_and_hears_of_everything_by_default() {
    let one = config(&format!("webhooks: [{{ url: 'https://ops.example.com/x?y=z', secret: {SECRET} }}]")).unwrap();
    assert_eq!(one.webhooks[0].secrets.len(), 1);
    assert_eq!(one.webhooks[0].secrets[0].expose(), b"the tests' own webhook secret!");
    assert_eq!(one.webhooks[0].events, NoticeKind::ALL);
    assert_eq!(one.retries, [5, 30, 120, 600, 3600, 21_600].map(Duration::from_secs));
    let two = config(&format!(
        "webhooks: [{{ url: 'http://127.0.0.1/', secret: '{SECRET} {SECRET}', events: [connection.invalid] }}], retries: [1s]"
    ));
    let two = two.unwrap();
    assert_eq!(two.webhooks[0].secrets.len(), 2);
    assert_eq!(two.webhooks[0].events, [NoticeKind::ConnectionInvalid]);
    assert_eq!(two.retries, [Duration::from_secs(1)]);
    assert!(config("").unwrap().is_empty());
}

#[test]
fn an_smtp_url_says_how_the_way_is_protected() {
    let tls = |url| smtp(url, "").tls;
    assert_eq!(tls("smtps://mail.example.com"), SmtpTls::Implicit);
    assert_eq!(tls("smtp://mail.example.com"), SmtpTls::Required);
    assert_eq!(tls("smtp://mail.example.com?tls=none"), SmtpTls::None);
    assert_eq!(tls("smtp://127.0.0.1:25"), SmtpTls::None);
    assert_eq!(tls("smtp://localhost:25?tls=required"), SmtpTls::Required);
    assert_eq!(smtp("smtps://mail.example.com", "").port, 465);
    assert_eq!(smtp("smtp://mail.example.com", "").port, 587);
    let with_login = smtp("smtps://ada%40example.com@mail.example.com:2525", ", password: hush");
    assert_eq!((with_login.host.as_str(), with_login.port), ("mail.example.com", 2525));
    let (user, password) = with_login.login.unwrap();
    assert_eq!((user.as_str(), password.expose().as_str()), ("ada@example.com", "hush"));
}

#[test]
fn what_cannot_be_meant_is_told_and_no_secret_with_it() {
    let hook = |more: &str| format!("webhooks: [{{ url: 'https://ops.example.com/', {more} }}]");
    let mail = |more: &str| format!("email: {{ {more} }}");
    each_is_one_problem(
        config,
        &[
            (hook("secret: hush-hush"), "notifications.webhooks[0].secret"),
            (hook("secret: whsec_aHVzaA=="), "notifications.webhooks[0].secret"),
            (hook("events: [connection.invalid]"), "notifications.webhooks[0]"),
            (hook(&format!("secret: {SECRET}, events: [nonsense]")), "notifications.webhooks[0].events[0]"),
            (
                format!("webhooks: [{{ url: 'http://ops.example.com/', secret: {SECRET} }}]"),
                "notifications.webhooks[0].url",
            ),
            (mail(&format!("smtp_url: 'https://mail.example.com', {FROM}")), "notifications.email.smtp_url"),
            (
                mail(&format!("smtp_url: 'smtps://ada:hush-hush@mail.example.com', {FROM}")),
                "notifications.email.smtp_url",
            ),
            (mail(&format!("smtp_url: 'smtps://mail.example.com?tls=none', {FROM}")), "notifications.email.smtp_url"),
            (mail(&format!("smtp_url: 'smtps://ada@mail.example.com', {FROM}")), "notifications.email.smtp_url"),
            (
                mail(&format!("smtp_url: 'smtps://mail.example.com', password: hush-hush, {FROM}")),
                "notifications.email.smtp_url",
            ),
            (
                mail(&format!("smtp_url: 'smtp://ada@mail.example.com?tls=none', password: hush-hush, {FROM}")),
                "notifications.email.smtp_url",
            ),
            (mail("smtp_url: 'smtps://mail.example.com', from: nobody"), "notifications.email.from"),
            (
                mail(&format!("smtp_url: 'smtps://mail.example.com', {FROM}, events: [connection.healing_failed]")),
                "notifications.email.events[0]",
            ),
        ],
    );
}
