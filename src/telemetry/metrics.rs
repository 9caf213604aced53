//! The metrics: how they are recorded, and the forms in which a scrape gets them. No label ever holds a user, an account, a path or
//! anything else that a caller chooses, so that their number is bounded by the configuration. What a call records goes through
//! [`ServiceMetrics`], found once a service, and is a few atomic additions: no lock and no memory. All series of a
//! configured service are there from the start, at zero.
//!
//! `gather` has all names, `build` makes series; `histogram` and `cells` hold the numbers; `model`, `text` and
//! `scrape` are the forms; `totals` is what little of it is kept by the day.

mod build;
mod cells;
mod census;
mod gather;
mod histogram;
mod labels;
mod model;
mod process;
mod scrape;
mod service;
mod text;
mod totals;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::RwLock;

pub use self::census::{Census, DAYS_AHEAD, Tally};
pub use self::labels::{
    AlertOutcome, CacheOutcome, CallerRejection, ConnectOutcome, ConnectionState, EndsWithin, NoticeChannel,
    NoticeOutcome, RefreshOutcome, RequestOutcome, StoreOperation,
};
pub use self::scrape::Scrape;
pub use self::service::{ServiceMetrics, Took};
pub use self::totals::Totals;
use self::{
    cells::{Counter, Gauge},
    histogram::{Histogram, OWN},
    text::Text,
};
use crate::{clock::Timestamp, id::ServiceName};

/// Stands for the service where a request has none; no service can be named so.
const NO_SERVICE: &str = "-";

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    /// From when on moments are counted.
    began: Instant,
    services: RwLock<BTreeMap<ServiceName, Arc<ServiceMetrics>>>,
    nowhere: Arc<ServiceMetrics>,
    notifications: [[Counter; NoticeOutcome::ALL.len()]; NoticeChannel::ALL.len()],
    credential_cache: [Counter; CacheOutcome::ALL.len()],
    store_operations: [Histogram; StoreOperation::ALL.len()],
    store_errors: Counter,
    lease_wait: Histogram,
    caller_rejections: [Counter; CallerRejection::ALL.len()],
    census: RwLock<Census>,
    audit_lag: Gauge,
    audit_dropped: Counter,
    alerts: [Counter; AlertOutcome::ALL.len()],
    spans_dropped: Counter,
    in_flight: Arc<AtomicU64>,
    ready: Gauge,
    config_reload_successful: Gauge,
    config_reload_success: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The metrics, all at zero.
    pub fn new() -> Self {
        let began = Instant::now();
        Self {
            began,
            services: RwLock::default(),
            nowhere: Arc::new(ServiceMetrics::new(NO_SERVICE.into(), began)),
            notifications: Default::default(),
            credential_cache: Default::default(),
            store_operations: StoreOperation::ALL.map(|_| Histogram::new(&OWN)),
            store_errors: Counter::default(),
            lease_wait: Histogram::new(&OWN),
            caller_rejections: Default::default(),
            census: RwLock::default(),
            audit_lag: Gauge::default(),
            audit_dropped: Counter::default(),
            alerts: Default::default(),
            spans_dropped: Counter::default(),
            in_flight: Arc::default(),
            ready: Gauge::default(),
            config_reload_successful: Gauge::default(),
            config_reload_success: Gauge::default(),
        }
    }

    /// The handles of one service: its series are there from now on. Calls keep theirs.
    pub fn service(&self, service: &ServiceName) -> Arc<ServiceMetrics> {
        if let Some(known) = self.services.read().get(service) {
            return Arc::clone(known);
        }
        let mut services = self.services.write();
        let made = || Arc::new(ServiceMetrics::new(service.as_str().into(), self.began));
        Arc::clone(services.entry(service.clone()).or_insert_with(made))
    }

    /// The handles for requests that reach no service.
    pub fn no_service(&self) -> Arc<ServiceMetrics> {
        Arc::clone(&self.nowhere)
    }

    /// Counts a look-up in the credential cache.
    pub fn credential_cache(&self, outcome: CacheOutcome) {
        self.credential_cache[outcome as usize].inc();
    }

    /// Counts what became of a notice, or of an attempt to deliver one.
    pub fn notification(&self, channel: NoticeChannel, outcome: NoticeOutcome) {
        self.notifications[channel as usize][outcome as usize].inc();
    }

    /// The store has been asked something, which took so long, whether or not it `failed`.
    pub fn store_operation(&self, operation: StoreOperation, took: Duration, failed: bool) {
        self.store_operations[operation as usize].observe(took);
        if failed {
            self.store_errors.inc();
        }
    }

    /// A refresh has waited so long for its connection's lease: until it had it, or somebody else had done the work.
    pub fn lease_waited(&self, time: Duration) {
        self.lease_wait.observe(time);
    }

    /// Counts a caller who was not believed.
    pub fn caller_rejected(&self, reason: CallerRejection) {
        self.caller_rejections[reason as usize].inc();
    }

    /// Connections have been counted, by this replica or another.
    pub fn counted(&self, census: Census) {
        *self.census.write() = census;
    }

    /// The connections as they were counted last; `None`: they never were.
    pub fn census(&self) -> Option<Census> {
        Some(self.census.read().clone()).filter(|census| *census != Census::default())
    }

    /// The services whose token endpoint is asked by nobody now.
    pub fn circuits_open(&self) -> Vec<ServiceName> {
        let now = Instant::now();
        let services = self.services.read();
        let open = services.iter().filter(|(_, service)| service.is_circuit_open(now));
        open.map(|(name, _)| name.clone()).collect()
    }

    /// The oldest audit entry that is not stored yet is so old.
    pub fn audit_lag(&self, lag: Duration) {
        self.audit_lag.set(lag.as_secs_f64());
    }

    /// Counts audit entries that were not stored, for want of room.
    pub fn audit_dropped(&self, entries: u64) {
        self.audit_dropped.add(entries);
    }

    /// Counts an alert, or its end.
    pub fn alert(&self, outcome: AlertOutcome) {
        self.alerts[outcome as usize].inc();
    }

    /// Counts spans that were not delivered.
    pub fn spans_dropped(&self, spans: u64) {
        self.spans_dropped.add(spans);
    }

    /// A configuration has been put in force.
    pub fn config_reloaded(&self, now: Timestamp) {
        self.config_reload_success.set(Duration::from_millis(now.millis()).as_secs_f64());
        self.config_reload_successful.set(1.0);
    }

    /// A changed configuration was refused; the one before stays in force.
    pub fn config_refused(&self) {
        self.config_reload_successful.set(0.0);
    }

    /// Whether calls should come, as readiness says.
    pub fn ready(&self, ready: bool) {
        self.ready.set(f64::from(u8::from(ready)));
    }

    /// Counts a request as being served until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }

    /// How many requests are being served.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        text::write(&gather::gather(self), Text::OpenMetrics)
    }

    /// All metrics in the form that this `Accept` header asks for.
    pub fn scrape(&self, accept: &str) -> Scrape {
        Scrape::of(&gather::gather(self), accept)
    }
}

