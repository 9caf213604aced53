//! Facts of how a record changes: each line of `state`'s table.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    connection::{
        Reason,
        record::change::Change,
        record::form::{Mark, Record},
    },
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth::{Grant, Identity},
};

const NOW: Timestamp = Timestamp::from_seconds(5_000);
const HOUR: Duration = Duration::from_secs(3600);

fn empty() -> Record {
    let (issuer, subject) = (Issuer::parse("https://app.example/").unwrap(), Subject::parse("ada").unwrap());
    let service = ServiceName::parse("crm").unwrap();
    Record::empty(ConnectionId { caller: CallerId { issuer, subject }, service, account: Account::default() })
}

fn grant(access: &str, refresh: Option<&str>, scopes: Option<&[&str]>) -> Grant {
    Grant {
        access_token: access.into(),
        refresh_token: refresh.map(Into::into),
        expires_in: Some(HOUR),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        refresh_expires_in: None,
        id_token_subject: None,
    }
}

fn consent(grant: Grant, requested: &[&str]) -> Change {
    consent_of(Some("42"), "client", grant, requested)
}

fn consent_of(account: Option<&str>, client: &str, grant: Grant, requested: &[&str]) -> Change {
    let identity = account.map(|id| Identity { id: id.into(), label: None });
    let requested = requested.iter().map(|scope| (*scope).to_owned()).collect();
    Change::Connected { grant, identity, requested, client: Some(client.into()) }
}

/// Connected at `NOW` as version 10.
fn connected() -> Record {
    empty().apply(consent(grant("a1", Some("r1"), Some(&["contacts"])), &[]), NOW, 10)
}

fn mark(spends: u64) -> Mark {
    Mark { holder: "p1".into(), spends, at: Some(1), settled: false }
}

/// Lost, marked, given up: everything that a new consent must undo.
fn ruined() -> Record {
    let lost = connected().apply(Change::Invalidated(Reason::Revoked), NOW, 11);
    lost.apply(Change::RefreshStarted(mark(10)), NOW, 12)
}

fn tokens(record: &Record) -> (&str, Option<&str>) {
    let grant = record.grant.as_ref().unwrap();
    (grant.access_token.expose(), grant.refresh_token.as_ref().map(|token| token.expose().as_str()))
}

#[test]
fn a_consent_makes_a_record_whole() {
    let record = connected();
    let grant = record.grant.as_ref().unwrap();
    assert_eq!(tokens(&record), ("a1", Some("r1")));
    assert_eq!((grant.issued_at, grant.expires_at, grant.generation), (Some(NOW), Some(NOW.plus(HOUR)), 10));
    assert_eq!((record.connected_at, record.refreshed_at, record.invalid), (Some(NOW), None, None));
}

#[test]
fn a_new_consent_undoes_a_loss_a_mark_and_a_farewell() {
    for before in [ruined(), connected().apply(Change::Disconnected, NOW, 11)] {
        let record = before.apply(consent(grant("a2", None, None), &[]), NOW, 20);
        assert_eq!(tokens(&record), ("a2", None), "an old refresh token belongs to the old grant");
        assert_eq!((record.invalid, record.invalidated_at, record.mark), (None, None, None));
        assert!(record.farewell.is_none());
    }
}

#[test]
fn a_second_consent_without_a_refresh_token_keeps_that_of_the_same_account_and_client() {
    let again = |account, client| consent_of(account, client, grant("a2", None, None), &[]);
    let kept = connected().apply(again(Some("42"), "client"), NOW, 20);
    assert_eq!(tokens(&kept), ("a2", Some("r1")));
    for (account, client) in [(Some("43"), "client"), (None, "client"), (Some("42"), "other")] {
        let record = connected().apply(again(account, client), NOW, 20);
        assert_eq!(tokens(&record), ("a2", None), "{account:?} {client}");
    }
    let unknown_before = empty().apply(consent_of(None, "client", grant("a1", Some("r1"), None), &[]), NOW, 10);
    assert_eq!(tokens(&unknown_before.apply(again(Some("42"), "client"), NOW, 20)), ("a2", None));
    let newer = connected().apply(consent(grant("a2", Some("r2"), None), &[]), NOW, 20);
    assert_eq!(tokens(&newer), ("a2", Some("r2")));
    let interrupted =
        connected().apply(Change::RefreshStarted(mark(10)), NOW, 11).apply(again(Some("42"), "client"), NOW, 20);
    assert_eq!(interrupted.mark, Some(mark(20)), "the token that is kept may be spent");
}

