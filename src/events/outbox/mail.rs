//! Mail to the person: a text and a simple HTML part, sent by SMTP with TLS. Headers are made by types that let no line
//! break through; whatever the parts show is escaped by the template. No address and no answer of a server is logged,
//! since servers like to repeat addresses.

use std::time::Duration;

use askama::Template;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use serde::{Deserialize, Serialize};

use super::sent::Sent;
use crate::{
    clock::Timestamp,
    config::{Email, NoticeKind, SmtpTls},
    events::{
        contact::Contact,
        notice::{About, Notice},
    },
    id::Account,
    secret::{self, SecretString},
    words::{Ending, Facts, Loss, MailText, texts},
};

/// Mail can't be sent as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// TLS towards the server can't be set up.
    #[error("notifications.email: TLS can't be set up")]
    Tls,
    /// `from` or `reply_to` is no address.
    #[error("notifications.email: this is no mail address")]
    Address,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    language: &'static str,
    words: &'a MailText,
    application: &'a str,
    link: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Text<'a> {
    words: &'a MailText,
    link: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertHtml<'a> {
    subject: &'a str,
    text: &'a str,
}

/// A mail that waits. Plaintext with an address and a link: it leaves this process sealed, or as mail.
#[derive(Clone, Serialize, Deserialize)]
pub(in crate::events) struct Mail {
    #[serde(serialize_with = "secret::reveal")]
    to: SecretString,
    subject: String,
    #[serde(serialize_with = "secret::reveal")]
    text: SecretString,
    #[serde(serialize_with = "secret::reveal")]
    html: SecretString,
    at: u64,
}

impl Mail {
    /// A plain text for an operator. `None`: it can't be rendered.
    pub fn to_operator(to: &str, subject: &str, text: &str, at: Timestamp) -> Option<Self> {
        let subject = one_line(subject);
        let html = AlertHtml { subject: &subject, text }.render().ok()?.into();
        let address = to.parse::<Mailbox>().ok()?.email.to_string();
        Some(Self { to: address.into(), text: text.into(), html, at: at.millis(), subject })
    }
}

/// Sends mail.
pub(in crate::events) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    settings: Email,
}

