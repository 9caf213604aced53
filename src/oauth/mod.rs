//! The OAuth client: authorization URLs, code exchange, refresh, revocation, and asking who granted access. Vendors'
//! answers are made regular here, and every failure gets one of four kinds, so that whoever refreshes knows whether the
//! grant has ended, the operator must act, or time will tell. Never stores a token, never retries, and never lets a body
//! into an error or a log.

mod authorize;
mod error;
mod identify;
mod pkce;
mod reply;
mod revoke;
#[cfg(test)]
mod tests;
mod token;
mod word;
mod words;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

pub use authorize::{authorize_url, issuer_matches, redirect_uri};
pub use error::{Fault, Kind, TokenError, TransportError};
pub use identify::Identity;
pub use pkce::Verifier;
pub use revoke::{Revocation, TokenHint};
pub use word::listed;

use crate::secret::SecretString;

/// Makes one HTTP call, within its own limits of time and size, without following redirects.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The answer, whatever its status. `plain_http`: the operator allows `http` beyond loopback for this call.
    ///
    /// # Errors
    /// Where there is no whole answer.
    async fn call(
        &self,
        request: http::Request<Vec<u8>>,
        plain_http: bool,
    ) -> Result<http::Response<Vec<u8>>, TransportError>;
}

/// Speaks to authorization servers. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
}

impl Client {
    /// A client that calls through this.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// What a token endpoint granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Visible ASCII.
    pub access_token: SecretString,
    /// `None`: none came, and one that is held already stays in force (RFC 6749 §6).
    pub refresh_token: Option<SecretString>,
    /// How long the access token lives; `None` where that is not said, or said in a way that means nothing (0, negative).
    pub expires_in: Option<Duration>,
    /// What was granted; `None` where that is not said. On a first exchange that means what was asked for (RFC 6749
    /// §5.1), but some providers have grants without scopes and say an empty text, which is `None`, too.
    pub scopes: Option<Vec<String>>,
    /// How long the refresh token lives, where that is said.
    pub refresh_expires_in: Option<Duration>,
    /// The `sub` of an ID token that came along. It came from the token endpoint itself, over TLS, which OpenID Connect
    /// Core §3.1.3.7 lets stand for its signature.
    pub id_token_subject: Option<String>,
}
