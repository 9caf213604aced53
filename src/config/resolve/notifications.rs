//! Webhooks and mail: secrets decoded, addresses and the SMTP server's URL read.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lettre::message::Mailbox;
use url::Url;

use crate::{
    config::{
        context::Context,
        loopback::is_loopback,
        notifications::{Email, NoticeKind, Notifications, Smtp, SmtpTls, Webhook},
        problem::{Path, finding},
        raw::{RawEmail, RawNotifications, RawWebhook},
        units::Span,
        urls::{PlainHttp, UrlRule},
    },
    secret::{Secret, SecretString},
};

/// Standard Webhooks: a key of 24 to 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// What a key's text begins with.
const KEY_PREFIX: &str = "whsec_";
const DAY: Duration = Duration::from_secs(86_400);
/// How many days before its expected end a connection's end is told.
const BEFORE_END: [u32; 2] = [14, 3];
/// Waits between attempts, in seconds.
const RETRIES: [u64; 6] = [5, 30, 120, 600, 3600, 21_600];

pub(super) fn notifications(raw: RawNotifications, path: &Path, cx: &mut Context<'_>) -> Notifications {
    let mut webhooks = Vec::new();
    for (at, raw) in raw.webhooks.unwrap_or_default().into_iter().enumerate() {
        webhooks.extend(webhook(raw, &path.key("webhooks").index(at), cx));
    }
    let email = raw.email.and_then(|raw| email(raw, &path.key("email"), cx));
    let retries = raw.retries.map_or_else(
        || RETRIES.map(Duration::from_secs).to_vec(),
        |spans| spans.into_iter().map(|span| span.0).collect(),
    );
    let before_end =
        raw.before_end.map_or_else(|| BEFORE_END.map(|days| DAY * days).to_vec(), |spans| ahead(&spans, path, cx));
    Notifications { webhooks, email, retries, before_end }
}

/// How long before an end it is told, the longest first. It is looked once a day what ends.
fn ahead(spans: &[Span], path: &Path, cx: &mut Context<'_>) -> Vec<Duration> {
    for (at, _) in spans.iter().enumerate().filter(|(_, span)| span.0 < DAY) {
        let finding =
            finding("This is less than a day, and it is looked once a day what ends").hint("write `1d` or more");
        cx.report.problem(&path.key("before_end").index(at), finding);
    }
    let mut ahead: Vec<Duration> = spans.iter().map(|span| span.0).collect();
    ahead.sort_unstable_by_key(|span| std::cmp::Reverse(*span));
    ahead.dedup();
    ahead
}

pub(super) fn webhook(raw: RawWebhook, path: &Path, cx: &mut Context<'_>) -> Option<Webhook> {
    let allow_plain_http = raw.allow_plain_http.unwrap_or(false);
    let plain_http = if allow_plain_http { PlainHttp::Allowed } else { PlainHttp::Loopback };
    let url = raw.url.and_then(|text| cx.url(&path.key("url"), &text, UrlRule { plain_http, query: true }));
    let given = [("secret", raw.secret.is_some()), ("secret_file", raw.secret_file.is_some())];
    let place = path.key(if raw.secret.is_some() { "secret" } else { "secret_file" });
    let secrets = if cx.require_one(path, &given) {
        cx.secret(path, "secret", raw.secret, raw.secret_file).and_then(|text| keys(&text, &place, cx))
    } else {
        None
    };
    Some(Webhook {
        url: url?,
        secrets: secrets?,
        events: raw.events.unwrap_or_else(|| NoticeKind::ALL.to_vec()),
        allow_plain_http,
    })
}

fn keys(text: &SecretString, path: &Path, cx: &mut Context<'_>) -> Option<Vec<Secret<Vec<u8>>>> {
    let decoded: Option<Vec<_>> = text.expose().split_whitespace().map(key).collect();
    if decoded.as_ref().is_none_or(Vec::is_empty) {
        let finding = finding("This is no webhook secret");
        cx.report.problem(path, finding.hint("make one with `echo whsec_$(openssl rand -base64 32)`"));
        return None;
    }
    decoded
}

