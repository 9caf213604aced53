//! Revocation (RFC 7009, and what vendors have instead). Built without the `oauth2` crate, which revokes by form POST
//! alone and refuses loopback `http`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, Request, StatusCode, header};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    Client,
    error::{Fault, Kind, TokenError},
    reply, words,
};
use crate::{
    config::{
        ClientAuth,
        provider::{RevokeAuth, RevokeBody},
    },
    provider::OAuth,
    secret::SecretString,
};

/// What kind of token is to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenHint {
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
}

impl TokenHint {
    fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The provider takes it no more.
    Done,
    /// The provider can't revoke such a token.
    Unsupported,
}

impl Client {
    /// Revokes one token at the provider. A token that has expired already counts as revoked.
    ///
    /// # Errors
    /// See [`Kind`]; transient ones are worth another try.
    pub async fn revoke(&self, oauth: &OAuth, token: &SecretString, hint: TokenHint) -> Result<Revocation, TokenError> {
        let Some(request) = request(oauth, token, hint) else { return Ok(Revocation::Unsupported) };
        let response = self.transport.call(request, oauth.allow_plain_http).await?;
        let status = response.status();
        let answer = reply::object(response.headers(), response.body());
        let code = answer.as_ref().and_then(words::error_code).unwrap_or_default();
        let gone = |word: &String| *word == code || word == status.as_str();
        if oauth.revoke.gone.iter().any(gone) {
            return Ok(Revocation::Done);
        }
        match code.as_str() {
            "" if status.is_success() => Ok(Revocation::Done),
            "unsupported_token_type" => Ok(Revocation::Unsupported),
            _ if reply::comes_later(status) => {
                Err(TokenError::unavailable(Fault::Status, reply::retry_after(response.headers())))
            }
            "" if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) => {
                Err(TokenError { kind: Kind::Client { code: format!("http_{}", status.as_u16()) } })
            }
            "" => Err(TokenError::garbage()),
            _ => Err(TokenError { kind: Kind::Client { code } }),
        }
    }
}

/// `None` where this provider can't revoke such a token.
fn request(oauth: &OAuth, token: &SecretString, hint: TokenHint) -> Option<Request<Vec<u8>>> {
    let url = oauth.revoke_url.as_ref()?;
    let rules = &oauth.revoke;
    if rules.access_tokens_only && hint == TokenHint::Refresh {
        return None;
    }
    let parameter = rules.parameter.as_deref().unwrap_or("token");
    let mut parameters = vec![(parameter, token.expose().as_str())];
    if rules.body == RevokeBody::Form {
        parameters.push(("token_type_hint", hint.as_str()));
    }
    let mut authorization = None;
    match (rules.auth, &oauth.client_secret) {
        (RevokeAuth::None, _) => {}
        (RevokeAuth::Bearer, _) => authorization = Some(oauth.inject.header_value(token).ok()?),
        // A body that is no form has no place for the client.
        (RevokeAuth::Client, Some(secret))
            if oauth.client_auth != ClientAuth::Post || rules.body != RevokeBody::Form =>
        {
            authorization = Some(basic(&oauth.client_id, secret)?);
        }
        (RevokeAuth::Client, secret) => {
            parameters.push(("client_id", &oauth.client_id));
            parameters.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose().as_str())));
        }
    }
    let (content_type, body) = match rules.body {
        RevokeBody::Form => (
            Some("application/x-www-form-urlencoded"),
            form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish(),
        ),
        RevokeBody::Json => {
            let members = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            (Some("application/json"), serde_json::Value::Object(members).to_string())
        }
        RevokeBody::None => (None, String::new()),
    };
    let method = rules.method.as_deref().unwrap_or("POST");
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).ok()?)
        .uri(url.as_str())
        .header(header::ACCEPT, HeaderValue::from_static("application/json"))
        .body(body.into_bytes())
        .ok()?;
    let headers = request.headers_mut();
    headers.extend(content_type.map(|value| (header::CONTENT_TYPE, HeaderValue::from_static(value))));
    let name = if rules.auth == RevokeAuth::Bearer { oauth.inject.header().clone() } else { header::AUTHORIZATION };
    headers.extend(authorization.map(|value| (name, value)));
    for (name, value) in &oauth.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    Some(request)
}

/// HTTP Basic with both parts form-encoded first (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &SecretString) -> Option<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret.expose())));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair.as_bytes()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
