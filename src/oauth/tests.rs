//! The client against scripted answers: every odd form, every failure, and what the requests look like.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use http::{Request, Response, StatusCode, header};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::provider::{OAuth, testing::service};

/// Answers in turn and keeps what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Response<Vec<u8>>, TransportError>>>,
    requests: Mutex<Vec<Request<Vec<u8>>>>,
}

#[async_trait]
impl Transport for Script {
    async fn call(&self, request: Request<Vec<u8>>, _: bool) -> Result<Response<Vec<u8>>, TransportError> {
        self.requests.lock().push(request);
        self.answers.lock().pop_front().expect("an answer for every request")
    }
}

fn scripted(answer: Result<Response<Vec<u8>>, TransportError>) -> (Client, Arc<Script>) {
    let script = Arc::new(Script::default());
    script.answers.lock().push_back(answer);
    (Client::new(script.clone()), script)
}

fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];

fn crm(more: Value) -> Arc<OAuth> {
    let mut fields = json!({
        "base_url": "https://crm.example/api", "client_id": "crm client", "client_secret": "a:b+c%d/e",
        "authorize_url": "https://crm.example/authorize?tenant=1", "token_url": "https://crm.example/token",
        "revoke_url": "https://crm.example/revoke", "scopes": ["contacts"], "issuer": "https://crm.example",
    });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    service("crm", fields).oauth.unwrap()
}

fn of(provider: &str) -> Arc<OAuth> {
    service(provider, json!({"client_id": "id", "client_secret": "secret"})).oauth.unwrap()
}

fn callback() -> Url {
    Url::parse("https://connect.example.com/oauth/callback/crm").unwrap()
}

async fn refreshed(oauth: &OAuth, answer: Response<Vec<u8>>) -> Result<Grant, TokenError> {
    scripted(Ok(answer)).0.refresh(oauth, &"old".into(), &callback()).await
}

fn kind(result: Result<Grant, TokenError>) -> Kind {
    result.map(|grant| format!("{:?}", grant.expires_in)).unwrap_err().kind
}

fn form(request: &Request<Vec<u8>>) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(request.body()).into_owned().collect()
}

mod requests {
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
}

mod authorization {
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
}

mod answers {
    use super::*;

