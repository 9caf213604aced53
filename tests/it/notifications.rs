//! Whoever should know hears of it, once: by mail at a real SMTP server, by webhooks that an independent implementation
//! accepts.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::receivers::{MailServer, Receiver, WEBHOOK_SECRET, link_in};
use crate::support::{Browser, Config, Rig, Store, Valetkey, jwt, ports, wait};

/// A JWT with what mail needs.
pub(crate) fn jwt_of(user: &str, more: Value) -> String {
    let mut claims = jwt::claims(user);
    claims["email"] = json!(format!("{user}@example.com"));
    for (name, value) in more.as_object().expect("a map") {
        claims[name] = value.clone();
    }
    jwt::hs256(&claims)
}

pub(crate) async fn call(valetkey: &Valetkey, token: &str) -> crate::support::Answer {
    valetkey.send(valetkey.anonymous(Method::GET, "/proxy/crm/whoami").bearer_auth(token)).await
}

fn webhook(url: &str) -> Value {
    json!({ "url": url, "secret": WEBHOOK_SECRET })
}

fn mail(server: &MailServer) -> Value {
    json!({ "smtp_url": format!("smtp://127.0.0.1:{}", server.port), "from": "Acme <no-reply@acme.example>" })
}

pub(crate) fn telling(config: Config, mails: &MailServer, receiver: &Receiver) -> Config {
    config
        .set("callers.0.email_claim", "email")
        .set("callers.0.language_claim", "locale")
        .set("notifications.webhooks", json!([webhook(&receiver.hook())]))
        .set("notifications.email", mail(mails))
        .set("notifications.retries", json!(["100ms", "100ms", "1s", "1s", "1s", "1s", "1s", "1s"]))
}

/// Connects, and has the grant withdrawn at the provider, so that the next call finds it lost.
pub(crate) async fn connect_and_withdraw(rig: &Rig, user: &str, token: &str) {
    let link = call(&rig.valetkey, token).await.auth_required("crm", "not_connected");
    rig.walk(&link, user).await;
    call(&rig.valetkey, token).await.upstream(200);
    rig.server.revoke("grant", user).await;
}

async fn metric(valetkey: &Valetkey, channel: &str, outcome: &str) -> u64 {
    let text = valetkey.admin_get("/metrics").await.text();
    let name = format!("valetkey_notifications_total{{channel=\"{channel}\",outcome=\"{outcome}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.parse().expect("a number")
}

#[tokio::test]
async fn a_person_whose_grant_was_withdrawn_gets_a_mail_whose_link_connects_again() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Redis, |config, _| {
        telling(config, &mails, &receiver).set("application.name", "Acme <b>Helpdesk</b>")
    })
    .await;
    let token = jwt_of("ada", json!({}));
    connect_and_withdraw(&rig, "ada", &token).await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");

    let mail = mails.mail_to("ada@example.com").await;
    assert_eq!(mail["envelope"]["from"], "no-reply@acme.example");
    assert_eq!(mail["headers"]["subject"], "Please reconnect CRM for Acme <b>Helpdesk</b>");
    assert_eq!(mail["headers"]["auto-submitted"], "auto-generated");
    let (text, html) = (mail["text"].as_str().expect("a text"), mail["html"].as_str().expect("HTML"));
    assert!(text.contains("access was withdrawn at CRM") && text.contains("for 7 days"), "{text}");
    assert!(html.contains("lang=\"en\"") && !html.contains("<b>"), "{html}");
    let link = link_in(text);
    assert!(crate::support::html::links(html).contains(&link), "{html}");

    let hook = receiver.hook_about("connection.invalid", "ada").await;
    assert_eq!(
        (&hook["accepted"], &hook["type"], &hook["signatures"]),
        (&json!(true), &json!("application/json"), &json!(1))
    );
    for changed in ["changed_body_accepted", "changed_time_accepted", "other_id_accepted"] {
        assert_eq!(hook[changed], false, "{changed}");
    }
    let data = &hook["body"]["data"];
    let facts = ["issuer", "user", "service", "service_title", "account", "reason"].map(|name| data[name].as_str());
    let expected = [jwt::ISSUER, "ada", "crm", "CRM", "default", "revoked"].map(Some);
    assert_eq!(facts, expected);
    assert_eq!(data["link"], link.as_str(), "one link, wherever it is read");

    let page = Browser::new().open(&link).await;
    assert!(page.text().contains("ada@example.com"), "the page names the caller: {}", page.text());
    rig.walk(&link, "ada").await;
    call(&rig.valetkey, &token).await.upstream(200);

    // Lost once more: told once more.
    rig.server.revoke("grant", "ada").await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    wait::until("the second mail has come", || async { (mails.mails().len() == 2).then_some(()) }).await;
    rig.assert_logs_are_clean();
    assert!(!rig.logs().contains("ada@example.com"), "a mail address in the log");
}

