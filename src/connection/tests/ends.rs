//! Facts of when a connection will end by itself, and of what is no end because Valetkey prevents it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    clock::Timestamp,
    connection::{
        Connection, EndReason, Reason,
        record::{
            change::Change,
            form::{Record, RefreshLife},
            view::view,
        },
    },
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth::{Grant, Identity},
    provider::{Service, testing::service},
    secret::SecretString,
    store::Version,
};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
const CONSENT: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// A service whose provider has these limits.
fn crm(limits: Value) -> Service {
    let mut fields = json!({
        "base_url": "https://crm.example/api", "authorize_url": "https://crm.example/authorize",
        "token_url": "https://crm.example/token", "client_id": "client", "client_secret": "s",
    });
    fields.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    service("crm", fields)
}

/// A token answer.
fn answer(refresh: Option<&str>, life: Option<Duration>, told: Option<Duration>) -> Grant {
    Grant {
        access_token: "a".into(),
        refresh_token: refresh.map(Into::into),
        expires_in: life,
        scopes: None,
        refresh_expires_in: told,
        id_token_subject: None,
    }
}

fn connected(grant: Grant) -> Record {
    let (issuer, subject) = (Issuer::parse("https://app.example/").unwrap(), Subject::parse("ada").unwrap());
    let name = ServiceName::parse("crm").unwrap();
    let id = ConnectionId { caller: CallerId { issuer, subject }, service: name, account: Account::default() };
    consent(Record::empty(id), grant, CONSENT)
}

fn consent(record: Record, grant: Grant, at: Timestamp) -> Record {
    let identity = Some(Identity { id: "42".into(), label: None });
    let client = Some("client".into());
    record.apply(Change::Connected { grant, identity, requested: vec![], client }, at, Version(at.micros())).unwrap()
}

fn renewed(record: Record, grant: Grant, at: Timestamp) -> Record {
    let change = Change::Refreshed { grant, asked: Version(at.micros()), contested: false };
    record.apply(change, at, Version(at.micros())).unwrap()
}

/// Seen at `now`, last used then.
fn seen(record: &Record, service: &Service, now: Timestamp, last_used: Option<Timestamp>) -> Connection {
    let mut connection = view(record, Some(service), now);
    connection.last_used_at = last_used;
    connection.foresee(Some(service), now);
    connection
}

/// How long after the consent it ends, and why.
fn end(record: &Record, service: &Service, last_used: Option<Timestamp>) -> Option<(Duration, EndReason)> {
    let now = record.refreshed_at.max(record.connected_at).unwrap();
    let end = seen(record, service, now, last_used).end(Some(service), now)?;
    Some((end.at.since(CONSENT), end.reason))
}

#[test]
fn an_access_token_that_nothing_renews_ends_the_connection() {
    let service = crm(json!({}));
    assert_eq!(end(&connected(answer(None, Some(HOUR), None)), &service, None), Some((HOUR, EndReason::AccessToken)));
    assert_eq!(end(&connected(answer(None, None, None)), &service, None), None, "nothing tells of an end");
    assert_eq!(end(&connected(answer(Some("r"), Some(HOUR), None)), &service, None), None, "the healer renews it");
    let other = service_of_another_client();
    let renewable = connected(answer(Some("r"), Some(HOUR), None));
    assert_eq!(end(&renewable, &other, None), Some((HOUR, EndReason::AccessToken)), "this client may not renew it");
    let gone = view(&renewable, None, CONSENT);
    assert_eq!(gone.end(None, CONSENT).map(|end| end.at), Some(CONSENT.plus(HOUR)), "no longer configured");
}

fn service_of_another_client() -> Service {
    crm(json!({"client_id": "another"}))
}

