use std::{collections::BTreeSet, fmt::Write as _};

use http::{HeaderMap, header};

use super::*;
use crate::{
    caller::{self, Unauthenticated},
    connection::Unavailable,
    consent::Refused,
    id::RequestId,
};

const ID: &str = "00000000000000ab0000000000000001";

fn request_id() -> RequestId {
    RequestId::parse(ID).unwrap()
}

fn service() -> ServiceName {
    ServiceName::parse("github").unwrap()
}

fn link() -> Link {
    Link { url: "https://connect.example.com/connect/github?ticket=v1.abc".into(), expires_in: 600 }
}

fn auth_required(reason: Reason) -> Refusal {
    let (service, account) = (service(), Account::default());
    Refusal::auth_required(About { service: &service, title: "GitHub", account: &account }, reason, &link())
}

fn headers(refusal: &Refusal, accept: Option<&str>) -> HeaderMap {
    refusal.render(&request_id(), accept).headers().clone()
}

#[test]
fn auth_required_is_written_as_the_contract_has_it() {
    let answer = auth_required(Reason::NotConnected).render(&request_id(), None);
    assert_eq!(answer.status(), 401);
    let expected = concat!(
        r#"{"status":"auth_required","message":"Connect your GitHub account to continue","#,
        r#""auth_url":"https://connect.example.com/connect/github?ticket=v1.abc","service":"github","account":"default","#,
        r#""reason":"not_connected","expires_in":600,"retryable":false,"request_id":"00000000000000ab0000000000000001"}"#
    );
    assert_eq!(std::str::from_utf8(answer.body()).unwrap(), expected);
    assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Valetkey realm=\"github\", error=\"auth_required\"");
}

