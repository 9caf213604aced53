//! The pages of a connect flow: `connect` before the provider, `callback` after it. Here is what they share.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::FromRequestParts,
    response::Response,
    routing::{get, post},
};
use http::{Request, StatusCode, request::Parts};
use serde_json::{Map, Value};

use super::{
    State, assets,
    forms::{self, Form, FormError},
    page::{self, Action, Frame},
    visit::Visit,
    visitor,
    vouch::Proven,
};
use crate::{
    clock::Timestamp,
    config::Binding,
    connection::{LABELS_MAX, Unavailable},
    consent::{BeginError, Browser, TicketError},
    policy,
    provider::Service,
    words::Notice,
};

mod callback;
mod connect;

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/connect/{service}", get(connect::show).post(connect::go_on))
        .route("/connect/{service}/answer", post(callback::answer))
        .route("/connect/-/{asset}", get(assets::asset))
        .route("/oauth/callback/{service}", get(callback::callback).post(callback::posted))
}

/// A scope as people read it, and as the provider writes it.
pub(super) struct Scope {
    pub words: Option<String>,
    pub code: String,
}

/// The scopes of a service, in words where the provider's file has them.
pub(super) fn in_words<S: AsRef<str>>(service: &Service, scopes: &[S]) -> Vec<Scope> {
    scopes
        .iter()
        .map(|scope| Scope {
            words: service.scopes.title(scope.as_ref()).map(str::to_owned),
            code: scope.as_ref().to_owned(),
        })
        .collect()
}

/// A visit to one of these pages, and what the flow tells of where it came from.
struct Step {
    visit: Visit,
    now: Timestamp,
    application: Option<String>,
    back: Option<String>,
}

impl FromRequestParts<Arc<State>> for Step {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Infallible> {
        Ok(Self { visit: Visit::of(parts, state), now: state.now(), application: None, back: None })
    }
}

impl Step {
    fn frame(&self) -> Frame<'_> {
        Frame::new(&self.visit.state, self.visit.t, self.application.as_deref())
    }

    /// A page that says what is wrong, with the way back to the application, or to the dashboard.
    fn wrong(&self, status: StatusCode, notice: &Notice) -> Response {
        self.wrong_but(status, notice, None)
    }

    fn wrong_but(&self, status: StatusCode, notice: &Notice, first: Option<Action>) -> Response {
        let frame = self.frame();
        let home = self.visit.state.parts.settings.return_to.first().map(ToString::to_string);
        let back = match self.back.clone().or(home) {
            Some(url) => Action::new(url, self.visit.t.back_to(frame.application)),
            None => Action::new(format!("{}/dashboard", frame.base), self.visit.t.words().to_dashboard),
        };
        let actions: Vec<Action> = first.into_iter().chain([back]).collect();
        page::notice(frame, status, notice, &actions, &self.visit.id)
    }

    fn unavailable(&self) -> Response {
        self.wrong(StatusCode::SERVICE_UNAVAILABLE, &self.visit.t.unavailable())
    }

    /// Which page tells this.
    fn begin_error(&self, error: BeginError, service: &Service) -> Response {
        let notice = match error {
            BeginError::Ticket(TicketError::Invalid) => self.visit.t.ticket_invalid(),
            BeginError::Ticket(TicketError::Expired) => self.visit.t.ticket_expired(),
            BeginError::Used => self.visit.t.ticket_used(),
            BeginError::OtherBrowser => self.visit.t.ticket_elsewhere(),
            BeginError::NotYours => self.visit.t.not_yours(),
            BeginError::NoOAuth => self.visit.t.no_oauth(&service.title),
            BeginError::Full => self.visit.t.too_many_labels(&service.title, LABELS_MAX),
            BeginError::Unavailable(_) => return self.unavailable(),
        };
        self.wrong(StatusCode::BAD_REQUEST, &notice)
    }

    /// Whom this browser has proved to be, where a link asks for that.
    async fn proven(&self) -> Result<Option<Proven>, Unavailable> {
        if self.visit.state.parts.consent.settings.connect.binding != Binding::Session {
            return Ok(None);
        }
        visitor::proven(&self.visit.state, &self.visit.headers).await
    }

    /// Nobody is sent to connect what they may never call, as far as it is known what they may.
    fn forbidden(&self, service: &Service, claims: Option<&Map<String, Value>>) -> Option<Response> {
        if policy::may_connect(&self.visit.state.parts.services, service, claims) {
            return None;
        }
        Some(self.wrong(StatusCode::FORBIDDEN, &self.visit.t.forbidden(&service.title)))
    }

    fn unknown_service(&self) -> Response {
        self.wrong(StatusCode::BAD_REQUEST, &self.visit.t.unknown_service())
    }

    fn form_error(&self, error: FormError) -> Response {
        self.wrong(error.status(), &error.notice(self.visit.t))
    }

    /// The service that owns the connection which this name stands for.
    fn owner(&self, name: &str) -> Option<Arc<Service>> {
        self.visit
            .state
            .parts
            .services
            .get(name)
            .and_then(|service| self.visit.state.parts.services.owner(service))
            .cloned()
    }

    /// A form of ours about a service, and the browser that sent it.
    async fn form(&self, name: &str, request: Request<Body>) -> Result<(Arc<Service>, Form, Browser), Response> {
        let service = self.owner(name).ok_or_else(|| self.unknown_service())?;
        let (form, browser) = forms::read(&self.visit.state, request).await.map_err(|error| self.form_error(error))?;
        Ok((service, form, browser))
    }
}

/// Parameters of a query, each of which may be there once.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut values = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

/// Origins over plain HTTP that the form's way may lead to.
pub(super) fn plain_origins(state: &State, service: &Service) -> Vec<String> {
    let provider = service.oauth.iter().map(|oauth| &oauth.authorize_url);
    provider
        .chain(&state.parts.settings.return_to)
        .filter(|url| url.scheme() == "http")
        .map(|url| url.origin().ascii_serialization())
        .collect()
}

/// Where "back to the application" leads, told that nothing came of it.
fn back(state: &State, return_to: Option<&str>) -> Option<String> {
    let url = state.parts.consent.links.return_to(return_to?).ok()?;
    Some(url.with(&[("error", "access_denied")]).to_string())
}