#[test]
fn what_was_asked_for_is_remembered_where_the_provider_names_scopes_otherwise() {
    let unnamed = |record: &Record| record.grant.as_ref().unwrap().unnamed.clone();
    let asked = ["offline_access", "https://graph.example/Mail.Read", "a"];
    let record = empty().apply(consent(grant("a1", Some("r1"), Some(&["Mail.Read", "a"])), &asked), NOW, 10);
    assert_eq!(unnamed(&record), ["https://graph.example/Mail.Read", "offline_access"]);
    let refreshed = |record: Record, scopes: Option<&[&str]>| {
        let change = Change::Refreshed { grant: grant("a2", None, scopes), asked: 10, contested: false };
        record.apply(change, NOW, 11)
    };
    for scopes in [None, Some(&["Mail.Read", "a"][..]), Some(&["b"][..])] {
        assert_eq!(unnamed(&refreshed(record.clone(), scopes)), unnamed(&record), "{scopes:?}");
    }
    assert_eq!(unnamed(&refreshed(record.clone(), Some(&["offline_access"]))), ["https://graph.example/Mail.Read"]);
    let asked_for_less = record.apply(consent(grant("a3", None, Some(&["a"])), &["a"]), NOW, 20);
    assert!(unnamed(&asked_for_less).is_empty(), "only the latest consent counts");
}

#[test]
fn a_part_of_what_was_asked_for_is_all_that_was_granted() {
    let record = empty().apply(consent(grant("a1", Some("r1"), Some(&["a"])), &["a", "b", "offline_access"]), NOW, 10);
    let grant = record.grant.unwrap();
    assert_eq!(grant.unnamed, ["offline_access"]);
    assert_eq!(grant.scopes, Some(vec!["a".to_owned()]));
}

#[test]
fn what_was_asked_for_was_granted_where_the_provider_does_not_say() {
    let scopes = |grant, requested: &[&str]| empty().apply(consent(grant, requested), NOW, 1).grant.unwrap().scopes;
    assert_eq!(scopes(grant("a", None, None), &["asked"]), Some(vec!["asked".to_owned()]));
    assert_eq!(scopes(grant("a", None, Some(&["given"])), &["asked"]), Some(vec!["given".to_owned()]));
    assert_eq!(scopes(grant("a", None, None), &[]), None);
}

#[test]
fn a_refresh_without_a_refresh_token_or_scopes_leaves_them_as_they_were() {
    let record = connected().apply(
        Change::Refreshed { grant: grant("a2", None, None), asked: 10, contested: false },
        NOW.plus(HOUR),
        11,
    );
    assert_eq!(tokens(&record), ("a2", Some("r1")));
    let grant = record.grant.as_ref().unwrap();
    assert_eq!(grant.scopes, Some(vec!["contacts".to_owned()]));
    assert_eq!((grant.generation, grant.expires_at), (11, Some(NOW.plus(HOUR * 2))));
    assert_eq!((record.connected_at, record.refreshed_at), (Some(NOW), Some(NOW.plus(HOUR))));
}

#[test]
fn a_refresh_with_a_refresh_token_drops_the_old_one_and_heals_what_was_marked() {
    let record = ruined().apply(
        Change::Refreshed { grant: grant("a2", Some("r2"), Some(&["less"])), asked: 12, contested: false },
        NOW,
        13,
    );
    assert_eq!(tokens(&record), ("a2", Some("r2")));
    assert_eq!((record.invalid, record.invalidated_at, record.mark.as_ref()), (None, None, None));
    assert_eq!(record.grant.unwrap().scopes, Some(vec!["less".to_owned()]));
}

