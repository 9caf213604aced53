//! How a record is spelled in the store, and nothing else. Its names are promises to every version that wrote or will read it:
//! they stay, whatever the rest of the house calls the same thing. A state is told by which of four fields is there.

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Timestamp, millis},
    connection::model::Reason,
    id::{Account, ConnectionId},
    oauth::Identity,
};

use super::{
    form::{Intent, Record, StoredGrant, StoredKey},
    state::{Move, PendingRevocation, State, Wait},
};

/// A record as JSON, before it is sealed.
#[derive(Serialize, Deserialize)]
pub struct AtRest {
    id: ConnectionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<StoredGrant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_key: Option<StoredKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(with = "millis", default)]
    connected_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consent: Option<u64>,
    #[serde(with = "millis", default)]
    refreshed_at: Option<Timestamp>,
    #[serde(with = "millis", default)]
    invalidated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invalid: Option<Reason>,
    #[serde(rename = "mark", default, skip_serializing_if = "Option::is_none")]
    intent: Option<Intent>,
    #[serde(rename = "farewell", default, skip_serializing_if = "Option::is_none")]
    pending_revocation: Option<Box<PendingRevocation>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moving: Option<Move>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_by: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_from: Option<Account>,
    #[serde(rename = "awaits", default, skip_serializing_if = "Option::is_none")]
    reserved: Option<u64>,
    #[serde(rename = "aside", default, skip_serializing_if = "Option::is_none")]
    unconfirmed: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<u64>,
}

impl From<AtRest> for Record {
    fn from(at_rest: AtRest) -> Self {
        // What must not be forgotten comes first, should an earlier version have left two.
        let state = if let Some(pending) = at_rest.pending_revocation {
            State::PendingRevocation(pending)
        } else if let Some(wait) = at_rest.unconfirmed {
            State::Unconfirmed(wait)
        } else if let Some(moving) = at_rest.moving {
            State::Moving(moving)
        } else {
            at_rest.reserved.map_or(State::Connected, State::Reserved)
        };
        Self {
            id: at_rest.id,
            state,
            grant: at_rest.grant,
            api_key: at_rest.api_key,
            identity: at_rest.identity,
            connected_at: at_rest.connected_at,
            consent: at_rest.consent,
            refreshed_at: at_rest.refreshed_at,
            invalidated_at: at_rest.invalidated_at,
            invalid: at_rest.invalid,
            intent: at_rest.intent,
            moved_by: at_rest.moved_by,
            moved_from: at_rest.moved_from,
            origin: at_rest.origin,
        }
    }
}

impl From<Record> for AtRest {
    fn from(record: Record) -> Self {
        let mut at_rest = Self {
            id: record.id,
            grant: record.grant,
            api_key: record.api_key,
            identity: record.identity,
            connected_at: record.connected_at,
            consent: record.consent,
            refreshed_at: record.refreshed_at,
            invalidated_at: record.invalidated_at,
            invalid: record.invalid,
            intent: record.intent,
            pending_revocation: None,
            moving: None,
            moved_by: record.moved_by,
            moved_from: record.moved_from,
            reserved: None,
            unconfirmed: None,
            origin: record.origin,
        };
        match record.state {
            State::Connected => {}
            State::Moving(moving) => at_rest.moving = Some(moving),
            State::Reserved(id) => at_rest.reserved = Some(id),
            State::Unconfirmed(wait) => at_rest.unconfirmed = Some(wait),
            State::PendingRevocation(pending) => at_rest.pending_revocation = Some(pending),
        }
        at_rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
