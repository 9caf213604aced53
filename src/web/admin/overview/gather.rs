//! Asks everybody who knows something, all at once. Who can't say anything now leaves a gap and delays nobody else.

use futures_util::future::try_join_all;

use super::{
    Chart, ConnectionRow, Counted, FailureRow, FunnelCard, Funnels, Overview, Search, days,
    moments::Moment,
    problems::{self, Problem},
};
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    consent::{LOW_CONVERSION, Report},
    events::failures::Failure,
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

/// What the page shows.
pub(super) async fn overview(state: &State, search: &Search) -> Overview {
    let hours = Trends::hours(state.now(), DAYS);
    let trends = &state.parts.trends;
    let own_time = trends.own_time(hours.clone(), 24);
    let (calls, own_time, funnels, failures, audit) =
        tokio::join!(trends.calls(hours.clone()), own_time, funnels(state), failures(state), search.run(state));
    let calls = calls.ok();
    let failures = failures.ok();
    Overview {
        problems: problems(state, failures.as_deref().unwrap_or_default()),
        calls: calls.as_ref().map(|calls| Chart::columns(days::calls(calls, &hours))),
        own_time: own_time.ok().map(|spans| Chart::lines(days::own_time(&spans, &hours))),
        refreshes: calls.as_ref().map(|calls| Chart::columns(days::refreshes(calls, &hours))),
        funnels: funnels.ok(),
        failures: failures
            .map(|all| all.into_iter().take(FAILURES).map(|failure| FailureRow::of(failure, state.now())).collect()),
        connections: state.parts.metrics.census().map(|census| connections(state, &census)),
        audit,
    }
}

fn problems(state: &State, failures: &[Failure]) -> Vec<Problem> {
    let mut all = problems::of_readiness(&state.parts.health.readiness());
    all.extend(state.parts.metrics.circuits_open().iter().map(problems::of_circuit));
    all.extend(failures.iter().filter(|failure| failure.alerted).map(problems::of_failure));
    all
}

/// The services that own connections.
fn owners(state: &State) -> impl Iterator<Item = &Service> {
    state.parts.services.iter().map(AsRef::as_ref).filter(|service| service.owner == service.name)
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
    let rows = owners(state).map(|service| {
        let tally = census.services.get(&service.name).copied().unwrap_or_default();
        let of = |state: ConnectionState| tally.by_state[state as usize];
        ConnectionRow {
            title: service.title.clone(),
            active: of(ConnectionState::Active),
            pending: of(ConnectionState::Pending),
            invalid: of(ConnectionState::Invalid),
            on_key: tally.on_api_key,
        }
    });
    let first = census.at.seconds() / 3600;
    let labels = (0..DAYS_AHEAD as u64).map(|day| days::label(first + day * 24)).collect();
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
