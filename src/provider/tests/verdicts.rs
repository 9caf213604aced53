//! What answers say of a credential.

use super::*;

fn head(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn judged(status: u16, headers: &[(&str, &str)]) -> Verdict {
    verdict(&service("crm", crm()), StatusCode::from_u16(status).unwrap(), &head(headers), None)
}

fn missing(scopes: &[&str]) -> Verdict {
    Verdict::MissingScopes { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect() }
}

#[test]
fn any_401_is_a_dead_token_and_any_429_a_limit() {
    assert_eq!(judged(401, &[]), Verdict::InvalidToken);
    assert_eq!(judged(401, &[("www-authenticate", "Bearer error=\"invalid_token\"")]), Verdict::InvalidToken);
    assert_eq!(judged(429, &[]), Verdict::RateLimited);
    for status in [200, 204, 301, 400, 403, 404, 500, 503] {
        assert_eq!(judged(status, &[]), Verdict::Fine, "{status}");
    }
}

#[test]
fn rfc_6750_insufficient_scope_is_understood_everywhere() {
    for status in [400, 401, 403] {
        for challenge in [
            "Bearer error=\"insufficient_scope\", scope=\"a b\"",
            "Bearer realm=\"x, y\", scope=\"a b\", error=insufficient_scope",
            "DPoP realm=x, Bearer ERROR=\"insufficient_scope\",scope=\"a b\"",
        ] {
            assert_eq!(judged(status, &[("www-authenticate", challenge)]), missing(&["a", "b"]), "{challenge}");
        }
    }
    let two = [("www-authenticate", "Basic realm=x"), ("www-authenticate", "Bearer error=insufficient_scope")];
    assert_eq!(judged(403, &two), missing(&[]));
    assert_eq!(judged(200, &two), Verdict::Fine);
    assert_eq!(judged(403, &[("www-authenticate", "Bearer realm=\"error=insufficient_scope\"")]), Verdict::Fine);
}

#[test]
fn a_body_is_wanted_only_where_a_sign_needs_it() {
    let wants = |service: &Service, status: u16, content_type: &str, more: &[(&str, &str)]| {
        let headers = head(&[&[("content-type", content_type)], more].concat());
        wants_body(service, StatusCode::from_u16(status).unwrap(), &headers).is_some()
    };
    let (slack, google, crm) = (
        service("slack", json!({"client_id": "i", "client_secret": "s"})),
        service("gmail", json!({"client_id": "i", "client_secret": "s"})),
        service("crm", crm()),
    );
    assert!(wants(&slack, 200, "application/json; charset=utf-8", &[]));
    assert!(!wants(&slack, 200, "text/event-stream", &[]));
    assert!(!wants(&slack, 200, "image/png", &[]));
    assert!(wants(&slack, 200, "application/json", &[("content-encoding", "gzip")]));
    assert!(!wants(&slack, 200, "application/json", &[("content-encoding", "compress")]));
    assert!(!wants(&slack, 500, "application/json", &[]));
    assert!(wants(&google, 403, "application/json", &[]));
    assert!(!wants(&google, 200, "application/json", &[]));
    assert!(!wants(&crm, 403, "application/json", &[]));
    assert_eq!((slack.signs.look_at_bodies(), crm.signs.look_at_bodies()), (true, false));
}

#[test]
fn only_signs_that_name_the_status_and_need_a_body_leave_it_open_what_an_answer_without_one_says() {
    let sign = |status: u16| json!({ "status": status, "pointer": "/error", "values": ["no_scope"] });
    let mut fields = crm();
    fields["errors"] = json!({ "missing_scopes": [sign(401)], "rate_limited": [sign(403)] });
    let service = service("crm", fields);
    let open = |status| is_open_without_body(&service, StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
    assert_eq!([401, 403, 400, 200].map(open), [true, true, false, false]);
}

#[test]
fn a_cut_body_is_judged_by_what_is_there() {
    let slack = service("slack", json!({"client_id": "i", "client_secret": "s"}));
    let judge = |body: &str| verdict(&slack, StatusCode::OK, &HeaderMap::new(), Some(body.as_bytes()));
    assert_eq!(judge(r#"{"ok":false,"error":"token_revoked","response_metadata":{"mess"#), Verdict::InvalidToken);
    assert_eq!(judge(r#"{"ok":false,"error":"missing_scope","needed":"chat:write","pro"#), missing(&["chat:write"]));
    assert_eq!(judge(r#"{"ok":true,"error":"token_revoked"}"#), Verdict::Fine);
    assert_eq!(judge(r#"{"ok":false,"message":{"error":"token_revoked"}}"#), Verdict::Fine);
    let long = format!(r#"{{"ok":false,"error":"token_revoked","x":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(judge(&long), Verdict::InvalidToken);
}

proptest! {
    #[test]
    fn no_answer_panics(
        status in 100_u16..600,
        challenge in "[ -~]{0,60}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
        json in r#"[\[\]{}":,0-9a-z\\ ]{0,80}"#,
    ) {
        let status = StatusCode::from_u16(status).unwrap();
        let headers = head(&[("www-authenticate", challenge.trim()), ("content-type", "application/json")]);
        for name in ["slack", "gmail", "github"] {
            let service = service(name, json!({"client_id": "i", "client_secret": "s"}));
            wants_body(&service, status, &headers);
            verdict(&service, status, &headers, Some(&body));
            verdict(&service, status, &headers, Some(json.as_bytes()));
        }
    }
}