#[tokio::test]
async fn a_loss_that_three_replicas_meet_fifty_times_is_one_mail_and_one_webhook_also_after_a_restart() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let mut rig = Rig::with(Store::Redis, |config, _| telling(config, &mails, &receiver)).await;
    let (second, third) = tokio::join!(rig.replica(), rig.replica());
    let (ada, bob) = (jwt_of("ada", json!({})), jwt_of("bob", json!({})));
    connect_and_withdraw(&rig, "ada", &ada).await;
    let targets = [&rig.valetkey, &second, &third];
    let calls = (0..50).map(|number| call(targets[number % targets.len()], &ada));
    for answer in join_all(calls).await {
        answer.auth_required("crm", "revoked");
    }
    mails.mail_to("ada@example.com").await;
    receiver.hook_about("connection.invalid", "ada").await;
    rig.terminate();
    rig.valetkey.process().exit().await;
    rig.valetkey.run().await;
    rig.valetkey.ready().await;
    call(&rig.valetkey, &ada).await.auth_required("crm", "revoked");
    // What would have been told of Ada has been told before Bob's news.
    connect_and_withdraw(&rig, "bob", &bob).await;
    call(&second, &bob).await.auth_required("crm", "revoked");
    mails.mail_to("bob@example.com").await;
    receiver.hook_about("connection.invalid", "bob").await;
    assert_eq!(mails.mails().len(), 2, "{:?}", mails.mails());
    assert_eq!(receiver.received().await.len(), 2);
}

#[tokio::test]
async fn missing_permissions_are_told_once_in_the_persons_language() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Redis, |config, _| {
        telling(config, &mails, &receiver).set("services.crm.scope_titles", json!({ "calendar": "Your calendar" }))
    })
    .await;
    let token = jwt_of("ada", json!({ "locale": "de-AT", "email_verified": true }));
    let link = call(&rig.valetkey, &token).await.auth_required("crm", "not_connected");
    rig.walk(&link, "ada").await;
    let asking_for = |scopes: String| {
        let request = rig.anonymous(Method::GET, "/proxy/crm/whoami").bearer_auth(&token);
        rig.send(request.header("valetkey-scopes", scopes))
    };
    let asking = || asking_for("calendar".to_owned());
    // What only the call names is refused, and told to nobody; it makes no other notice of the same one either.
    let strange = |n: usize| asking_for(format!("http://evil.example/{n}"));
    let mixed = |n: usize| asking_for(format!("http://evil.example/{n} calendar"));
    let mut answers = join_all((0..10).map(strange)).await;
    answers.extend(join_all((0..10).map(mixed)).await);
    answers.extend(join_all((0..10).map(|_| asking())).await);
    for answer in answers {
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    let mail = mails.mail_to("ada@example.com").await;
    let text = mail["text"].as_str().expect("a text");
    assert!(text.contains("weitere") || text.contains("Berechtigungen"), "{text}");
    assert!(text.contains("- calendar"), "{text}");
    assert!(mail["html"].as_str().expect("HTML").contains("lang=\"de\""));
    assert!(!mail.to_string().contains("evil.example"), "{mail}");
    let hook = receiver.hook_about("connection.permissions_needed", "ada").await;
    assert_eq!(hook["body"]["data"]["scopes"], json!(["calendar"]));
    // The link asks for what was missing.
    let page = Browser::new().connect(&link_in(text), "ada").await;
    assert!(page.query("connected").is_some(), "{}: {}", page.url, page.text());
    assert_eq!(asking().await.status, 200);
    assert_eq!((mails.mails().len(), receiver.received().await.len()), (1, 1));
}

#[tokio::test]
async fn without_a_verified_address_there_is_a_webhook_and_no_mail() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Embedded, |config, _| telling(config, &mails, &receiver)).await;
    for (user, token) in [
        ("ada", jwt_of("ada", json!({ "email_verified": false }))),
        ("eve", jwt_of("eve", json!({ "email": "eve@example.com\r\nBcc: all@example.com" }))),
        ("bob", jwt_of("bob", json!({}))),
    ] {
        connect_and_withdraw(&rig, user, &token).await;
        call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
        receiver.hook_about("connection.invalid", user).await;
    }
    mails.mail_to("bob@example.com").await;
    assert_eq!(mails.mails().len(), 1, "{:?}", mails.mails());
}

