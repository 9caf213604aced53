//! Traces, at a collector that reads them by OpenTelemetry's own types; what an upstream learns of them; times in answers; lines of
//! calls in the log.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::json;

use crate::support::prometheus::Prometheus;
use crate::support::receivers::{COLLECTOR_TOKEN, Collector, Span};
use crate::support::{Alone, Config, Rig, Script, Store, Upstream, canary, wait};

const KEY: &str = "an-api-key-of-the-tests-0123456789";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traced(config: Config, collector: &Collector, sample: f64) -> Config {
    config
        .set("telemetry.otlp.endpoint", collector.url.clone())
        .set("telemetry.otlp.headers", json!({ "Authorization": format!("Bearer {COLLECTOR_TOKEN}") }))
        .set("telemetry.sample", sample)
}

/// Valetkey before this upstream, whose callers have API keys: `crm`, and `open`, which may know of traces.
async fn before(upstream: &Upstream, change: impl FnOnce(Config) -> Config) -> Alone {
    let alone = Alone::start(|config| {
        let config = config
            .set("services.crm.base_url", upstream.url())
            .set("services.crm.api_keys", json!({ "phase": "allowed" }));
        let mut open = config.get("services.crm").clone();
        open["trace_context"] = json!(true);
        open["client_id"] = json!("another-client");
        change(config.set("services.open", open))
    })
    .await;
    canary::secret("an API key", KEY);
    for service in ["crm", "open"] {
        let path = format!("/connections/{service}/api-key");
        let request = alone.request("ada", Method::PUT, &path).header("content-type", "application/json");
        assert_eq!(alone.send(request.body(json!({ "api_key": KEY }).to_string())).await.status, 204);
    }
    alone
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.text("name") == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

#[tokio::test]
async fn a_collector_that_others_wrote_reads_a_calls_trace() {
    let collector = Collector::start().await;
    let mut rig = Rig::with(Store::Embedded, |config, _| traced(config, &collector, 1.0)).await;
    rig.connect("ada").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami?secret=in-a-query").await.status, 200);
    let spans = wait::until("the answered call's trace has come", || async {
        let all = collector.spans();
        let call = all.iter().find(|span| {
            span.attribute("url.path") == Some("/proxy/crm/whoami")
                && span.attribute("http.response.status_code") == Some("200")
        })?;
        let trace = call.text("traceId").to_owned();
        Some(all.iter().filter(|span| span.text("traceId") == trace).cloned().collect::<Vec<_>>())
    })
    .await;
    let call = named(&spans, "GET /proxy/crm");
    assert_eq!(call.text("kind"), "SPAN_KIND_SERVER");
    assert_eq!(call.text("parentSpanId"), "");
    assert_eq!(call.attribute("valetkey.service"), Some("crm"));
    assert_eq!(call.attribute("valetkey.outcome"), Some("answered"));
    assert_eq!(call.attribute("http.request.method"), Some("GET"));
    assert!(call.0["status"].get("code").is_none(), "{call:?}");
    let upstream = named(&spans, "GET");
    assert_eq!(upstream.text("kind"), "SPAN_KIND_CLIENT");
    assert_eq!(upstream.attribute("server.address"), Some("127.0.0.1"));
    assert_eq!(upstream.attribute("http.response.status_code"), Some("200"));
    let (began, ended) = call.times();
    for part in ["caller", "resolve", "GET"] {
        let span = named(&spans, part);
        assert_eq!(span.text("parentSpanId"), call.text("spanId"), "{part}");
        let (from, to) = span.times();
        assert!(began <= from && from <= to && to <= ended, "{part}");
    }
    let mut ids: Vec<_> = spans.iter().map(|span| span.text("spanId")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len());

    // What is refused has a trace, too, and one that nobody waits for any more arrives before the process ends.
    rig.get("bob", "/proxy/crm/other").await.auth_required("crm", "not_connected");
    rig.valetkey.terminate();
    rig.valetkey.process().exit().await;
    let spans = collector.trace_of("/proxy/crm/other").await;
    assert_eq!(named(&spans, "GET /proxy/crm").attribute("valetkey.outcome"), Some("auth_required"));

    for request in collector.requests() {
        assert_eq!(request["path"], "/v1/traces");
        assert_eq!(request["headers"]["content-type"], "application/x-protobuf");
        assert_eq!(request["headers"]["authorization"], format!("Bearer {COLLECTOR_TOKEN}"));
        let resource = request["resource_spans"][0]["resource"]["attributes"].to_string();
        assert!(resource.contains("service.name") && resource.contains("service.instance.id"), "{resource}");
        let sent = request["resource_spans"].to_string();
        for never in ["in-a-query", "ada", "bob"] {
            assert!(!sent.contains(never), "{never} is in {sent}");
        }
        assert_eq!(canary::found_in(&sent), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_refresh_that_is_waited_for_is_a_part_of_its_own() {
    let collector = Collector::start().await;
    let rig = Rig::with(Store::Embedded, |config, _| traced(config, &collector, 1.0)).await;
    rig.connect("ada").await;
    rig.server.revoke("access", "ada").await;
    assert_eq!(rig.get("ada", "/proxy/crm/whoami").await.status, 200);
    let (call, refresh) = wait::until("a trace with a refresh has come", || async {
        let spans = collector.spans();
        let refresh = spans.iter().find(|span| span.text("name") == "refresh")?.clone();
        let of_same = |span: &&Span| span.text("spanId") == refresh.text("parentSpanId");
        Some((spans.iter().find(of_same)?.clone(), refresh))
    })
    .await;
    assert_eq!(call.text("name"), "GET /proxy/crm");
    let trace = call.text("traceId");
    let all = collector.spans();
    let asked: Vec<_> = all.iter().filter(|span| span.text("traceId") == trace && span.text("name") == "GET").collect();
    let statuses: Vec<_> = asked.iter().map(|span| span.attribute("http.response.status_code")).collect();
    assert_eq!(statuses, [Some("401"), Some("200")]);
    assert!(asked[0].times().1 <= refresh.times().0 && refresh.times().1 <= asked[1].times().0);
}

#[tokio::test]
async fn a_caller_decides_by_traceparent_and_an_upstream_learns_of_it_only_where_it_may() {
    let collector = Collector::start().await;
    let upstream = Upstream::start(|_| Script::text("here")).await;
    let alone = before(&upstream, |config| traced(config, &collector, 0.0)).await;
    let call = async |service: &str, traceparent: &str| {
        let request = alone.request("ada", Method::GET, &format!("/proxy/{service}/x"));
        let request =
            request.header("traceparent", traceparent).header("tracestate", "other=1").header("baggage", "user=ada");
        assert_eq!(alone.send(request).await.status, 200);
        upstream.received().pop().expect("it arrived")
    };
    let hidden = call("crm", PARENT).await;
    for name in ["traceparent", "tracestate", "baggage"] {
        assert_eq!(hidden.all(name), Vec::<&str>::new(), "{name}");
    }
    let shown = call("open", PARENT).await;
    assert_eq!((shown.all("tracestate"), shown.all("baggage")), (vec!["other=1"], vec!["user=ada"]));
    let told = shown.all("traceparent")[0].to_owned();
    let unsampled = PARENT.replace("-01", "-00");
    assert_eq!(call("open", &unsampled).await.all("traceparent"), [unsampled.as_str()], "it passes as it came");
    let broken = call("open", "nonsense").await;
    assert_eq!((broken.all("traceparent").len(), broken.all("tracestate").len()), (0, 0));
    let stray = alone.request("ada", Method::GET, "/proxy/open/x").header("tracestate", "other=1");
    assert_eq!(alone.send(stray).await.status, 200);
    let stray = upstream.received().pop().expect("it arrived");
    assert_eq!(stray.all("tracestate"), Vec::<&str>::new(), "the state of no trace");

    let spans = wait::until("both traces have come", || async {
        let spans = collector.spans();
        (spans.iter().filter(|span| span.text("kind") == "SPAN_KIND_SERVER").count() == 2).then_some(spans)
    })
    .await;
    for span in &spans {
        assert_eq!(id(span, "traceId"), TRACE, "only what the caller wants is recorded");
        assert_eq!(span.text("traceState"), "other=1");
    }
    assert_eq!(id(named(&spans, "GET /proxy/open"), "parentSpanId"), "00f067aa0ba902b7");
    let of_open = |span: &&Span| {
        span.text("name") == "GET" && span.text("parentSpanId") == named(&spans, "GET /proxy/open").text("spanId")
    };
    let upstreams = spans.iter().find(of_open).expect("it was asked");
    assert_eq!(told, format!("00-{TRACE}-{}-01", id(upstreams, "spanId")));
}

/// An id in hex: JSON has it in base64.
fn id(span: &Span, field: &str) -> String {
    let bytes = STANDARD.decode(span.text(field)).expect("base64");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn spans_go_over_tls_again_where_a_collector_is_busy_and_are_counted_where_they_are_lost() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let settings = json!({ "certificate": certificate, "key": key, "answers": [503, 400] });
    let collector = Collector::with(settings).await;
    assert!(collector.url.starts_with("https"));
    let data = tempfile::TempDir::new().expect("a folder");
    let config = traced(Alone::config(&data), &collector, 1.0);
    let mut valetkey = crate::support::Valetkey::prepare(&config);
    valetkey.environment("SSL_CERT_FILE", certificate.to_str().expect("a path"));
    valetkey.run().await;
    valetkey.ready().await;
    let lost = async || {
        let text = valetkey.admin_get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix("valetkey_spans_dropped_total "));
        line.expect("it is there").parse::<u64>().expect("a number")
    };
    valetkey.get("ada", "/proxy/crm/one").await;
    // Busy at first, the collector then refuses them for good.
    wait::until("lost spans are counted", || async { (lost().await > 0).then_some(()) }).await;
    let before = lost().await;
    valetkey.get("ada", "/proxy/crm/two").await;
    collector.trace_of("/proxy/crm/two").await;
    assert_eq!(lost().await, before);
    let requests = collector.requests();
    assert!(requests.iter().all(|request| request["tls"] == true));
    assert_eq!(requests[0]["body"], requests[1]["body"], "the same was tried again");
    valetkey.terminate();
    valetkey.process().exit().await;
}

#[tokio::test]
async fn an_answer_says_how_long_what_took_where_that_is_wanted() {
    let upstream = Upstream::start(|_| Script::answer(200, &[("Server-Timing", "db;dur=3")], "here")).await;
    for (wanted, lines) in [(false, 1), (true, 2)] {
        let alone = before(&upstream, |config| config.set("telemetry.server_timing", wanted)).await;
        let answer = alone.request("ada", Method::GET, "/proxy/crm/x").send().await.expect("it answers");
        let told: Vec<_> =
            answer.headers().get_all("server-timing").iter().map(|value| value.to_str().expect("text")).collect();
        assert_eq!((told.len(), told[0]), (lines, "db;dur=3"));
        if wanted {
            let times: Vec<(&str, f64)> = told[1]
                .split(", ")
                .map(|entry| entry.split_once(";dur=").expect("an entry"))
                .map(|(name, time)| (name, time.parse().expect("a number")))
                .collect();
            assert_eq!([times[0].0, times[1].0], ["valetkey", "upstream"]);
            assert!(times.iter().all(|(_, time)| (0.001..20_000.0).contains(time)), "{told:?}");
        }
    }
}

#[tokio::test]
async fn the_log_has_a_line_for_calls_that_were_chosen_and_for_all_that_were_refused() {
    let collector = Collector::start().await;
    let upstream = Upstream::start(|received| match received.target() {
        "/refused" => Script::answer(401, &[], ""),
        _ => Script::text("here"),
    })
    .await;
    let alone = before(&upstream, |config| traced(config, &collector, 1.0)).await;
    assert_eq!(alone.get("ada", "/proxy/crm/fine?secret=in-a-query").await.status, 200);
    let line = wait::until("the call's line is there", || async {
        alone.logs().lines().find(|line| line.contains("valetkey::calls")).map(str::to_owned)
    })
    .await;
    for part in ["answered service=crm method=GET outcome=\"answered\" http=200 took_ms=", " own_ms=", " upstream_ms="]
    {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let trace = collector.trace_of("/proxy/crm/fine").await;
    assert!(line.contains(&format!("trace_id=\"{}\"", id(&trace[0], "traceId"))), "{line}");
    assert!(!line.contains("in-a-query") && !line.contains("ada"), "{line}");

    alone.get("ada", "/proxy/crm/refused").await.auth_required("crm", "rejected_by_upstream");
    let line = wait::until("the refusal's line is there", || async {
        alone.logs().lines().find(|line| line.contains(" refused ")).map(str::to_owned)
    })
    .await;
    for part in [
        "status=\"auth_required\"",
        "reason=\"rejected_by_upstream\"",
        "sign=\"status 401\"",
        "took_ms=",
        "upstream_ms=",
        "trace_id=",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[tokio::test]
async fn without_a_share_no_call_that_goes_well_has_a_line() {
    let upstream = Upstream::start(|_| Script::text("here")).await;
    let mut alone = before(&upstream, |config| config.set("telemetry.sample", 0)).await;
    for _ in 0..20 {
        assert_eq!(alone.get("ada", "/proxy/crm/x").await.status, 200);
    }
    alone.valetkey.terminate();
    alone.valetkey.process().exit().await;
    assert!(!alone.logs().contains("valetkey::calls"), "{}", alone.logs());
}

#[tokio::test]
async fn an_exemplar_leads_from_a_histogram_to_a_trace() {
    let collector = Collector::start().await;
    let upstream = Upstream::start(|_| Script::text("here")).await;
    let alone = before(&upstream, |config| traced(config, &collector, 1.0)).await;
    let prometheus = Prometheus::of(&alone, "exemplar-storage").await;
    assert_eq!(alone.get("ada", "/proxy/crm/x").await.status, 200);
    let labels = prometheus.exemplar("valetkey_overhead_seconds_bucket{service=\"crm\"}").await;
    let trace = collector.trace_of("/proxy/crm/x").await;
    assert_eq!(labels["trace_id"], id(&trace[0], "traceId"));
    assert_eq!(prometheus.errors().await, [""]);
}
