//! What goes to token endpoints.

use super::*;

const FINE: &str = r#"{"access_token":"at","token_type":"bearer"}"#;

async fn exchange(oauth: &OAuth, verifier: Option<&Verifier>) -> Request<Vec<u8>> {
    let (client, script) = scripted(Ok(response(200, JSON, FINE)));
    client.exchange(oauth, &"the code".into(), verifier, &callback()).await.unwrap();
    script.requests.lock().remove(0)
}

#[tokio::test]
async fn a_code_is_redeemed_as_rfc_6749_has_it() {
    let verifier = Verifier::generate().unwrap();
    let request = exchange(&crm(json!({"token_params": {"x": "1"}})), Some(&verifier)).await;
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("POST", "https://crm.example/token".into()));
    let form = form(&request);
    let expected = [
        ("code", "the code"),
        ("code_verifier", verifier.secret().expose().as_str()),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://connect.example.com/oauth/callback/crm"),
        ("x", "1"),
    ];
    assert_eq!(form.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn basic_encodes_both_parts_first() {
    let request = exchange(&crm(json!({})), None).await;
    // base64("crm+client:a%3Ab%2Bc%25d%2Fe")
    assert_eq!(request.headers()[header::AUTHORIZATION], "Basic Y3JtK2NsaWVudDphJTNBYiUyQmMlMjVkJTJGZQ==");
    assert!(!form(&request).contains_key("client_secret"));
}

#[tokio::test]
async fn post_puts_the_client_into_the_form() {
    let request = exchange(&crm(json!({"client_auth": "post"})), None).await;
    assert!(!request.headers().contains_key(header::AUTHORIZATION));
    let form = form(&request);
    assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), ("crm client", "a:b+c%d/e"));
}

#[tokio::test]
async fn json_is_basic_with_a_json_body() {
    let request = exchange(&crm(json!({"client_auth": "json"})), None).await;
    assert!(request.headers()[header::AUTHORIZATION].to_str().unwrap().starts_with("Basic "));
    assert_eq!(request.headers()[header::CONTENT_TYPE], "application/json");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["code"], "the code");
}

#[tokio::test]
async fn refreshes_go_where_and_how_the_provider_wants_them() {
    let oauth = crm(json!({"refresh_url": "https://crm.example/renew", "redirect_uri_on_refresh": true}));
    let (client, script) = scripted(Ok(response(200, JSON, FINE)));
    client.refresh(&oauth, &"rt".into(), &callback()).await.unwrap();
    let request = script.requests.lock().remove(0);
    assert_eq!(request.uri().to_string(), "https://crm.example/renew");
    let form = form(&request);
    assert_eq!((form["grant_type"].as_str(), form["refresh_token"].as_str()), ("refresh_token", "rt"));
    assert_eq!(form["redirect_uri"], callback().as_str());
}

#[tokio::test]
async fn no_verifier_is_sent_where_no_challenge_was() {
    let verifier = Verifier::generate().unwrap();
    let request = exchange(&crm(json!({"pkce": "off"})), Some(&verifier)).await;
    assert!(!form(&request).contains_key("code_verifier"));
}