#[test]
fn each_reason_has_its_message() {
    let expired = "GitHub connection expired, please reconnect";
    for (reason, name, message) in [
        (Reason::NotConnected, "not_connected", "Connect your GitHub account to continue"),
        (Reason::Expired, "expired", expired),
        (Reason::Revoked, "revoked", expired),
        (Reason::RejectedByUpstream, "rejected_by_upstream", expired),
        (Reason::RefreshInterrupted, "refresh_interrupted", expired),
        (
            Reason::ApiKeyRetired,
            "api_key_retired",
            "API keys for GitHub are no longer used, please connect your account",
        ),
        (Reason::Pending, "pending", "GitHub connection waits for confirmation in the application"),
    ] {
        let refusal = auth_required(reason);
        assert_eq!(refusal.message, message);
        assert!(refusal.json(&request_id()).contains(&format!(r#""reason":"{name}""#)), "{name}");
    }
}

#[test]
fn every_code_is_there_once_and_every_refusal_is_whole() {
    let codes: BTreeSet<Code> = catalogue().iter().map(|kind| kind.refusal.code).collect();
    assert_eq!(codes, Code::ALL.into_iter().collect());
    let names: BTreeSet<&str> = Code::ALL.into_iter().map(Code::as_str).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for Kind { refusal, .. } in catalogue() {
        let body: Value = serde_json::from_str(&refusal.json(&request_id())).unwrap();
        assert_eq!(body["status"], refusal.code.as_str());
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert!(body["retryable"].is_boolean());
        assert_eq!(body["request_id"], ID);
        for accept in [None, Some("text/html")] {
            let headers = headers(&refusal, accept);
            assert_eq!(headers[STATUS], refusal.code.as_str());
            assert_eq!(headers[REQUEST_ID], ID);
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            assert_eq!(headers[header::VARY], "Authorization");
            assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}

#[test]
fn statuses_that_demand_a_header_have_it() {
    for Kind { refusal, .. } in catalogue() {
        let headers = headers(&refusal, None);
        assert_eq!(refusal.status == 401, headers.contains_key(header::WWW_AUTHENTICATE), "{:?}", refusal.code);
        let later = refusal.status == 429 || refusal.status == 503;
        assert_eq!(later, headers.contains_key(header::RETRY_AFTER), "{:?}", refusal.code);
    }
    let unauthenticated: Refusal = Unauthenticated::from(caller::Reason::Expired).into();
    assert_eq!(headers(&unauthenticated, None)[header::WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    assert!(unauthenticated.json(&request_id()).contains(r#""reason":"expired""#));
    assert_eq!(headers(&Refusal::unavailable(0), None)[header::RETRY_AFTER], "0");
}

#[test]
fn what_is_away_is_never_the_callers_fault() {
    let keys: Refusal = Unauthenticated::from(caller::Reason::KeysUnavailable).into();
    assert_eq!((keys.code, keys.retryable), (Code::Unavailable, true));
    for away in [Unavailable::Store, Unavailable::Keys, Unavailable::Busy] {
        assert_eq!(Refusal::from(away).code, Code::Unavailable);
    }
    for refused in [Refused::Malformed, Refused::NotAllowed] {
        assert_eq!(Refusal::from(refused).code, Code::BadRequest);
    }
}

#[test]
fn people_get_a_page_that_escapes_what_is_in_it() {
    let (service, account) = (service(), Account::default());
    let about = About { service: &service, title: "<b>Hub</b>", account: &account };
    let answer = Refusal::auth_required(about, Reason::NotConnected, &link()).render(&request_id(), Some("text/html"));
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let body = std::str::from_utf8(answer.body()).unwrap();
    assert!(!body.contains("<b>Hub"), "{body}");
    assert!(body.contains(r#"href="https://connect.example.com/connect/github?ticket=v1.abc""#), "{body}");
    assert!(body.contains(ID), "{body}");
}

#[test]
fn the_pages_style_is_the_one_that_its_policy_allows() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest, Sha256};
    let answer = Refusal::error().render(&request_id(), Some("text/html"));
    let body = std::str::from_utf8(answer.body()).unwrap();
    let (_, rest) = body.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains(&STANDARD.encode(Sha256::digest(style))), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

/// `docs/ERRORS.md` is made from the refusals themselves. `UPDATE_DOCS=1` writes it.
#[test]
fn the_documentation_lists_every_refusal_as_it_is() {
    let mut page = String::from(
        "# Errors\n\n\
         Answers that Valetkey makes itself carry `Valetkey-Status` and `Valetkey-Request-Id`; an answer without the former is\n\
         the upstream's. The body is JSON, or a page where `Accept` prefers `text/html`. Compare `status`; show `message` to a\n\
         person; try again by yourself only where `retryable` is true, and not before `Retry-After`.\n\n\
         This page is written by a test of `src/refusal/`, from the code.\n",
    );
    page.push_str(
        "\n| HTTP | `status` | when | try again | further members | headers |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for Kind { refusal, when } in catalogue() {
        let members: Vec<String> = refusal.member_names().map(|name| format!("`{name}`")).collect();
        let headers: Vec<String> = refusal
            .headers
            .iter()
            .map(|(name, value)| match *name {
                header::RETRY_AFTER => "`Retry-After`".to_owned(),
                header::ALLOW => "`Allow`".to_owned(),
                _ => format!("`WWW-Authenticate: {}`", value.to_str().unwrap()),
            })
            .collect();
        let retry = if refusal.retryable { "yes" } else { "no" };
        let row = [
            refusal.status.as_str(),
            &format!("`{}`", refusal.code.as_str()),
            when,
            retry,
            &members.join(", "),
            &headers.join(", "),
        ]
        .join(" | ");
        writeln!(page, "| {row} |").unwrap();
    }
    page.push_str("\n## Each in full\n");
    for Kind { refusal, .. } in catalogue() {
        let body: Value = serde_json::from_str(&refusal.json(&request_id())).unwrap();
        let name = refusal.code.as_str();
        let shown = serde_json::to_string_pretty(&body).unwrap();
        writeln!(page, "\n### {} `{name}`\n\n```json\n{shown}\n```", refusal.status.as_str()).unwrap();
    }
    page.push_str("\n## Reasons of `auth_required`\n\n| `reason` | message |\n| --- | --- |\n");
    for reason in [
        Reason::NotConnected,
        Reason::Expired,
        Reason::Revoked,
        Reason::RejectedByUpstream,
        Reason::RefreshInterrupted,
        Reason::ApiKeyRetired,
        Reason::Pending,
    ] {
        writeln!(page, "| `{}` | {} |", reason.name(), auth_required(reason).message).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ERRORS.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page, "run the test with UPDATE_DOCS=1");
}