/// One request that is being served.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicU64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn name(service: &str) -> ServiceName {
        ServiceName::parse(service).unwrap()
    }

    #[test]
    fn all_series_of_a_service_are_there_from_the_start() {
        let metrics = Metrics::new();
        metrics.service(&name("crm"));
        let text = metrics.encode();
        let of = |family: &str| {
            let series = |line: &&str| line.starts_with(&format!("{family}{{service=\"crm\"")) && line.ends_with(" 0");
            text.lines().filter(series).count()
        };
        assert_eq!(of("valetkey_requests_total"), RequestOutcome::ALL.len());
        assert_eq!(of("valetkey_refreshes_total"), 6);
        assert_eq!(of("valetkey_connect_total"), 6);
        assert_eq!((of("valetkey_connections"), of("valetkey_connections_ending")), (3, 3));
        for family in ["request_duration", "overhead", "upstream_duration", "refresh_duration"] {
            assert_eq!(of(&format!("valetkey_{family}_seconds_count")), 1, "{family}");
        }
        assert_eq!((of("valetkey_circuit_open"), of("valetkey_api_keys_in_use")), (1, 1));
    }

    #[test]
    fn metrics_are_written_under_their_conventional_names() {
        let metrics = Metrics::new();
        let github = metrics.service(&name("github"));
        let took = Took { total: MS * 30, own: MS, upstream: MS * 20 };
        github.call(RequestOutcome::Answered2xx, &took, None);
        github.call(RequestOutcome::Answered2xx, &took, Some(([0xab; 16], Timestamp::from_seconds(9))));
        github.request(RequestOutcome::AuthRequired, MS);
        github.refresh(RefreshOutcome::Renewed, MS * 1500);
        github.connect(ConnectOutcome::Completed);
        metrics.no_service().request(RequestOutcome::NotFound, Duration::ZERO);
        metrics.credential_cache(CacheOutcome::Hit);
        metrics.store_operation(StoreOperation::Get, MS, true);
        metrics.notification(NoticeChannel::Mail, NoticeOutcome::Delivered);
        metrics.config_reloaded(Timestamp::from_millis(1_700_000_000_250));
        github.circuit_open_until(Some(Instant::now() + MS * 60_000));
        metrics.caller_rejected(CallerRejection::Expired);
        metrics.alert(AlertOutcome::Raised);
        metrics.audit_lag(MS * 1500);
        metrics.audit_dropped(3);
        metrics.spans_dropped(4);
        metrics.lease_waited(MS);
        let tally = Tally { by_state: [0, 0, 7], on_api_key: 2, ending: [1, 2, 4], ..Tally::default() };
        metrics.counted(Census { at: Timestamp::from_seconds(1), services: [(name("github"), tally)].into() });
        let text = metrics.encode();
        for line in [
            r#"valetkey_requests_total{service="github",outcome="answered",code="2xx"} 2"#,
            r#"valetkey_requests_total{service="github",outcome="auth_required",code="4xx"} 1"#,
            r#"valetkey_requests_total{service="-",outcome="not_found",code="4xx"} 1"#,
            r#"valetkey_request_duration_seconds_count{service="github"} 3"#,
            r#"valetkey_request_duration_seconds_bucket{le="+Inf",service="github"} 3"#,
            r#"valetkey_refreshes_total{service="github",outcome="renewed"} 1"#,
            r#"valetkey_refresh_duration_seconds_sum{service="github"} 1.5"#,
            r#"valetkey_connect_total{service="github",outcome="completed"} 1"#,
            r#"valetkey_credential_cache_total{outcome="hit"} 1"#,
            r#"valetkey_credential_cache_total{outcome="miss"} 0"#,
            r#"valetkey_notifications_total{channel="mail",outcome="delivered"} 1"#,
            "valetkey_store_errors_total 1",
            "valetkey_in_flight 0",
            "valetkey_config_last_reload_successful 1",
            "valetkey_config_last_reload_success_timestamp_seconds 1700000000.25",
            r#"valetkey_build_info{version=""#,
            r#"valetkey_overhead_seconds_bucket{le="0.001",service="github"} 2 # {trace_id="abababababababababababababababab"} 0.001 9.000"#,
            r#"valetkey_upstream_duration_seconds_sum{service="github"} 0.04"#,
            r#"valetkey_store_operation_duration_seconds_count{operation="get"} 1"#,
            r#"valetkey_store_operation_duration_seconds_count{operation="put"} 0"#,
            r#"valetkey_circuit_open{service="github"} 1"#,
            r#"valetkey_connections{service="github",state="invalid"} 7"#,
            r#"valetkey_connections{service="github",state="active"} 0"#,
            r#"valetkey_connections_ending{service="github",within="7d"} 2"#,
            r#"valetkey_api_keys_in_use{service="github"} 2"#,
            r#"valetkey_caller_rejections_total{reason="expired"} 1"#,
            r#"valetkey_alerts_total{outcome="raised"} 1"#,
            "valetkey_audit_lag_seconds 1.5",
            "valetkey_audit_dropped_total 3",
            "valetkey_spans_dropped_total 4",
            "valetkey_lease_wait_seconds_count 1",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn a_request_in_flight_is_counted_until_it_is_dropped() {
        let metrics = Metrics::new();
        let guard = metrics.begin();
        assert_eq!(metrics.in_flight(), 1);
        drop(guard);
        assert_eq!(metrics.in_flight(), 0);
    }

    #[test]
    fn handles_of_the_same_service_count_together() {
        let metrics = Metrics::new();
        let name = name("crm");
        metrics.service(&name).request(RequestOutcome::Error, MS);
        metrics.service(&name).request(RequestOutcome::Error, MS);
        assert!(metrics.encode().contains(r#"valetkey_requests_total{service="crm",outcome="error",code="5xx"} 2"#));
    }
}
