//! Webhooks as Standard Webhooks has them: JSON, signed by HMAC-SHA256 over id, time and body with each of the endpoint's
//! secrets, sent through the one outgoing client. An endpoint that answers 410 is not called again until the next start.

use std::{collections::HashSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, StatusCode, header};
use parking_lot::Mutex;
use serde::Serialize;
use sha2::Sha256;

use super::sent::Sent;
use crate::{
    clock::Timestamp,
    config::{NoticeKind, Webhook},
    events::notice::{About, Notice},
    outbound::{CallLimits, Outbound},
    secret::{Secret, SecretString},
};

/// Answers matter only by their status.
const ANSWER_MAX: usize = 64 * 1024;

/// What a webhook says.
#[derive(Serialize)]
struct Body<'a> {
    r#type: NoticeKind,
    timestamp: Timestamp,
    data: Data<'a>,
}

/// The facts.
#[derive(Serialize)]
struct Data<'a> {
    issuer: &'a str,
    user: &'a str,
    service: &'a str,
    service_title: &'a str,
    account: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    retire_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_expires_at: Option<Timestamp>,
}

/// The body of a notice's webhook. It holds a connect link, so it is a secret.
pub(super) fn body(notice: &Notice, about: &About) -> SecretString {
    let id = &notice.connection;
    // What works needs no link.
    let link = about.link.as_ref().filter(|_| notice.kind != NoticeKind::ConnectionRecovered);
    let body = Body {
        r#type: notice.kind,
        timestamp: notice.at,
        data: Data {
            issuer: id.caller.issuer.as_str(),
            user: id.caller.subject.as_str(),
            service: id.service.as_str(),
            service_title: &about.service,
            account: id.account.as_str(),
            reason: notice.reason,
            scopes: &notice.scopes,
            retire_on: notice.retire_on.map(Timestamp::date),
            expected_end: notice.ends_at,
            link: link.map(|link| link.url.expose().as_str()),
            link_expires_at: link.and_then(|link| link.expires_at),
        },
    };
    SecretString::new(serde_json::to_string(&body).expect("texts and lists of texts are JSON"))
}

/// All endpoints, and which of them want no more.
pub(in crate::events) struct Endpoints {
    endpoints: Vec<Webhook>,
    gone: Mutex<HashSet<String>>,
    outbound: Outbound,
    timeout: Duration,
}

impl Endpoints {
    pub fn new(endpoints: Vec<Webhook>, outbound: Outbound, timeout: Duration) -> Self {
        Self { endpoints, gone: Mutex::default(), outbound, timeout }
    }

    /// The endpoints that want to hear of this.
    pub fn wanting(&self, kind: NoticeKind) -> impl Iterator<Item = &Webhook> {
        let gone = self.gone.lock().clone();
        self.endpoints
            .iter()
            .filter(move |endpoint| endpoint.events.contains(&kind) && !gone.contains(endpoint.url.as_str()))
    }

    /// One attempt.
    pub async fn send(&self, url: &str, id: &str, body: &SecretString, now: Timestamp) -> Sent {
        let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.url.as_str() == url) else {
            return Sent::Never("the endpoint is no longer configured");
        };
        if self.gone.lock().contains(url) {
            return Sent::Never("the endpoint is gone");
        }
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.seconds().to_string())
            .header("webhook-signature", signatures(&endpoint.secrets, id, now.seconds(), body.expose()))
            .body(body.expose().clone().into_bytes());
        let Ok(request) = request else { return Sent::Never("the endpoint's URL is no HTTP target") };
        let limits = CallLimits {
            total: Some(self.timeout),
            body: Some(ANSWER_MAX),
            allow_plain_http: endpoint.allow_plain_http,
        };
        let answer = match self.outbound.send(request, limits).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(id, host = endpoint.url.host_str(), %error, "a webhook could not be delivered");
                return Sent::NotNow(None);
            }
        };
        let status = answer.status();
        tracing::debug!(id, host = endpoint.url.host_str(), status = status.as_u16(), "a webhook was answered");
        if status.is_success() {
            return Sent::Delivered;
        }
        if status == StatusCode::GONE {
            tracing::error!(
                host = endpoint.url.host_str(),
                "a webhook endpoint answered 410: it is not called again until the next start"
            );
            self.gone.lock().insert(url.to_owned());
            return Sent::Never("the endpoint is gone");
        }
        let asked =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Sent::NotNow(asked.map(Duration::from_secs))
    }
}

/// `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, for each secret.
fn signatures(secrets: &[Secret<Vec<u8>>], id: &str, timestamp: u64, body: &str) -> String {
    let one = |secret: &Secret<Vec<u8>>| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length (RFC 2104 §2)");
        for piece in [id, ".", &timestamp.to_string(), ".", body] {
            mac.update(piece.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standards_own_example() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let found =
            signatures(&[Secret::new(key)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(found, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn while_one_secret_takes_the_place_of_another_each_signs() {
        let keys = [Secret::new(vec![1; 32]), Secret::new(vec![2; 32])];
        let both = signatures(&keys, "msg_1", 1, "{}");
        let alone: Vec<_> = keys.iter().map(|key| signatures(std::slice::from_ref(key), "msg_1", 1, "{}")).collect();
        assert_eq!(both, alone.join(" "));
        assert_ne!(alone[0], alone[1]);
    }
}
