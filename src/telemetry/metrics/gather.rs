//! Every metric's name, help and labels, and where its values come from. docs/OBSERVABILITY.md says what they mean.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    Metrics,
    build::{Labels, by_service, counted, counter, family, gauge, one, set, timed, whole},
    census::Tally,
    labels::{
        AlertOutcome, CacheOutcome, CallerRejection, ConnectOutcome, ConnectionState, EndsWithin, NoticeChannel,
        NoticeOutcome, RefreshOutcome, RequestOutcome, StoreOperation,
    },
    model::{Kind, MetricFamily},
    process,
    service::ServiceMetrics,
};

/// All families, as they are now.
pub(super) fn gather(metrics: &Metrics) -> Vec<MetricFamily> {
    let services: Vec<Arc<ServiceMetrics>> = metrics.services.read().values().cloned().collect();
    let mut families = calls(&services, &metrics.nowhere);
    families.extend(connections(metrics, &services));
    families.extend(store(metrics));
    families.extend(telling(metrics));
    families.extend(itself(metrics));
    families.extend(process::families());
    families
}

fn calls(services: &[Arc<ServiceMetrics>], nowhere: &ServiceMetrics) -> Vec<MetricFamily> {
    let requests = |service: &ServiceMetrics, outcome: RequestOutcome| {
        let (label, code) = outcome.labels();
        let labels: Labels<'_> = &[("service", &service.service), ("outcome", label), ("code", code)];
        counted(labels, &service.requests[outcome as usize])
    };
    let of_services = services.iter().flat_map(|service| RequestOutcome::ALL.map(|outcome| requests(service, outcome)));
    let of_none = RequestOutcome::ALL.into_iter().filter(|outcome| !outcome.is_upstreams());
    let of_none = of_none.map(|outcome| requests(nowhere, outcome));
    let durations = services.iter().map(AsRef::as_ref).chain([nowhere]);
    vec![
        family(
            "valetkey_requests_total",
            "Requests to the proxy, by how they ended",
            Kind::Counter,
            of_services.chain(of_none),
        ),
        family(
            "valetkey_request_duration_seconds",
            "Time from a request's head to the end of its answer",
            Kind::Histogram,
            durations.map(|service| timed(&[("service", &service.service)], &service.request_duration)),
        ),
        by_service(
            ("valetkey_overhead_seconds", "Valetkey's own part of the time of an answered call"),
            services,
            |service| &service.overhead,
        ),
        by_service(
            ("valetkey_upstream_duration_seconds", "Time from a request's way upstream to the head of its answer"),
            services,
            |service| &service.upstream_duration,
        ),
    ]
}

fn connections(metrics: &Metrics, services: &[Arc<ServiceMetrics>]) -> Vec<MetricFamily> {
    let now = Instant::now();
    let refreshes = services.iter().flat_map(|service| {
        let of = |outcome: RefreshOutcome| (outcome.label(), &service.refreshes[outcome as usize]);
        RefreshOutcome::ALL
            .map(of)
            .map(|(outcome, counter)| counted(&[("service", &service.service), ("outcome", outcome)], counter))
    });
    let connects = services.iter().flat_map(|service| {
        let of = |outcome: ConnectOutcome| (outcome.label(), &service.connects[outcome as usize]);
        ConnectOutcome::ALL
            .map(of)
            .map(|(outcome, counter)| counted(&[("service", &service.service), ("outcome", outcome)], counter))
    });
    let open = services
        .iter()
        .map(|service| set(&[("service", &service.service)], f64::from(u8::from(service.is_circuit_open(now)))));
    let census = metrics.census.read();
    let mut tallies: BTreeMap<&str, Tally> =
        services.iter().map(|service| (&*service.service, Tally::default())).collect();
    tallies.extend(census.services.iter().map(|(service, tally)| (service.as_str(), *tally)));
    let states = tallies.iter().flat_map(|(service, tally)| {
        ConnectionState::ALL
            .map(|state| set(&[("service", service), ("state", state.label())], whole(tally.by_state[state as usize])))
    });
    let ending = tallies.iter().flat_map(|(service, tally)| {
        EndsWithin::ALL.map(|within| {
            set(&[("service", service), ("within", within.label())], whole(tally.ending[within as usize]))
        })
    });
    let keys = tallies.iter().map(|(service, tally)| set(&[("service", service)], whole(tally.on_api_key)));
    vec![
        family("valetkey_refreshes_total", "Access token refreshes, by how they ended", Kind::Counter, refreshes),
        by_service(("valetkey_refresh_duration_seconds", "Time a refresh took, stored"), services, |service| {
            &service.refresh_duration
        }),
        family("valetkey_circuit_open", "Whether a token endpoint that fails is given a pause", Kind::Gauge, open),
        one("valetkey_lease_wait_seconds", "Time a refresh waited for its connection's lease", &metrics.lease_wait),
        family("valetkey_connect_total", "Connect attempts, by the stage they reached", Kind::Counter, connects),
        family("valetkey_connections", "Connections in the store, as last counted", Kind::Gauge, states),
        family(
            "valetkey_connections_ending",
            "Connections that end by themselves within this time, as last counted",
            Kind::Gauge,
            ending,
        ),
        family("valetkey_api_keys_in_use", "Connections that rest on an API key, as last counted", Kind::Gauge, keys),
        gauge(
            "valetkey_census_timestamp_seconds",
            "When connections were last counted; 0 before the first time",
            whole(census.at.millis()) / 1000.0,
        ),
    ]
}

