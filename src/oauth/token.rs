//! Token requests (RFC 6749 §4.1.3, §6), by the `oauth2` crate over our transport. Between the two stands
//! [`super::reply`], so that the crate, which takes nothing but RFC 6749's own answers, gets nothing else.

use std::{error::Error, future::Future, pin::Pin, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header};
use oauth2::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Client, Grant, Transport, Verifier, error::TokenError, reply};
use crate::{config::ClientAuth, provider::OAuth, secret::SecretString};

/// What RFC 6749 does not name in a token answer.
#[derive(Debug, Deserialize, Serialize)]
struct Extra {
    refresh_token_expires_in: Option<u64>,
    id_token: Option<String>,
}

impl ExtraTokenFields for Extra {}

type Answer = StandardTokenResponse<Extra, BasicTokenType>;

type TokenClient = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Client {
    /// Redeems an authorization code. `redirect_uri` is the very one of the authorization URL.
    ///
    /// # Errors
    /// See [`super::Kind`]; [`super::Kind::InvalidGrant`] means that the code is no longer valid.
    pub async fn exchange(
        &self,
        oauth: &OAuth,
        code: &SecretString,
        verifier: Option<&Verifier>,
        redirect_uri: &Url,
    ) -> Result<Grant, TokenError> {
        let client = client(oauth, &oauth.token_url).set_redirect_uri(RedirectUrl::from_url(redirect_uri.clone()));
        let mut request = client.exchange_code(AuthorizationCode::new(code.expose().clone()));
        for (name, value) in &oauth.token_params {
            request = request.add_extra_param(name, value);
        }
        // RFC 9700 §4.8.2: servers refuse a verifier where no challenge was sent.
        if let Some(verifier) = verifier.filter(|_| oauth.pkce) {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.secret().expose().clone()));
        }
        grant(request.request_async(&self.regular(oauth)).await)
    }

    /// Renews an access token. The scopes stay as they are; a grant without a refresh token leaves the one used in force.
    ///
    /// # Errors
    /// See [`super::Kind`]. Only [`super::Kind::InvalidGrant`] says that the refresh token is no longer valid; a word that
    /// nobody knows is taken for the operator's problem.
    pub async fn refresh(
        &self,
        oauth: &OAuth,
        refresh_token: &SecretString,
        redirect_uri: &Url,
    ) -> Result<Grant, TokenError> {
        let client = client(oauth, &oauth.refresh_url);
        let refresh_token = RefreshToken::new(refresh_token.expose().clone());
        let mut request = client.exchange_refresh_token(&refresh_token);
        for (name, value) in &oauth.token_params {
            request = request.add_extra_param(name, value);
        }
        if oauth.redirect_uri_on_refresh {
            request = request.add_extra_param("redirect_uri", redirect_uri.as_str());
        }
        grant(request.request_async(&self.regular(oauth)).await)
    }

    fn regular<'c>(&'c self, oauth: &'c OAuth) -> Regular<'c> {
        Regular { transport: self.transport.as_ref(), oauth }
    }
}

fn client(oauth: &OAuth, endpoint: &Url) -> TokenClient {
    let auth_type = match oauth.client_auth {
        ClientAuth::Basic | ClientAuth::Json => AuthType::BasicAuth,
        ClientAuth::Post => AuthType::RequestBody,
    };
    let client = oauth2::Client::new(ClientId::new(oauth.client_id.clone()))
        .set_auth_type(auth_type)
        .set_token_uri(TokenUrl::from_url(endpoint.clone()));
    match &oauth.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().clone())),
        None => client,
    }
}

/// The transport as the `oauth2` crate wants it, with regular answers.
struct Regular<'a> {
    transport: &'a dyn Transport,
    oauth: &'a OAuth,
}

impl<'c> AsyncHttpClient<'c> for Regular<'_> {
    type Error = TokenError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, TokenError>> + Send + 'c>>;

    fn call(&'c self, mut request: HttpRequest) -> Self::Future {
        if self.oauth.client_auth == ClientAuth::Json {
            as_json(&mut request);
        }
        Box::pin(async move {
            let response = self.transport.call(request, self.oauth.allow_plain_http).await?;
            reply::regular(self.oauth, response)
        })
    }
}

/// The same parameters as a JSON object.
fn as_json(request: &mut HttpRequest) {
    let parameters: serde_json::Map<String, serde_json::Value> = url::form_urlencoded::parse(request.body())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    *request.body_mut() = serde_json::Value::Object(parameters).to_string().into_bytes();
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
}

fn grant<E: Into<TokenError> + Error + 'static>(
    answer: Result<Answer, RequestTokenError<E, BasicErrorResponse>>,
) -> Result<Grant, TokenError> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(RequestTokenError::Request(error)) => return Err(error.into()),
        // The crate's own texts here may hold the body; regular answers never lead here.
        Err(RequestTokenError::ServerResponse(_) | RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
            return Err(TokenError::garbage());
        }
    };
    let extra = answer.extra_fields();
    Ok(Grant {
        access_token: answer.access_token().secret().as_str().into(),
        refresh_token: answer.refresh_token().map(|token| token.secret().as_str().into()),
        expires_in: answer.expires_in(),
        scopes: answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
        refresh_expires_in: extra.refresh_token_expires_in.map(Duration::from_secs),
        id_token_subject: extra.id_token.as_deref().and_then(subject),
    })
}

/// The `sub` of an ID token's payload (OpenID Connect Core §2).
fn subject(id_token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let payload = id_token.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    super::identify::fit(&claims.sub)
}
