//! The dashboard: what a person has connected, and what they can do about it. It shows facts of connections, never a
//! credential. Everything that changes something is a form of our own page.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    body::Body,
    extract::RawQuery,
    response::Response,
    routing::{get, post},
};
use http::{Request, StatusCode};

use super::{
    State,
    consent_pages::{parameter, plain_origins},
    cookies::Cookie,
    forms::{self, FormError, Proof, TOKEN},
    page::{self, Action, Forms, Frame},
    visit::Visit,
    visitor::{self, Visitor},
};
use crate::{consent::Reach, id::Account, words::Notice};

mod away;
mod cards;
mod disconnect;
mod enter;
mod keys;
mod rename;
mod target;

use cards::{Card, cards};

pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(home))
        .route("/dashboard", get(dashboard).post(enter::enter))
        .route("/dashboard/disconnect", get(disconnect::ask).post(disconnect::disconnect))
        .route("/dashboard/rename", get(rename::ask).post(rename::rename))
        .route("/dashboard/api-key", post(keys::store))
        .route("/dashboard/api-key/remove", get(keys::ask).post(keys::remove))
        .route("/dashboard/away", post(away::say))
        .route("/dashboard/sign-out", post(sign_out))
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage<'a> {
    f: Frame<'a>,
    who: &'a str,
    session: bool,
    restricted: bool,
    done: Option<String>,
    cards: &'a [Card],
    /// Whether jobs may act for them; none: there is no such question.
    away: Option<bool>,
    token_field: &'a str,
    token: &'a str,
}

async fn home(visit: Visit) -> Response {
    page::see_other(&format!("{}/dashboard", visit.state.base()))
}

/// `GET /dashboard`.
async fn dashboard(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let (state, t) = (&*visit.state, visit.t);
    if let Some(link) = parameter(query.as_deref(), "link") {
        return enter::show(&visit, &link).await;
    }
    let visitor = match come_in(&visit).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let Ok(connections) = state.parts.connections.manager.list(&visitor.caller).await else {
        return unavailable(&visit);
    };
    let Ok(away) = away::word(state, &visitor).await else { return unavailable(&visit) };
    let Ok(proof) = Proof::new(&visit).await else { return unavailable(&visit) };
    let titled = |name: &str| {
        let name = parameter(query.as_deref(), name)?;
        state.parts.services.get(&name).map(|service| service.title.clone())
    };
    let done = titled("connected")
        .map(|title| match parameter(query.as_deref(), "renewed").and_then(|text| Account::parse(&text).ok()) {
            Some(account) => t.just_renewed(&title, account.as_str()),
            None => t.just_connected(&title),
        })
        .or_else(|| titled("renamed").map(|title| t.just_renamed(&title)))
        .or_else(|| titled("disconnected").map(|title| t.just_disconnected(&title)))
        .or_else(|| titled("key_stored").map(|title| t.key_stored(&title)))
        .or_else(|| titled("key_removed").map(|title| t.key_removed(&title)))
        .or_else(|| {
            let said = parameter(query.as_deref(), away::FIELD)?;
            away.filter(|on| *on == (said == away::ON)).map(|on| t.away_done(on).to_owned())
        });
    let cards = cards(state, &visitor, connections, t);
    let page = DashboardPage {
        f: Frame::new(state, t, visitor.application.as_deref()),
        who: visitor.who(),
        session: visitor.session,
        restricted: visitor.reach != Reach::All,
        done,
        cards: &cards,
        away,
        token_field: TOKEN,
        token: &proof.token,
    };
    let plain: Vec<String> = state.parts.services.iter().flat_map(|service| plain_origins(state, service)).collect();
    proof.given_with(page::render(&page, StatusCode::OK, &Forms::Provider { plain: &plain }), state)
}

/// Who may see the dashboard; others get a page that says how to come in.
async fn come_in(visit: &Visit) -> Result<Visitor, Response> {
    match visitor::visitor(&visit.state, &visit.headers).await {
        Ok(Some(visitor)) => Ok(visitor),
        Ok(None) => {
            let notice = visit.t.come_in(Frame::new(&visit.state, visit.t, None).application);
            Err(wrong(visit, StatusCode::UNAUTHORIZED, &notice))
        }
        Err(_) => Err(unavailable(visit)),
    }
}

fn wrong(visit: &Visit, status: StatusCode, notice: &Notice) -> Response {
    let (state, t) = (&visit.state, visit.t);
    let frame = Frame::new(state, t, None);
    let home = state.parts.settings.return_to.first();
    let action = match (status, home) {
        (StatusCode::UNAUTHORIZED, Some(url)) => Some(Action::new(url.as_str(), t.back_to(frame.application))),
        (StatusCode::UNAUTHORIZED, None) => None,
        _ => Some(Action::new(format!("{}/dashboard", frame.base), t.words().to_dashboard)),
    };
    page::notice(frame, status, notice, action.as_slice(), &visit.id)
}

fn unavailable(visit: &Visit) -> Response {
    wrong(visit, StatusCode::SERVICE_UNAVAILABLE, &visit.t.unavailable())
}

fn form_error(visit: &Visit, error: FormError) -> Response {
    wrong(visit, error.status(), &error.notice(visit.t))
}

/// `POST /dashboard/sign-out`.
async fn sign_out(visit: Visit, request: Request<Body>) -> Response {
    let (state, t) = (&visit.state, visit.t);
    if let Err(error) = forms::read(state, request).await {
        return form_error(&visit, error);
    }
    if let Some(cookie) = state.cookies.read(&visit.headers, Cookie::Session)
        && state.parts.consent.sessions.sign_out(cookie).await.is_err()
    {
        return unavailable(&visit);
    }
    let frame = Frame::new(state, t, None);
    let home = state.parts.settings.return_to.first();
    let action = home.map(|url| Action::new(url.as_str(), t.back_to(frame.application)));
    let mut response = page::notice(frame, StatusCode::OK, &t.signed_out(), action.as_slice(), &visit.id);
    state.cookies.clear(response.headers_mut(), Cookie::Session);
    response
}
