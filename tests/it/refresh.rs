//! Access tokens that end: by age, by revocation, by the upstream's word; and token endpoints that misbehave meanwhile.
//!
//! After every story the provider must not have seen a refresh token twice: it would have ended the whole grant.

use std::sync::Arc;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::raw::Raw;
use crate::support::upstream::{Step, When};
use crate::support::{Answer, Rig, Script, Store, Upstream, jwt, on_both_stores, wait};

const INVALID: (&str, &str) = ("WWW-Authenticate", "Bearer error=\"invalid_token\"");

/// Connects these users with access tokens that are over when this returns; tokens issued later live long.
pub(crate) async fn connect_expired(rig: &Rig, users: &[&str]) {
    rig.server.access_token_ttl(1).await;
    for user in users {
        rig.connect(user).await;
    }
    rig.server.access_token_ttl(3600).await;
    for user in users {
        wait::until("the access token is over", || async {
            rig.server.access_tokens(user).await.is_empty().then_some(())
        })
        .await;
    }
}

pub(crate) async fn refreshes(rig: &Rig) -> u64 {
    rig.server.token_requests("refresh_token").await
}

#[track_caller]
pub(crate) fn assert_served(answer: &Answer, user: &str) {
    assert_eq!(answer.upstream(200)["sub"], user);
}

pub(crate) async fn assert_no_reuse(rig: &Rig) {
    assert_eq!(rig.server.count("reuse_detected").await, 0, "a refresh token was sent twice");
    rig.server.assert_sound().await;
}

on_both_stores! {
    async fn an_expired_token_is_refreshed_once_and_the_call_goes_on(store) {
        let rig = Rig::start(store).await;
        connect_expired(&rig, &["ada"]).await;
        for _ in 0..3 {
            assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        }
        assert_eq!(refreshes(&rig).await, 1);
        let connection = rig.connection("ada", "crm").await;
        assert!(connection["refreshed_at"].is_string(), "{connection}");
        assert_no_reuse(&rig).await;
    }

    async fn a_rotated_refresh_token_is_kept_so_that_the_next_refresh_works_too(store) {
        let rig = Rig::start(store).await;
        connect_expired(&rig, &["ada"]).await;
        for round in 1..=3 {
            assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
            assert_eq!(refreshes(&rig).await, round);
            rig.server.revoke("access", "ada").await;
        }
        assert_no_reuse(&rig).await;
    }

    async fn many_calls_at_once_share_one_refresh(store) {
        let rig = Rig::start(store).await;
        connect_expired(&rig, &["ada"]).await;
        rig.server.fault(json!({ "grant": "refresh_token", "hold": true })).await;
        let calls = join_all((0..12).map(|_| rig.get("ada", "/proxy/crm/whoami")));
        let (answers, ()) = tokio::join!(calls, async {
            rig.server.held(1).await;
            rig.server.release().await;
        });
        for answer in answers {
            assert_served(&answer, "ada");
        }
        assert_eq!(refreshes(&rig).await, 1);
        assert_no_reuse(&rig).await;
    }

    async fn a_client_that_leaves_does_not_cut_the_refresh_short(store) {
        let rig = Rig::start(store).await;
        connect_expired(&rig, &["ada"]).await;
        // The provider has rotated the token; only its answer is on the way when the client leaves.
        rig.server.fault(json!({ "grant": "refresh_token", "after": true, "hold": true })).await;
        let mut client = Raw::connect(&rig.url).await;
        client.send(format!("GET /proxy/crm/whoami HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n\r\n", jwt::of("ada"))).await;
        rig.server.held(1).await;
        drop(client);
        rig.server.release().await;
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        assert_eq!(refreshes(&rig).await, 1);
        assert_no_reuse(&rig).await;
    }

    async fn a_refused_refresh_token_asks_the_person_and_a_reconnect_heals(store) {
        let rig = Rig::start(store).await;
        connect_expired(&rig, &["ada", "bob"]).await;
        rig.server.revoke("refresh", "ada").await;
        let answer = rig.get("ada", "/proxy/crm/whoami").await;
        let link = answer.auth_required("crm", "revoked");
        assert_eq!(answer.json()["message"], "CRM connection expired, please reconnect");
        assert_eq!(rig.connection("ada", "crm").await["status"], "invalid");
        let asked = refreshes(&rig).await;
        rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "revoked");
        assert_eq!(refreshes(&rig).await, asked, "a dead grant is not tried again");
        assert_served(&rig.get("bob", "/proxy/crm/whoami").await, "bob");
        rig.walk(&link, "ada").await;
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        assert_eq!(rig.connection("ada", "crm").await["status"], "active");
        assert_no_reuse(&rig).await;
    }

    async fn a_token_that_the_upstream_refuses_is_refreshed_and_the_call_replayed(store) {
        let rig = Rig::start(store).await;
        rig.connect("ada").await;
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        rig.server.revoke("access", "ada").await;
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        assert_eq!(refreshes(&rig).await, 1);
        assert_eq!(rig.server.count("unauthorized").await, 1);
        assert_no_reuse(&rig).await;
    }
}

