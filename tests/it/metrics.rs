//! Metrics, by those who read them: promtool, and a Prometheus that scrapes the running binary.

use reqwest::Method;
use serde_json::json;

use crate::support::prometheus::{Prometheus, faults};
use crate::support::{Rig, Store, Valetkey, jwt, on_both_stores, wait};

/// Every name, as docs/OBSERVABILITY.md has them.
const NAMES: [&str; 34] = [
    "valetkey_alerts_total",
    "valetkey_api_keys_in_use",
    "valetkey_audit_dropped_total",
    "valetkey_audit_lag_seconds",
    "valetkey_build_info",
    "valetkey_caller_rejections_total",
    "valetkey_census_timestamp_seconds",
    "valetkey_circuit_open",
    "valetkey_config_last_reload_success_timestamp_seconds",
    "valetkey_config_last_reload_successful",
    "valetkey_connect_total",
    "valetkey_connections",
    "valetkey_connections_ending",
    "valetkey_credential_cache_total",
    "valetkey_in_flight",
    "valetkey_lease_wait_seconds",
    "valetkey_notifications_total",
    "valetkey_overhead_seconds",
    "valetkey_ready",
    "valetkey_refresh_duration_seconds",
    "valetkey_refreshes_total",
    "valetkey_request_duration_seconds",
    "valetkey_requests_total",
    "valetkey_spans_dropped_total",
    "valetkey_store_errors_total",
    "valetkey_store_operation_duration_seconds",
    "valetkey_upstream_duration_seconds",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

async fn metrics(valetkey: &Valetkey) -> String {
    valetkey.admin_get("/metrics").await.text()
}

/// The value of the series that begins so.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(series))?;
    Some(line.rsplit_once(' ')?.1.parse().expect("a number"))
}

async fn until(valetkey: &Valetkey, series: &str, expected: f64) {
    wait::until(&format!("{series} is {expected}"), || async {
        value(&metrics(valetkey).await, series).filter(|found| (found - expected).abs() < 1e-9)
    })
    .await;
}

async fn call(rig: &Rig, times: usize) {
    for _ in 0..times {
        assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.status, 200);
    }
}

#[tokio::test]
async fn promtool_finds_no_fault_and_every_name_is_there_from_the_start() {
    let mut rig = Rig::start(Store::Embedded).await;
    let text = metrics(&rig).await;
    let mut found: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    found.sort_unstable();
    let mut names = NAMES;
    names.sort_unstable();
    assert_eq!(found, names);
    for series in ["valetkey_requests_total", "valetkey_connect_total", "valetkey_connections", "valetkey_circuit_open"]
    {
        let of = |service: &str| text.lines().filter(|line| line.starts_with(series) && line.contains(service)).count();
        assert!(of("\"crm\"") > 0, "{series}");
        assert_eq!(of("\"crm\""), of("\"calendar\""), "{series}");
    }
    assert_eq!(faults(&text), "");
    assert!(!faults(&text.replace("_total", "")).is_empty(), "promtool looks");

    // Also with numbers in it, and for a service that a reload brings.
    rig.connect("ada").await;
    call(&rig, 3).await;
    let config = rig.config.clone().service("files", "Files", &["contacts"], &rig.server);
    std::fs::write(rig.config_file(), config.text()).expect("the file is written");
    rig.reload();
    until(&rig, "valetkey_overhead_seconds_count{service=\"files\"}", 0.0).await;
    let text = metrics(&rig).await;
    assert_eq!(faults(&text), "");
    assert_eq!(value(&text, "valetkey_overhead_seconds_count{service=\"crm\"}"), Some(3.0));
    assert_eq!(value(&text, "valetkey_upstream_duration_seconds_count{service=\"crm\"}"), Some(3.0));
    assert!(value(&text, "valetkey_store_operation_duration_seconds_count{operation=\"put\"}") > Some(0.0));
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;
}

