//! The one HTTP client for calls of Valetkey's own: JWKS, token endpoints, revocation, userinfo. It owns their limits:
//! time, size (also of what comes compressed), no redirects, no proxy from the environment, TLS except towards loopback, and
//! no address that belongs to a cloud's metadata service. It never decides what an answer means, never retries, and never tells of a query, a
//! header or a body in an error or a log.
//!
//! Calls may come from any runtime: each is driven on the runtime that [`Outbound::new`] was given, because a pooled
//! connection dies with the runtime that opened it.

mod egress;
mod error;
#[cfg(test)]
mod tests;

use std::{fmt, io::Read, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use tokio::runtime::Handle;
use url::Url;

use self::egress::{Resolver, check_target};
pub use self::error::{OutboundError, Refusal, SetupError};

/// What all calls have in common.
#[derive(Debug, Clone)]
pub struct OutboundOptions {
    /// The whole of a call, from name resolution to the last byte of the answer.
    pub total: Duration,
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// The longest answer body, in bytes.
    pub body_limit: usize,
    /// Authorities trusted beside the system's: certificates in PEM.
    pub extra_ca_pem: Option<String>,
}

impl Default for OutboundOptions {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(10),
            connect: Duration::from_secs(3),
            body_limit: 1 << 20,
            extra_ca_pem: None,
        }
    }
}

/// What one call may do, where it differs from [`OutboundOptions`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CallLimits {
    /// Instead of [`OutboundOptions::total`].
    pub total: Option<Duration>,
    /// Instead of [`OutboundOptions::body_limit`], in bytes.
    pub body: Option<usize>,
    /// Whether `http` beyond loopback is allowed; the operator has said so.
    pub allow_plain_http: bool,
}

/// The client. Cheap to clone; clones share one pool of connections.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    runtime: Handle,
    connect: Duration,
    total: Duration,
    body_limit: usize,
}

/// Who vouches for servers.
enum Authorities<'a> {
    /// The system's, and these.
    SystemAnd(Option<&'a str>),
    /// These, in PEM.
    Only(&'a str),
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("total", &self.total).field("body_limit", &self.body_limit).finish()
    }
}

impl Outbound {
    /// Makes the client; its connections live on `runtime`, which must outlive every call.
    ///
    /// Installs ring as the process's TLS provider where none is installed yet.
    ///
    /// # Errors
    /// Where `extra_ca_pem` holds no readable certificate, or the system's authorities can't be read at all.
    pub fn new(options: OutboundOptions, runtime: Handle) -> Result<Self, SetupError> {
        let OutboundOptions { total, connect, body_limit, extra_ca_pem } = options;
        let client = client(total, connect, &Authorities::SystemAnd(extra_ca_pem.as_deref()))?;
        Ok(Self { client, runtime, connect, total, body_limit })
    }

    /// Another client like this one, with connections of its own, that believes these authorities, in PEM, and no others.
    ///
    /// # Errors
    /// Where none of them can be read.
    pub fn trusting_only(&self, ca_pem: &str) -> Result<Self, SetupError> {
        Ok(Self { client: client(self.total, self.connect, &Authorities::Only(ca_pem))?, ..self.clone() })
    }

    /// Makes one call and reads the whole answer, whatever its status; a redirect is an answer like any other.
    ///
    /// The call runs in a task of its own: dropping this future doesn't stop a call that has begun, which ends at its
    /// deadline at the latest.
    ///
    /// # Errors
    /// See [`OutboundError`].
    pub async fn send(
        &self,
        request: http::Request<Vec<u8>>,
        limits: CallLimits,
    ) -> Result<http::Response<Vec<u8>>, OutboundError> {
        let request = self.checked(request, limits)?;
        let client = self.client.clone();
        let total = limits.total.unwrap_or(self.total);
        let body_limit = limits.body.unwrap_or(self.body_limit);
        let call = self.runtime.spawn(async move {
            tokio::time::timeout(total, exchange(client, request, body_limit))
                .await
                .unwrap_or(Err(OutboundError::Timeout))
        });
        // A call that was cut off, because its runtime is ending, may have arrived.
        call.await.unwrap_or(Err(OutboundError::Protocol))
    }

    /// The request for the client, once its target is one that may be called.
    fn checked(&self, request: http::Request<Vec<u8>>, limits: CallLimits) -> Result<reqwest::Request, OutboundError> {
        let (parts, body) = request.into_parts();
        // `Url` reads what browsers read, so that `http://2852039166/` is seen for the address it is.
        let url =
            Url::parse(&parts.uri.to_string()).map_err(|_| OutboundError::Refused { reason: Refusal::MalformedUrl })?;
        check_target(&url, limits.allow_plain_http).map_err(|reason| OutboundError::Refused { reason })?;
        let mut checked = reqwest::Request::new(parts.method, url);
        *checked.headers_mut() = parts.headers;
        // RFC 9110 §12.5.3: without this header, any coding is as good.
        checked.headers_mut().entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        *checked.timeout_mut() = limits.total;
        if !body.is_empty() {
            *checked.body_mut() = Some(body.into());
        }
        Ok(checked)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one HTTP client")]
fn client(total: Duration, connect: Duration, authorities: &Authorities<'_>) -> Result<reqwest::Client, SetupError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another thread is as good: then one is installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("valetkey/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(connect)
        .timeout(total)
        // Below what servers commonly keep, so that a POST doesn't meet a connection that is just being closed.
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(8)
        .dns_resolver(std::sync::Arc::new(Resolver::default()));
    let pem = match authorities {
        Authorities::SystemAnd(pem) => *pem,
        Authorities::Only(pem) => {
            builder = builder.tls_built_in_root_certs(false);
            Some(*pem)
        }
    };
    if let Some(pem) = pem {
        let certificates =
            reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| SetupError::Authorities)?;
        if certificates.is_empty() {
            return Err(SetupError::Authorities);
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|_| SetupError::Tls)
}

/// Sends, and reads the answer as far as it is allowed to go.
async fn exchange(
    client: reqwest::Client,
    request: reqwest::Request,
    body_limit: usize,
) -> Result<http::Response<Vec<u8>>, OutboundError> {
    let mut answer = client.execute(request).await.map_err(|error| OutboundError::from_client(&error))?;
    if answer.content_length().is_some_and(|length| length > body_limit as u64) {
        return Err(OutboundError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| OutboundError::from_client(&error))? {
        if chunk.len() > body_limit - body.len() {
            return Err(OutboundError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut headers = std::mem::take(answer.headers_mut());
    if is_gzip(&headers, &body) {
        body = gunzipped(&body, body_limit)?;
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut response = http::Response::new(body);
    *response.status_mut() = answer.status();
    *response.version_mut() = answer.version();
    *response.headers_mut() = headers;
    Ok(response)
}

/// Whether the body came in gzip, as edges send it though nobody asked: they say so, and it looks so (RFC 1952 §2.3.1).
fn is_gzip(headers: &HeaderMap, body: &[u8]) -> bool {
    let said = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    (said.eq_ignore_ascii_case("gzip") || said.eq_ignore_ascii_case("x-gzip")) && body.starts_with(&[0x1f, 0x8b])
}

/// What it holds, where that is no longer than any body may be.
fn gunzipped(body: &[u8], limit: usize) -> Result<Vec<u8>, OutboundError> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(body).take((limit as u64).saturating_add(1));
    decoder.read_to_end(&mut plain).map_err(|_| OutboundError::Protocol)?;
    if plain.len() > limit { Err(OutboundError::TooLarge) } else { Ok(plain) }
}
