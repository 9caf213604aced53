//! Events as operators see them: in the admin API, reports, exports and the audit file, all in one shape and under the names of
//! the contract.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{entry::KeptEvent, gathered::DROPPED};
use crate::{
    clock::Timestamp,
    events::{Event, Kind},
};

/// What a type of event is called.
pub const TYPES: [&str; 14] = [
    "connected",
    "refreshed",
    "revoked",
    "revocation_failed",
    "expired",
    "invalidated",
    "scopes_expanded",
    "api_key_stored",
    "api_key_used",
    "api_key_removed",
    "reconnect_required",
    "erased",
    "acted_for",
    DROPPED,
];

/// Why a consent is called more than one.
pub const SCOPES_EXPANDED: &str = "scopes_expanded";

/// The type of what the log calls so; none where it is no event of the contract's. A consent that added scopes to a connection is
/// `scopes_expanded`. `reconnect_required` is what leaves a connection as it is and needs the person: scopes that a call lacked,
/// an API key that its service will no longer take.
pub fn type_of(kind: &str, detail: Option<&str>) -> Option<&'static str> {
    let name = match (kind, detail) {
        ("connected", Some(SCOPES_EXPANDED)) => SCOPES_EXPANDED,
        ("scopes_missing" | "api_key_deprecated", _) => "reconnect_required",
        (kind, _) => kind,
    };
    TYPES.into_iter().find(|one| *one == name)
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownEvent {
    /// Thirty-two hexadecimal digits.
    pub id: String,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose connection: the issuer; null once they were erased.
    pub issuer: Option<String>,
    /// Whose connection: the user; null once they were erased.
    pub user: Option<String>,
    /// To which service.
    pub service: Option<String>,
    /// Under which label; null once the person was erased.
    pub account: Option<String>,
    /// Who acted.
    pub actor: String,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// In which request.
    pub request_id: Option<String>,
    /// What else there is to say.
    pub metadata: Map<String, Value>,
}

impl ShownEvent {
    /// What sinks are told; none where it is no event of the contract's.
    pub fn of(event: &Event) -> Option<Self> {
        let kept_elsewhere =
            matches!(event.kind, Kind::RefreshFailed | Kind::ApiKeyReminder { .. } | Kind::ClientRefused);
        let kind = type_of(event.kind.name(), event.detail).filter(|_| !kept_elsewhere)?;
        let caller = &event.connection.caller;
        let said = (event.kind.name(), event.detail, event.provider_error.as_deref());
        let metadata = metadata(said, &event.scopes, event.token_version.map(|version| version.0), None);
        Some(Self {
            id: event.id.to_string(),
            time: event.at,
            kind: kind.to_owned(),
            issuer: Some(caller.issuer.to_string()),
            user: Some(caller.subject.to_string()),
            service: Some(event.connection.service.to_string()),
            account: Some(event.connection.account.to_string()),
            actor: event.cause.who().to_owned(),
            ip: event.cause.address,
            request_id: event.cause.request.as_ref().map(ToString::to_string),
            metadata,
        })
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and lists of texts are JSON")
    }

    /// The names of [`ShownEvent::csv`]'s fields.
    pub const CSV_HEAD: &str = "id,time,type,issuer,user,service,account,actor,ip,request_id,metadata";

    /// One line of CSV (RFC 4180), metadata as JSON. No field is read as a formula by a spreadsheet: one that could be is preceded
    /// by an apostrophe.
    pub fn csv(&self) -> String {
        let metadata =
            if self.metadata.is_empty() { String::new() } else { Value::from(self.metadata.clone()).to_string() };
        let ip = self.ip.map(|ip| ip.to_string());
        let time = self.time.rfc3339();
        let fields: [Option<&str>; 11] = [
            Some(&self.id),
            Some(&time),
            Some(&self.kind),
            self.issuer.as_deref(),
            self.user.as_deref(),
            self.service.as_deref(),
            self.account.as_deref(),
            Some(&self.actor),
            ip.as_deref(),
            self.request_id.as_deref(),
            Some(&metadata),
        ];
        fields.map(|field| quoted(field.unwrap_or_default())).join(",")
    }
}

impl From<KeptEvent> for ShownEvent {
    fn from(event: KeptEvent) -> Self {
        let KeptEvent { id, at, kind, service, person, detail, provider_error, token_version, scopes, actor, .. } =
            event;
        let said = (kind.as_str(), detail.as_deref(), provider_error.as_deref());
        let metadata = metadata(said, &scopes, token_version.map(|version| version.0), event.count);
        // What a later version calls an event, this one shows by the name that it has there.
        let shown = type_of(&kind, detail.as_deref()).map(str::to_owned);
        let (issuer, user, account, ip, by) = match person {
            Some(person) => {
                let (issuer, user) = (person.issuer.to_string(), person.user.to_string());
                (Some(issuer), Some(user), Some(person.account.to_string()), person.address, person.by)
            }
            None => (None, None, None, None, None),
        };
        Self {
            id: id.to_string(),
            time: at,
            kind: shown.unwrap_or(kind),
            issuer,
            user,
            service: service.map(|service| service.to_string()),
            account,
            actor: by.unwrap_or(actor),
            ip,
            request_id: event.request,
            metadata,
        }
    }
}

fn metadata(
    (kind, detail, provider_error): (&str, Option<&str>, Option<&str>),
    scopes: &[String],
    token_version: Option<u64>,
    count: Option<u64>,
) -> Map<String, Value> {
    let mut all = Map::new();
    let reason = match (kind, detail) {
        ("connected", Some(SCOPES_EXPANDED)) => None,
        ("scopes_missing", _) => Some("additional_scopes_required"),
        ("api_key_deprecated", _) => Some("api_key_deprecated"),
        (_, detail) => detail,
    };
    all.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
    all.extend(provider_error.map(|error| ("provider_error".to_owned(), error.into())));
    if !scopes.is_empty() {
        all.insert("scopes".to_owned(), scopes.into());
    }
    // As text: it is larger than what JavaScript counts exactly.
    all.extend(token_version.map(|version| ("token_version".to_owned(), version.to_string().into())));
    all.extend(count.map(|count| ("count".to_owned(), count.into())));
    all
}

/// A field of CSV, always in quotes.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠', '|', '%']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, field.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_go_by_the_names_of_the_contract() {
        for (kind, detail, expected) in [
            ("connected", None, Some("connected")),
            ("connected", Some(SCOPES_EXPANDED), Some("scopes_expanded")),
            ("scopes_missing", None, Some("reconnect_required")),
            ("api_key_deprecated", None, Some("reconnect_required")),
            ("invalidated", Some("revoked"), Some("invalidated")),
            ("refresh_failed", None, None),
            ("client_refused", None, None),
        ] {
            assert_eq!(type_of(kind, detail), expected, "{kind}");
        }
    }

    #[test]
    fn no_field_of_csv_is_a_formula() {
        assert_eq!(quoted("plain, \"said\""), "\"plain, \"\"said\"\"\"");
        for field in ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(quoted(field), format!("\"'{field}\""));
        }
    }
}
