//! Services made whole, and every problem of those that can't be.

use super::*;

#[test]
fn a_custom_service_needs_no_more_than_its_fields() {
    let service = service("crm", crm());
    let oauth = service.oauth.as_ref().unwrap();
    assert_eq!((service.title.as_str(), service.upstream.base().path(), oauth.pkce), ("CRM", "/api", true));
    assert_eq!(oauth.client_auth, crate::config::ClientAuth::Basic);
    assert_eq!(service.inject.header_value(&"t".into()).unwrap(), "Bearer t");
    assert_eq!(service.api_key.header(), http::header::AUTHORIZATION);
    assert_eq!(oauth.refresh_url, oauth.token_url);
}

#[test]
fn a_service_with_a_providers_name_is_built_on_it() {
    let service = service("github", json!({"client_id": "id", "scopes": ["repo"]}));
    let oauth = service.oauth.as_ref().unwrap();
    assert_eq!(service.title, "GitHub");
    assert_eq!(oauth.revoke_url.as_ref().unwrap().as_str(), "https://api.github.com/applications/id/token");
    assert_eq!(service.headers, [(http::header::USER_AGENT, HeaderValue::from_static("Valetkey"))]);
}

#[test]
fn gmail_is_googles_by_its_own_name_or_by_its_provider() {
    for fields in [json!({"client_id": "id"}), json!({"client_id": "id", "provider": "google"})] {
        let service = service("gmail", fields);
        assert_eq!(service.upstream.base().host(), "gmail.googleapis.com");
        assert_eq!(service.oauth.unwrap().token_url.as_str(), "https://oauth2.googleapis.com/token");
    }
    let inbox = service("inbox", json!({"client_id": "id", "provider": "gmail", "title": "Inbox"}));
    assert_eq!((inbox.title.as_str(), inbox.upstream.base().host()), ("Inbox", "gmail.googleapis.com"));
}

#[test]
fn a_provider_of_many_services_asks_which_is_meant() {
    let problem = resolve(json!({"mail": {"provider": "google", "client_id": "id"}})).unwrap_err().remove(0);
    assert_eq!(problem.path, "services.mail.base_url");
    assert!(problem.hint.unwrap().contains("gmail"));
}

#[test]
fn services_that_share_a_connection_share_the_client_and_ask_for_all_scopes() {
    let services = resolve(json!({
        "gmail": {"client_id": "id", "scopes": ["email", "https://www.googleapis.com/auth/gmail.readonly"]},
        "google-calendar": {"connection": "gmail", "scopes": ["https://www.googleapis.com/auth/userinfo.email", "cal"]},
        "github": {"client_id": "other"},
    }))
    .unwrap();
    let calendar = services.get("google-calendar").unwrap();
    assert_eq!(calendar.owner.as_str(), "gmail");
    assert_eq!(calendar.oauth.as_ref().unwrap().client_id, "id");
    assert_eq!(calendar.asked_for(), ["email", "https://www.googleapis.com/auth/gmail.readonly", "cal"]);
    assert_eq!(calendar.title, "Google Calendar");
    assert_eq!(services.owner(calendar).unwrap().name.as_str(), "gmail");
    let sharing: Vec<&str> = services.sharing(calendar).map(|service| service.name.as_str()).collect();
    assert_eq!(sharing, ["gmail", "google-calendar"]);
}

#[test]
fn a_link_asks_at_once_for_what_the_refused_call_will_need() {
    let slack = service("slack", json!({"client_id": "id", "client_secret": "s", "scopes": ["users:read"]}));
    let path = crate::operation::Path::parse("/chat.postMessage").unwrap();
    let post = crate::operation::Operation { methods: "POST", path: &path };
    assert_eq!(slack.scopes_beside_its_own(Some(post), &["users:read", "files:read"]), ["files:read", "chat:write"]);
    assert!(slack.scopes_beside_its_own(None, &[] as &[&str]).is_empty());
}

