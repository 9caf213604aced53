//! How a message gets to whoever is to be told: by the same ways as notices, and to a chat.

use std::time::Duration;

use http::{Request, header};

use super::message::{Message, Recipient};
use crate::{
    clock::Timestamp,
    config::Alerts,
    events::outbox::{Endpoints, Mail, MailError, Mailer, Sent},
    outbound::{CallLimits, Outbound},
    secret::SecretString,
};

/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Answers matter only by their status.
const ANSWER_MAX: usize = 64 * 1024;
/// The waits before further attempts, in seconds; after the last a message is a dead letter.
const RETRIES: [u64; 8] = [1, 5, 30, 120, 600, 1800, 3600, 21_600];

/// The ways.
pub(super) struct Ways {
    webhook: Option<(String, Endpoints)>,
    mailer: Option<Mailer>,
    slack: Option<SecretString>,
    outbound: Outbound,
}

impl Ways {
    pub fn new(settings: &Alerts, outbound: Outbound) -> Result<Self, MailError> {
        let mailer = settings.email.as_ref().map(|email| Mailer::new(email.from.clone(), ATTEMPT)).transpose()?;
        let webhook = settings.webhook.clone().map(|webhook| {
            let url = webhook.url.to_string();
            (url, Endpoints::new(vec![webhook], outbound.clone(), ATTEMPT))
        });
        Ok(Self { webhook, mailer, slack: settings.slack_webhook.clone(), outbound })
    }

    /// One attempt.
    pub async fn send(&self, message: &Message, now: Timestamp) -> Sent {
        match &message.recipient {
            Recipient::Webhook => match &self.webhook {
                Some((url, endpoints)) => {
                    endpoints.send(url, &message.id, &SecretString::new(message.body.clone()), now).await
                }
                None => Sent::Never("the endpoint is no longer configured"),
            },
            Recipient::Slack => match &self.slack {
                Some(url) => self.post(url, &message.body).await,
                None => Sent::Never("the chat is no longer configured"),
            },
            Recipient::Mail(address) => match &self.mailer {
                Some(mailer) => {
                    let at = Timestamp::from_millis(message.at);
                    let Some(mail) = Mail::to_operator(address, &message.subject, &message.body, at) else {
                        return Sent::Never("the mail can't be written");
                    };
                    mailer.send(&mail, &message.id).await
                }
                None => Sent::Never("mail is no longer configured"),
            },
        }
    }

    async fn post(&self, url: &SecretString, body: &str) -> Sent {
        let request = Request::post(url.expose().as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.as_bytes().to_vec());
        let Ok(request) = request else { return Sent::Never("the chat's URL is no HTTP target") };
        let limits = CallLimits { total: Some(ATTEMPT), body: Some(ANSWER_MAX), allow_plain_http: false };
        match self.outbound.send(request, limits).await {
            Ok(answer) if answer.status().is_success() => Sent::Delivered,
            Ok(_) | Err(_) => Sent::NotNow(None),
        }
    }
}

/// How long to wait after so many attempts; `None`: it was the last.
pub(super) fn wait(attempts: u32) -> Option<Duration> {
    let at = usize::try_from(attempts).ok()?.checked_sub(1)?;
    RETRIES.get(at).map(|seconds| Duration::from_secs(*seconds))
}
