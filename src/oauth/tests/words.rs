//! A refusal in a vendor's own words.

use super::*;

/// HubSpot, Fitbit, Strava, Zoho, Slack and Atlassian, as they answer a refresh token that has ended.
const VENDORS: &[&str] = &[
    r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token","correlationId":"c-1"}"#,
    r#"{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: r0"}],"success":false}"#,
    r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#,
    r#"{"error":"invalid_code"}"#,
    r#"{"ok":false,"error":"invalid_refresh_token"}"#,
    r#"{"ok":false,"error":"token_revoked"}"#,
    r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
    r#"{"error":"INVALID_GRANT"}"#,
    r#"{"error":true,"code":"invalid_grant"}"#,
];

#[tokio::test]
async fn vendors_own_words_end_a_grant_under_every_status_without_any_configuration() {
    let crm = crm(json!({}));
    for body in VENDORS {
        for status in [200, 400, 401, 403] {
            let found = kind(refreshed(&crm, response(status, JSON, *body)).await);
            assert!(matches!(found, Kind::InvalidGrant { .. }), "{status} {body}: {found:?}");
        }
    }
}

#[tokio::test]
async fn no_words_end_a_grant_while_the_provider_is_out_of_order() {
    let crm = crm(json!({}));
    for body in VENDORS {
        for (status, headers) in [(500, JSON), (503, JSON), (429, JSON), (302, JSON), (408, JSON)] {
            let error = refreshed(&crm, response(status, headers, *body)).await.map(|_| ()).unwrap_err();
            assert!(error.is_transient(), "{status} {body}: {error:?}");
        }
        let page = format!("<html>{body}</html>");
        let found = kind(refreshed(&crm, response(400, HTML, page)).await);
        assert!(matches!(found, Kind::Unavailable { .. }), "{body}: {found:?}");
    }
}

#[tokio::test]
async fn a_form_that_nobody_knows_is_no_refusal() {
    let crm = crm(json!({}));
    for body in [
        r#"{"status":"error","message":"upstream failure"}"#,
        r#"{"status":"error","category":"RATE_LIMITS","errorType":"RATE_LIMIT"}"#,
        r#"{"errors":[{"errorType":"system","message":"invalid_grant"}],"success":false}"#,
        r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"missing"}]}"#,
        r#"{"errors":[{"resource":"Athlete","field":"id","code":"invalid"}]}"#,
        r#"{"message":"invalid_grant"}"#,
        r#"{"status":"token_expired"}"#,
        r#"{"code":"invalid_code"}"#,
        r#"{"errors":["invalid_grant"]}"#,
        r#"{"errors":[]}"#,
    ] {
        for status in [200, 400, 403] {
            let error = refreshed(&crm, response(status, JSON, body)).await.map(|_| ()).unwrap_err();
            assert!(error.is_transient(), "{status} {body}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_token_beside_such_words_is_a_token() {
    let body = r#"{"access_token":"at","status":"invalid_grant","errors":[{"code":"invalid_grant"}]}"#;
    let oauth = crm(json!({"errors": {"token_error": ["/status"], "invalid_grant": ["invalid_grant"]}}));
    assert_eq!(refreshed(&oauth, response(200, JSON, body)).await.unwrap().access_token.expose(), "at");
}

#[tokio::test]
async fn the_client_is_blamed_in_vendors_forms_too() {
    let crm = crm(json!({}));
    for body in [
        r#"{"errors":[{"errorType":"invalid_client","message":"x"}],"success":false}"#,
        r#"{"message":"Bad Request","errors":[{"resource":"Application","field":"client_id","code":"invalid"}]}"#,
        r#"{"message":"Bad Request","errors":[{"resource":"Application","field":"client_secret","code":"invalid"}]}"#,
    ] {
        let found = kind(refreshed(&crm, response(400, JSON, body)).await);
        assert_eq!(found, Kind::Client { code: "invalid_client".into() }, "{body}");
    }
}

#[tokio::test]
async fn openids_words_for_a_person_who_must_sign_in_again_end_a_grant() {
    let crm = crm(json!({}));
    for word in ["interaction_required", "login_required", "consent_required", "account_selection_required"] {
        let body = json!({"error": word, "error_description": "AADSTS50076: …", "suberror": "basic_action"});
        let found = kind(refreshed(&crm, response(400, JSON, body.to_string())).await);
        assert_eq!(found, Kind::InvalidGrant { code: word.into() });
    }
}

#[tokio::test]
async fn pointers_and_words_of_the_configuration_are_believed() {
    let oauth = crm(json!({"errors": {
        "token_error": ["/fault/detail/*/code", "/error_description", "/reason"],
        "invalid_grant": ["TOKEN:GONE", "The session has ended", "access_denied"],
        "unavailable": ["TRY:LATER"],
    }}));
    for body in [
        r#"{"fault":{"detail":[{"code":"x"},{"code":"TOKEN:GONE"}]}}"#,
        r#"{"error":"invalid_request","error_description":"The session has ended"}"#,
        r#"{"error":"access_denied"}"#,
        r#"{"reason":"invalid_grant"}"#,
        r#"{"reason":"consent_required"}"#,
    ] {
        for status in [200, 400, 401, 403] {
            let found = kind(refreshed(&oauth, response(status, JSON, body)).await);
            assert!(matches!(found, Kind::InvalidGrant { .. }), "{status} {body}: {found:?}");
        }
    }
    let later = kind(refreshed(&oauth, response(400, JSON, r#"{"reason":"TRY:LATER"}"#)).await);
    assert_eq!(later, Kind::Unavailable { fault: Fault::SaysSo, retry_after: None });
    let other = kind(refreshed(&oauth, response(400, JSON, r#"{"reason":"something_new"}"#)).await);
    assert_eq!(other, Kind::Client { code: "something_new".into() });
    let nothing = kind(refreshed(&oauth, response(400, JSON, r#"{"cause":"TOKEN:GONE"}"#)).await);
    assert_eq!(nothing, Kind::Unavailable { fault: Fault::Garbage, retry_after: None });
}

#[tokio::test]
async fn a_token_of_a_type_that_no_bearer_header_carries_is_refused_by_name() {
    let crm = crm(json!({}));
    for name in ["DPoP", "dpop", "mac", "MAC", "PoP", "N_A"] {
        let body = json!({"access_token": "at", "token_type": name}).to_string();
        let error = refreshed(&crm, response(200, JSON, body)).await.map(|_| ()).unwrap_err();
        assert!(error.to_string().to_lowercase().contains(&name.to_lowercase()), "{error}");
        assert!(!error.is_transient() && error.may_have_happened(), "{error:?}");
    }
    for name in ["Bearer", "bearer", "BEARER", "bot", "user", "BearerToken", "Token", "api", "", "bearer "] {
        let body = json!({"access_token": "at", "token_type": name}).to_string();
        assert!(refreshed(&crm, response(200, JSON, body)).await.is_ok(), "{name}");
    }
}