#[tokio::test]
async fn a_token_endpoint_that_fails_for_now_is_a_502_and_costs_nobody_their_grant() {
    let json_type = json!({ "content-type": "application/json" });
    let faults = [
        ("u500", json!({ "status": 500, "body": "INSIDE-WORDS" })),
        ("u503", json!({ "status": 503, "headers": { "retry-after": "1" }, "body": "" })),
        ("u429", json!({ "status": 429, "headers": { "retry-after": "1" }, "body": "" })),
        (
            "uhtml",
            json!({ "status": 200, "headers": { "content-type": "text/html" }, "body": "<h1>INSIDE-WORDS</h1>" }),
        ),
        ("ugarbage", json!({ "status": 200, "headers": json_type, "body": "{\"access_token\": INSIDE-WORDS" })),
        ("uempty", json!({ "status": 200, "headers": json_type, "body": "" })),
        ("uerror", json!({ "status": 200, "headers": json_type, "body": "{\"error\":\"temporarily_unavailable\"}" })),
        ("uclient", json!({ "status": 401, "headers": json_type, "body": "{\"error\":\"invalid_client\"}" })),
        ("uredirect", json!({ "status": 307, "headers": { "location": "http://127.0.0.1:9/" }, "body": "" })),
        ("ureset", json!({ "reset": true })),
    ];
    let rig = Rig::start(Store::Redis).await;
    let users: Vec<_> = faults.iter().map(|(user, _)| *user).collect();
    connect_expired(&rig, &users).await;
    for (user, fault) in faults {
        let mut fault = fault;
        fault["times"] = 0.into();
        rig.server.fault(fault.clone()).await;
        let body = rig.get(user, "/proxy/crm/whoami").await.refusal(502, "refresh_failed");
        assert!(!body.to_string().contains("INSIDE-WORDS"), "{body}");
        rig.server.heal().await;
        assert_eq!(rig.connection(user, "crm").await["status"], "active", "{fault}");
        wait::until("the provider is tried again and answers", || async {
            (rig.get(user, "/proxy/crm/whoami").await.status == 200).then_some(())
        })
        .await;
    }
    assert!(!rig.logs().contains("INSIDE-WORDS"), "a provider's words are in the log");
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn invalid_grant_is_understood_in_every_status() {
    let rig = Rig::start(Store::Embedded).await;
    let users = ["u400", "u200", "u401"];
    connect_expired(&rig, &users).await;
    for user in users {
        let status: u64 = user[1..].parse().expect("a status");
        rig.server
            .fault(json!({ "status": status, "body": "{\"error\":\"invalid_grant\",\"error_description\":\"gone\"}" }))
            .await;
        rig.get(user, "/proxy/crm/whoami").await.auth_required("crm", "revoked");
    }
}

#[tokio::test]
async fn a_token_that_still_lives_serves_while_its_early_refresh_fails() {
    let rig = Rig::start(Store::Embedded).await;
    rig.server.access_token_ttl(6).await;
    rig.connect("ada").await;
    rig.server.fault(json!({ "times": 0, "status": 500, "body": "" })).await;
    // The refresh begins in the last part of the token's life, while calls go on with it.
    wait::until("a refresh has been tried", || async {
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        (refreshes(&rig).await > 0).then_some(())
    })
    .await;
    assert!(!rig.server.access_tokens("ada").await.is_empty(), "the token had ended: this proved nothing");
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    rig.server.access_token_ttl(3600).await;
    rig.server.heal().await;
    wait::until("the refresh went through", || async {
        let answer = rig.get("ada", "/proxy/crm/whoami").await;
        assert!(
            answer.status == 200 || answer.header("valetkey-status") == Some("refresh_failed"),
            "{}",
            answer.text()
        );
        (rig.server.count("refreshed").await == 1 && answer.status == 200).then_some(())
    })
    .await;
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn an_answer_without_a_new_refresh_token_keeps_the_old_one() {
    let rig = Rig::start(Store::Embedded).await;
    connect_expired(&rig, &["ada"]).await;
    let (access, _) = rig.server.mint(crate::support::authorization_server::CLIENT_ID, "ada", "contacts").await;
    rig.server.set(json!({ "rotate": false })).await;
    for body in [
        json!({ "access_token": access, "token_type": "Bearer", "expires_in": 1 }),
        json!({ "access_token": access, "token_type": "bearer", "expires_in": "1", "refresh_token": "" }),
    ] {
        rig.server
            .fault(
                json!({ "status": 200, "headers": { "content-type": "application/json" }, "body": body.to_string() }),
            )
            .await;
        let before = refreshes(&rig).await;
        wait::until("the short token is over and a refresh is made", || async {
            assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
            (refreshes(&rig).await > before).then_some(())
        })
        .await;
    }
    wait::until("the old refresh token is used again", || async {
        assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
        (rig.server.count("refreshed").await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_401s_costs_one_refresh() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    rig.server.revoke("access", "ada").await;
    for answer in join_all((0..12).map(|_| rig.get("ada", "/proxy/crm/whoami"))).await {
        assert_served(&answer, "ada");
    }
    assert_eq!(refreshes(&rig).await, 1);
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_body_up_to_64_kib_is_replayed_byte_for_byte_and_a_larger_one_is_not() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    let mut expected = 0;
    for size in [0, 1, 65_536] {
        let body: Vec<u8> = (0..size).map(|at: usize| (at % 251) as u8).collect();
        rig.server.revoke("access", "ada").await;
        expected += 1;
        let answer = rig.post("ada", "/proxy/crm/echo", body.clone()).await;
        assert_eq!(answer.status, 200, "{size}: {}", answer.text());
        assert!(answer.body == body, "{size} bytes came back changed");
        assert_eq!(refreshes(&rig).await, expected);
    }
    for size in [65_537, 1_000_000] {
        rig.server.revoke("access", "ada").await;
        expected += 1;
        let answer = rig.post("ada", "/proxy/crm/sink", vec![7; size]).await;
        answer.refusal(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("0"), "{size}");
        assert_eq!(refreshes(&rig).await, expected, "the refresh is made all the same");
        let again = rig.post("ada", "/proxy/crm/sink", vec![7; size]).await;
        assert_eq!(again.upstream(200)["bytes"], size);
    }
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_large_body_whose_refresh_is_refused_or_fails_is_told_so() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    rig.server.revoke("access", "ada").await;
    rig.server.fault(json!({ "status": 503, "body": "" })).await;
    rig.post("ada", "/proxy/crm/sink", vec![7; 100_000]).await.refusal(502, "refresh_failed");
    assert_eq!(rig.connection("ada", "crm").await["status"], "active");
    rig.server.revoke("refresh", "ada").await;
    wait::until("the provider is tried again", || async {
        let answer = rig.post("ada", "/proxy/crm/sink", vec![7; 100_000]).await;
        (answer.header("valetkey-status") != Some("refresh_failed")).then(|| answer.auth_required("crm", "revoked"))
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_still_arriving_when_the_401_comes_is_replayed_whole() {
    // The first connection is refused on sight of its head; later ones read the whole message.
    let upstream = Upstream::listen(When::Head, |request| match request.number {
        0 => Script::answer(401, &[INVALID], "{}"),
        _ => Script::default().then(Step::Take(50_000)).then(Step::Write(Script::whole("got it"))),
    })
    .await;
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", upstream.url())).await;
    rig.connect("ada").await;
    let token = jwt::of("ada");
    let mut client = Raw::connect(&rig.url).await;
    client
        .send(format!(
            "POST /proxy/crm/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 50000\r\n\r\n"
        ))
        .await;
    client.send(vec![b'a'; 10_000]).await;
    // The rest is sent only once the replay has begun: the refusal came in the middle of the body.
    wait::until("the replay began", || async { (upstream.received().len() == 2).then_some(()) }).await;
    client.send(vec![b'b'; 40_000]).await;
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"got it".as_slice()));
    let sent = upstream.raw().remove(1);
    let body = &sent[sent.len() - 50_000..];
    assert!(body[..10_000].iter().all(|byte| *byte == b'a') && body[10_000..].iter().all(|byte| *byte == b'b'));
}

#[tokio::test]
async fn large_bodies_to_an_upstream_that_refuses_every_token_cost_one_refresh() {
    let upstream = Upstream::start(|_| Script::answer(401, &[INVALID], "{\"error\":\"invalid_token\"}")).await;
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", upstream.url())).await;
    rig.connect("ada").await;
    rig.post("ada", "/proxy/crm/x", vec![7; 100 * 1024]).await.refusal(503, "unavailable");
    for _ in 0..4 {
        rig.post("ada", "/proxy/crm/x", vec![7; 100 * 1024]).await.auth_required("crm", "rejected_by_upstream");
    }
    assert_eq!(refreshes(&rig).await, 1);
    assert_eq!(upstream.received().len(), 2, "a dead connection is not tried again");
}

#[tokio::test]
async fn a_renewed_token_that_was_accepted_is_renewed_again_when_it_ends() {
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    for round in 1..=3 {
        rig.server.revoke("access", "ada").await;
        rig.post("ada", "/proxy/crm/sink", vec![7; 100 * 1024]).await.refusal(503, "unavailable");
        rig.post("ada", "/proxy/crm/sink", vec![7; 100 * 1024]).await.upstream(200);
        assert_eq!(refreshes(&rig).await, round);
    }
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_refreshed_token_that_is_refused_too_ends_the_connection_after_one_replay() {
    let upstream = Upstream::start(|_| Script::answer(401, &[INVALID], "{\"error\":\"invalid_token\"}")).await;
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", upstream.url())).await;
    rig.connect("ada").await;
    rig.get("ada", "/proxy/crm/x").await.auth_required("crm", "rejected_by_upstream");
    let requests = upstream.received();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_ne!(requests[0].all("authorization"), requests[1].all("authorization"), "the replay bears the new token");
    rig.get("ada", "/proxy/crm/x").await.auth_required("crm", "rejected_by_upstream");
    assert_eq!(upstream.received().len(), 2, "a dead connection is not tried again");
    assert_eq!(refreshes(&rig).await, 1);
}

#[tokio::test]
async fn without_a_refresh_token_the_end_of_the_access_token_is_the_end() {
    let rig = Rig::start(Store::Embedded).await;
    rig.server.set(json!({ "issue_refresh_tokens": false })).await;
    rig.connect("bob").await;
    connect_expired(&rig, &["ada"]).await;
    rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "expired");
    rig.server.revoke("access", "bob").await;
    rig.get("bob", "/proxy/crm/whoami").await.auth_required("crm", "rejected_by_upstream");
    assert_eq!(refreshes(&rig).await, 0);
    rig.server.set(json!({ "issue_refresh_tokens": true })).await;
    let link = rig.get("ada", "/proxy/crm/whoami").await.auth_required("crm", "expired");
    rig.walk(&link, "ada").await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
}

#[tokio::test]
async fn a_401_for_a_token_that_is_proven_to_live_is_the_upstreams_own() {
    let release = Arc::new(Notify::new());
    let held = release.clone();
    let upstream = Upstream::start(move |request| match request.target() {
        "/held" => Script::answer(401, &[], "{\"why\":\"mine\"}").after(Step::Hold(held.clone())),
        _ => Script::text("ok"),
    })
    .await;
    let rig = Rig::with(Store::Embedded, |config, _| config.set("services.crm.base_url", upstream.url())).await;
    rig.connect("ada").await;
    let (refused, ()) = tokio::join!(rig.get("ada", "/proxy/crm/held"), async {
        wait::until("the held call arrived", || async { (!upstream.received().is_empty()).then_some(()) }).await;
        assert_eq!(rig.get("ada", "/proxy/crm/ok").await.status, 200);
        release.notify_one();
    });
    assert_eq!(refused.upstream(401)["why"], "mine");
    assert_eq!(refreshes(&rig).await, 0);
    assert_eq!(rig.connection("ada", "crm").await["status"], "active");
}

#[tokio::test]
async fn an_upstream_401_while_the_token_endpoint_is_down_invalidates_nothing() {
    let rig = Rig::start(Store::Redis).await;
    rig.connect("ada").await;
    rig.server.revoke("access", "ada").await;
    rig.server.fault(json!({ "times": 0, "status": 503, "body": "" })).await;
    rig.get("ada", "/proxy/crm/whoami").await.refusal(502, "refresh_failed");
    assert_eq!(rig.connection("ada", "crm").await["status"], "active");
    rig.server.heal().await;
    wait::until("the provider is tried again", || async {
        (rig.get("ada", "/proxy/crm/whoami").await.status == 200).then_some(())
    })
    .await;
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_401_that_speaks_of_scopes_asks_for_them_and_refreshes_nothing() {
    let rig = Rig::start(Store::Embedded).await;
    rig.server.set(json!({ "scope_challenge": 401 })).await;
    rig.connect("ada").await;
    let body = rig.get("ada", "/proxy/crm/scoped/calendar").await.refusal(403, "additional_scopes_required");
    assert_eq!(body["new_scopes"], json!(["calendar"]));
    assert_eq!(refreshes(&rig).await, 0);
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
}

#[tokio::test]
async fn a_websocket_handshake_that_is_refused_is_replayed_too() {
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let rig = Rig::start(Store::Embedded).await;
    rig.connect("ada").await;
    rig.server.revoke("access", "ada").await;
    let mut request =
        format!("{}/proxy/crm/ws", rig.url.replace("http://", "ws://")).into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {}", jwt::of("ada")).parse().expect("visible"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("a tunnel");
    let hello = socket.next().await.expect("a message").expect("no error");
    assert!(hello.to_text().expect("text").contains("\"sub\":\"ada\""));
    assert_eq!(refreshes(&rig).await, 1);
}

#[tokio::test]
async fn two_replicas_share_one_refresh() {
    let rig = Rig::start(Store::Redis).await;
    let other = rig.replica().await;
    connect_expired(&rig, &["ada"]).await;
    rig.server.fault(json!({ "grant": "refresh_token", "hold": true })).await;
    let here = join_all((0..6).map(|_| rig.get("ada", "/proxy/crm/whoami")));
    let there = join_all((0..6).map(|_| other.get("ada", "/proxy/crm/whoami")));
    let (here, there, ()) = tokio::join!(here, there, async {
        rig.server.held(1).await;
        rig.server.release().await;
    });
    for answer in here.iter().chain(&there) {
        assert_served(answer, "ada");
    }
    assert_eq!(refreshes(&rig).await, 1);
    assert_no_reuse(&rig).await;
}

#[tokio::test]
async fn a_refresh_at_one_replica_reaches_the_caches_of_the_other() {
    let rig = Rig::start(Store::Redis).await;
    let other = rig.replica().await;
    rig.connect("ada").await;
    for valetkey in [&rig.valetkey, &other] {
        assert_served(&valetkey.get("ada", "/proxy/crm/whoami").await, "ada");
    }
    rig.server.revoke("access", "ada").await;
    assert_served(&rig.get("ada", "/proxy/crm/whoami").await, "ada");
    // Whether the notice or the upstream's 401 comes first: the other's newer token is found, not fetched again.
    assert_served(&other.get("ada", "/proxy/crm/whoami").await, "ada");
    assert_eq!(refreshes(&rig).await, 1);

    let answer = rig.send(rig.request("ada", Method::DELETE, "/connections/crm")).await;
    assert_eq!(answer.status, 204);
    wait::until("the other replica has heard of the disconnection", || async {
        (other.get("ada", "/proxy/crm/whoami").await.header("valetkey-status") == Some("auth_required")).then_some(())
    })
    .await;
}
