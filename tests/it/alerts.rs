//! Alerts: one a spike, one at its end, by one replica of however many, by every way that is configured.

use serde_json::{Value, json};

use crate::funnel::asked;
use crate::support::attempts::{End, Person, TokenEndpoint, client};
use crate::support::receivers::{MailServer, Receiver, WEBHOOK_SECRET};
use crate::support::{Config, Rig, Store, Valetkey, wait};

fn alerting(config: Config, tokens: &TokenEndpoint, mails: &MailServer, receiver: &Receiver) -> Config {
    tokens.service(config).set(
        "alerts",
        json!({
            "failures_above": 3,
            "window": "3s",
            "webhook": { "url": receiver.hook(), "secret": WEBHOOK_SECRET },
            "slack_webhook": format!("{}/chat", tokens.url),
            "email": {
                "to": ["ops@example.com"],
                "smtp_url": format!("smtp://127.0.0.1:{}", mails.port),
                "from": "Valetkey <valetkey@acme.example>",
            },
        }),
    )
}

/// So many people whose code is refused, at one replica after the other.
async fn spike(name: &str, replicas: &[&Valetkey], count: usize) {
    for number in 0..count {
        let url = &replicas[number % replicas.len()].url;
        Person::new(&client(), &format!("{name}-{number}")).walk(url, End::Refused).await;
    }
}

async fn hooks(receiver: &Receiver, kind: &str) -> Vec<Value> {
    receiver.received().await.into_iter().filter(|hook| hook["body"]["type"] == kind).collect()
}

/// Waits until so many of this kind have come.
async fn told(receiver: &Receiver, kind: &str, count: usize) -> Value {
    wait::until(&format!("{kind} has come {count} times"), || async {
        let all = hooks(receiver, kind).await;
        assert!(all.len() <= count, "{all:?}");
        (all.len() == count).then(|| all.last().cloned().unwrap_or_default())
    })
    .await
}

fn raised_by(replicas: &[&Valetkey]) -> Vec<usize> {
    let raised = |replica: &Valetkey| {
        replica.logs().lines().filter(|line| line.contains("valetkey::alert") && line.contains("\"raised\"")).count()
    };
    replicas.iter().map(|replica| raised(replica)).collect()
}