#[test]
fn a_mark_stays_until_the_outcome_is_known() {
    let marked = connected().apply(Change::RefreshStarted(mark(10)), NOW, 11);
    assert_eq!(marked.mark, Some(mark(10)));
    assert_eq!(marked.grant.as_ref().unwrap().generation, 10, "the token in use is the same one");
    let unknown = marked.clone().apply(Change::RefreshUnknown, NOW, 12);
    assert_eq!(unknown.mark, Some(Mark { settled: true, ..mark(10) }));
    assert_eq!(marked.apply(Change::RefreshUnspent, NOW, 12).mark, None);
}

#[test]
fn a_loss_keeps_the_grant_and_says_why_and_when() {
    let marked = connected().apply(Change::RefreshStarted(mark(10)), NOW, 11);
    let record = marked.apply(Change::Invalidated(Reason::RefreshInterrupted), NOW.plus(HOUR), 12);
    assert_eq!((record.invalid, record.invalidated_at), (Some(Reason::RefreshInterrupted), Some(NOW.plus(HOUR))));
    assert!(record.grant.is_some() && record.mark.is_none());
}

#[test]
fn a_disconnect_keeps_only_what_is_to_be_revoked() {
    let with_key = ruined().apply(Change::KeyStored("key".into()), NOW, 13);
    let record = with_key.apply(Change::Disconnected, NOW, 14);
    assert!(record.grant.is_none() && record.api_key.is_none() && record.identity.is_none() && record.mark.is_none());
    let farewell = record.farewell.as_ref().unwrap();
    assert_eq!((farewell.attempts, farewell.grant.access_token.expose().as_str()), (0, "a1"));
    assert_eq!(record.apply(Change::FarewellFailed, NOW, 15).farewell.unwrap().attempts, 1);
}

#[test]
fn a_disconnect_of_a_mere_key_leaves_nothing_to_revoke() {
    let record = empty().apply(Change::KeyStored("key".into()), NOW, 1).apply(Change::Disconnected, NOW, 2);
    assert!(record.farewell.is_none() && record.api_key.is_none());
}

#[test]
fn a_key_that_is_refused_is_told_from_the_next_one() {
    let stored = empty().apply(Change::KeyStored("one".into()), NOW, 1);
    assert_eq!(stored.connected_at, Some(NOW));
    let refused = stored.apply(Change::KeyRefused, NOW.plus(HOUR), 2);
    assert_eq!((refused.api_key.as_ref().unwrap().refused, refused.invalidated_at), (true, Some(NOW.plus(HOUR))));
    let next = refused.apply(Change::KeyStored("two".into()), NOW, 3);
    let key = next.api_key.as_ref().unwrap();
    assert_eq!((key.refused, key.generation, key.key.expose().as_str()), (false, 3, "two"));
    assert!(next.apply(Change::KeyRemoved, NOW, 4).api_key.is_none());
}

#[test]
fn a_key_beside_a_grant_does_not_date_the_grants_loss() {
    let record = connected().apply(Change::KeyStored("key".into()), NOW.plus(HOUR), 11);
    assert_eq!(record.connected_at, Some(NOW));
    assert_eq!(record.apply(Change::KeyRefused, NOW.plus(HOUR), 12).invalidated_at, None);
}

#[test]
fn what_concerns_something_absent_changes_nothing() {
    for change in [
        Change::RefreshUnspent,
        Change::RefreshUnknown,
        Change::FarewellFailed,
        Change::KeyRemoved,
        Change::Disconnected,
    ] {
        let record = empty().apply(change, NOW, 1);
        assert!(record.grant.is_none() && record.api_key.is_none() && record.mark.is_none());
        assert!(record.farewell.is_none() && record.invalid.is_none());
    }
}
