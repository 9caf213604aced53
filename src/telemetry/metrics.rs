//! The metrics: names, labels and how they are recorded. No label ever holds a user, an account, a path or anything else
//! that a caller chooses, so that their number is bounded by the configuration. What a request records goes through
//! [`ServiceMetrics`], resolved once a service, and is a few atomic additions: no lock and no allocation.

mod histogram;
mod labels;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};

use self::histogram::Histogram;
pub use self::labels::{
    AlertOutcome, CacheOutcome, ConnectOutcome, NoticeChannel, NoticeOutcome, RefreshOutcome, RequestOutcome,
};
use crate::{clock::Timestamp, id::ServiceName};

/// Stands for the service where a request has none; no service can be named so.
const NO_SERVICE: &str = "-";

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    service: Arc<str>,
    outcome: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    service: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabel {
    service: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabels {
    channel: &'static str,
    outcome: &'static str,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<ServiceLabel, Histogram>,
    refreshes: Family<OutcomeLabels, Counter>,
    refresh_duration: Family<ServiceLabel, Histogram>,
    connects: Family<OutcomeLabels, Counter>,
    notifications: Family<NoticeLabels, Counter>,
    alerts: [Counter; AlertOutcome::ALL.len()],
    credential_cache: [Counter; CacheOutcome::ALL.len()],
    store_errors: Counter,
    in_flight: Gauge,
    config_reload_successful: Gauge,
    config_reload_success: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The metrics, all at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("valetkey");
        let requests = Family::default();
        registry.register("requests", "Requests to the proxy, by how they ended", requests.clone());
        let request_duration = Family::<ServiceLabel, Histogram>::default();
        registry.register(
            "request_duration_seconds",
            "Time from a request's head to the end of its answer",
            request_duration.clone(),
        );
        let refreshes = Family::default();
        registry.register("refreshes", "Access token refreshes, by how they ended", refreshes.clone());
        let refresh_duration = Family::<ServiceLabel, Histogram>::default();
        registry.register("refresh_duration_seconds", "Time a refresh took, stored", refresh_duration.clone());
        let connects = Family::default();
        registry.register("connect", "Connect attempts, by the stage they reached", connects.clone());
        let notifications = Family::<NoticeLabels, Counter>::default();
        registry.register("notifications", "Notices to operators and callers, by how it went", notifications.clone());
        for channel in NoticeChannel::ALL {
            for outcome in NoticeOutcome::ALL {
                let labels = NoticeLabels { channel: channel.label(), outcome: outcome.label() };
                drop(notifications.get_or_create(&labels));
            }
        }
        let alerts = Family::<OutcomeLabel, Counter>::default();
        registry.register("alerts", "Alerts that this process raised, and whose end it told", alerts.clone());
        let alerts =
            AlertOutcome::ALL.map(|outcome| alerts.get_or_create_owned(&OutcomeLabel { outcome: outcome.label() }));
        let cache = Family::<OutcomeLabel, Counter>::default();
        registry.register("credential_cache", "Look-ups of credentials in memory", cache.clone());
        let store_errors = Counter::default();
        registry.register("store_errors", "Store operations that failed", store_errors.clone());
        let in_flight = Gauge::default();
        registry.register("in_flight", "Requests being served", in_flight.clone());
        let config_reload_successful = Gauge::default();
        registry.register(
            "config_last_reload_successful",
            "Whether the last attempt to load the configuration succeeded",
            config_reload_successful.clone(),
        );
        let config_reload_success = Gauge::<f64, AtomicU64>::default();
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded",
            config_reload_success.clone(),
        );
        registry.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let credential_cache =
            CacheOutcome::ALL.map(|outcome| cache.get_or_create_owned(&OutcomeLabel { outcome: outcome.label() }));
        Self {
            registry,
            requests,
            request_duration,
            refreshes,
            refresh_duration,
            connects,
            notifications,
            alerts,
            credential_cache,
            store_errors,
            in_flight,
            config_reload_successful,
            config_reload_success,
        }
    }

    /// The handles of one service. Ask once and keep them.
    pub fn service(&self, service: &ServiceName) -> ServiceMetrics {
        self.labelled(service.as_str().into())
    }

    /// The handles for requests that reach no service.
    pub fn no_service(&self) -> ServiceMetrics {
        self.labelled(NO_SERVICE.into())
    }

    fn labelled(&self, service: Arc<str>) -> ServiceMetrics {
        let label = ServiceLabel { service: service.clone() };
        ServiceMetrics {
            request_duration: self.request_duration.get_or_create_owned(&label),
            refresh_duration: self.refresh_duration.get_or_create_owned(&label),
            requests: self.requests.clone(),
            refreshes: self.refreshes.clone(),
            connects: self.connects.clone(),
            by_request: [const { OnceLock::new() }; RequestOutcome::ALL.len()],
            by_refresh: [const { OnceLock::new() }; RefreshOutcome::ALL.len()],
            by_connect: [const { OnceLock::new() }; ConnectOutcome::ALL.len()],
            service,
        }
    }

    /// Counts a look-up in the credential cache.
    pub fn credential_cache(&self, outcome: CacheOutcome) {
        self.credential_cache[outcome as usize].inc();
    }

    /// Counts what became of a notice, or of an attempt to deliver one.
    pub fn notification(&self, channel: NoticeChannel, outcome: NoticeOutcome) {
        let labels = NoticeLabels { channel: channel.label(), outcome: outcome.label() };
        self.notifications.get_or_create(&labels).inc();
    }

    /// Counts an alert.
    pub fn alert(&self, outcome: AlertOutcome) {
        self.alerts[outcome as usize].inc();
    }

    /// Counts a store operation that failed.
    pub fn store_error(&self) {
        self.store_errors.inc();
    }

    /// A configuration has been put in force.
    pub fn config_reloaded(&self, now: Timestamp) {
        self.config_reload_success.set(Duration::from_millis(now.millis()).as_secs_f64());
        self.config_reload_successful.set(1);
    }

    /// A changed configuration was refused; the one before stays in force.
    pub fn config_refused(&self) {
        self.config_reload_successful.set(0);
    }

    /// Counts a request as being served until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// How many requests are being served.
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.in_flight.get()).unwrap_or(0)
    }

    /// All metrics as OpenMetrics text; its type is [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String does not fail");
        out
    }
}

