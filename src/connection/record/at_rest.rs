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
    use super::super::form::Record;

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