#[test]
fn an_unknown_name_that_shares_a_connection_is_as_its_owner() {
    let services = resolve(json!({
        "github": {"client_id": "id"},
        "raw-files": {"connection": "github", "base_url": "https://raw.example.com"},
    }))
    .unwrap();
    let files = services.get("raw-files").unwrap();
    assert_eq!((files.title.as_str(), files.upstream.base().host()), ("raw-files", "raw.example.com"));
    assert_eq!(files.headers.len(), 1, "GitHub's User-Agent");
    assert!(matches!(problems(json!({"github": {"client_id": "id"}, "x": {"connection": "github"}})).as_slice(),
        [(path, _)] if path == "services.x.base_url"));
}

#[test]
fn every_problem_is_told_at_once_and_by_its_path() {
    let keys = json!({});
    let told = problems(json!({
        "a": {"provider": "nobody", "base_url": "https://a.example", "api_keys": keys},
        "b": {"base_url": "http://b.example", "client_id": "id"},
        "c": {"base_url": "https://c.example", "api_keys": keys, "inject": {"template": "Bearer"},
              "headers": {"Host": "x", "Cookie": "y"}},
        "d": {"base_url": "https://d.example", "connection": "nobody", "client_id": "id"},
        "e": {"base_url": "https://e.example", "connection": "f"},
        "f": {"base_url": "https://f.example", "connection": "b"},
        "g": {"base_url": "https://g.example", "api_keys": keys, "errors": {"dead_token": [{"status": 498}, {}]}},
        "h": {"base_url": "https://h.example", "client_id": "i", "token_url": "nonsense", "scopes": ["a b", "c,d"],
              "authorize_url": "https://h.example/a#b"},
        "i": {"base_url": "https://i.example", "api_keys": {"phase": "retired"}},
        "github": {"api_keys": keys, "errors": {"dead_token": [{}]}},
    }));
    let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
    let expected = [
        "services.a.provider",
        "services.b.base_url",
        "services.b.authorize_url",
        "services.b.token_url",
        "services.c.inject.template",
        "services.c.headers.Host",
        "services.c.headers.Cookie",
        "services.d.connection",
        "services.d.client_id",
        "services.e.connection",
        "services.g.errors.dead_token[1]",
        "services.h.token_url",
        "services.h.authorize_url",
        "services.h.scopes[0]",
        "services.h.scopes[1]",
        "services.i",
        // Counted among those that are written, whatever the provider has.
        "services.github.errors.dead_token[0]",
    ];
    for path in expected {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    assert_eq!(paths.len(), expected.len(), "{paths:?}");
}

#[test]
fn problems_never_hold_values() {
    let told = resolve(json!({"x": {"base_url": "hush://secret", "client_id": "id", "token_url": "hush",
        "authorize_url": "hush", "headers": {"A": "hu\nsh"}, "inject": {"header": "hu sh"}}}));
    assert!(!format!("{:?}", told.unwrap_err()).contains("hush"));
}

#[test]
fn a_call_lacks_what_the_rules_and_the_application_say() {
    let gmail = service("gmail", json!({"client_id": "id"}));
    let granted = |text: &str| Some(ScopeSet::parse(text));
    let path = crate::operation::Path::parse("/gmail/v1/users/me/messages/send").unwrap();
    let send = crate::operation::Operation { methods: "POST", path: &path };
    let missing = |granted: Option<&ScopeSet>, named: &[&str]| gmail.missing_scopes(Some(send), named, granted);
    let readonly = granted("https://www.googleapis.com/auth/gmail.readonly");
    assert_eq!(missing(readonly.as_ref(), &[]), ["https://www.googleapis.com/auth/gmail.send"]);
    assert_eq!(missing(readonly.as_ref(), &["x"]), ["x", "https://www.googleapis.com/auth/gmail.send"]);
    assert!(missing(granted("https://mail.google.com/").as_ref(), &[]).is_empty());
    assert!(missing(None, &["x"]).is_empty(), "unknown grants are the upstream's to judge");
}
