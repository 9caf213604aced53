//! Who granted access.

use super::*;

async fn identified(oauth: &OAuth, answer: Response<Vec<u8>>) -> (Option<Identity>, Arc<Script>) {
    let (client, script) = scripted(Ok(answer));
    (client.identify(oauth, &"tok".into()).await, script)
}

#[tokio::test]
async fn each_provider_says_in_its_own_way_who_someone_is() {
    for (provider, method, path, body, id, label) in [
        ("github", "GET", "/user", r#"{"id":583231,"login":"octocat"}"#, "583231", "octocat"),
        ("gmail", "GET", "/v1/userinfo", r#"{"sub":"117","email":"a@example.com","name":"A"}"#, "117", "a@example.com"),
        ("slack", "POST", "/api/auth.test", r#"{"ok":true,"user_id":"U1","user":"al","team":"T"}"#, "U1", "al"),
    ] {
        let (identity, script) = identified(&of(provider), response(200, JSON, body)).await;
        assert_eq!(identity, Some(Identity { id: id.into(), label: Some(label.into()) }), "{provider}");
        let request = script.requests.lock().remove(0);
        assert_eq!((request.method().as_str(), request.uri().path()), (method, path));
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer tok");
    }
}

#[tokio::test]
async fn an_odd_answer_is_nobody() {
    let gmail = of("gmail");
    for (status, body) in [
        (401, r#"{"sub":"1"}"#),
        (302, r#"{"sub":"1"}"#),
        (200, "{}"),
        (200, "<html>"),
        (200, r#"{"sub":""}"#),
        (200, r#"{"sub":["1"]}"#),
        (200, r#"{"sub":"a\nb"}"#),
        (200, r#"{"error":"x","sub":"1"}"#),
    ] {
        assert_eq!(identified(&gmail, response(status, JSON, body)).await.0, None, "{status} {body}");
    }
    let (client, script) = scripted(Ok(response(200, JSON, "{}")));
    assert_eq!(client.identify(&crm(json!({})), &"tok".into()).await, None);
    assert!(script.requests.lock().is_empty(), "no endpoint, no call");
    assert_eq!(client.identify(&gmail, &"a\nb".into()).await, None);
    assert!(script.requests.lock().is_empty(), "no token that is none is sent");
}
