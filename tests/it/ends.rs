//! Connections that end by themselves, and those that are back: who is told, and what operators see and do of all of them.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::api_keys::{assert_exit, command};
use crate::notifications::{call, connect_and_withdraw, jwt_of, telling};
use crate::support::authorization_server::http;
use crate::support::config::ADMIN_TOKEN;
use crate::support::receivers::{MailServer, Receiver, link_in};
use crate::support::{Alone, Answer, Rig, Store, Valetkey, jwt, on_both_stores, wait};

/// The moment in this text.
fn moment(text: &Value) -> u64 {
    let text = text.as_str().unwrap_or_else(|| panic!("no moment: {text}"));
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).expect("RFC 3339");
    u64::try_from(time.unix_timestamp()).expect("after 1970")
}

#[tokio::test]
async fn an_end_that_is_near_is_told_once_by_three_replicas_and_the_mails_link_puts_it_off() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Redis, |config, _| {
        telling(config, &mails, &receiver)
            .set("services.crm.grant_lifetime", "1d 2s")
            .set("notifications.before_end", json!([]))
    })
    .await;
    let token = jwt_of("ada", json!({}));
    let link = call(&rig.valetkey, &token).await.auth_required("crm", "not_connected");
    rig.walk(&link, "ada").await;
    call(&rig.valetkey, &token).await.upstream(200);
    let connection = rig.connection("ada", "crm").await;
    let end = moment(&connection["expected_end"]);
    assert_eq!(end - moment(&connection["connected_at"]), 86_402, "{connection}");
    wait::until("a day is left", || async {
        (jwt::now() + 86_400 > i64::try_from(end).expect("a moment")).then_some(())
    })
    .await;

    let telling = |distances: &[&str]| rig.replica_config().set("notifications.before_end", json!(distances));
    let (one, two, three) = (telling(&["1d"]), telling(&["1d"]), telling(&["1d"]));
    let _replicas = tokio::join!(Valetkey::start(&one), Valetkey::start(&two), Valetkey::start(&three));
    let mail = mails.mail_to("ada@example.com").await;
    let text = mail["text"].as_str().expect("a text");
    let subject = mail["headers"]["subject"].as_str().expect("a subject");
    assert!(subject.starts_with("Your CRM connection to Acme Helpdesk ends on "), "{subject}");
    assert!(text.contains("CRM grants access for a limited time only"), "{text}");
    let hook = receiver.hook_about("connection.ending", "ada").await;
    let data = &hook["body"]["data"];
    assert_eq!((&data["reason"], moment(&data["expected_end"])), (&json!("consent"), end), "{data}");

    // Another day's work, as after a change of the configuration: what was told stays told.
    let again = Valetkey::start(&telling(&["1d", "2d"])).await;
    wait::until("the work is done again", || async {
        again.logs().contains("reminders of what ends are given").then_some(())
    })
    .await;
    assert!(again.logs().contains("told=0"), "{}", again.logs());
    assert_eq!((mails.mails().len(), receiver.received().await.len()), (1, 1));

    rig.walk(&link_in(text), "ada").await;
    let connection = rig.connection("ada", "crm").await;
    assert!(moment(&connection["expected_end"]) > end, "{connection}");
    rig.assert_logs_are_clean();
}

#[tokio::test]
async fn who_was_told_of_a_loss_is_told_once_that_it_is_over() {
    let (mails, receiver) = tokio::join!(MailServer::start(), Receiver::start());
    let rig = Rig::with(Store::Redis, |config, _| telling(config, &mails, &receiver)).await;
    let other = rig.replica().await;
    let token = jwt_of("ada", json!({}));
    connect_and_withdraw(&rig, "ada", &token).await;
    let link = call(&rig.valetkey, &token).await.auth_required("crm", "revoked");
    receiver.hook_about("connection.invalid", "ada").await;
    rig.walk(&link, "ada").await;
    let hook = receiver.hook_about("connection.recovered", "ada").await;
    assert_eq!(hook["body"]["data"]["service"], "crm", "{hook}");
    // Connected once more, by another replica: that is no recovery. Bob's loss comes after whatever would be told of it.
    let request = json!({ "service": "crm" });
    let link = other.post_json("ada", "/connect-links", &request).await.own()["auth_url"].as_str().map(str::to_owned);
    rig.walk(&link.expect("a link"), "ada").await;
    let bob = jwt_of("bob", json!({}));
    connect_and_withdraw(&rig, "bob", &bob).await;
    call(&rig.valetkey, &bob).await.auth_required("crm", "revoked");
    receiver.hook_about("connection.invalid", "bob").await;
    let kinds: Vec<String> = receiver.received().await.iter().map(|hook| hook["body"]["type"].to_string()).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    let mailed = mails.mail_to("bob@example.com").await;
    assert_eq!(mails.mails().len(), 2, "nobody is mailed that all is well: {mailed}");
}