#[tokio::test]
async fn an_address_that_changes_is_the_new_one_on_every_replica() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Redis, |config, _| telling(config, &mails, &receiver)).await;
    let other = rig.replica().await;
    let old = jwt_of("ada", json!({ "email": "old@example.com" }));
    connect_and_withdraw(&rig, "ada", &old).await;
    let new = jwt_of("ada", json!({ "email": "new@example.com", "exp": jwt::now() + 7200 }));
    // Another replica hears of the new address; the write is in the background, so its trace in the store is awaited.
    let raw = rig.redis.as_ref().expect("Redis");
    let stored = || raw.say(&["EVAL", "return redis.call('GET', redis.call('KEYS', '*contact.*')[1])", "0"]);
    let before = stored().await;
    other.send(other.anonymous(Method::GET, "/connections").bearer_auth(&new)).await;
    wait::until("the new address is stored", || async { (stored().await != before).then_some(()) }).await;
    assert!(!raw.dump().await.contains("example.com"), "an address in clear");
    call(&rig.valetkey, &old).await.auth_required("crm", "revoked");
    mails.mail_to("new@example.com").await;
    assert_eq!(mails.mails().len(), 1);
    assert_eq!(crate::admin::erase(&rig.valetkey, "ada").await.status, 204);
    assert!(!raw.dump().await.contains("contact."), "an erased user's address is left");
}

#[tokio::test]
async fn an_endpoint_that_is_down_gets_its_webhook_once_when_it_is_back_also_from_another_replica() {
    let port = ports::free_port();
    let rig = Rig::with(Store::Redis, |config, _| {
        config
            .set("notifications.webhooks", json!([webhook(&format!("http://127.0.0.1:{port}/hook"))]))
            .set("notifications.retries", json!(["1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"]))
    })
    .await;
    let token = jwt::of("ada");
    connect_and_withdraw(&rig, "ada", &token).await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    wait::until("it was tried", || async { (metric(&rig.valetkey, "webhook", "retried").await >= 1).then_some(()) })
        .await;
    // The process ends before the endpoint is back: what it had to tell is not lost.
    let mut rig = rig;
    rig.terminate();
    assert!(rig.valetkey.process().exit().await.success());
    let receiver = Receiver::at(port).await;
    let other = rig.replica().await;
    let hook = receiver.hook_about("connection.invalid", "ada").await;
    assert_eq!(hook["accepted"], true);
    wait::until("it is counted", || async { (metric(&other, "webhook", "delivered").await == 1).then_some(()) }).await;
    assert_eq!(receiver.received().await.len(), 1);
}

#[tokio::test]
async fn a_webhook_that_nobody_takes_is_a_dead_letter_without_its_link() {
    let (receiver, other) = tokio::join!(Receiver::start(), Receiver::start());
    receiver.set(json!({ "status": 503, "retry_after": 0 })).await;
    other.set(json!({ "status": 410 })).await;
    let rig = Rig::with(Store::Embedded, |config, _| {
        config
            .set("notifications.webhooks", json!([webhook(&receiver.hook()), webhook(&other.hook())]))
            .set("notifications.retries", json!(["10ms", "10ms"]))
    })
    .await;
    for user in ["ada", "bob"] {
        let token = jwt::of(user);
        connect_and_withdraw(&rig, user, &token).await;
        call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
        wait::until("three attempts were made", || async {
            let all = receiver.received().await;
            let about: Vec<_> = all.iter().filter(|hook| hook["body"]["data"]["user"] == user).collect();
            let ids: BTreeSet<_> = about.iter().map(|hook| hook["id"].to_string()).collect();
            assert!(ids.len() <= 1, "the id stays: {ids:?}");
            (about.len() == 3).then_some(())
        })
        .await;
    }
    wait::until("all is over", || async { (metric(&rig.valetkey, "webhook", "dead").await == 3).then_some(()) }).await;
    assert_eq!(other.received().await.len(), 1, "an endpoint that is gone is called no more");
    let logs = rig.logs();
    let dead: Vec<_> = logs.lines().filter(|line| line.contains("valetkey::dead_letter")).collect();
    assert_eq!(dead.len(), 3, "{dead:?}");
    for line in dead {
        assert!(line.contains("msg_") && line.contains("connection.invalid") && line.contains("127.0.0.1"), "{line}");
        assert!(!line.contains("/hook") && !line.contains("ticket"), "{line}");
    }
    assert!(logs.contains("answered 410"));
    rig.assert_logs_are_clean();
}

