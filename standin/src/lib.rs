//! STAND-IN for a provider: an OAuth authorization server and the API that it guards, in memory, on loopback, for
//! `valetkey demo`. It follows the RFCs that an OAuth client relies on, so that the demo shows the real thing happening, but
//! it is nobody's provider: every page and every JSON object that it serves says so. It knows nothing of Valetkey, which is
//! a client to it like any other. It never listens beyond loopback, and keeps nothing once the process ends.
#![forbid(unsafe_code)]

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, header},
    response::Response,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod api;
mod authorization;
mod grants;
mod journal;
mod pages;
#[cfg(test)]
mod tests;

pub use journal::Happening;

use grants::{Client, Grants, Request};

/// What stands in every page and every JSON object.
pub const LABEL: &str = "STAND-IN: a pretend provider on this machine, made for valetkey demo";
/// The person who is signed in at the stand-in, always.
pub const PERSON: &str = "Ada Example";
/// The account that they have there.
pub const LOGIN: &str = "ada";
/// How access tokens begin.
pub const ACCESS_TOKEN_PREFIX: &str = "standin_at_";
/// How refresh tokens begin.
pub const REFRESH_TOKEN_PREFIX: &str = "standin_rt_";

/// What a stand-in is made of.
pub struct Settings {
    /// The OAuth client's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where codes may be sent.
    pub redirect_uri: String,
    /// Lifetime of access tokens.
    pub access_token_lifetime: Duration,
}

/// A running stand-in. It stops when the last handle is dropped.
pub struct StandIn {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// What the routes share.
struct Shared {
    origin: String,
    grants: Mutex<Grants>,
    pending: Mutex<HashMap<String, Request>>,
    issues: Mutex<Vec<String>>,
}

impl StandIn {
    /// Listens on a free loopback port and serves until dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// Where no loopback port can be had.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(origin, settings));
        let stop = CancellationToken::new();
        let (router, stopped) = (router(Arc::clone(&shared)), stop.clone());
        tokio::spawn(async move {
            // An accept error ends only the stand-in; whoever calls it then sees a refused connection.
            drop(axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned()).await);
        });
        Ok(Self { shared, stop })
    }

    /// Scheme, host and port; also its issuer identifier (RFC 9207).
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The API's base URL.
    pub fn api(&self) -> String {
        format!("{}/api", self.shared.origin)
    }

    /// Takes all grants back, as a person does in a provider's settings. Returns how many there were.
    pub fn revoke_upstream(&self) -> usize {
        self.shared.grants.lock().revoke_all()
    }

    /// How many lines the journal has: a bookmark for [`StandIn::journal_since`].
    pub fn journal_len(&self) -> usize {
        self.shared.grants.lock().journal.len()
    }

    /// What has happened since that bookmark.
    pub fn journal_since(&self, bookmark: usize) -> Vec<Happening> {
        self.shared.grants.lock().journal.since(bookmark).to_vec()
    }

    /// The number of the token that the last accepted call to the API carried.
    pub fn last_called(&self) -> Option<u64> {
        self.shared.grants.lock().journal.last_called()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn new(origin: String, settings: Settings) -> Self {
        let Settings { client_id, client_secret, redirect_uri, access_token_lifetime } = settings;
        let client = Client { id: client_id, secret: client_secret, redirect_uri };
        Self {
            origin,
            grants: Mutex::new(Grants::new(client, access_token_lifetime)),
            pending: Mutex::default(),
            issues: Mutex::new(api::first_issues()),
        }
    }
}

/// Both halves: the authorization server at the root, the API under `/api`.
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .merge(authorization::routes())
        .nest("/api", api::routes(Arc::clone(&shared)))
        .layer(axum::middleware::map_response(label))
        .with_state(shared)
}

/// Says on every answer what this is, and that it is not to be kept.
async fn label(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert("stand-in", HeaderValue::from_static(LABEL));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'self'; frame-ancestors 'none'"),
    );
    response
}