#[test]
fn a_refresh_token_ends_it_where_renewing_does_not_put_that_off() {
    let service = crm(json!({"refresh_token_expires_in": "30d"}));
    let first = connected(answer(Some("r1"), Some(HOUR), None));
    assert_eq!(end(&first, &service, None), None, "nobody knows yet whether the first renewal brings another");
    let later = CONSENT.plus(HOUR);
    let rotates = renewed(first.clone(), answer(Some("r2"), Some(HOUR), None), later);
    assert_eq!(end(&rotates, &service, None), None, "each renewal brings a new one");
    for same in [None, Some("r1")] {
        let stays = renewed(first.clone(), answer(same, Some(HOUR), None), later);
        assert_eq!(end(&stays, &service, None), Some((DAY * 30, EndReason::RefreshToken)), "{same:?}");
    }
    let stays = renewed(first.clone(), answer(None, Some(HOUR), None), later);
    assert_eq!(end(&stays, &crm(json!({})), None), None, "no limit is known");
    assert_eq!(end(&first, &crm(json!({"refresh_token_expires_in": "10m"})), None).unwrap().1, EndReason::RefreshToken);
}

#[test]
fn what_the_answer_says_of_the_refresh_token_wins() {
    let service = crm(json!({"refresh_token_expires_in": "30d"}));
    let first = connected(answer(Some("r1"), Some(HOUR), Some(DAY * 7)));
    // As Google's time-limited grants: the same token, and each answer tells what is left, to the second.
    let left = DAY * 7 - HOUR + Duration::from_secs(1);
    let fixed = renewed(first.clone(), answer(None, Some(HOUR), Some(left)), CONSENT.plus(HOUR));
    assert_eq!(end(&fixed, &service, None), Some((DAY * 7 + Duration::from_secs(1), EndReason::RefreshToken)));
    // As a chain of tokens that all end on one day.
    let chain = renewed(first.clone(), answer(Some("r2"), Some(HOUR), Some(left)), CONSENT.plus(HOUR));
    assert_eq!(end(&chain, &service, None).unwrap().1, EndReason::RefreshToken);
    // One whose end moves, though it is the same token.
    let sliding = renewed(first, answer(None, Some(HOUR), Some(DAY * 7)), CONSENT.plus(HOUR));
    assert_eq!(end(&sliding, &service, None), None);
    // Two answers within a minute say nothing new.
    let soon = renewed(sliding, answer(None, Some(HOUR), Some(DAY * 7)), CONSENT.plus(HOUR));
    assert_eq!(end(&soon, &service, None), None);
}

#[test]
fn where_nothing_is_renewed_ahead_of_time_the_refresh_token_ends_it_and_not_before_the_access_token() {
    let service = crm(json!({}));
    let unknown = connected(answer(Some("r"), None, Some(DAY * 30)));
    assert_eq!(end(&unknown, &service, None), Some((DAY * 30, EndReason::RefreshToken)));
    // The healer comes a day before the access token's end, and is refused.
    let outlived = connected(answer(Some("r"), Some(DAY * 60), Some(DAY * 30)));
    let (at, _) = end(&outlived, &service, None).unwrap();
    assert!(at > DAY * 58 && at < DAY * 60, "{at:?}");
}

#[test]
fn a_grant_ends_so_long_after_its_consent_whatever_is_done() {
    let service = crm(json!({"grant_lifetime": "7d"}));
    let record = connected(answer(Some("r"), Some(HOUR), None));
    let expected = Some((DAY * 7, EndReason::Consent));
    assert_eq!(end(&record, &service, None), expected);
    let used = renewed(record.clone(), answer(Some("r2"), Some(HOUR), None), CONSENT.plus(DAY * 6));
    assert_eq!(end(&used, &service, Some(CONSENT.plus(DAY * 6))), expected);
    let again = consent(used, answer(Some("r3"), Some(HOUR), None), CONSENT.plus(DAY * 6));
    assert_eq!(end(&again, &service, None), Some((DAY * 13, EndReason::Consent)), "a new consent begins anew");
    let alive = renewed(record, answer(Some("r2"), Some(HOUR), None), CONSENT.plus(DAY * 8));
    assert_eq!(end(&alive, &service, None), None, "it lives on, so it has no such end");
}