#[tokio::test]
async fn a_prometheus_scrapes_native_histograms() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let prometheus = Prometheus::of(&rig, "native-histograms").await;
    call(&rig, 20).await;
    let seen = "histogram_count(valetkey_upstream_duration_seconds{service=\"crm\"}) == 20";
    prometheus.until(seen).await;
    // The upstream of these tests is on this machine: between 50 microseconds and two seconds.
    let median = "histogram_quantile(0.5, valetkey_upstream_duration_seconds{service=\"crm\"})";
    prometheus.until(&format!("({median}) > 0.00005 < 2")).await;
    prometheus.until("histogram_quantile(0.99, valetkey_overhead_seconds{service=\"crm\"}) < 1").await;
    prometheus.until("histogram_count(valetkey_store_operation_duration_seconds{operation=\"get\"})").await;
    prometheus.until("valetkey_requests_total{service=\"crm\",outcome=\"answered\",code=\"2xx\"} == 20").await;
    prometheus.until("process_resident_memory_bytes > 1e6").await;
    assert_eq!(prometheus.errors().await, [""]);
    let classic = prometheus.query("valetkey_overhead_seconds_bucket").await;
    assert!(classic.is_empty(), "where native ones are asked for, they are what is stored");
}

#[tokio::test]
async fn a_prometheus_without_them_scrapes_classic_histograms() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let prometheus = Prometheus::of(&rig, "exemplar-storage").await;
    call(&rig, 20).await;
    prometheus.until("valetkey_overhead_seconds_count{service=\"crm\"} == 20").await;
    prometheus.until("histogram_quantile(0.5, valetkey_overhead_seconds_bucket{service=\"crm\"}) < 1").await;
    assert_eq!(prometheus.errors().await, [""]);
}

#[tokio::test]
async fn a_caller_who_is_not_believed_is_counted_by_the_reason() {
    let rig = Rig::start(Store::Embedded).await;
    let mut claims = jwt::claims("ada");
    claims["exp"] = json!(jwt::now() - 3600);
    for (token, count) in [(None, 2), (Some("nonsense".to_owned()), 1), (Some(jwt::hs256(&claims)), 3)] {
        for _ in 0..count {
            let call = rig.anonymous(Method::GET, "/proxy/crm/whoami");
            let call = match &token {
                Some(token) => call.bearer_auth(token),
                None => call,
            };
            assert_eq!(rig.send(call).await.status, 401);
        }
    }
    rig.send(rig.anonymous(Method::GET, "/connections")).await;
    let text = metrics(&rig).await;
    for (reason, count) in [("missing", 3.0), ("malformed", 1.0), ("expired", 3.0), ("invalid", 0.0)] {
        let series = format!("valetkey_caller_rejections_total{{reason=\"{reason}\"}}");
        assert_eq!(value(&text, &series), Some(count), "{reason}");
    }
}

on_both_stores! {
    async fn connections_are_counted_by_one_and_told_by_all(store) {
        let rig = Rig::with(store, |config, _| {
            config.set("telemetry.census", "1s").set("services.crm.grant_lifetime", "7d").set("services.calendar.api_keys", json!({ "phase": "encouraged" }))
        })
        .await;
        rig.connect("ada").await;
        rig.connect("bob").await;
        let key = rig.request("ada", Method::PUT, "/connections/calendar/api-key").header("content-type", "application/json");
        let stored = rig.send(key.body(json!({ "api_key": "an-api-key-of-the-tests-0123456789" }).to_string())).await;
        let active = "valetkey_connections{service=\"crm\",state=\"active\"}";
        until(&rig, active, 2.0).await;
        assert_eq!(stored.status, 204);
        for (within, count) in [("1d", 0.0), ("7d", 2.0), ("30d", 2.0)] {
            let series = format!("valetkey_connections_ending{{service=\"crm\",within=\"{within}\"}}");
            assert_eq!(value(&metrics(&rig).await, &series), Some(count), "{within}");
        }
        until(&rig, "valetkey_api_keys_in_use{service=\"calendar\"}", 1.0).await;
        assert_eq!(value(&metrics(&rig).await, "valetkey_connections{service=\"calendar\",state=\"invalid\"}"), Some(0.0));
        if store == Store::Redis {
            let replica = rig.replica().await;
            until(&replica, active, 2.0).await;
            let dump = rig.redis.as_ref().expect("it runs").dump().await;
            assert!(!dump.contains("crm"), "counts are sealed, too");
        }
        let gone = rig.send(rig.request("bob", Method::DELETE, "/connections/crm")).await;
        assert_eq!(gone.status, 204);
        until(&rig, active, 1.0).await;
    }
}