fn store(metrics: &Metrics) -> Vec<MetricFamily> {
    let operations = StoreOperation::ALL
        .map(|operation| timed(&[("operation", operation.label())], &metrics.store_operations[operation as usize]));
    let cache = CacheOutcome::ALL
        .map(|outcome| counted(&[("outcome", outcome.label())], &metrics.credential_cache[outcome as usize]));
    vec![
        family("valetkey_credential_cache_total", "Look-ups of credentials in memory", Kind::Counter, cache),
        family(
            "valetkey_store_operation_duration_seconds",
            "Time an operation of the store took, whether or not it succeeded",
            Kind::Histogram,
            operations,
        ),
        counter("valetkey_store_errors_total", "Store operations that failed", metrics.store_errors.value()),
    ]
}

fn telling(metrics: &Metrics) -> Vec<MetricFamily> {
    let notifications = NoticeChannel::ALL.into_iter().flat_map(|channel| {
        NoticeOutcome::ALL.map(|outcome| {
            let labels: Labels<'_> = &[("channel", channel.label()), ("outcome", outcome.label())];
            counted(labels, &metrics.notifications[channel as usize][outcome as usize])
        })
    });
    let alerts =
        AlertOutcome::ALL.map(|outcome| counted(&[("outcome", outcome.label())], &metrics.alerts[outcome as usize]));
    vec![
        family(
            "valetkey_notifications_total",
            "Notices to operators and callers, by how it went",
            Kind::Counter,
            notifications,
        ),
        family("valetkey_alerts_total", "Spikes of failures that operators were told of", Kind::Counter, alerts),
        gauge("valetkey_audit_lag_seconds", "Age of the oldest audit entry not stored yet", metrics.audit_lag.value()),
        counter(
            "valetkey_audit_dropped_total",
            "Audit entries that were not stored, for want of room",
            metrics.audit_dropped.value(),
        ),
        counter(
            "valetkey_spans_dropped_total",
            "Spans that were not delivered to the trace collector",
            metrics.spans_dropped.value(),
        ),
    ]
}

fn itself(metrics: &Metrics) -> Vec<MetricFamily> {
    let rejections = CallerRejection::ALL
        .map(|reason| counted(&[("reason", reason.label())], &metrics.caller_rejections[reason as usize]));
    let build = set(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    vec![
        family("valetkey_caller_rejections_total", "Callers who were not believed", Kind::Counter, rejections),
        gauge("valetkey_ready", "Whether calls should come, as /readyz says", metrics.ready.value()),
        gauge("valetkey_in_flight", "Requests being served", whole(metrics.in_flight())),
        gauge(
            "valetkey_config_last_reload_successful",
            "Whether the last attempt to load the configuration succeeded",
            metrics.config_reload_successful.value(),
        ),
        gauge(
            "valetkey_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded",
            metrics.config_reload_success.value(),
        ),
        family("valetkey_build_info", "The running version", Kind::Gauge, [build]),
    ]
}