#[tokio::test]
async fn a_spike_is_told_once_by_one_of_three_and_its_end_once_also_where_that_one_dies() {
    let (tokens, mails, receiver) = tokio::join!(TokenEndpoint::start(), MailServer::start(), Receiver::start());
    let mut rig = Rig::with(Store::Redis, |config, _| alerting(config, &tokens, &mails, &receiver)).await;
    let (mut second, mut third) = tokio::join!(rig.replica(), rig.replica());
    spike("first", &[&rig.valetkey, &second, &third], 7).await;
    let hook = told(&receiver, "alert.raised", 1).await;
    assert_eq!((&hook["accepted"], &hook["signatures"]), (&json!(true), &json!(1)));
    let data = &hook["body"]["data"];
    assert_eq!(
        (&data["service"], &data["error"], &data["failures_above"], &data["window_seconds"]),
        (&json!("crm"), &json!("exchange_refused:invalid_grant"), &json!(3), &json!(3))
    );
    assert!(data["count"].as_u64().is_some_and(|count| (4..=7).contains(&count)), "{data}");
    for text in ["first_at", "last_at", "request_id", "meaning", "runbook"] {
        assert!(data[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {data}");
    }
    let mail = mails.mail_to("ops@example.com").await;
    let text = mail["text"].as_str().expect("a text");
    assert!(
        text.contains("more than 3") && text.contains("client_secret") && text.contains("docs/OPERATIONS.md"),
        "{text}"
    );
    wait::until("the chat has heard of it", || async { (tokens.chat().len() == 1).then_some(()) }).await;
    assert!(
        tokens.chat()[0]["text"].as_str().is_some_and(|text| text.contains("exchange_refused")),
        "{:?}",
        tokens.chat()
    );
    let failures = asked(&rig.admin, "failures").await.own();
    assert_eq!(failures["failures"][0]["alerted"], true, "{failures}");

    // Whoever raised it dies; another tells its end, once.
    let by = raised_by(&[&rig.valetkey, &second, &third]);
    assert_eq!(by.iter().sum::<usize>(), 1, "{by:?}");
    let dead = by.iter().position(|count| *count == 1).expect("one did");
    [&mut rig.valetkey, &mut second, &mut third][dead].kill();
    told(&receiver, "alert.resolved", 1).await;
    wait::until("the chat has heard of its end", || async { (tokens.chat().len() == 2).then_some(()) }).await;
    let restarted = [&mut rig.valetkey, &mut second, &mut third];
    restarted[dead].run().await;
    restarted[dead].ready().await;

    // The next spike is another one.
    spike("second", &[&rig.valetkey, &second, &third], 9).await;
    told(&receiver, "alert.raised", 2).await;
    let hook = told(&receiver, "alert.resolved", 2).await;
    assert_eq!(hook["body"]["data"]["count"], 9, "all of it, and nothing else: {hook}");
    assert_eq!((hooks(&receiver, "alert.raised").await.len(), receiver.received().await.len()), (2, 4));
    wait::until("the mails have come", || async { (mails.mails().len() == 4).then_some(()) }).await;
    let mut counted = 0;
    for replica in [&rig.valetkey, &second, &third] {
        let metrics = replica.admin_get("/metrics").await.text();
        let of = |outcome: &str| {
            let name = format!("valetkey_alerts_total{{outcome=\"{outcome}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).expect("it is there")
        };
        counted += of("resolved");
    }
    assert_eq!(counted, 2, "the end of each, by those that live");
}

#[tokio::test]
async fn an_alert_that_nobody_takes_is_told_by_whoever_watches_next() {
    let (tokens, mails, receiver) = tokio::join!(TokenEndpoint::start(), MailServer::start(), Receiver::start());
    receiver.set(json!({ "status": 503 })).await;
    let mut rig = Rig::with(Store::Redis, |config, _| alerting(config, &tokens, &mails, &receiver)).await;
    spike("only", &[&rig.valetkey], 5).await;
    wait::until("it was tried", || async { (!hooks(&receiver, "alert.raised").await.is_empty()).then_some(()) }).await;
    rig.valetkey.kill();
    receiver.set(json!({ "status": 204 })).await;
    let _other = rig.replica().await;
    let all = wait::until("another has told it", || async {
        let all = hooks(&receiver, "alert.raised").await;
        all.iter().any(|hook| hook["answered"] == 204).then_some(all)
    })
    .await;
    assert!(all.iter().all(|hook| hook["id"] == all[0]["id"]), "one message, however often: {all:?}");
}

#[tokio::test]
async fn the_failures_of_a_day_are_told_once_a_day() {
    let (tokens, mails, receiver) = tokio::join!(TokenEndpoint::start(), MailServer::start(), Receiver::start());
    const DAY: i64 = 86_400;
    let midnight = crate::support::jwt::now() / DAY * DAY;
    let at = |day: i64, hour: i64| format!("{:+}s", midnight + day * DAY + hour * 3600 - crate::support::jwt::now());
    let mut rig = Rig::prepare(Store::Redis, |config, _| {
        let config = alerting(config, &tokens, &mails, &receiver);
        config.set("alerts.digest", "daily").set("alerts.failures_above", "none")
    })
    .await;
    let clock = rig.config_file().with_file_name("clock");
    crate::support::clock::set_clock_by(&mut rig.valetkey, &clock);
    // The day on which it begins has none; the next ones have one each, however often it starts.
    for (day, hour, digests) in [(1, 9, 0), (2, 6, 0), (2, 8, 1), (2, 20, 1), (3, 7, 2)] {
        std::fs::write(&clock, at(day, hour)).expect("written");
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        told(&receiver, "alert.digest", digests).await;
        let redis = rig.redis.as_ref().expect("Redis");
        wait::until("it has looked", || async { redis.dump().await.contains(":o:alerts").then_some(()) }).await;
        rig.terminate();
        rig.valetkey.process().exit().await;
    }
    let all = hooks(&receiver, "alert.digest").await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["body"]["data"]["failures"], json!([]));
    assert!(mails.mails().iter().all(|mail| mail["text"].as_str().is_some_and(|text| text.contains("Nothing failed"))));
}