impl Mailer {
    pub fn new(settings: Email, timeout: Duration) -> Result<Self, MailError> {
        let smtp = &settings.smtp;
        let parameters = || {
            let mut parameters = TlsParameters::builder(smtp.host.clone());
            if let Some(pem) = &smtp.ca {
                let authority = Certificate::from_pem(pem.as_bytes()).map_err(|_| MailError::Tls)?;
                parameters = parameters.add_root_certificate(authority);
            }
            parameters.build().map_err(|_| MailError::Tls)
        };
        let tls = match smtp.tls {
            SmtpTls::Implicit => Tls::Wrapper(parameters()?),
            SmtpTls::Required => Tls::Required(parameters()?),
            SmtpTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&smtp.host)
            .port(smtp.port)
            .tls(tls)
            .timeout(Some(timeout));
        if let Some((user, password)) = &smtp.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().clone()));
        }
        let from = settings.from.parse().map_err(|_| MailError::Address)?;
        Ok(Self { transport: builder.build(), from, settings })
    }

    /// Whether this is mailed at all.
    pub fn wants(&self, kind: NoticeKind) -> bool {
        kind.concerns_the_person() && self.settings.events.contains(&kind)
    }

    /// A notice as mail in the person's language.
    pub fn write(
        &self,
        to: &SecretString,
        contact: &Contact,
        notice: &Notice,
        about: &About,
        now: Timestamp,
    ) -> Option<Mail> {
        let account = Some(notice.connection.account.as_str()).filter(|label| *label != Account::DEFAULT);
        let link = about.link.as_ref();
        let retire_on = notice.retire_on.map(Timestamp::date);
        let language = contact.language.unwrap_or(self.settings.language);
        let words = texts(language).mail(
            notice.kind,
            &Facts {
                application: &about.application,
                service: &about.service,
                account,
                loss: loss(notice.reason),
                scopes: &notice.scopes,
                retire_on: retire_on.as_deref(),
                end: notice.ends_at.map(|at| (at, ending(notice.reason))),
                days: link.and_then(|link| link.expires_at).map(|end| days(end.since(now))),
            },
        );
        let url = link.map(|link| link.url.expose().as_str());
        Some(Mail {
            to: to.clone(),
            subject: one_line(&words.subject),
            text: Text { words: &words, link: url }.render().ok()?.into(),
            html: Html { language: language.tag(), words: &words, application: &about.application, link: url }
                .render()
                .ok()?
                .into(),
            at: notice.at.millis(),
        })
    }

    /// One attempt.
    pub async fn send(&self, mail: &Mail, id: &str) -> Sent {
        let Some(message) = self.message(mail, id) else { return Sent::Never("the mail can't be written") };
        match self.transport.send(message).await {
            Ok(_) => Sent::Delivered,
            Err(error) => {
                let code = error.status().map(|code| code.to_string());
                tracing::debug!(id, code, timeout = error.is_timeout(), tls = error.is_tls(), "a mail was not taken");
                if error.is_permanent() { Sent::Never("the mail server refused it") } else { Sent::NotNow(None) }
            }
        }
    }

    fn message(&self, mail: &Mail, id: &str) -> Option<Message> {
        let to: Address = mail.to.expose().parse().ok()?;
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject.clone())
            .date(std::time::UNIX_EPOCH + Duration::from_secs(Timestamp::from_millis(mail.at).seconds()))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            // RFC 3834 §5: so that nobody's absence is announced to us.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        if let Some(reply_to) = &self.settings.reply_to {
            builder = builder.reply_to(reply_to.parse().ok()?);
        }
        builder
            .multipart(MultiPart::alternative_plain_html(mail.text.expose().clone(), mail.html.expose().clone()))
            .ok()
    }
}

/// What of a notice's reason people are told.
fn loss(reason: Option<&str>) -> Loss {
    match reason {
        Some("expired") => Loss::Expired,
        Some("revoked") => Loss::Revoked,
        Some("refresh_interrupted") => Loss::Interrupted,
        _ => Loss::Refused,
    }
}

fn ending(reason: Option<&str>) -> Ending {
    if reason == Some("unused") { Ending::Unused } else { Ending::Granted }
}

/// A time in days as people say it: rounded, at least one.
const fn days(time: Duration) -> u64 {
    let rounded = (time.as_secs() + 43_200) / 86_400;
    if rounded == 0 { 1 } else { rounded }
}

