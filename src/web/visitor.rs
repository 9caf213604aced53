//! Whose browser this is: by a JWT in the proxy's headers or where `connect.session` says, else by our own session cookie.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value};

use super::{
    State,
    cookies::{self, Cookie},
    vouch::{self, Proven},
};
use crate::{
    caller::{self, Caller},
    clock::Timestamp,
    config::SessionProof,
    connection::Unavailable,
    consent::{Reach, shown_name},
    id::{CallerId, ConnectionId},
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
    /// When that ends, where it reaches one connection only.
    pub ends: Option<Timestamp>,
    /// What their JWT says, where they came with one.
    jwt: Option<Arc<Caller>>,
}

impl Visitor {
    /// What the page calls them.
    pub fn who(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.caller.subject.as_str())
    }

    /// The claims of their JWT, where they came with one.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        self.jwt.as_ref().map(|jwt| jwt.claims())
    }

    /// Whether they may manage what is there under this label, or make it.
    pub async fn may_manage(&self, state: &State, id: &ConnectionId) -> Result<bool, Unavailable> {
        if self.reach == Reach::All {
            return Ok(true);
        }
        let there = state.parts.connections.manager.get(id).await?;
        Ok(self.reach.covers(&id.service, &id.account, there.as_ref()))
    }
}

/// The visitor, if the browser shows who it is.
pub(super) async fn visitor(state: &State, headers: &HeaderMap) -> Result<Option<Visitor>, Unavailable> {
    let proven = match proven(state, headers).await {
        Ok(Some(Proven { id, name, application, caller })) => {
            let reach = Reach::All;
            return Ok(Some(Visitor { caller: id, name, application, reach, session: false, ends: None, jwt: caller }));
        }
        other => other,
    };
    let session = match state.cookies.read(headers, Cookie::Session) {
        Some(cookie) => state.parts.consent.sessions.get(cookie, state.now()).await?,
        None => None,
    };
    match session {
        Some(session) => Ok(Some(Visitor {
            ends: (session.reach != Reach::All).then_some(session.expires),
            caller: session.caller,
            name: session.name,
            application: session.application,
            reach: session.reach,
            session: true,
            jwt: None,
        })),
        // Whoever has a session of ours needs no word of an application that can't be asked; others do.
        None => proven.map(|_| None),
    }
}

/// Whom this browser proves to be: by a JWT, or by the application's word. A JWT that is not believed counts for nothing:
/// the page says how to come in.
pub(super) async fn proven(state: &State, headers: &HeaderMap) -> Result<Option<Proven>, Unavailable> {
    let header = caller::presented(headers, None).ok();
    let proof = state.parts.settings.session.as_ref();
    let own = proof.and_then(|proof| match proof {
        SessionProof::Cookie(name) => cookies::read(headers, name),
        SessionProof::Header(name) => headers.get(name)?.to_str().ok().map(|text| text.trim_start_matches("Bearer ")),
        SessionProof::CheckUrl(_) => None,
    });
    for token in [header.as_deref(), own].into_iter().flatten() {
        match state.parts.callers.authenticate(token, state.now()).await {
            Ok(caller) => {
                return Ok(Some(Proven {
                    id: caller.id.clone(),
                    name: shown_name(caller.claims()),
                    application: state.parts.callers.application(&caller.id.issuer).map(str::to_owned),
                    caller: Some(caller),
                }));
            }
            Err(error) if error.reason == caller::Reason::KeysUnavailable => return Err(Unavailable::Keys),
            Err(_) => {}
        }
    }
    match proof {
        Some(SessionProof::CheckUrl(url)) => vouch::word(state, url, headers).await,
        Some(SessionProof::Cookie(_) | SessionProof::Header(_)) | None => Ok(None),
    }
}