    #[tokio::test]
    async fn every_odd_form_of_a_token_is_understood() {
        let deep = |pointer: &str| crm(json!({"token_answer": {"objects": ["", pointer]}}));
        let slack = of("slack");
        let user = of("slack-user");
        let crm = crm(json!({}));
        let nested = r#"{"ok":true,"access_token":"xoxb","scope":"a,b","authed_user":{"id":"U","access_token":"xoxp",
            "scope":"c","refresh_token":"xoxe"}}"#;
        let user_only = r#"{"ok":true,"authed_user":{"id":"U","access_token":"xoxp","scope":"c"}}"#;
        type Case<'a> = (&'a OAuth, u16, &'a [(&'a str, &'a str)], &'a str, (&'a str, Option<&'a str>, Option<&'a str>));
        let pointed = deep("/data/0");
        let cases: &[Case<'_>] = &[
            (&crm, 200, JSON, r#"{"access_token":"at","token_type":"Bearer","refresh_token":"rt","scope":"a b"}"#, ("at", Some("rt"), Some("a b"))),
            (&crm, 201, JSON, r#"{"access_token":"at"}"#, ("at", None, None)),
            (&crm, 200, &[], r#"{"access_token":"at","token_type":""}"#, ("at", None, None)),
            (&crm, 200, HTML, "\u{feff} {\"access_token\":\"at\",\"token_type\":7}", ("at", None, None)),
            (&crm, 200, JSON, r#"{"access_token":"at","scope":"a,b, c"}"#, ("at", None, Some("a b c"))),
            (&crm, 200, JSON, r#"{"access_token":"at","scope":["a","b"]}"#, ("at", None, Some("a b"))),
            (&crm, 200, JSON, r#"{"access_token":"at","scopes":["a","b c"]}"#, ("at", None, Some("a b c"))),
            (&crm, 200, JSON, r#"{"access_token":"at","scope":""}"#, ("at", None, None)),
            (&crm, 200, JSON, r#"{"access_token":"at","refresh_token":"","scope":null}"#, ("at", None, None)),
            (&crm, 200, JSON, r#"{"access_token":"at","refresh_token":null,"error":null}"#, ("at", None, None)),
            (&crm, 200, JSON, r#"{"access_token":"one","access_token":"two"}"#, ("two", None, None)),
            (&crm, 200, JSON, r#"{"access_token":"at","error":"","ok":true}"#, ("at", None, None)),
            (&crm, 200, FORM, "access_token=a%2Bt&scope=a%2Cb&token_type=bearer&refresh_token=rt", ("a+t", Some("rt"), Some("a b"))),
            (&crm, 200, &[("content-type", "text/plain")], "access_token=at\n", ("at", None, None)),
            (&pointed, 200, JSON, r#"{"data":[{"access_token":"at","refresh_token":"rt"}]}"#, ("at", Some("rt"), None)),
            (&slack, 200, JSON, nested, ("xoxb", None, Some("a b"))),
            (&slack, 200, JSON, user_only, ("xoxp", None, Some("c"))),
            (&user, 200, JSON, nested, ("xoxp", Some("xoxe"), Some("c"))),
            (&user, 200, JSON, r#"{"ok":true,"access_token":"xoxp2","refresh_token":"xoxe2"}"#, ("xoxp2", Some("xoxe2"), None)),
        ];
        for (oauth, status, headers, body, expected) in cases {
            let grant = refreshed(oauth, response(*status, headers, *body)).await.unwrap_or_else(|e| panic!("{body}: {e}"));
            let refresh_token = grant.refresh_token.as_ref().map(|token| token.expose().as_str());
            let scopes = grant.scopes.as_ref().map(|scopes| scopes.join(" "));
            assert_eq!((grant.access_token.expose().as_str(), refresh_token, scopes.as_deref()), *expected, "{body}");
        }
    }

    #[tokio::test]
    async fn lives_are_read_from_every_kind_of_number() {
        for (written, expected) in [
            ("3600", Some(3600)),
            ("\"3600\"", Some(3600)),
            ("\" 3600 \"", Some(3600)),
            ("3599.9", Some(3599)),
            ("1e3", Some(1000)),
            ("0", None),
            ("-1", None),
            ("\"-5\"", None),
            ("99999999999999999999", Some(315_360_000)),
            ("1e300", Some(315_360_000)),
            ("\"inf\"", Some(315_360_000)),
            ("\"NaN\"", None),
            ("\"soon\"", None),
            ("null", None),
            ("[3600]", None),
        ] {
            let body = format!(r#"{{"access_token":"at","expires_in":{written},"refresh_token_expires_in":{written}}}"#);
            let grant = refreshed(&crm(json!({})), response(200, JSON, body)).await.unwrap();
            assert_eq!(grant.expires_in, expected.map(Duration::from_secs), "{written}");
            assert_eq!(grant.refresh_expires_in, expected.map(Duration::from_secs), "{written}");
        }
    }

    #[tokio::test]
    async fn the_subject_of_an_id_token_is_kept() {
        // {"sub":"u-1"} between two parts that nobody reads.
        let body = r#"{"access_token":"at","id_token":"e30.eyJzdWIiOiJ1LTEifQ.x"}"#;
        let grant = refreshed(&crm(json!({})), response(200, JSON, body)).await.unwrap();
        assert_eq!(grant.id_token_subject.as_deref(), Some("u-1"));
        for odd in ["x", "a.b.c", "e30.e30.x", "..", "e30.eyJzdWIiOiJhXG5iIn0.x"] {
            let body = json!({"access_token": "at", "id_token": odd}).to_string();
            let grant = refreshed(&crm(json!({})), response(200, JSON, body)).await.unwrap();
            assert_eq!(grant.id_token_subject, None, "{odd}");
        }
    }
}

mod failures {
    use super::*;

    #[tokio::test]
    async fn a_dead_grant_is_told_by_invalid_grant_and_its_synonyms_alone() {
        let crm = crm(json!({"errors": {"invalid_grant": ["refresh_is_over"]}}));
        let (github, slack) = (of("github"), of("slack"));
        let cases: &[(&OAuth, u16, &[(&str, &str)], &str)] = &[
            (&crm, 400, JSON, r#"{"error":"invalid_grant","error_description":"expired"}"#),
            (&crm, 401, JSON, r#"{"error":"invalid_grant"}"#),
            (&crm, 403, JSON, r#"{"error":"invalid_grant"}"#),
            (&crm, 200, JSON, r#"{"error":"invalid_grant"}"#),
            (&crm, 400, &[], "\u{feff}{\"error\":\"invalid_grant\"}"),
            (&crm, 400, FORM, "error=invalid_grant&error_description=x"),
            (&crm, 400, JSON, r#"{"error":{"code":"invalid_grant","message":"x"}}"#),
            (&crm, 400, JSON, r#"{"error":{"type":"refresh_is_over"}}"#),
            (&crm, 400, JSON, r#"{"error":"invalid_grant","access_token":"x"}"#),
            (&github, 200, JSON, r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}"#),
            (&github, 200, FORM, "error=bad_refresh_token&error_uri=x"),
            (&slack, 200, JSON, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
            (&slack, 200, JSON, r#"{"ok":false,"error":"token_revoked"}"#),
            (&slack, 200, JSON, r#"{"ok":false,"error":"token_expired"}"#),
        ];
        for (oauth, status, headers, body) in cases {
            let found = kind(refreshed(oauth, response(*status, headers, *body)).await);
            assert!(matches!(found, Kind::InvalidGrant { .. }), "{status} {body}: {found:?}");
        }
    }

    #[tokio::test]
    async fn what_the_operator_must_mend_never_ends_a_grant() {
        let (crm, github, slack) = (crm(json!({})), of("github"), of("slack"));
        let cases: &[(&OAuth, u16, &[(&str, &str)], &str, &str)] = &[
            (&crm, 401, JSON, r#"{"error":"invalid_client"}"#, "invalid_client"),
            (&crm, 400, JSON, r#"{"error":"unauthorized_client"}"#, "unauthorized_client"),
            (&crm, 400, JSON, r#"{"error":"invalid_request"}"#, "invalid_request"),
            (&crm, 400, JSON, r#"{"error":"invalid_scope"}"#, "invalid_scope"),
            (&crm, 400, JSON, r#"{"error":"unsupported_grant_type"}"#, "unsupported_grant_type"),
            (&crm, 400, JSON, r#"{"error":"something_new"}"#, "something_new"),
            (&crm, 400, JSON, r#"{"error":"<b>\u0000secret</b>"}"#, "unrecognised"),
            (&crm, 400, JSON, r#"{"error":true}"#, "error"),
            (&crm, 401, JSON, "{}", "http_401"),
            (&crm, 401, HTML, "<h1>Unauthorized</h1>", "http_401"),
            (&crm, 401, &[], "", "http_401"),
            (&github, 200, JSON, r#"{"error":"incorrect_client_credentials"}"#, "incorrect_client_credentials"),
            (&github, 200, FORM, "error=redirect_uri_mismatch", "redirect_uri_mismatch"),
            (&slack, 200, JSON, r#"{"ok":false,"error":"bad_client_secret"}"#, "bad_client_secret"),
            (&slack, 200, JSON, r#"{"ok":false}"#, "not_ok"),
        ];
        for (oauth, status, headers, body, code) in cases {
            let found = kind(refreshed(oauth, response(*status, headers, *body)).await);
            assert_eq!(found, Kind::Client { code: (*code).to_owned() }, "{status} {body}");
        }
        let denied = kind(refreshed(&crm, response(400, JSON, r#"{"error":"access_denied"}"#)).await);
        assert_eq!(denied, Kind::Denied { code: "access_denied".into() });
    }

    #[tokio::test]
    async fn a_provider_out_of_order_or_its_mind_is_transient() {
        let (crm, slack) = (crm(json!({})), of("slack"));
        let nested = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        let long_token = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(100_000));
        let cases: &[(&OAuth, u16, &[(&str, &str)], &str)] = &[
            (&crm, 500, JSON, r#"{"error":"invalid_grant"}"#),
            (&crm, 502, HTML, "<html>Bad gateway"),
            (&crm, 503, &[], ""),
            (&crm, 504, JSON, "{"),
            (&crm, 429, JSON, r#"{"error":"invalid_grant"}"#),
            (&crm, 408, &[], ""),
            (&crm, 301, &[("location", "https://evil.example/")], ""),
            (&crm, 302, HTML, r#"{"access_token":"at"}"#),
            (&crm, 307, JSON, r#"{"access_token":"at"}"#),
            (&crm, 200, HTML, "<html>Sign in to the hotel's network</html>"),
            (&crm, 200, HTML, "access_token=at"),
            (&crm, 200, JSON, ""),
            (&crm, 200, JSON, "{}"),
            (&crm, 200, JSON, "[]"),
            (&crm, 200, JSON, "null"),
            (&crm, 200, JSON, "\"access_token=at\""),
            (&crm, 200, JSON, r#"{"access_token":"a"#),
            (&crm, 200, JSON, r#"{"access_token":"at"}garbage"#),
            (&crm, 200, JSON, r#"{"access_token":"a\u0000b"}"#),
            (&crm, 200, JSON, r#"{"access_token":"a\r\nX: y"}"#),
            (&crm, 200, JSON, r#"{"access_token":"ä"}"#),
            (&crm, 200, JSON, r#"{"access_token":" at"}"#),
            (&crm, 200, JSON, r#"{"access_token":""}"#),
            (&crm, 200, JSON, r#"{"access_token":7}"#),
            (&crm, 200, JSON, r#"{"access_token":"at","refresh_token":"a\nb"}"#),
            (&crm, 200, JSON, r#"{"access_token":"at","refresh_token":{}}"#),
            (&crm, 200, JSON, &nested),
            (&crm, 200, JSON, &long_token),
            (&crm, 200, FORM, "hello=world"),
            (&crm, 204, &[], ""),
            (&crm, 400, HTML, "<html>Bad request</html>"),
            (&crm, 403, HTML, "<html>Blocked</html>"),
            (&crm, 404, HTML, "<html>Not found</html>"),
            (&crm, 400, JSON, "{}"),
            (&crm, 400, JSON, r#"{"access_token":"at"}"#),
            (&crm, 400, JSON, r#"{"error":"temporarily_unavailable"}"#),
            (&crm, 400, JSON, r#"{"error":"server_error"}"#),
            (&slack, 200, JSON, r#"{"ok":false,"error":"internal_error"}"#),
            (&slack, 200, JSON, r#"{"ok":false,"error":"ratelimited"}"#),
            (&slack, 200, JSON, r#"{"ok":true,"authed_user":{"id":"U"}}"#),
        ];
        for (oauth, status, headers, body) in cases {
            let result = refreshed(oauth, response(*status, headers, *body)).await;
            let error = result.map(|_| ()).expect_err(body);
            assert!(error.is_transient(), "{status} {body:.60}: {error:?}");
            assert!(error.may_have_happened(), "{status} {body:.60}");
        }
    }

    #[tokio::test]
    async fn a_call_without_an_answer_is_transient_and_tells_whether_it_may_have_been_heard() {
        for (fault, heard) in [
            (Fault::Timeout, true),
            (Fault::TooLarge, true),
            (Fault::Protocol, true),
            (Fault::Connect, false),
            (Fault::Tls, false),
            (Fault::Refused, false),
        ] {
            let (client, _) = scripted(Err(TransportError { kind: fault }));
            let error = client.refresh(&crm(json!({})), &"rt".into(), &callback()).await.unwrap_err();
            assert_eq!(error.kind, Kind::Unavailable { fault, retry_after: None });
            assert_eq!((error.is_transient(), error.may_have_happened()), (true, heard), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_wait_is_kept_to_and_cut() {
        let date = ("date", "Mon, 23 Nov 2026 15:00:00 GMT");
        for (asked, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999", Some(900)),
            ("99999999999999999999999", Some(900)),
            ("Mon, 23 Nov 2026 15:02:00 GMT", Some(120)),
            ("Mon, 23 Nov 2026 14:00:00 GMT", Some(0)),
            ("Mon, 23 Nov 2126 15:02:00 GMT", Some(900)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let answer = response(429, &[("retry-after", asked), date], "");
            let expected = Kind::Unavailable { fault: Fault::Status, retry_after: expected.map(Duration::from_secs) };
            assert_eq!(kind(refreshed(&crm(json!({})), answer).await), expected, "{asked}");
        }
    }

    #[tokio::test]
    async fn no_error_holds_a_word_of_the_answer() {
        for (status, body) in [
            (200, r#"{"access_token":"hush"#),
            (200, r#"{"access_token":"hush\u0000","refresh_token":"hush"}"#),
            (400, r#"{"error":"invalid_grant","error_description":"hush"}"#),
            (400, r#"{"error":"hush!\n"}"#),
            (500, "hush"),
        ] {
            let error = refreshed(&crm(json!({})), response(status, JSON, body)).await.unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hush"), "{body}: {error:?}");
        }
        let grant = refreshed(&crm(json!({})), response(200, JSON, r#"{"access_token":"hush"}"#)).await.unwrap();
        assert!(!format!("{grant:?}").contains("hush"));
    }
}

mod revocation {
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
        let none = service("x", json!({"base_url": "https://x.example", "client_id": "i",
            "authorize_url": "https://x.example/a", "token_url": "https://x.example/t"}));
        let (result, script) = revoked(&none.oauth.unwrap(), TokenHint::Access, response(200, &[], "")).await;
        assert_eq!((result.unwrap(), script.requests.lock().len()), (Revocation::Unsupported, 0));
    }
}

mod identities {
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
}

proptest! {
    #[test]
    fn no_answer_panics_or_ends_a_grant_by_chance(
        status in 100_u16..600,
        content_type in "(application/json|text/html|application/x-www-form-urlencoded|[ -~]{0,20})",
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        json in r#"\{("(access_token|error|scope|expires_in|ok|authed_user)":("[a-z_]{0,6}"|-?[0-9]{0,30}|true|null|\{\}|\[\]),?){0,4}\}?"#,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for body in [noise, json.into_bytes()] {
            let mut answer = response(200, &[], body);
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            let value = http::HeaderValue::from_str(content_type.trim()).unwrap();
            answer.headers_mut().insert(header::CONTENT_TYPE, value);
            for oauth in [of("slack"), of("github"), of("gmail")] {
                let result = runtime.block_on(refreshed(&oauth, answer.clone()));
                if let Err(error) = result {
                    prop_assert!(!matches!(error.kind, Kind::InvalidGrant { .. }));
                }
            }
        }
    }
}