/// One request that is being served.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The handles of one service; a series appears with its first event.
#[derive(Debug)]
pub struct ServiceMetrics {
    service: Arc<str>,
    requests: Family<RequestLabels, Counter>,
    by_request: [OnceLock<Counter>; RequestOutcome::ALL.len()],
    request_duration: Histogram,
    refreshes: Family<OutcomeLabels, Counter>,
    by_refresh: [OnceLock<Counter>; RefreshOutcome::ALL.len()],
    refresh_duration: Histogram,
    connects: Family<OutcomeLabels, Counter>,
    by_connect: [OnceLock<Counter>; ConnectOutcome::ALL.len()],
}

impl ServiceMetrics {
    /// Counts a request that has ended, and the seconds it took.
    pub fn request(&self, outcome: RequestOutcome, seconds: f64) {
        self.by_request[outcome as usize]
            .get_or_init(|| {
                let (outcome, code) = outcome.labels();
                self.requests.get_or_create_owned(&RequestLabels { service: self.service.clone(), outcome, code })
            })
            .inc();
        self.request_duration.observe(seconds);
    }

    /// Counts a refresh that has ended, and the seconds it took.
    pub fn refresh(&self, outcome: RefreshOutcome, seconds: f64) {
        self.by_refresh[outcome as usize].get_or_init(|| self.outcome(&self.refreshes, outcome.label())).inc();
        self.refresh_duration.observe(seconds);
    }

    /// Counts a connect attempt that has reached a stage.
    pub fn connect(&self, outcome: ConnectOutcome) {
        self.by_connect[outcome as usize].get_or_init(|| self.outcome(&self.connects, outcome.label())).inc();
    }

    fn outcome(&self, family: &Family<OutcomeLabels, Counter>, outcome: &'static str) -> Counter {
        family.get_or_create_owned(&OutcomeLabels { service: self.service.clone(), outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_under_their_conventional_names() {
        let metrics = Metrics::new();
        let github = metrics.service(&ServiceName::parse("github").unwrap());
        github.request(RequestOutcome::Answered2xx, 0.2);
        github.request(RequestOutcome::Answered2xx, 0.3);
        github.request(RequestOutcome::AuthRequired, 0.001);
        github.refresh(RefreshOutcome::Renewed, 1.5);
        github.connect(ConnectOutcome::Completed);
        metrics.no_service().request(RequestOutcome::NotFound, 0.0);
        metrics.credential_cache(CacheOutcome::Hit);
        metrics.store_error();
        metrics.notification(NoticeChannel::Mail, NoticeOutcome::Delivered);
        metrics.config_reloaded(Timestamp::from_millis(1_700_000_000_250));
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
            r#"valetkey_alerts_total{outcome="raised"} 0"#,
            "valetkey_store_errors_total 1",
            "valetkey_in_flight 0",
            "valetkey_config_last_reload_successful 1",
            "valetkey_config_last_reload_success_timestamp_seconds 1700000000.25",
            r#"valetkey_build_info{version=""#,
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
        let name = ServiceName::parse("crm").unwrap();
        metrics.service(&name).request(RequestOutcome::Error, 0.0);
        metrics.service(&name).request(RequestOutcome::Error, 0.0);
        assert!(metrics.encode().contains(r#"valetkey_requests_total{service="crm",outcome="error",code="5xx"} 2"#));
    }
}
