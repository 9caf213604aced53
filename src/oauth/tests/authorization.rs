//! What browsers are sent to, and whence they come back.

use super::*;

fn query(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}

fn get(url: &Url, name: &str) -> Option<String> {
    query(url).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[test]
fn the_url_has_what_rfc_6749_and_7636_ask_for() {
    let scopes = ["a b".to_owned(), "c".to_owned(), "c".to_owned()];
    let url = authorize_url(&crm(json!({})), &callback(), "st", Some("ch"), &scopes, &[("login_hint", "x")]);
    let expected = [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "crm client"),
        ("redirect_uri", callback().as_str()),
        ("state", "st"),
        ("scope", "a b c"),
        ("code_challenge", "ch"),
        ("code_challenge_method", "S256"),
        ("login_hint", "x"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(query(&url), expected);
}

#[test]
fn neither_configuration_nor_caller_replaces_what_guards_the_flow() {
    let oauth = crm(json!({"authorize_params": {"state": "evil", "prompt": "none", "code_challenge": "evil"}}));
    let extra = [("redirect_uri", "https://evil.example"), ("prompt", "consent")];
    let url = authorize_url(&oauth, &callback(), "st", None, &[], &extra);
    assert_eq!(get(&url, "state").unwrap(), "st");
    assert_eq!(get(&url, "redirect_uri").unwrap(), callback().as_str());
    assert_eq!(get(&url, "prompt").unwrap(), "consent");
    assert_eq!((get(&url, "code_challenge"), get(&url, "scope")), (None, None));
}

#[test]
fn slack_gets_commas_and_no_challenge_and_people_another_parameter() {
    let scopes = ["chat:write".to_owned(), "users:read".to_owned()];
    let url = authorize_url(&of("slack"), &callback(), "st", Some("ch"), &scopes, &[]);
    assert_eq!(get(&url, "scope").unwrap(), "chat:write,users:read");
    assert_eq!(get(&url, "code_challenge"), None);
    let url = authorize_url(&of("slack-user"), &callback(), "st", None, &scopes, &[]);
    assert_eq!((get(&url, "user_scope").unwrap().as_str(), get(&url, "scope")), ("chat:write,users:read", None));
}

#[test]
fn google_is_asked_for_a_refresh_token() {
    let url = authorize_url(&of("gmail"), &callback(), "st", Some("ch"), &[], &[]);
    assert_eq!(get(&url, "access_type").unwrap(), "offline");
    assert_eq!(get(&url, "prompt").unwrap(), "consent");
}

#[test]
fn a_callback_of_another_issuer_is_told() {
    let known = crm(json!({}));
    assert!(issuer_matches(&known, Some("https://crm.example")));
    assert!(issuer_matches(&known, None));
    for other in ["https://crm.example/", "https://CRM.example", "https://evil.example", ""] {
        assert!(!issuer_matches(&known, Some(other)), "{other}");
    }
    assert!(issuer_matches(&of("github"), Some("https://any.example")));
}
