//! Whose browser this is: by a JWT in the proxy's headers or where `connect.session` says, else by our own session cookie.

use http::{HeaderMap, Request, StatusCode, header};
use serde::Deserialize;
use url::Url;

use super::{
    State,
    cookies::{self, Cookie},
};
use crate::{
    caller,
    config::SessionProof,
    connection::Unavailable,
    consent::{Reach, shown_name},
    id::{CallerId, Issuer, Subject},
    outbound::CallLimits,
};

/// Somebody who may see a dashboard.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Whose connections.
    pub caller: CallerId,
    /// Their name or address, where known.
    pub name: Option<String>,
    /// The application, where it is not the configured one.
    pub application: Option<String>,
    /// How far their view reaches.
    pub reach: Reach,
    /// Whether there is a session of ours to sign out of.
    pub session: bool,
}

impl Visitor {
    /// What the page calls them.
    pub fn who(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.caller.subject.as_str())
    }
}

/// Whom a browser has proved to be.
#[derive(Debug, Clone)]
pub(super) struct Proven {
    /// The caller.
    pub id: CallerId,
    /// Their name or address, where known.
    pub name: Option<String>,
    /// The application, where it is not the configured one.
    pub application: Option<String>,
}

/// The visitor, if the browser shows who it is.
pub(super) async fn visitor(state: &State, headers: &HeaderMap) -> Result<Option<Visitor>, Unavailable> {
    if let Some(Proven { id, name, application }) = proven(state, headers).await? {
        return Ok(Some(Visitor { caller: id, name, application, reach: Reach::All, session: false }));
    }
    let Some(cookie) = state.cookies.read(headers, Cookie::Session) else { return Ok(None) };
    Ok(state.consent.session(cookie, state.now()).await?.map(|session| Visitor {
        caller: session.caller,
        name: session.name,
        application: session.application,
        reach: session.reach,
        session: true,
    }))
}

/// Whom this browser proves to be: by a JWT, or by the application's word. A JWT that is not believed counts for nothing:
/// the page says how to come in.
pub(super) async fn proven(state: &State, headers: &HeaderMap) -> Result<Option<Proven>, Unavailable> {
    let header = caller::presented(headers, None).ok();
    let proof = state.settings.session.as_ref();
    let own = proof.and_then(|proof| match proof {
        SessionProof::Cookie(name) => cookies::read(headers, name),
        SessionProof::Header(name) => headers.get(name)?.to_str().ok().map(|text| text.trim_start_matches("Bearer ")),
        SessionProof::CheckUrl(_) => None,
    });
    for token in [header.as_deref(), own].into_iter().flatten() {
        match state.callers.authenticate(token, state.now().seconds()).await {
            Ok(caller) => {
                return Ok(Some(Proven {
                    id: caller.id.clone(),
                    name: shown_name(caller.claims()),
                    application: state.callers.application(&caller.id.issuer).map(str::to_owned),
                }));
            }
            Err(error) if error.reason == caller::Reason::KeysUnavailable => return Err(Unavailable::Keys),
            Err(_) => {}
        }
    }
    match proof {
        Some(SessionProof::CheckUrl(url)) => ask_application(state, url, headers).await,
        Some(SessionProof::Cookie(_) | SessionProof::Header(_)) | None => Ok(None),
    }
}

/// What the application answers about a browser.
#[derive(Deserialize)]
struct Vouched {
    issuer: Issuer,
    user: Subject,
}

/// Asks the application whose browser this is, with the browser's cookies but for ours. 401 or 403: nobody's.
async fn ask_application(state: &State, url: &Url, headers: &HeaderMap) -> Result<Option<Proven>, Unavailable> {
    let cookies = state.cookies.of_others(headers);
    if cookies.is_empty() {
        return Ok(None);
    }
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::COOKIE, cookies)
        .body(Vec::new());
    let Ok(request) = request else { return Ok(None) };
    // Configuration lets plain HTTP through on loopback only, and so does the client.
    let answer = state.outbound.send(request, CallLimits::default()).await.map_err(|error| {
        tracing::warn!(%error, "connect.session.check_url could not be asked");
        Unavailable::Busy
    })?;
    match answer.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
        StatusCode::OK => {}
        status => {
            tracing::warn!(status = status.as_u16(), "connect.session.check_url answered neither 200 nor 401");
            return Err(Unavailable::Busy);
        }
    }
    let vouched: Vouched = serde_json::from_slice(answer.body()).map_err(|_| {
        tracing::warn!("connect.session.check_url did not answer with issuer and user");
        Unavailable::Busy
    })?;
    if !state.callers.knows(&vouched.issuer) {
        tracing::warn!("connect.session.check_url named an issuer that is not configured");
        return Ok(None);
    }
    let application = state.callers.application(&vouched.issuer).map(str::to_owned);
    Ok(Some(Proven { id: CallerId { issuer: vouched.issuer, subject: vouched.user }, name: None, application }))
}
