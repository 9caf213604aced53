//! What the clock makes of connections that rest on an API key, once their service no longer takes keys. Pure.

use crate::{
    clock::Timestamp,
    config::ApiKeys,
    connection::model::{AuthKind, Connection, Reason, Status},
};

use super::held::Footing;

/// Why calls get no credential where all that is left is a key, and keys are retired at `now`.
pub fn retired(footing: Footing, keys: &ApiKeys, now: Timestamp) -> Option<Reason> {
    if footing.auth_kind != AuthKind::ApiKey || !keys.is_retired(now) {
        return None;
    }
    // Of what is active on a key, the reason is that of the grant's loss.
    let lost = footing.reason.filter(|_| footing.status == Status::Active);
    Some(lost.unwrap_or(Reason::ApiKeyRetired))
}

/// The connection as it is at `now`.
pub fn retire(connection: &mut Connection, keys: &ApiKeys, now: Timestamp) {
    let Some(reason) = retired(connection.footing(), keys, now) else { return };
    if reason != Reason::ApiKeyRetired {
        connection.auth_kind = AuthKind::OAuth;
    }
    connection.status = Status::Invalid;
    connection.invalid_reason = Some(reason);
    connection.invalidated_at = connection.invalidated_at.or(keys.retire_on);
}
