//! Facts of how a record changes, and which changes its state allows.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    connection::{
        Reason,
        record::change::Change,
        record::form::{Intent, Record},
        record::state::{Move, PendingRevocation, State, Wait},
    },
    id::{Account, CallerId, ConnectionId, Issuer, ServiceName, Subject},
    oauth::{Grant, Identity},
    store::Version,
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

trait After {
    /// The record after a change that its state allows.
    fn after(self, change: Change, now: Timestamp, version: u64) -> Record;
}

impl After for Record {
    fn after(self, change: Change, now: Timestamp, version: u64) -> Record {
        self.apply(change, now, Version(version)).unwrap()
    }
}

/// Connected at `NOW` as version 10.
fn connected() -> Record {
    empty().after(consent(grant("a1", Some("r1"), Some(&["contacts"])), &[]), NOW, 10)
}

fn intent(spends: u64) -> Intent {
    Intent { holder: "p1".into(), spends: Version(spends), at: Some(1), settled: false }
}

/// Lost, with a refresh under way: everything that a new consent must undo.
fn ruined() -> Record {
    let lost = connected().after(Change::Invalidated(Reason::Revoked), NOW, 11);
    lost.after(Change::RefreshStarted(intent(10)), NOW, 12)
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
    assert_eq!(
        (grant.issued_at, grant.expires_at, grant.token_version),
        (Some(NOW), Some(NOW.plus(HOUR)), Version(10))
    );
    assert_eq!((record.connected_at, record.refreshed_at, record.invalid), (Some(NOW), None, None));
}

#[test]
fn a_new_consent_undoes_a_loss_an_intent_and_a_disconnect() {
    for before in [ruined(), connected().after(Change::Disconnected, NOW, 11)] {
        let record = before.after(consent(grant("a2", None, None), &[]), NOW, 20);
        assert_eq!(tokens(&record), ("a2", None), "an old refresh token belongs to the old grant");
        assert_eq!((record.invalid, record.invalidated_at, record.intent.as_ref()), (None, None, None));
        assert!(record.pending_revocation().is_none());
    }
}

#[test]
fn a_second_consent_without_a_refresh_token_keeps_that_of_the_same_account_and_client() {
    let again = |account, client| consent_of(account, client, grant("a2", None, None), &[]);
    let kept = connected().after(again(Some("42"), "client"), NOW, 20);
    assert_eq!(tokens(&kept), ("a2", Some("r1")));
    for (account, client) in [(Some("43"), "client"), (None, "client"), (Some("42"), "other")] {
        let record = connected().after(again(account, client), NOW, 20);
        assert_eq!(tokens(&record), ("a2", None), "{account:?} {client}");
    }
    let unknown_before = empty().after(consent_of(None, "client", grant("a1", Some("r1"), None), &[]), NOW, 10);
    assert_eq!(tokens(&unknown_before.after(again(Some("42"), "client"), NOW, 20)), ("a2", None));
    let newer = connected().after(consent(grant("a2", Some("r2"), None), &[]), NOW, 20);
    assert_eq!(tokens(&newer), ("a2", Some("r2")));
    let interrupted =
        connected().after(Change::RefreshStarted(intent(10)), NOW, 11).after(again(Some("42"), "client"), NOW, 20);
    assert_eq!(interrupted.intent, Some(intent(20)), "the token that is kept may be spent");
}

#[test]
fn what_was_asked_for_is_remembered_where_the_provider_names_scopes_otherwise() {
    let unnamed = |record: &Record| record.grant.as_ref().unwrap().unnamed.clone();
    let asked = ["offline_access", "https://graph.example/Mail.Read", "a"];
    let record = empty().after(consent(grant("a1", Some("r1"), Some(&["Mail.Read", "a"])), &asked), NOW, 10);
    assert_eq!(unnamed(&record), ["https://graph.example/Mail.Read", "offline_access"]);
    let refreshed = |record: Record, scopes: Option<&[&str]>| {
        let change = Change::Refreshed { grant: grant("a2", None, scopes), asked: Version(10), contested: false };
        record.after(change, NOW, 11)
    };
    for scopes in [None, Some(&["Mail.Read", "a"][..]), Some(&["b"][..])] {
        assert_eq!(unnamed(&refreshed(record.clone(), scopes)), unnamed(&record), "{scopes:?}");
    }
    assert_eq!(unnamed(&refreshed(record.clone(), Some(&["offline_access"]))), ["https://graph.example/Mail.Read"]);
    let asked_for_less = record.after(consent(grant("a3", None, Some(&["a"])), &["a"]), NOW, 20);
    assert!(unnamed(&asked_for_less).is_empty(), "only the latest consent counts");
}

