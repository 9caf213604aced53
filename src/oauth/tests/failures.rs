//! Every failure, and who can mend it.

use super::*;

/// Who answers, with which status, headers and body.
type Case<'a> = (&'a OAuth, u16, &'a [(&'a str, &'a str)], &'a str);

#[tokio::test]
async fn a_dead_grant_is_told_by_invalid_grant_and_its_synonyms_alone() {
    let crm = crm(json!({"errors": {"invalid_grant": ["refresh_is_over"]}}));
    let (github, slack) = (of("github"), of("slack"));
    let cases: &[Case<'_>] = &[
        (&crm, 400, JSON, r#"{"error":"invalid_grant","error_description":"expired"}"#),
        (&crm, 401, JSON, r#"{"error":"invalid_grant"}"#),
        (&crm, 403, JSON, r#"{"error":"invalid_grant"}"#),
        (&crm, 200, JSON, r#"{"error":"invalid_grant"}"#),
        (&crm, 400, &[], "\u{feff}{\"error\":\"invalid_grant\"}"),
        (&crm, 400, FORM, "error=invalid_grant&error_description=x"),
        (&crm, 400, JSON, r#"{"error":{"code":"invalid_grant","message":"x"}}"#),
        (&crm, 400, JSON, r#"{"error":{"type":"refresh_is_over"}}"#),
        (&crm, 400, JSON, r#"{"error":"invalid_grant","access_token":"x"}"#),
        (
            &github,
            200,
            JSON,
            r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}"#,
        ),
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
    let cases: &[(Case<'_>, &str)] = &[
        ((&crm, 401, JSON, r#"{"error":"invalid_client"}"#), "invalid_client"),
        ((&crm, 400, JSON, r#"{"error":"unauthorized_client"}"#), "unauthorized_client"),
        ((&crm, 400, JSON, r#"{"error":"invalid_request"}"#), "invalid_request"),
        ((&crm, 400, JSON, r#"{"error":"invalid_scope"}"#), "invalid_scope"),
        ((&crm, 400, JSON, r#"{"error":"unsupported_grant_type"}"#), "unsupported_grant_type"),
        ((&crm, 400, JSON, r#"{"error":"something_new"}"#), "something_new"),
        ((&crm, 400, JSON, r#"{"error":"<b>\u0000secret</b>"}"#), "unrecognised"),
        ((&crm, 400, JSON, r#"{"error":true}"#), "error"),
        ((&crm, 401, JSON, "{}"), "http_401"),
        ((&crm, 401, HTML, "<h1>Unauthorized</h1>"), "http_401"),
        ((&crm, 401, &[], ""), "http_401"),
        ((&github, 200, JSON, r#"{"error":"incorrect_client_credentials"}"#), "incorrect_client_credentials"),
        ((&github, 200, FORM, "error=redirect_uri_mismatch"), "redirect_uri_mismatch"),
        ((&slack, 200, JSON, r#"{"ok":false,"error":"bad_client_secret"}"#), "bad_client_secret"),
        ((&slack, 200, JSON, r#"{"ok":false}"#), "not_ok"),
    ];
    for ((oauth, status, headers, body), code) in cases {
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
    let cases: &[Case<'_>] = &[
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
        assert_eq!(error.may_have_happened(), !matches!(*status, 429 | 503), "{status} {body:.60}");
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
        let expected = Kind::Unavailable { fault: Fault::TooMany, retry_after: expected.map(Duration::from_secs) };
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