fn key(text: &str) -> Option<Secret<Vec<u8>>> {
    let bytes = Secret::new(STANDARD.decode(text.strip_prefix(KEY_PREFIX)?).ok()?);
    KEY_BYTES.contains(&bytes.expose().len()).then_some(bytes)
}

pub(super) fn email(raw: RawEmail, path: &Path, cx: &mut Context<'_>) -> Option<Email> {
    let password = cx.secret(path, "password", raw.password, raw.password_file);
    let ca = raw.ca_file.and_then(|file| cx.authorities(&path.key("ca_file"), file));
    let smtp = raw.smtp_url.and_then(|text| smtp(&text, password, ca, path, cx));
    let from = raw.from.and_then(|text| mailbox(text, &path.key("from"), cx));
    let reply_to = raw.reply_to.and_then(|text| mailbox(text, &path.key("reply_to"), cx));
    let mut events =
        raw.events.unwrap_or_else(|| NoticeKind::ALL.into_iter().filter(|kind| kind.concerns_the_person()).collect());
    if let Some(at) = events.iter().position(|kind| !kind.concerns_the_person()) {
        let finding = finding("This is for operators and is never mailed to callers");
        cx.report.problem(&path.key("events").index(at), finding.hint("leave it to `notifications.webhooks`"));
        events.remove(at);
    }
    Some(Email { smtp: smtp?, from: from?, reply_to, language: raw.language.unwrap_or_default(), events })
}

pub(super) fn mailbox(text: String, path: &Path, cx: &mut Context<'_>) -> Option<String> {
    if text.parse::<Mailbox>().is_err() {
        let finding = finding("This is no mail address");
        cx.report.problem(path, finding.hint("such as `no-reply@example.com` or `Acme <no-reply@example.com>`"));
        return None;
    }
    Some(text)
}

fn smtp(
    text: &str,
    password: Option<SecretString>,
    ca: Option<String>,
    path: &Path,
    cx: &mut Context<'_>,
) -> Option<Smtp> {
    let at = path.key("smtp_url");
    let malformed =
        || finding("This is no SMTP server's URL").hint("`smtps://user@host:465` or `smtp://user@host:587`");
    let parsed = Url::parse(text).ok().filter(|url| {
        let plain = url.query().is_none_or(|query| matches!(query, "tls=required" | "tls=none"));
        matches!(url.scheme(), "smtp" | "smtps")
            && url.has_host()
            && plain
            && url.fragment().is_none()
            && matches!(url.path(), "" | "/")
    });
    let Some(url) = parsed else {
        cx.report.problem(&at, malformed());
        return None;
    };
    if url.password().is_some() {
        cx.report.problem(&at, finding("This URL may hold no password").hint("give it as `password_file`"));
        return None;
    }
    let loopback = is_loopback(&url);
    let tls = match (url.scheme(), url.query()) {
        ("smtps", None | Some("tls=required")) => SmtpTls::Implicit,
        ("smtps", _) => {
            cx.report.problem(&at, finding("`smtps` always has TLS").hint("write `smtp://…?tls=none`"));
            return None;
        }
        (_, Some("tls=none")) => SmtpTls::None,
        (_, None) if loopback => SmtpTls::None,
        _ => SmtpTls::Required,
    };
    let user = percent_encoding::percent_decode_str(url.username()).decode_utf8_lossy().into_owned();
    if tls == SmtpTls::None && !loopback {
        if password.is_some() {
            cx.report
                .problem(&at, finding("A password may not cross the network in clear").hint("leave out `?tls=none`"));
            return None;
        }
        cx.report.warning(&at, finding("Mail with connect links crosses the network in clear"));
    }
    let login = match (user.is_empty(), password) {
        (false, Some(password)) => Some((user, password)),
        (true, None) => None,
        (false, None) => {
            if !cx.report.is_broken(&path.key("password")) && !cx.report.is_broken(&path.key("password_file")) {
                cx.report.problem(&at, finding("The password of this user is missing").hint("add `password_file`"));
            }
            return None;
        }
        (true, Some(_)) => {
            cx.report.problem(&at, finding("The URL names no user for the password").hint("`smtps://user@host:465`"));
            return None;
        }
    };
    let port = url.port().unwrap_or(if tls == SmtpTls::Implicit { 465 } else { 587 });
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some(Smtp { host, port, tls, ca, login })
}
