//! `GET /admin`: one page that says how things go, for whoever runs Valetkey. It needs no script; each chart stands beside a table
//! that says the same. What can't be had is said to be away, and the rest is shown all the same.
//!
//! - `gather`: asks everybody; `days`: from hours to charts; `problems`: what is wrong now, and what to do about it
//! - `search`: events that are looked for; `moments`: times as they are written

use askama::Template;
use axum::{extract::RawQuery, response::Response};
use http::StatusCode;

use super::{
    operators::Rights,
    presented,
    sign_in::{self, frame},
};
use crate::{
    events::audit::TYPES,
    web::{
        charts::{self, OverTime, Step},
        page::{self, Forms, Frame},
        visit::Visit,
    },
};

mod days;
mod gather;
mod moments;
mod problems;
mod search;

use moments::Moment;
use problems::Problem;
use search::{Found, Search};

/// What the page shows. `None`: it can't be had now.
pub(super) struct Overview {
    problems: Vec<Problem>,
    calls: Option<Chart>,
    own_time: Option<Chart>,
    refreshes: Option<Chart>,
    funnels: Option<Funnels>,
    failures: Option<Vec<FailureRow>>,
    connections: Option<Counted>,
    audit: Option<Found>,
}

/// A chart and its table.
pub(super) struct Chart {
    drawn: String,
    says: OverTime,
}

impl Chart {
    fn columns(says: OverTime) -> Self {
        Self { drawn: charts::columns(&says), says }
    }

    fn lines(says: OverTime) -> Self {
        Self { drawn: charts::lines(&says), says }
    }
}

/// How far attempts to connect come.
pub(super) struct Funnels {
    tried: Vec<FunnelCard>,
    /// The titles of services that nobody was offered a link to.
    idle: Vec<String>,
}

/// How far attempts at one service come.
pub(super) struct FunnelCard {
    service: String,
    title: String,
    drawn: String,
    steps: Vec<Step>,
    /// Completed of initiated, in percent; `None`: none was.
    rate: Option<f64>,
    tone: &'static str,
    times: Option<String>,
    errors: Vec<(String, u64)>,
    insights: Vec<String>,
}

/// What failed lately.
pub(super) struct FailureRow {
    service: String,
    error: String,
    count: u64,
    first_at: Moment,
    last_at: Moment,
    request_id: Option<String>,
    alerted: bool,
}

/// Connections, as they were counted last.
pub(super) struct Counted {
    at: Moment,
    services: Vec<ConnectionRow>,
    ends: Chart,
}

/// How connections to one service stand.
pub(super) struct ConnectionRow {
    title: String,
    active: u64,
    pending: u64,
    invalid: u64,
    on_key: u64,
}

impl ConnectionRow {
    fn total(&self) -> u64 {
        self.active + self.pending + self.invalid
    }

    /// Of those that work, in percent: how many no longer rest on an API key.
    fn migrated(&self) -> u64 {
        (self.active.saturating_sub(self.on_key) * 100).checked_div(self.active).unwrap_or(0)
    }
}

#[derive(Template)]
#[template(path = "operators.html")]
struct OverviewPage<'a> {
    f: Frame<'a>,
    rights: Rights,
    now: Moment,
    o: Overview,
    /// Their names and titles.
    services: Vec<(String, String)>,
    search: Search,
    types: [&'static str; TYPES.len()],
}

/// `GET /admin`.
pub(super) async fn show(visit: Visit, RawQuery(query): RawQuery) -> Response {
    let Some(admin) = sign_in::admin(&visit) else { return sign_in::nothing_here(&visit) };
    // A program shows its token, as on every other route here.
    let rights = match presented(&visit.state, &visit.headers) {
        Ok(rights) => Ok(Some(rights)),
        Err(_) => sign_in::rights(&visit, admin).await,
    };
    let rights = match rights {
        Ok(Some(rights)) => rights,
        Ok(None) => return sign_in::ask(&visit, StatusCode::UNAUTHORIZED, false),
        Err(response) => return response,
    };
    let state = &*visit.state;
    let search = Search::of(query.as_deref());
    let page = OverviewPage {
        f: frame(&visit),
        rights,
        now: Moment::of(state.now(), state.now()),
        o: gather::overview(state, &search).await,
        services: gather::services(state),
        search,
        types: TYPES,
    };
    page::render(&page, StatusCode::OK, &Forms::Own)
}
