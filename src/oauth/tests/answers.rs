//! Every odd form of a granted token.

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
        (
            &crm,
            200,
            JSON,
            r#"{"access_token":"at","token_type":"Bearer","refresh_token":"rt","scope":"a b"}"#,
            ("at", Some("rt"), Some("a b")),
        ),
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
        (
            &crm,
            200,
            FORM,
            "access_token=a%2Bt&scope=a%2Cb&token_type=bearer&refresh_token=rt",
            ("a+t", Some("rt"), Some("a b")),
        ),
        (&crm, 200, &[("content-type", "text/plain")], "access_token=at\n", ("at", None, None)),
        (&pointed, 200, JSON, r#"{"data":[{"access_token":"at","refresh_token":"rt"}]}"#, ("at", Some("rt"), None)),
        (&slack, 200, JSON, nested, ("xoxb", None, Some("a b"))),
        (&slack, 200, JSON, user_only, ("xoxp", None, Some("c"))),
        (&user, 200, JSON, nested, ("xoxp", Some("xoxe"), Some("c"))),
        (
            &user,
            200,
            JSON,
            r#"{"ok":true,"access_token":"xoxp2","refresh_token":"xoxe2"}"#,
            ("xoxp2", Some("xoxe2"), None),
        ),
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

#[tokio::test]
async fn an_end_is_as_good_as_a_life() {
    let dated = &[("content-type", "application/json"), ("date", "Mon, 23 Nov 2026 15:00:00 GMT")];
    let now = 1_795_446_000_u64;
    for (written, expected) in [
        (json!(now + 3600), Some(3600)),
        (json!((now + 3600).to_string()), Some(3600)),
        (json!((now + 3600) * 1000 + 500), Some(3600)),
        (json!(((now + 3600) * 1000).to_string()), Some(3600)),
        (json!("2026-11-23T16:00:00Z"), Some(3600)),
        (json!("2026-11-23T17:00:00.250+01:00"), Some(3600)),
        (json!("Mon, 23 Nov 2026 16:00:00 GMT"), Some(3600)),
        (json!(now - 5), None),
        (json!("2020-01-01T00:00:00Z"), None),
        (json!(0), None),
        (json!(-1), None),
        (json!(1e300), Some(315_360_000)),
        (json!("never"), None),
        (json!(null), None),
    ] {
        let body = json!({"access_token": "at", "expires_at": written, "refresh_token_expires_at": written});
        let grant = refreshed(&crm(json!({})), response(200, dated, body.to_string())).await.unwrap();
        assert_eq!(grant.expires_in, expected.map(Duration::from_secs), "{written}");
        assert_eq!(grant.refresh_expires_in, expected.map(Duration::from_secs), "{written}");
    }
    let both = json!({"access_token": "at", "expires_at": now + 9, "expires_in": 60}).to_string();
    let grant = refreshed(&crm(json!({})), response(200, dated, both)).await.unwrap();
    assert_eq!(grant.expires_in, Some(Duration::from_secs(60)), "no clocks are compared where a life is told");
}
