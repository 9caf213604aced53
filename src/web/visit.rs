//! A request for a page, as far as all pages need it: in which language, from which browser. Who may see what is the
//! pages' business.

use std::{convert::Infallible, sync::Arc};

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};

use super::{State, cause, cookies::Cookie, request_id};
use crate::{
    config::Language,
    consent::Browser,
    events::{Actor, Cause},
    id::RequestId,
    words::{Texts, texts},
};

/// The request.
pub(super) struct Visit {
    pub state: Arc<State>,
    /// The texts in the language that the browser asks for.
    pub t: &'static dyn Texts,
    pub id: RequestId,
    pub headers: HeaderMap,
    /// The visit as the cause of what the person does by it.
    pub cause: Cause,
}

impl Visit {
    pub fn of(parts: &Parts, state: &Arc<State>) -> Self {
        let headers = parts.headers.clone();
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let (t, cause) = (texts(Language::choose(accepted)), cause(parts, Actor::Caller));
        Self { state: Arc::clone(state), t, id: request_id(parts), headers, cause }
    }

    /// The browser, by its cookie.
    pub fn browser(&self) -> Option<Browser> {
        self.state.cookies.read(&self.headers, Cookie::Browser).and_then(Browser::from_cookie)
    }
}

impl FromRequestParts<Arc<State>> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Infallible> {
        Ok(Self::of(parts, state))
    }
}