async fn admin(valetkey: &Valetkey, path: &str) -> Answer {
    let request = http().get(format!("{}/admin/connections{path}", valetkey.admin)).bearer_auth(ADMIN_TOKEN);
    Answer::read(request.send().await.expect("an answer")).await
}

async fn disconnect(valetkey: &Valetkey, body: &Value) -> Answer {
    let url = format!("{}/admin/connections/disconnect", valetkey.admin);
    let request = http().post(url).bearer_auth(ADMIN_TOKEN).body(body.to_string());
    Answer::read(request.send().await.expect("an answer")).await
}

/// Whose connections an answer lists, in order.
fn users(answer: &Value) -> Vec<String> {
    let connections = answer["connections"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    let mut users: Vec<String> =
        connections.iter().map(|one| one["user"].as_str().expect("a user").to_owned()).collect();
    users.sort_unstable();
    users
}

on_both_stores! {
    async fn operators_see_all_connections_page_by_page_and_no_token(store) {
        let rig = Rig::with(store, |config, _| config.set("services.calendar.grant_lifetime", "7d")).await;
        for user in ["ada", "bob", "eve"] {
            rig.connect(user).await;
        }
        rig.connect_to("ada", "calendar").await;
        let all = admin(&rig, "").await.own();
        assert_eq!(users(&all), ["ada", "ada", "bob", "eve"]);
        assert_eq!(all["next_cursor"], Value::Null);
        let one = all["connections"].as_array().expect("a list").iter().find(|one| one["service"] == "calendar");
        let one = one.expect("it is listed");
        assert_eq!((&one["issuer"], &one["status"]), (&json!(jwt::ISSUER), &json!("active")), "{one}");
        let mut own = rig.connection("ada", "calendar").await;
        assert_eq!(one["expected_end"], own["expected_end"]);
        own["issuer"] = json!(jwt::ISSUER);
        own["user"] = json!("ada");
        let names = |of: &Value| of.as_object().expect("a map").keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(one), names(&own), "as the API has it, and whose it is");
        assert_eq!(users(&admin(&rig, "?expected_end_before=30d").await.own()), ["ada"]);
        assert_eq!(users(&admin(&rig, "?expected_end_before=2d").await.own()), Vec::<String>::new());
        assert_eq!(users(&admin(&rig, "?user=ada&service=crm").await.own()), ["ada"]);
        assert_eq!(users(&admin(&rig, "?status=invalid").await.own()), Vec::<String>::new());
        assert_eq!(users(&admin(&rig, "?unused_since=30d").await.own()), Vec::<String>::new());
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for page in 0.. {
            assert!(page < 10, "pages without an end");
            let answer = admin(&rig, &format!("?limit=1&cursor={cursor}")).await.own();
            seen.extend(users(&answer));
            match answer["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, ["ada", "ada", "bob", "eve"]);
        for bad in ["?limit=0", "?limit=1001", "?cursor=made-up", "?status=good", "?unused_since=lately", "?users=ada", "?user="] {
            let answer = admin(&rig, bad).await;
            if bad == "?user=" { answer.own(); } else { answer.refusal(400, "bad_request"); }
        }
        rig.assert_logs_are_clean();
    }

    async fn operators_give_up_what_they_counted_and_nothing_without_a_word(store) {
        let rig = Rig::start(store).await;
        for user in ["ada", "bob", "eve"] {
            rig.connect(user).await;
        }
        rig.connect_to("eve", "calendar").await;
        let counted = disconnect(&rig, &json!({ "service": "crm" })).await.own();
        assert_eq!((&counted["dry_run"], &counted["connections"]), (&json!(true), &json!(3)), "{counted}");
        assert_eq!(counted["by_service"], json!({ "crm": 3 }));
        rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
        let word = counted["confirm"].as_str().expect("a word").to_owned();
        let confirm = json!({ "confirm": word, "dry_run": false });
        for bad in [
            json!({}),
            json!({ "dry_run": false }),
            json!({ "service": "crm", "dry_run": false }),
            json!({ "confirm": word }),
            json!({ "confirm": word, "dry_run": false, "service": "crm" }),
            json!({ "confirm": "made up", "dry_run": false }),
            json!({ "srevice": "crm" }),
            json!(["crm"]),
        ] {
            disconnect(&rig, &bad).await.refusal(400, "bad_request");
        }
        // One of three is gone by itself: that is no longer what was counted.
        let gone = rig.request("bob", Method::DELETE, "/connections/crm");
        assert_eq!(rig.send(gone).await.status, 204);
        let refusal = disconnect(&rig, &confirm).await.refusal(409, "bad_request");
        assert_eq!((&refusal["counted"], &refusal["left"]), (&json!(3), &json!(2)), "{refusal}");
        rig.get("ada", "/proxy/crm/whoami").await.upstream(200);
        disconnect(&rig, &confirm).await.refusal(400, "bad_request");

        let counted = disconnect(&rig, &json!({ "service": "crm", "dry_run": true })).await.own();
        let done = disconnect(&rig, &json!({ "confirm": counted["confirm"], "dry_run": false })).await.own();
        assert_eq!((&done["disconnected"], &done["left"], &done["failed"]), (&json!(2), &json!(0), &json!(0)), "{done}");
        for user in ["ada", "eve"] {
            rig.get(user, "/proxy/crm/whoami").await.auth_required("crm", "not_connected");
        }
        rig.get("eve", "/proxy/calendar/whoami").await.upstream(200);
        assert_eq!(disconnect(&rig, &json!({ "service": "crm" })).await.own()["confirm"], Value::Null);
        assert!(rig.logs().contains("\"bulk\""), "the audit lines say how");
    }
}

#[tokio::test]
async fn nobody_but_the_operator_lists_or_gives_up() {
    let valetkey = Alone::start(|config| config).await;
    let at = |path: &str| format!("{}{path}", valetkey.admin);
    for request in [
        http().get(at("/admin/connections")),
        http().get(at("/admin/connections")).bearer_auth("another"),
        http().post(at("/admin/connections/disconnect")).body(r#"{"service": "crm"}"#),
        http().post(at("/admin/connections/disconnect")).bearer_auth(jwt::of("ada")).body("{}"),
    ] {
        Answer::read(request.send().await.expect("an answer")).await.refusal(401, "unauthenticated");
    }
    let without = Alone::start(|config| config.without("admin")).await;
    admin(&without, "").await.refusal(404, "not_found");
}

#[tokio::test]
async fn the_report_lists_what_ends_and_what_nobody_uses() {
    let rig = Rig::with(Store::Redis, |config, _| config.set("services.calendar.grant_lifetime", "7d")).await;
    rig.connect("ada").await;
    rig.connect_to("bob", "calendar").await;
    let output = command(&rig.config, &["report", "connections", "--ending", "30d", "--json"]).await;
    assert_exit(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone on standard output");
    assert_eq!(users(&report), ["bob"], "{report}");
    let table = assert_exit(&command(&rig.config, &["report", "connections"]).await, 0);
    for word in ["SERVICE", "ada", "bob", "crm", "calendar", "active", "2 connections"] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
    let none = assert_exit(&command(&rig.config, &["report", "connections", "--unused", "90d"]).await, 0);
    assert!(none.contains("0 connections"), "{none}");
    assert_exit(&command(&rig.config, &["report", "connections", "--unused", "lately"]).await, 2);
}
