//! An HTTP answer, read to its end, and what every answer of Valetkey's own must have.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::canary;

/// An answer with its body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads a response to its end.
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the body arrives whole").to_vec();
        Self { status, headers, body }
    }

    /// A header's only value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let first = all.next()?;
        assert!(all.next().is_none(), "{name} is there twice: {self:?}");
        Some(first.to_str().expect("a visible header"))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// Asserts the status of an answer that is the upstream's own, and gives its JSON.
    #[track_caller]
    pub(crate) fn upstream(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("valetkey-status"), None, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts a refusal with all that every refusal has, and gives its body.
    #[track_caller]
    pub(crate) fn refusal(&self, http: u16, status: &str) -> Value {
        assert_eq!((self.status, self.header("valetkey-status")), (http, Some(status)), "{}", self.text());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "a refusal is JSON, not {kind}");
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["message"].as_str().is_some_and(|text| text.len() > 5), "no message: {body}");
        assert!(body["retryable"].is_boolean(), "no retryable: {body}");
        let id = body["request_id"].as_str().unwrap_or_else(|| panic!("no request_id: {body}"));
        assert_eq!(self.header("valetkey-request-id"), Some(id), "header and body name one request");
        match http {
            400..=428 | 430..500 => assert_eq!(body["retryable"], false, "{body}"),
            429 | 503 => assert_eq!(body["retryable"], true, "{body}"),
            _ => {}
        }
        let mut visible = body.clone();
        if let Some(members) = visible.as_object_mut() {
            members.remove("auth_url");
        }
        assert_eq!(canary::found_in(&visible.to_string()), Vec::<String>::new(), "a refusal holds a secret");
        for inside in ["127.0.0.1:", "panicked", "src/", ".rs:"] {
            assert!(!visible.to_string().contains(inside), "a refusal tells of the inside: {visible}");
        }
        body
    }

    /// Asserts `auth_required` with this reason, and gives the link.
    #[track_caller]
    pub(crate) fn auth_required(&self, service: &str, reason: &str) -> String {
        let body = self.refusal(401, "auth_required");
        assert_eq!(body["service"], service);
        assert_eq!(body["reason"], reason, "{body}");
        assert!(body["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{body}");
        let challenge = format!("Valetkey realm=\"{service}\", error=\"auth_required\"");
        assert_eq!(self.header("www-authenticate"), Some(challenge.as_str()));
        body["auth_url"].as_str().expect("a link").to_owned()
    }
}