#[tokio::test]
async fn operators_hear_of_an_outage_once_and_callers_do_not() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Embedded, |config, _| telling(config, &mails, &receiver)).await;
    let token = jwt_of("ada", json!({}));
    rig.server.access_token_ttl(1).await;
    let link = call(&rig.valetkey, &token).await.auth_required("crm", "not_connected");
    rig.walk(&link, "ada").await;
    rig.server
        .fault(json!({ "grant": "refresh_token", "times": 0, "status": 401, "body": "{\"error\":\"invalid_client\"}" }))
        .await;
    wait::until("the operator is told", || async {
        call(&rig.valetkey, &token).await;
        let all = receiver.received().await;
        all.into_iter().find(|hook| hook["body"]["type"] == "connection.healing_failed")
    })
    .await;
    rig.server.heal().await;
    let hook = receiver.hook_about("connection.healing_failed", "ada").await;
    assert_eq!(hook["body"]["data"]["reason"], "client_refused");
    assert_eq!(mails.mails(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_secret_that_is_being_replaced_still_signs() {
    let receiver = Receiver::start().await;
    let both = format!("whsec_bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3ISE= {WEBHOOK_SECRET}");
    let rig = Rig::with(Store::Embedded, |config, _| {
        config.set("notifications.webhooks", json!([{ "url": receiver.hook(), "secret": both }]))
    })
    .await;
    let token = jwt::of("ada");
    connect_and_withdraw(&rig, "ada", &token).await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    let hook = receiver.hook_about("connection.invalid", "ada").await;
    assert_eq!((&hook["signatures"], &hook["accepted"]), (&json!(2), &json!(true)));
}

#[tokio::test]
async fn mail_goes_over_starttls_to_a_server_that_proves_itself_and_never_in_clear() {
    const PASSWORD: &str = "smtp-Passw0rd-of-the-tests";
    crate::support::canary::secret("the SMTP password", PASSWORD);
    let folder = tempfile::TempDir::new().expect("a folder");
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let at = |end: &str| folder.path().join(format!("{name}.{end}"));
        std::fs::write(at("pem"), made.cert.pem()).expect("written");
        std::fs::write(at("key"), made.signing_key.serialize_pem()).expect("written");
        (at("pem"), at("key"))
    };
    let ((certificate, key), (other, _)) = (pair("own"), pair("other"));
    let settings = json!({ "certificate": certificate, "key": key, "user": "valetkey", "password": PASSWORD });
    let mails = MailServer::with(settings).await;
    let url = format!("smtp://valetkey@127.0.0.1:{}?tls=required", mails.port);
    let told = |config: Config, authority: &std::path::Path| {
        config
            .set("callers.0.email_claim", "email")
            .set(
                "notifications.email",
                json!({ "smtp_url": url, "password": PASSWORD, "ca_file": authority, "from": "no-reply@acme.example" }),
            )
            .set("notifications.retries", json!(["10ms"]))
    };
    let token = jwt_of("ada", json!({}));
    let rig = Rig::with(Store::Embedded, |config, _| told(config, &certificate)).await;
    connect_and_withdraw(&rig, "ada", &token).await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    let mail = mails.mail_to("ada@example.com").await;
    assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("valetkey")));

    let rig = Rig::with(Store::Embedded, |config, _| told(config, &other)).await;
    connect_and_withdraw(&rig, "ada", &token).await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    wait::until("it is given up", || async { (metric(&rig.valetkey, "mail", "dead").await == 1).then_some(()) }).await;
    assert_eq!(mails.mails().len(), 1, "nothing reached a server that nobody vouches for");
}

#[tokio::test]
async fn a_refused_mail_is_a_dead_letter_and_the_servers_words_are_not_logged() {
    let mails = MailServer::with(json!({ "refuse": "550" })).await;
    let rig = Rig::with(Store::Embedded, |config, _| {
        config.set("callers.0.email_claim", "email").set("notifications.email", mail(&mails))
    })
    .await;
    let token = jwt_of("ada", json!({}));
    connect_and_withdraw(&rig, "ada", &token).await;
    call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    wait::until("it is dead", || async { (metric(&rig.valetkey, "mail", "dead").await == 1).then_some(()) }).await;
    assert_eq!(metric(&rig.valetkey, "mail", "retried").await, 0, "what is refused for good is not tried again");
    let logs = rig.logs();
    assert!(logs.contains("valetkey::dead_letter") && !logs.contains("ada@example.com"), "{logs}");
}

