//! Revocation in each vendor's way.

use super::*;

async fn revoked(
    oauth: &OAuth,
    hint: TokenHint,
    answer: Response<Vec<u8>>,
) -> (Result<Revocation, TokenError>, Arc<Script>) {
    let (client, script) = scripted(Ok(answer));
    (client.revoke(oauth, &"tok".into(), hint).await, script)
}

#[tokio::test]
async fn rfc_7009_is_the_rule() {
    let (result, script) = revoked(&crm(json!({})), TokenHint::Refresh, response(200, &[], "")).await;
    assert_eq!(result.unwrap(), Revocation::Done);
    let request = script.requests.lock().remove(0);
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()[header::AUTHORIZATION], "Basic Y3JtK2NsaWVudDphJTNBYiUyQmMlMjVkJTJGZQ==");
    let form = form(&request);
    assert_eq!((form["token"].as_str(), form["token_type_hint"].as_str()), ("tok", "refresh_token"));
}

#[tokio::test]
async fn github_wants_delete_json_and_access_tokens() {
    let (result, script) = revoked(&of("github"), TokenHint::Access, response(204, &[], "")).await;
    assert_eq!(result.unwrap(), Revocation::Done);
    let request = script.requests.lock().remove(0);
    assert_eq!((request.method().as_str(), request.uri().path()), ("DELETE", "/applications/id/token"));
    assert!(request.headers()[header::AUTHORIZATION].to_str().unwrap().starts_with("Basic "));
    assert_eq!(request.headers()[header::USER_AGENT], "Valetkey");
    assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap(), json!({"access_token": "tok"}));
    let (result, script) = revoked(&of("github"), TokenHint::Refresh, response(204, &[], "")).await;
    assert_eq!((result.unwrap(), script.requests.lock().len()), (Revocation::Unsupported, 0));
}

#[tokio::test]
async fn slack_wants_the_token_itself_and_google_nobody() {
    let (result, script) = revoked(&of("slack"), TokenHint::Access, response(200, JSON, r#"{"ok":true}"#)).await;
    assert_eq!(result.unwrap(), Revocation::Done);
    let request = script.requests.lock().remove(0);
    assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer tok");
    assert!(request.body().is_empty());
    let (_, script) = revoked(&of("gmail"), TokenHint::Refresh, response(200, &[], "")).await;
    let request = script.requests.lock().remove(0);
    assert!(!request.headers().contains_key(header::AUTHORIZATION));
    assert!(!form(&request).contains_key("client_secret"));
}

#[tokio::test]
async fn a_token_that_is_over_is_revoked() {
    for (oauth, status, body) in [
        (of("github"), 404, r#"{"message":"Not Found"}"#),
        (of("gmail"), 400, r#"{"error":"invalid_token"}"#),
        (of("slack"), 200, r#"{"ok":false,"error":"token_revoked"}"#),
    ] {
        let (result, _) = revoked(&oauth, TokenHint::Access, response(status, JSON, body)).await;
        assert_eq!(result.unwrap(), Revocation::Done, "{body}");
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let crm = crm(json!({}));
    for (status, body, transient) in
        [(503, "", true), (429, "", true), (302, "", true), (400, "<html>", true), (401, "", false), (404, "", false)]
    {
        let (result, _) = revoked(&crm, TokenHint::Access, response(status, &[], body)).await;
        assert_eq!(result.unwrap_err().is_transient(), transient, "{status}");
    }
    let unsupported = response(400, JSON, r#"{"error":"unsupported_token_type"}"#);
    assert_eq!(revoked(&crm, TokenHint::Access, unsupported).await.0.unwrap(), Revocation::Unsupported);
    let none = service(
        "x",
        json!({"base_url": "https://x.example", "client_id": "i",
        "authorize_url": "https://x.example/a", "token_url": "https://x.example/t"}),
    );
    let (result, script) = revoked(&none.oauth.unwrap(), TokenHint::Access, response(200, &[], "")).await;
    assert_eq!((result.unwrap(), script.requests.lock().len()), (Revocation::Unsupported, 0));
}
