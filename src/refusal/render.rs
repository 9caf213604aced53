//! A refusal as an HTTP answer: JSON, or a page for a person who follows a link into the proxy. The page stands alone (its
//! listener may serve no assets), so its style is inline and allowed by its hash.

use std::sync::LazyLock;

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use serde::{Serialize, Serializer, ser::SerializeMap};
use sha2::{Digest, Sha256};

use super::{Code, Refusal, prefers_html};
use crate::id::RequestId;

/// Tells an answer of Valetkey's own from the upstream's.
pub const STATUS: HeaderName = HeaderName::from_static("valetkey-status");
/// Names the request in the answer and in the logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("valetkey-request-id");

const STYLE: &str = include_str!("page.css");

/// Allows that style and nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ))
    .expect("base64 has only visible ASCII")
});

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    style: &'static str,
    title: &'a str,
    message: &'a str,
    button: Option<(&'a str, &'a str)>,
    request_id: &'a str,
}

struct Body<'a> {
    refusal: &'a Refusal,
    request_id: &'a RequestId,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", self.refusal.code.as_str())?;
        map.serialize_entry("message", &self.refusal.message)?;
        for (name, value) in &self.refusal.members {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("retryable", &self.refusal.retryable)?;
        map.serialize_entry("request_id", self.request_id)?;
        map.end()
    }
}

impl Refusal {
    /// The whole answer, in what `Accept` prefers: HTML or JSON.
    pub fn render(&self, request_id: &RequestId, accept: Option<&str>) -> Response<Bytes> {
        let html = prefers_html(accept);
        let body = if html { self.page(request_id) } else { self.json(request_id) };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(STATUS, HeaderValue::from_static(self.code.as_str()));
        if let Ok(id) = HeaderValue::try_from(request_id.as_str()) {
            headers.insert(REQUEST_ID, id);
        }
        let kind = if html { "text/html; charset=utf-8" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if html {
            headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in &self.headers {
            // A browser would ask the person for a name and a password that they don't have.
            if !(html && *value == super::BASIC) {
                headers.append(name, value.clone());
            }
        }
        response
    }

    /// The body that programs read.
    pub fn json(&self, request_id: &RequestId) -> String {
        serde_json::to_string(&Body { refusal: self, request_id })
            .expect("texts, numbers, lists of texts and booleans are JSON")
    }

    /// What of this answer one item of a list holds, as `POST /preflight` has it: `status`, the message and the members.
    pub fn members(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut map = serde_json::Map::new();
        map.insert("status".into(), self.code.as_str().into());
        map.insert("message".into(), self.message.as_str().into());
        for (name, value) in &self.members {
            map.insert((*name).to_owned(), value.clone());
        }
        map.insert("retryable".into(), self.retryable.into());
        map
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(member, _)| *member == name).and_then(|(_, value)| value.as_str())
    }

    fn page(&self, request_id: &RequestId) -> String {
        let (title, label) = match self.code {
            Code::AuthRequired => ("Connection needed", "Connect"),
            Code::AdditionalScopesRequired => ("More permissions needed", "Review permissions"),
            Code::Unauthenticated => ("Please sign in", ""),
            Code::Forbidden => ("Not allowed", ""),
            Code::UnknownService | Code::NotFound => ("Not found", ""),
            Code::MethodNotAllowed | Code::BadRequest | Code::TooLarge => ("This request can’t be served", ""),
            Code::AccountRequired => ("Which account?", ""),
            Code::RateLimited => ("A little too fast", ""),
            Code::UpstreamUnreachable | Code::UpstreamTimeout | Code::RefreshFailed => {
                ("No answer from the service", "")
            }
            Code::Unavailable => ("Briefly unavailable", ""),
            Code::Error => ("Something went wrong", ""),
        };
        let page = Page {
            style: STYLE,
            title,
            message: &self.message,
            button: self.text("auth_url").map(|url| (url, label)),
            request_id: request_id.as_str(),
        };
        // Rendering into a string fails only where a `Display` inside does, and these are texts.
        page.render().unwrap_or_else(|_| self.message.clone())
    }
}
