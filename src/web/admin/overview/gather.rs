//! Asks everybody who knows something, all at once. Who can't say anything before long leaves a gap.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::{
    Chart, ConnectionRow, Counted, FailureRow, FunnelCard, Funnels, Overview, Search, days,
    moments::{self, Moment},
    problems::{self, Problem},
};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    consent::{LOW_CONVERSION, Report},
    events::failures::Failure,
    id::ServiceName,
    provider::Service,
    telemetry::metrics::{Census, ConnectionState, DAYS_AHEAD},
    trends::Trends,
    web::{
        State,
        charts::{self, OverTime, Series, Step, Tone},
    },
};

/// How far the charts over time go back, in days.
const DAYS: u64 = 30;
/// Over how many days attempts to connect are added up.
const FUNNEL_DAYS: u32 = 7;
/// Over how many hours failures are.
const FAILURE_HOURS: u32 = 24;
/// How many kinds of failures are shown.
const FAILURES: usize = 30;

/// How long anybody is waited for. Who takes longer has nothing to say now.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the page shows.
pub(super) async fn overview(state: &State, search: &Search) -> Overview {
    let days = Trends::days(state.now(), DAYS);
    let trends = &state.parts.trends;
    let (calls, own_time, funnels, failures, audit) = tokio::join!(
        soon(async { trends.calls(days.clone()).await.ok() }),
        soon(async { trends.own_time(days.clone()).await.ok() }),
        soon(async { funnels(state).await.ok() }),
        soon(async { failures(state).await.ok() }),
        soon(search.run(state)),
    );
    let is_away = calls.is_none() || own_time.is_none() || funnels.is_none() || failures.is_none() || audit.is_none();
    Overview {
        problems: problems(state, is_away, failures.as_deref().unwrap_or_default()),
        calls: calls.as_ref().map(|calls| Chart::columns(days::calls(calls, &days))),
        own_time: own_time.map(|known| Chart::lines(days::own_time(&known, &days))),
        refreshes: calls.as_ref().map(|calls| Chart::columns(days::refreshes(calls, &days))),
        funnels,
        failures: failures
            .map(|all| all.into_iter().take(FAILURES).map(|failure| FailureRow::of(failure, state.now())).collect()),
        connections: state.parts.metrics.census().map(|census| connections(state, &census)),
        audit,
    }
}

/// What somebody has to say before long.
async fn soon<T>(asked: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(PATIENCE, asked).await.ok().flatten()
}

/// `is_away`: some part of the page could not be had.
fn problems(state: &State, is_away: bool, failures: &[Failure]) -> Vec<Problem> {
    let mut all = problems::of_readiness(&state.parts.health.readiness());
    if is_away && all.is_empty() {
        all.push(problems::of_silence());
    }
    all.extend(state.parts.metrics.circuits_open().iter().map(problems::of_circuit));
    all.extend(failures.iter().filter(|failure| failure.alerted).map(problems::of_failure));
    all
}

/// The services that own connections.
fn owners(state: &State) -> impl Iterator<Item = &Service> {
    state.parts.services.iter().map(AsRef::as_ref).filter(|service| service.owner == service.name)
}

/// The same, and those that are no longer configured and have connections still: their names and titles.
fn named(state: &State) -> Vec<(ServiceName, String)> {
    let census = state.parts.metrics.census().unwrap_or_default();
    let known = owners(state).map(|service| (service.name.clone(), service.title.clone()));
    let is_gone = |name: &ServiceName| owners(state).all(|service| service.name != *name);
    let gone = census.services.into_keys().filter(is_gone);
    known.chain(gone.map(|name| (name.clone(), format!("{name}, not configured")))).collect()
}

/// Whatever may be looked for: names and titles.
pub(super) fn services(state: &State) -> Vec<(String, String)> {
    named(state).into_iter().map(|(name, title)| (name.to_string(), title)).collect()
}