#[test]
fn what_is_not_used_ends_unless_a_renewal_counts_as_use() {
    let service = crm(json!({"idle_lifetime": "365d"}));
    let lasting = connected(answer(None, None, None));
    assert_eq!(end(&lasting, &service, None), Some((DAY * 365, EndReason::Unused)));
    let used = Some(CONSENT.plus(DAY * 10));
    assert_eq!(end(&lasting, &service, used), Some((DAY * 375, EndReason::Unused)), "a call is a proof of life");
    assert_eq!(end(&connected(answer(Some("r"), Some(HOUR), None)), &service, None), None, "it is renewed each hour");
    let slow = crm(json!({"idle_lifetime": "30d"}));
    let record = connected(answer(Some("r"), Some(DAY * 60), None));
    assert_eq!(end(&record, &slow, None), Some((DAY * 30, EndReason::Unused)), "the first renewal comes too late");
    assert_eq!(end(&record, &slow, Some(CONSENT.plus(DAY * 40))), None, "and after this use in time");
}

#[test]
fn the_earliest_end_counts() {
    let service = crm(json!({"grant_lifetime": "30d", "idle_lifetime": "10d", "refresh_token_expires_in": "20d"}));
    let record = connected(answer(Some("r"), None, None));
    assert_eq!(end(&record, &service, None), Some((DAY * 10, EndReason::Unused)));
    let used = Some(CONSENT.plus(DAY * 15));
    assert_eq!(end(&record, &service, used), Some((DAY * 20, EndReason::RefreshToken)));
}

#[test]
fn what_is_lost_or_goes_on_with_a_key_has_no_end() {
    let limits = json!({"grant_lifetime": "7d"});
    let service = crm(limits.clone());
    let record = connected(answer(Some("r"), Some(HOUR), None));
    let lost = record.clone().apply(Change::Invalidated(Reason::Revoked), CONSENT, Version(9)).unwrap();
    assert_eq!(end(&lost, &service, None), None);
    let gone = record.clone().apply(Change::Disconnected, CONSENT, Version(9)).unwrap();
    assert_eq!(view(&gone, Some(&service), CONSENT).expected_end, None);
    let both = record.apply(Change::KeyStored(SecretString::from("k")), CONSENT, Version(9)).unwrap();
    assert_eq!(end(&both, &service, None), None, "calls go on with the key");
    let mut retired = limits;
    retired["api_keys"] = json!({"phase": "retired"});
    assert_eq!(end(&both, &crm(retired), None), Some((DAY * 7, EndReason::Consent)), "no longer");
    let refused = both.apply(Change::KeyRefused, CONSENT, Version(10)).unwrap();
    assert_eq!(end(&refused, &service, None), Some((DAY * 7, EndReason::Consent)));
}

#[test]
fn a_refresh_tokens_life_goes_with_the_token() {
    let record = connected(answer(Some("r1"), Some(HOUR), Some(DAY)));
    let life = |record: &Record| record.grant.as_ref().unwrap().refresh_life;
    let begun = RefreshLife { received_at: Some(CONSENT), expires_at: Some(CONSENT.plus(DAY)), is_fixed: false };
    assert_eq!(life(&record), begun);
    let later = CONSENT.plus(HOUR * 2);
    let kept = consent(record.clone(), answer(None, Some(HOUR), None), later);
    assert_eq!(life(&kept), begun, "a second consent left it in force");
    let other = consent(record.clone(), answer(Some("r9"), Some(HOUR), None), later);
    assert_eq!(life(&other), RefreshLife { received_at: Some(later), ..RefreshLife::default() });
    let none = connected(answer(None, Some(HOUR), Some(DAY)));
    assert_eq!(life(&none), RefreshLife::default(), "no token, no life");
    let rotated = renewed(record, answer(Some("r2"), Some(HOUR), None), later);
    assert_eq!(life(&rotated), RefreshLife { received_at: Some(later), ..RefreshLife::default() });
}