#[test]
fn a_part_of_what_was_asked_for_is_all_that_was_granted() {
    let record = empty().after(consent(grant("a1", Some("r1"), Some(&["a"])), &["a", "b", "offline_access"]), NOW, 10);
    let grant = record.grant.unwrap();
    assert_eq!(grant.unnamed, ["offline_access"]);
    assert_eq!(grant.scopes, Some(vec!["a".to_owned()]));
}

#[test]
fn what_was_asked_for_was_granted_where_the_provider_does_not_say() {
    let scopes = |grant, requested: &[&str]| empty().after(consent(grant, requested), NOW, 1).grant.unwrap().scopes;
    assert_eq!(scopes(grant("a", None, None), &["asked"]), Some(vec!["asked".to_owned()]));
    assert_eq!(scopes(grant("a", None, Some(&["given"])), &["asked"]), Some(vec!["given".to_owned()]));
    assert_eq!(scopes(grant("a", None, None), &[]), None);
}

#[test]
fn a_refresh_without_a_refresh_token_or_scopes_leaves_them_as_they_were() {
    let record = connected().after(
        Change::Refreshed { grant: grant("a2", None, None), asked: Version(10), contested: false },
        NOW.plus(HOUR),
        11,
    );
    assert_eq!(tokens(&record), ("a2", Some("r1")));
    let grant = record.grant.as_ref().unwrap();
    assert_eq!(grant.scopes, Some(vec!["contacts".to_owned()]));
    assert_eq!((grant.token_version, grant.expires_at), (Version(11), Some(NOW.plus(HOUR * 2))));
    assert_eq!((record.connected_at, record.refreshed_at), (Some(NOW), Some(NOW.plus(HOUR))));
}

#[test]
fn a_refresh_with_a_refresh_token_drops_the_old_one_and_heals_a_loss() {
    let record = ruined().after(
        Change::Refreshed { grant: grant("a2", Some("r2"), Some(&["less"])), asked: Version(12), contested: false },
        NOW,
        13,
    );
    assert_eq!(tokens(&record), ("a2", Some("r2")));
    assert_eq!((record.invalid, record.invalidated_at, record.intent.as_ref()), (None, None, None));
    assert_eq!(record.grant.unwrap().scopes, Some(vec!["less".to_owned()]));
}

#[test]
fn an_intent_stays_until_the_outcome_is_known() {
    let begun = connected().after(Change::RefreshStarted(intent(10)), NOW, 11);
    assert_eq!(begun.intent, Some(intent(10)));
    assert_eq!(begun.grant.as_ref().unwrap().token_version, Version(10), "the token in use is the same one");
    let unknown = begun.clone().after(Change::RefreshUnknown, NOW, 12);
    assert_eq!(unknown.intent, Some(Intent { settled: true, ..intent(10) }));
    assert_eq!(begun.after(Change::RefreshUnspent, NOW, 12).intent, None);
}

#[test]
fn a_loss_keeps_the_grant_and_says_why_and_when() {
    let begun = connected().after(Change::RefreshStarted(intent(10)), NOW, 11);
    let record = begun.after(Change::Invalidated(Reason::RefreshInterrupted), NOW.plus(HOUR), 12);
    assert_eq!((record.invalid, record.invalidated_at), (Some(Reason::RefreshInterrupted), Some(NOW.plus(HOUR))));
    assert!(record.grant.is_some() && record.intent.is_none());
}

#[test]
fn a_disconnect_keeps_only_what_is_to_be_revoked() {
    let with_key = ruined().after(Change::KeyStored("key".into()), NOW, 13);
    let record = with_key.after(Change::Disconnected, NOW, 14);
    assert!(record.grant.is_none() && record.api_key.is_none() && record.identity.is_none() && record.intent.is_none());
    let pending = record.pending_revocation().unwrap();
    assert_eq!((pending.attempts, pending.grant.access_token.expose().as_str()), (0, "a1"));
    let asked = record.clone().after(Change::RevocationFailed, NOW, 15);
    assert_eq!(asked.pending_revocation().unwrap().attempts, 1);
    // Whatever takes the label before the revocation is done begins anew.
    let next = record.after(Change::KeyStored("key".into()), NOW.plus(HOUR), 16);
    assert_eq!((next.connected_at, next.refreshed_at), (Some(NOW.plus(HOUR)), None));
    assert_eq!((next.invalid, next.invalidated_at), (None, None));
}

