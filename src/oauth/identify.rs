//! Who granted access: one call to the provider's userinfo endpoint, and the subject of an ID token. Best effort; a
//! connection is as good without.

use http::{HeaderValue, Method, Request, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Client, Grant, reply};
use crate::{provider::OAuth, secret::SecretString};

/// Who someone is at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Stays the same, whatever else changes.
    pub id: String,
    /// A name or address fit to show.
    pub label: Option<String>,
}

impl Identity {
    /// The same, called as `before` where that is the same account and nothing newer is known.
    #[must_use]
    pub fn named_as(self, before: Option<&Self>) -> Self {
        let label = self.label.or_else(|| before.filter(|before| before.id == self.id)?.label.clone());
        Self { id: self.id, label }
    }
}

/// Where userinfo answers hold what an ID token calls `sub`.
const SUBJECT: &str = "/sub";
/// Longest id or label kept.
const TEXT_MAX: usize = 255;

impl Client {
    /// Who gave this grant, as far as the provider says so. What its userinfo endpoint tells of somebody else than its ID
    /// token names is not used (OpenID Connect Core §5.3.2).
    pub async fn granted_by(&self, oauth: &OAuth, grant: &Grant) -> Option<Identity> {
        let told = self.identify(oauth, &grant.access_token).await;
        // Where the endpoint's own id is something else than a subject, the two can't be compared.
        let subjects = oauth.userinfo_url.is_none() || oauth.identity.id.as_deref().is_none_or(|id| id == SUBJECT);
        match grant.id_token_subject.as_ref().filter(|_| subjects) {
            Some(subject) if told.as_ref().is_none_or(|told| told.id != *subject) => {
                Some(Identity { id: subject.clone(), label: None })
            }
            Some(_) | None => told,
        }
    }

    /// Asks whose token this is; `None` where the provider has no such endpoint or no usable answer.
    pub async fn identify(&self, oauth: &OAuth, access_token: &SecretString) -> Option<Identity> {
        let url = oauth.userinfo_url.as_ref()?;
        let method = oauth.identity.method.as_deref().unwrap_or("GET");
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).ok()?)
            .uri(url.as_str())
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .header(oauth.inject.header(), oauth.inject.header_value(access_token).ok()?)
            .body(Vec::new())
            .ok()?;
        for (name, value) in &oauth.headers {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        let response = self.transport.call(request, oauth.allow_plain_http).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let answer = reply::object(response.headers(), response.body())?;
        if reply::error_code(&answer).is_some() {
            return None;
        }
        identity(oauth, &Value::Object(answer))
    }
}

fn identity(oauth: &OAuth, answer: &Value) -> Option<Identity> {
    let at = |pointer: &str| match answer.pointer(pointer)? {
        Value::String(text) => fit(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let id = at(oauth.identity.id.as_deref().unwrap_or(SUBJECT))?;
    let label = match oauth.identity.label.as_slice() {
        [] => ["/email", "/name"].iter().find_map(|pointer| at(pointer)),
        pointers => pointers.iter().find_map(|pointer| at(pointer)),
    };
    Some(Identity { id, label })
}

/// A text fit to keep and show: not empty, not too long, without control characters.
pub(super) fn fit(text: &str) -> Option<String> {
    let fits = (1..=TEXT_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
