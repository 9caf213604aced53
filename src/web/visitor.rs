//! Whose browser this is: by a JWT in the proxy's headers or where `connect.session` says, else by our own session cookie.

use http::HeaderMap;

use super::{
    State,
    cookies::{self, Cookie},
};
use crate::{
    caller::{self, Caller},
    config::SessionProof,
    connection::Unavailable,
    consent::{Reach, shown_name},
    id::CallerId,
};
use std::sync::Arc;

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

/// The visitor, if the browser shows who it is.
pub(super) async fn visitor(state: &State, headers: &HeaderMap) -> Result<Option<Visitor>, Unavailable> {
    if let Some(caller) = proven(state, headers).await? {
        return Ok(Some(Visitor {
            name: shown_name(&caller.claims),
            application: caller.application.as_deref().map(str::to_owned),
            caller: caller.id.clone(),
            reach: Reach::All,
            session: false,
        }));
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

/// Whom this browser proves to be, by a JWT. One that is not believed counts for nothing: the page says how to come in.
pub(super) async fn proven(state: &State, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Unavailable> {
    let header = caller::presented(headers, None).ok();
    let proof = state.settings.session.as_ref().and_then(|proof| match proof {
        SessionProof::Cookie(name) => cookies::read(headers, name),
        SessionProof::Header(name) => headers.get(name)?.to_str().ok().map(|text| text.trim_start_matches("Bearer ")),
        SessionProof::CheckUrl(_) => None,
    });
    for token in [header.as_deref(), proof].into_iter().flatten() {
        match state.callers.authenticate(token, state.now().seconds()).await {
            Ok(caller) => return Ok(Some(caller)),
            Err(error) if error.reason == caller::Reason::KeysUnavailable => return Err(Unavailable::Keys),
            Err(_) => {}
        }
    }
    Ok(None)
}
