//! S44: whatever happens, and however much is logged, no secret leaves in anything that Valetkey writes: not in its output,
//! metrics, traces or answers, and not readable in its store.

use reqwest::Method;
use serde_json::json;

use crate::support::receivers::{COLLECTOR_TOKEN, Collector, Receiver, WEBHOOK_SECRET};
use crate::support::{Browser, Rig, Store, canary, jwt, on_both_stores, wait};

/// An API key of the tests.
const KEY: &str = "an-api-key-of-the-tests-0123456789";

on_both_stores! {
    async fn no_secret_leaves_in_anything_that_is_written(store) {
        let (collector, receiver) = (Collector::start().await, Receiver::start().await);
        let mut rig = Rig::prepare(store, |config, _| {
            config
                .set("telemetry", json!({
                    "otlp": { "endpoint": collector.url, "headers": { "authorization": format!("Bearer {COLLECTOR_TOKEN}") } },
                    "sample": 1, "server_timing": true, "census": "1s",
                }))
                .set("services.calendar.api_keys", json!({ "phase": "encouraged" }))
                .set("services.crm.trace_context", true)
                .set("notifications.webhooks", json!([{ "url": receiver.hook(), "secret": WEBHOOK_SECRET }]))
        })
        .await;
        rig.valetkey.environment("RUST_LOG", "trace");
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        let mut answers = vec![well(&rig).await, badly(&rig).await];
        let admin = rig.config.get("admin.token").as_str().expect("a token").to_owned();
        for token in [admin.as_str(), "another-token-than-the-operators"] {
            let url = format!("{}/admin/users/nobody", rig.admin);
            let answer = crate::support::authorization_server::http().delete(url).bearer_auth(token).send().await;
            answers.push(answer.expect("it answers").text().await.expect("text"));
        }
        wait::until("traces have come", || async { (collector.spans().len() > 10).then_some(()) }).await;
        for accept in [
            "text/plain",
            "application/openmetrics-text",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        ] {
            let request = crate::support::authorization_server::http().get(format!("{}/metrics", rig.admin));
            let answer = request.header("accept", accept).send().await.expect("it answers");
            answers.push(String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned());
        }
        answers.push(rig.admin_get("/readyz").await.text());
        rig.valetkey.terminate();
        rig.valetkey.process().exit().await;

        // What must not leave has been met: else nothing would be shown.
        let known = canary::known();
        for kind in [
            "a cookie of Valetkey's", "a ticket, code or state", "an API key", "the admin token", "the callers' secret",
            "the client's secret", "the collector's token", "the signature of a caller's JWT", "the vault key", "the webhook secret",
        ] {
            assert!(known.contains(&kind), "{kind} is not among {known:?}");
        }
        let traces: Vec<String> = collector.requests().iter().map(|request| request["resource_spans"].to_string()).collect();
        let bodies: Vec<String> = collector.requests().iter().map(|request| request["body"].as_str().expect("hex").to_owned()).collect();
        let kept = match &rig.redis {
            Some(redis) => redis.dump().await,
            None => String::from_utf8_lossy(&std::fs::read(rig.data().join("valetkey.redb")).expect("the file")).into_owned(),
        };
        let logs = rig.logs();
        assert!(logs.contains("TRACE") || logs.contains("DEBUG"), "it has said all that it can");
        for (place, text) in [
            ("output", logs),
            ("answers", answers.join("\n")),
            ("traces", traces.join("\n")),
            ("bodies of traces", bodies.join("\n")),
            ("store", kept),
        ] {
            assert!(text.len() > 100, "{place}: {text}");
            assert_eq!(canary::found_in(&text), Vec::<String>::new(), "{place}");
        }
    }
}

/// What goes well: connecting, calling, a refresh, an API key. What was answered, but for what an answer is for.
async fn well(rig: &Rig) -> String {
    rig.connect("ada").await;
    // The upstream's echo is the caller's affair, and shows that what it was sent is known for a secret.
    let echo = rig.get("ada", "/proxy/crm/whoami").await.text();
    assert!(!canary::found_in(&echo).is_empty(), "{echo}");
    let call = rig.request("ada", Method::GET, "/proxy/crm/x?secret=in-a-query");
    let mut answers = vec![
        rig.send(call.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")).await.text(),
    ];
    rig.server.revoke("access", "ada").await;
    answers.push(rig.get("ada", "/proxy/crm/x").await.text());
    canary::secret("an API key", KEY);
    let request =
        rig.request("ada", Method::PUT, "/connections/calendar/api-key").header("content-type", "application/json");
    answers.push(rig.send(request.body(json!({ "api_key": KEY }).to_string())).await.text());
    answers.push(rig.get("ada", "/proxy/calendar/x").await.text());
    answers.push(rig.get("ada", "/connections").await.text());
    let asked = json!({ "services": [{ "service": "crm" }] });
    answers.push(rig.post_json("ada", "/preflight", &asked).await.text());
    answers.join("\n")
}

/// What doesn't: callers who aren't believed, a consent that is refused, a code that comes twice, a provider that fails, a grant that is
/// gone.
async fn badly(rig: &Rig) -> String {
    let mut answers = Vec::new();
    let mut claims = jwt::claims("ada");
    claims["exp"] = json!(jwt::now() - 3600);
    for token in [jwt::hs256(&claims), format!("{}x", jwt::of("ada")), "nonsense".to_owned()] {
        answers.push(rig.send(rig.anonymous(Method::GET, "/proxy/crm/x").bearer_auth(token)).await.text());
    }
    let mut browser = Browser::new();
    let started = browser.accept_connect_page(&rig.link("bob", "crm").await).await;
    let callback = browser.consent_at_provider(started, "bob").await;
    for _ in 0..2 {
        answers.push(browser.request(Method::GET, callback.clone(), None, None).await.answer.text());
    }
    rig.server.fault(json!({ "status": 500, "body": "out of order" })).await;
    rig.server.revoke("access", "bob").await;
    answers.push(rig.get("bob", "/proxy/crm/x").await.text());
    rig.server.heal().await;
    rig.server.revoke("grant", "ada").await;
    answers.push(rig.get("ada", "/proxy/crm/x").await.text());
    let gone = rig.send(rig.request("bob", Method::DELETE, "/connections/crm")).await;
    answers.push(gone.text());
    answers.join("\n")
}
