//! Which connections somebody means. Pure.

use serde::{Deserialize, Serialize};

use crate::{
    clock::{Timestamp, seconds},
    connection::model::{Connection, Status},
    id::{ConnectionId, Issuer, ServiceName, Subject},
};

/// What connections must be like; `None`: that doesn't matter. Moments are exact to the second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The service that owns it.
    pub service: Option<ServiceName>,
    /// How it stands.
    pub status: Option<Status>,
    /// Whose it is: the subject, …
    pub user: Option<Subject>,
    /// … and the issuer.
    pub issuer: Option<Issuer>,
    /// It ends before then by itself.
    #[serde(with = "seconds::optional", default)]
    pub ends_before: Option<Timestamp>,
    /// No call has used it since then, nor has it been connected since.
    #[serde(with = "seconds::optional", default)]
    pub unused_since: Option<Timestamp>,
}

impl Filter {
    /// Whether it may be one of those, before its last use is known.
    pub(super) fn may_admit(&self, id: &ConnectionId, connection: &Connection) -> bool {
        let connected_before = |since: Timestamp| connection.connected_at.is_none_or(|connected| connected < since);
        self.service.as_ref().is_none_or(|service| *service == id.service)
            && self.status.is_none_or(|status| status == connection.status)
            && self.user.as_ref().is_none_or(|user| *user == id.caller.subject)
            && self.issuer.as_ref().is_none_or(|issuer| *issuer == id.caller.issuer)
            && (self.ends_before.is_none() || connection.ends.can_come())
            && self.unused_since.is_none_or(connected_before)
    }

    /// Whether it is one of those.
    pub(super) fn admits(&self, id: &ConnectionId, connection: &Connection) -> bool {
        let ends = |before: Timestamp| connection.expected_end.is_some_and(|end| end < before);
        let unused = |since: Timestamp| connection.last_used_at.is_none_or(|used| used < since);
        self.may_admit(id, connection) && self.ends_before.is_none_or(ends) && self.unused_since.is_none_or(unused)
    }
}