async fn funnels(state: &State) -> Result<Funnels, Unavailable> {
    let (funnel, now) = (&state.parts.consent.funnel, state.now());
    let asked = owners(state).filter(|service| service.oauth.is_some());
    let reports =
        asked.map(async |service| Ok::<_, Unavailable>((service, funnel.report(service, FUNNEL_DAYS, now).await?)));
    let mut funnels = Funnels { tried: Vec::new(), idle: Vec::new() };
    for (service, report) in try_join_all(reports).await? {
        if report.offered + report.opened + report.initiated + report.failed == 0 {
            funnels.idle.push(service.title.clone());
        } else {
            funnels.tried.push(FunnelCard::of(service, report));
        }
    }
    Ok(funnels)
}

async fn failures(state: &State) -> Result<Vec<Failure>, Unavailable> {
    let services = state.parts.services.iter().map(|service| &service.name);
    Ok(state.parts.failures.failures(services, FAILURE_HOURS, state.now()).await?)
}

fn connections(state: &State, census: &Census) -> Counted {
    let row = |(name, title): (ServiceName, String)| {
        let tally = census.services.get(&name).copied().unwrap_or_default();
        let of = |state: ConnectionState| tally.by_state[state as usize];
        ConnectionRow {
            title,
            active: of(ConnectionState::Active),
            pending: of(ConnectionState::Pending),
            invalid: of(ConnectionState::Invalid),
            on_key: tally.on_api_key,
        }
    };
    let rows = named(state).into_iter().map(row);
    let from = |day: u64| moments::day(census.at.plus(Duration::from_secs(day * 86_400)));
    let labels = (0..DAYS_AHEAD as u64).map(from).collect();
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let ending = |day: usize| census.services.values().map(|tally| tally.ending_by_day[day]).sum::<u64>() as f64;
    let series = Series {
        name: "connections",
        tone: Tone::Warn,
        values: (0..DAYS_AHEAD).map(|day| Some(ending(day))).collect(),
    };
    let title = "Connections that end, unless somebody does something".to_owned();
    Counted {
        at: Moment::of(census.at, state.now()),
        services: rows.filter(|row| row.total() > 0).collect(),
        ends: Chart::columns(OverTime { title, unit: "connections", labels, series: vec![series] }),
    }
}

impl FunnelCard {
    fn of(service: &Service, report: Report) -> Self {
        let steps = [
            ("offered", report.offered),
            ("opened", report.opened),
            ("initiated", report.initiated),
            ("authorized", report.authorized),
            ("completed", report.completed),
        ];
        let steps = steps.map(|(name, count)| Step { name, count });
        let drawn = charts::steps(&format!("{}: how far attempts come", service.title), &steps);
        let times = report.median_seconds.zip(report.p90_seconds);
        Self {
            service: service.name.to_string(),
            title: service.title.clone(),
            drawn,
            steps: steps.to_vec(),
            rate: (report.initiated > 0).then_some(report.conversion_rate),
            tone: match report.conversion_rate {
                _ if report.initiated == 0 => "none",
                low if low < LOW_CONVERSION => "warn",
                _ => "good",
            },
            times: times.map(|(median, p90)| {
                format!("Half connect within {}, nine of ten within {}.", span(median), span(p90))
            }),
            errors: report.errors.into_iter().map(|error| (error.error, error.count)).collect(),
            insights: report.insights,
        }
    }
}

/// A time that a person takes.
fn span(seconds: f64) -> String {
    match seconds {
        short if short < 90.0 => format!("{} seconds", charts::number(short.max(1.0).round())),
        long => format!("{} minutes", charts::number((long / 60.0).round())),
    }
}

impl FailureRow {
    fn of(failure: Failure, now: Timestamp) -> Self {
        Self {
            service: failure.service,
            error: failure.error,
            count: failure.count,
            first_at: Moment::of(failure.first_at, now),
            last_at: Moment::of(failure.last_at, now),
            request_id: failure.request_id,
            alerted: failure.alerted,
        }
    }
}