#[tokio::test]
async fn whoever_rests_on_an_api_key_that_will_end_is_told_once_and_can_connect_instead() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Redis, |config, _| {
        telling(config, &mails, &receiver).set("services.crm.api_keys", json!({ "phase": "allowed" }))
    })
    .await;
    let token = jwt_of("ada", json!({}));
    let key = crate::support::canary::secret("an API key", "an-api-key-of-the-tests-0123456789");
    let request = rig.anonymous(Method::PUT, "/connections/crm/api-key").bearer_auth(&token);
    let body = json!({ "api_key": key }).to_string();
    let stored = rig.send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(stored.status, 204, "{}", stored.text());
    let end = time::OffsetDateTime::from_unix_timestamp(jwt::now() + 20 * 86_400).expect("a time").date().to_string();
    let later =
        || rig.replica_config().set("services.crm.api_keys", json!({ "phase": "deprecated", "retire_on": end }));
    let _one = Valetkey::start(&later()).await;
    let mail = mails.mail_to("ada@example.com").await;
    let text = mail["text"].as_str().expect("a text");
    assert!(text.contains(&format!("from {end}")), "{text}");
    let hook = receiver.hook_about("api_key.deprecated", "ada").await;
    assert_eq!((&hook["accepted"], &hook["body"]["data"]["retire_on"]), (&json!(true), &json!(end)));
    rig.walk(&link_in(text), "ada").await;
    call(&rig.valetkey, &token).await.upstream(200);
    assert_eq!((mails.mails().len(), receiver.received().await.len()), (1, 1));
}

/// The process's clock is moved by libfaketime, from a start to the next; the rest of the world keeps its own.
#[tokio::test]
async fn the_way_of_an_api_key_to_its_end_is_told_by_mail_day_by_day() {
    const DAY: i64 = 86_400;
    let mails = MailServer::start().await;
    let noon = jwt::now() - jwt::now() % DAY + DAY / 2;
    let end = time::OffsetDateTime::from_unix_timestamp(noon + 33 * DAY).expect("a time").date().to_string();
    let at_noon = |day: i64| format!("{:+}s", noon + day * DAY - jwt::now());
    let mut rig = Rig::with(Store::Redis, |config, _| {
        config
            .set("callers.0.email_claim", "email")
            .set("notifications.email", mail(&mails))
            .set("services.crm.api_keys", json!({ "phase": "deprecated", "retire_on": end }))
    })
    .await;
    let token = jwt_of("ada", json!({ "exp": jwt::now() + 100 * DAY }));
    let key = crate::support::canary::secret("an API key", "an-api-key-of-the-tests-0123456789");
    let request = rig.anonymous(Method::PUT, "/connections/crm/api-key").bearer_auth(&token);
    let body = json!({ "api_key": key }).to_string();
    let stored = rig.send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(stored.status, 204, "{}", stored.text());
    let clock = rig.config_file().with_file_name("clock");
    crate::support::clock::set_clock_by(&mut rig.valetkey, &clock);
    // Ahead of the notice, at the notice, at each reminder, and once more on the last day.
    for (day, told) in [(1, 0), (4, 1), (20, 2), (27, 3), (32, 4), (32, 4)] {
        std::fs::write(&clock, at_noon(day)).expect("written");
        rig.valetkey.kill();
        rig.valetkey.run().await;
        rig.valetkey.ready().await;
        let what = format!("on day {day} there are {told} mails");
        wait::until(&what, || async { (mails.mails().len() >= told).then_some(()) }).await;
        assert_eq!(mails.mails().len(), told, "{what}");
        assert_eq!(rig.send(rig.anonymous(Method::GET, "/connections").bearer_auth(&token)).await.status, 200);
    }
    std::fs::write(&clock, at_noon(34)).expect("written");
    call(&rig.valetkey, &token).await.auth_required("crm", "api_key_retired");
    assert_eq!(mails.mails().len(), 4);
    for mail in mails.mails() {
        assert!(mail["text"].as_str().expect("a text").contains(&end), "{mail}");
    }
}
