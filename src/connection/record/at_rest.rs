//! How a record is spelled in the store, and nothing else. Its names are promises to every version that wrote or will read it:
//! they stay, whatever the rest of the house calls the same thing. A state is told by which of four fields is there.

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Timestamp, millis},
    connection::model::Reason,
    id::{Account, ConnectionId},
    oauth::Identity,
    store::Version,
};

use super::{
    grant::{Intent, StoredGrant, StoredKey},
    state::{Move, PendingRevocation, Wait},
};

/// A record as JSON, before it is sealed.
#[derive(Serialize, Deserialize)]
pub struct AtRest {
    pub id: ConnectionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<StoredGrant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<StoredKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    #[serde(with = "millis", default)]
    pub connected_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Version>,
    #[serde(with = "millis", default)]
    pub refreshed_at: Option<Timestamp>,
    #[serde(with = "millis", default)]
    pub invalidated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Reason>,
    #[serde(rename = "mark", default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    #[serde(rename = "farewell", default, skip_serializing_if = "Option::is_none")]
    pub pending_revocation: Option<Box<PendingRevocation>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Move>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<Account>,
    #[serde(rename = "awaits", default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Version>,
    #[serde(rename = "aside", default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::form::Record;
    use super::*;
    use crate::connection::record::grant::{Intent, RefreshLife, StoredGrant, StoredKey};

    /// All that a record may hold, by name, as the version before reads it. During a rollout it reads what this one writes: a
    /// name that is missing here is lost when it writes that record again, and a reason that is missing makes the record
    /// unreadable to it. Add one in the version after that which can read it. `grant.refresh_life` may come at once: where the
    /// version before loses it, an expected end isn't told until the next renewal, and nothing else goes by it.
    const KNOWN: &[&str] = &[
        "api_key.generation",
        "api_key.key",
        "api_key.refused",
        "api_key.stored_at",
        "aside.shown",
        "aside.until",
        "awaits",
        "connected_at",
        "consent",
        "farewell.attempts",
        "farewell.grant",
        "farewell.identity",
        "grant.access_token",
        "grant.asked",
        "grant.client",
        "grant.contested",
        "grant.expires_at",
        "grant.generation",
        "grant.issued_at",
        "grant.kept_from",
        "grant.refresh_life",
        "grant.refresh_token",
        "grant.scopes",
        "grant.unnamed",
        "id.account",
        "id.caller",
        "id.service",
        "identity.id",
        "identity.label",
        "invalid",
        "invalidated_at",
        "mark.at",
        "mark.holder",
        "mark.settled",
        "mark.spends",
        "moved_by",
        "moved_from",
        "moving.id",
        "moving.to",
        "origin",
        "refreshed_at",
    ];

    /// Everything at once, which no record is.
    fn full() -> AtRest {
        let id: ConnectionId = serde_json::from_value(json!({
            "caller": { "issuer": "https://app.example/", "subject": "ada" }, "service": "crm", "account": "default",
        }))
        .unwrap();
        let (text, now) = (|| "x".to_owned(), Some(Timestamp::from_millis(1000)));
        let grant = StoredGrant {
            access_token: text().into(),
            refresh_token: Some(text().into()),
            issued_at: now,
            expires_at: now,
            scopes: Some(vec![text()]),
            unnamed: vec![text()],
            client: Some(text()),
            token_version: Version(7),
            kept_from: Some(Version(6)),
            asked: Some(Version(5)),
            refresh_life: RefreshLife { received_at: now, expires_at: now, is_fixed: true },
            contested: true,
        };
        let account = id.account.clone();
        AtRest {
            id,
            grant: Some(grant.clone()),
            api_key: Some(StoredKey { key: text().into(), stored_at: now, refused: true, token_version: Version(7) }),
            identity: Some(Identity { id: text(), label: Some(text()) }),
            connected_at: now,
            consent: Some(Version(7)),
            refreshed_at: now,
            invalidated_at: now,
            invalid: Some(Reason::Revoked),
            intent: Some(Intent { holder: text(), spends: Version(7), at: Some(5), settled: true }),
            pending_revocation: Some(Box::new(PendingRevocation { grant, attempts: 1, identity: Some(text()) })),
            moving: Some(Move { to: account.clone(), id: Version(9) }),
            moved_by: Some(Version(9)),
            moved_from: Some(account),
            reserved: Some(Version(9)),
            unconfirmed: Some(Wait { shown: true, until: now }),
            origin: Some(11),
        }
    }

    #[test]
    fn nothing_is_written_that_the_version_before_can_not_read() {
        let Value::Object(record) = serde_json::to_value(full()).unwrap() else { panic!("a record is a mapping") };
        let mut names = BTreeSet::new();
        for (name, value) in record {
            match value {
                Value::Object(inner) => names.extend(inner.keys().map(|inner| format!("{name}.{inner}"))),
                _ => drop(names.insert(name)),
            }
        }
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), KNOWN);

        let known = |reason| match reason {
            Reason::NotConnected => "not_connected",
            Reason::Expired => "expired",
            Reason::Revoked => "revoked",
            Reason::RejectedByUpstream => "rejected_by_upstream",
            Reason::RefreshInterrupted => "refresh_interrupted",
            Reason::ApiKeyRetired => "api_key_retired",
            Reason::Pending => "pending",
        };
        for reason in [Reason::Expired, Reason::Revoked, Reason::RejectedByUpstream, Reason::RefreshInterrupted] {
            assert_eq!(serde_json::to_value(reason).unwrap(), known(reason));
        }
    }

    /// As earlier versions wrote them.
    #[test]
    fn each_state_is_read_from_its_own_field_and_written_back_as_it_was() {
        let grant = r#"{"access_token":"a","refresh_token":"r","issued_at":1000,"expires_at":null,"scopes":["s"],"generation":7}"#;
        let begin = format!(
            r#"{{"id":{{"caller":{{"issuer":"https://app.example/","subject":"ada"}},"service":"crm","account":"default"}},"grant":{grant},"connected_at":1000,"refreshed_at":null,"invalidated_at":null"#
        );
        for (field, name) in [
            (String::new(), "connected"),
            (r#","mark":{"holder":"p1","spends":7,"at":5,"settled":false}"#.to_owned(), "connected"),
            (format!(r#","farewell":{{"grant":{grant},"attempts":2,"identity":"42"}}"#), "pending revocation"),
            (r#","moving":{"to":"work","id":9}"#.to_owned(), "moving"),
            (r#","moved_by":9,"moved_from":"home""#.to_owned(), "connected"),
            (r#","awaits":9"#.to_owned(), "reserved"),
            (r#","aside":{"shown":true,"until":2000}"#.to_owned(), "unconfirmed"),
            (r#","origin":11"#.to_owned(), "connected"),
        ] {
            let text = format!("{begin}{field}}}");
            let record: Record = serde_json::from_str(&text).unwrap();
            assert_eq!(record.state.name(), name, "{field}");
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
        }
    }

    #[test]
    fn a_revocation_that_is_still_to_be_done_is_never_read_as_something_else() {
        let text = r#"{"id":{"caller":{"issuer":"https://app.example/","subject":"ada"},"service":"crm","account":"default"},
            "farewell":{"grant":{"access_token":"a","generation":7},"attempts":0},"awaits":9,"moving":{"to":"work","id":9}}"#;
        assert!(serde_json::from_str::<Record>(text).unwrap().pending_revocation().is_some());
    }
}