#[test]
fn a_disconnect_of_a_mere_key_leaves_nothing_to_revoke() {
    let record = empty().after(Change::KeyStored("key".into()), NOW, 1).after(Change::Disconnected, NOW, 2);
    assert!(record.pending_revocation().is_none() && record.api_key.is_none());
}

#[test]
fn a_key_that_is_refused_is_told_from_the_next_one() {
    let stored = empty().after(Change::KeyStored("one".into()), NOW, 1);
    assert_eq!(stored.connected_at, Some(NOW));
    let refused = stored.after(Change::KeyRefused, NOW.plus(HOUR), 2);
    assert_eq!((refused.api_key.as_ref().unwrap().refused, refused.invalidated_at), (true, Some(NOW.plus(HOUR))));
    let next = refused.after(Change::KeyStored("two".into()), NOW, 3);
    let key = next.api_key.as_ref().unwrap();
    assert_eq!(next.invalidated_at, None, "the new key was never refused");
    assert_eq!((key.refused, key.token_version, key.key.expose().as_str()), (false, Version(3), "two"));
    assert!(next.after(Change::KeyRemoved, NOW, 4).api_key.is_none());
}

#[test]
fn a_key_beside_a_grant_does_not_date_the_grants_loss() {
    let record = connected().after(Change::KeyStored("key".into()), NOW.plus(HOUR), 11);
    assert_eq!(record.connected_at, Some(NOW));
    assert_eq!(record.after(Change::KeyRefused, NOW.plus(HOUR), 12).invalidated_at, None);
}

#[test]
fn what_concerns_something_absent_changes_nothing() {
    for change in [Change::RefreshUnspent, Change::RefreshUnknown, Change::KeyRemoved, Change::Disconnected] {
        let record = empty().after(change, NOW, 1);
        assert!(record.grant.is_none() && record.api_key.is_none() && record.intent.is_none());
        assert!(record.pending_revocation().is_none() && record.invalid.is_none());
    }
}

/// Every state, and every change with the states that allow it.
#[test]
fn a_change_that_the_state_does_not_allow_is_refused() {
    let grant_of = |record: Record| record.grant.unwrap();
    let pending = PendingRevocation { grant: grant_of(connected()), attempts: 0, identity: None };
    let label = || Account::parse("work").unwrap();
    let states = [
        ("C", State::Connected),
        ("M", State::Moving(Move { to: label(), id: Version(9) })),
        ("R", State::Reserved(Version(9))),
        ("U", State::Unconfirmed(Wait { shown: true, until: None })),
        ("P", State::PendingRevocation(Box::new(pending))),
    ];
    let refreshed = || Change::Refreshed { grant: grant("a2", None, None), asked: Version(1), contested: false };
    let connected_again = || consent(grant("a2", None, None), &[]);
    let changes: [(&dyn Fn() -> Change, &str); 16] = [
        (&connected_again, "CRP"),
        (&|| Change::Kept(1, Box::new(connected_again())), "CRP"),
        (&|| Change::KeyStored("key".into()), "CRP"),
        (&|| Change::RefreshStarted(intent(10)), "C"),
        (&refreshed, "C"),
        (&|| Change::RefreshUnspent, "C"),
        (&|| Change::RefreshUnknown, "C"),
        (&|| Change::PutAside(Wait { shown: false, until: None }), "C"),
        (&|| Change::Moving(Account::default()), "C"),
        (&|| Change::Invalidated(Reason::Revoked), "CM"),
        (&|| Change::KeyRefused, "CM"),
        (&|| Change::KeyRemoved, "CM"),
        (&|| Change::Disconnected, "CMRU"),
        (&|| Change::RevocationFailed, "P"),
        (&|| Change::Stayed, "M"),
        (&|| Change::Arrived, "M"),
    ];
    for (make, allowed) in changes {
        for (letter, state) in &states {
            let record = Record { state: state.clone(), ..connected() };
            let change = make();
            let told = format!("{letter} {change:?}");
            assert_eq!(record.apply(change, NOW, Version(20)).is_ok(), allowed.contains(letter), "{told}");
        }
    }
}