/// A header's text: no line breaks and no other control characters, and of a bearable length.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        config::{Language, Smtp},
        events::notice::Link,
        id::{CallerId, ConnectionId, Issuer, ServiceName, Subject},
    };

    fn settings() -> Email {
        let smtp = Smtp { host: "127.0.0.1".into(), port: 25, tls: SmtpTls::None, ca: None, login: None };
        let from = "Acme <no-reply@example.com>".to_owned();
        let reply_to = Some("help@example.com".to_owned());
        Email { smtp, from, reply_to, language: Language::En, events: NoticeKind::ALL.to_vec() }
    }

    fn notice(kind: NoticeKind) -> Notice {
        let caller = CallerId { issuer: Issuer::parse("https://i/").unwrap(), subject: Subject::parse("ada").unwrap() };
        let (service, account) = (ServiceName::parse("crm").unwrap(), Account::parse("work").unwrap());
        Notice {
            connection: ConnectionId { caller, service, account },
            kind,
            reason: Some("revoked"),
            scopes: vec!["contacts.<write>".into()],
            token_version: crate::store::Version(1),
            retire_on: Timestamp::parse_rfc3339("2026-12-24T00:00:00Z"),
            ends_at: Timestamp::parse_rfc3339("2026-12-25T12:00:00Z"),
            at: Timestamp::from_seconds(1_795_446_000),
        }
    }

    fn about(application: &str) -> About {
        let link = Link {
            url: "https://connect.example.com/connect/crm?ticket=abc&x=1".into(),
            expires_at: Some(Timestamp::from_seconds(1_795_446_000 + 7 * 86_400)),
        };
        let (application, service) = (application.to_owned(), "C<R>M".to_owned());
        About { application, service, link: Some(link) }
    }

    fn mail(language: Language, kind: NoticeKind, application: &str) -> Mail {
        let mailer = Mailer::new(settings(), Duration::from_secs(1)).unwrap();
        let contact = Contact { address: Some("ada@example.com".into()), language: Some(language) };
        mailer
            .write(
                &"ada@example.com".into(),
                &contact,
                &notice(kind),
                &about(application),
                Timestamp::from_seconds(1_795_446_000),
            )
            .unwrap()
    }

    #[test]
    fn every_kind_has_words_in_every_language_that_name_what_matters() {
        let mut subjects = std::collections::HashSet::new();
        for language in [Language::En, Language::De] {
            for kind in NoticeKind::ALL.into_iter().filter(|kind| kind.concerns_the_person()) {
                let mail = mail(language, kind, "Acme Helpdesk");
                let (text, html) = (mail.text.expose(), mail.html.expose());
                for word in ["Acme Helpdesk", "C<R>M", "work", "https://connect.example.com/connect/crm?ticket=abc&x=1"]
                {
                    assert!(text.contains(word), "{word} is not in {text}");
                }
                assert!(text.contains('7'), "how long the link lives: {text}");
                if matches!(kind, NoticeKind::KeyDeprecated | NoticeKind::KeyReminder) {
                    assert!(text.contains("2026-12-24"), "{text}");
                }
                if kind == NoticeKind::ConnectionEnding {
                    let day = if language == Language::De { "25. Dezember 2026" } else { "25 December 2026" };
                    assert!(text.contains(day) && mail.subject.contains(day), "{text}");
                }
                if kind == NoticeKind::PermissionsNeeded {
                    assert!(text.contains("contacts.<write>"), "{text}");
                }
                assert!(html.contains(&format!("lang=\"{}\"", if language == Language::De { "de" } else { "en" })));
                assert!(mail.subject.contains("C<R>M"));
                assert!(subjects.insert(mail.subject.clone()), "two kinds share {}", mail.subject);
            }
        }
    }

    #[test]
    fn markup_in_names_is_escaped_in_the_html_part() {
        let mail = mail(Language::En, NoticeKind::PermissionsNeeded, "<script>alert(1)</script>\" & Co");
        let html = mail.html.expose();
        for raw in ["<script>", "C<R>M", "contacts.<write>", "\" & Co"] {
            assert!(!html.contains(raw), "{raw} in {html}");
        }
        assert!(html.contains("alert(1)"), "{html}");
    }

    #[test]
    fn line_breaks_in_names_make_no_header() {
        let mailer = Mailer::new(settings(), Duration::from_secs(1)).unwrap();
        let mail = mail(Language::En, NoticeKind::ConnectionInvalid, "Acme\r\nBcc: eve@example.com\r\n\r\nHi");
        let message = mailer.message(&mail, "msg_1").unwrap();
        assert_eq!(message.envelope().to().len(), 1);
        let text = String::from_utf8(message.formatted()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        for line in head.lines() {
            assert!(!line.to_lowercase().starts_with("bcc"), "{head}");
        }
        for header in
            ["Message-ID: <msg_1@example.com>", "Auto-Submitted: auto-generated", "Reply-To: help@example.com"]
        {
            assert!(head.contains(header), "{header} is not in {head}");
        }
        let mut forged = mail.clone();
        forged.to = "ada@example.com>\r\nRCPT TO:<eve@example.com".into();
        assert!(mailer.message(&forged, "msg_1").is_none());
    }
}
