//! The connection that a link or a form of the dashboard names, once it is known that the visitor may manage it; whoever
//! may not gets a page that says so instead. A form counts only where the visitor's own page sent it.

use std::sync::Arc;

use askama::Template;
use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts},
    response::Response,
};
use http::{Request, StatusCode, request::Parts};

use super::{come_in, form_error, unavailable, wrong};
use crate::{
    consent::Reach,
    id::{Account, ConnectionId},
    provider::Service,
    web::{
        State,
        consent_pages::parameter,
        cookies::Cookie,
        forms::{self, Form, Proof, TOKEN},
        page::{self, Forms, Frame},
        visit::Visit,
        visitor::Visitor,
    },
    words::{Notice, Subject},
};

/// What was asked for, or the page that says why not.
pub(super) type Answered = Result<Response, Response>;

/// The connection, who manages it, and the request that names it.
pub(super) struct Target {
    pub visit: Visit,
    pub visitor: Visitor,
    pub service: Arc<Service>,
    pub id: ConnectionId,
}

/// A form about a connection.
pub(super) struct Pressed {
    pub target: Target,
    pub form: Form,
}

/// What is asked before something goes for good.
pub(super) struct Question {
    /// Where the form goes, below `public_url`.
    pub action: &'static str,
    pub heading: String,
    pub body: String,
    pub button: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage<'a> {
    f: Frame<'a>,
    question: Question,
    service: &'a str,
    account: &'a str,
    token_field: &'a str,
    token: &'a str,
}

impl FromRequestParts<Arc<State>> for Target {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Response> {
        let visit = Visit::of(parts, state);
        let visitor = come_in(&visit).await?;
        let query = parts.uri.query();
        let (service, account) = (parameter(query, "service"), parameter(query, "account"));
        Self::named(visit, visitor, service.as_deref(), account.as_deref()).await
    }
}

impl FromRequest<Arc<State>> for Pressed {
    type Rejection = Response;

    async fn from_request(request: Request<Body>, state: &Arc<State>) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let visit = Visit::of(&parts, state);
        let visitor = come_in(&visit).await?;
        let form = match forms::read(state, Request::from_parts(parts, body)).await {
            Ok((form, _)) => form,
            Err(error) => return Err(form_error(&visit, error)),
        };
        let target = Target::named(visit, visitor, form.get("service"), form.get("account")).await?;
        Ok(Self { target, form })
    }
}

/// The connection that these name, if the visitor may manage it. Whether it exists is another question.
async fn manageable(
    visit: &Visit,
    visitor: &Visitor,
    service: Option<&str>,
    account: Option<&str>,
) -> Result<(Arc<Service>, ConnectionId), (StatusCode, Notice)> {
    let (services, t) = (&visit.state.parts.services, visit.t);
    let service = service.and_then(|name| services.get(name)).and_then(|service| services.owner(service));
    let service = service.ok_or_else(|| (StatusCode::BAD_REQUEST, t.unknown_service()))?;
    let account = account.map_or(Ok(Account::default()), Account::parse);
    let account = account.map_err(|_| (StatusCode::BAD_REQUEST, t.bad_account()))?;
    let id = ConnectionId { caller: visitor.caller.clone(), service: service.name.clone(), account };
    match visitor.may_manage(&visit.state, &id).await {
        Ok(true) => Ok((Arc::clone(service), id)),
        Ok(false) => Err((StatusCode::FORBIDDEN, t.not_covered())),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, t.unavailable())),
    }
}

impl Target {
    async fn named(
        visit: Visit,
        visitor: Visitor,
        service: Option<&str>,
        account: Option<&str>,
    ) -> Result<Self, Response> {
        match manageable(&visit, &visitor, service, account).await {
            Ok((service, id)) => Ok(Self { visit, visitor, service, id }),
            Err((status, notice)) => Err(wrong(&visit, status, &notice)),
        }
    }

    pub fn state(&self) -> &State {
        &self.visit.state
    }

    /// Passes where there is such a connection, or one that waits for the application.
    pub async fn must_exist(&self) -> Result<(), Response> {
        let connections =
            self.state().parts.connections.manager.list(&self.id.caller).await.map_err(|_| self.unavailable())?;
        let this = |found: &crate::connection::Connection| {
            found.service == self.id.service && found.account == self.id.account
        };
        if connections.iter().any(this) { Ok(()) } else { Err(self.absent()) }
    }

    pub fn frame(&self) -> Frame<'_> {
        Frame::new(self.state(), self.visit.t, self.visitor.application.as_deref())
    }

    pub fn about(&self) -> Subject<'_> {
        Subject { service: &self.service.title, application: self.frame().application, who: self.visitor.who() }
    }

    pub async fn proof(&self) -> Result<Proof, Response> {
        Proof::new(&self.visit).await.map_err(|_| self.unavailable())
    }

    /// A page that asks first.
    pub async fn confirm(&self, question: Question) -> Answered {
        let proof = self.proof().await?;
        let page = ConfirmPage {
            f: self.frame(),
            question,
            service: self.service.name.as_str(),
            account: self.id.account.as_str(),
            token_field: TOKEN,
            token: &proof.token,
        };
        Ok(proof.given_with(page::render(&page, StatusCode::OK, &Forms::Own), self.state()))
    }

    /// A session that reaches one connection only goes along with what it did to it: another label, or that there is none
    /// any more and a new one may be made. Somebody else's doing it never follows.
    pub async fn follow(&self, account: Account, made: Option<u64>) {
        let state = self.state();
        let cookie = state.cookies.read(&self.visit.headers, Cookie::Session);
        let (Reach::Only { service, .. }, Some(cookie)) = (&self.visitor.reach, cookie) else { return };
        let reach = Reach::Only { service: service.clone(), account, made };
        if let Err(error) = state.parts.consent.sessions.redirect(cookie, reach, state.now()).await {
            tracing::warn!(%error, "a session could not follow its connection");
        }
    }

    /// Back to the dashboard, which says of the service what this parameter stands for.
    pub fn done(&self, parameter: &str) -> Response {
        page::see_other(&format!("{}/dashboard?{parameter}={}", self.state().base(), self.service.name))
    }

    pub fn wrong(&self, status: StatusCode, notice: &Notice) -> Response {
        wrong(&self.visit, status, notice)
    }

    /// There is no such connection.
    pub fn absent(&self) -> Response {
        self.wrong(StatusCode::NOT_FOUND, &self.visit.t.no_connection())
    }

    pub fn unavailable(&self) -> Response {
        unavailable(&self.visit)
    }
}
