//! One audit line an event in the log.

use crate::events::{Event, Kind, Sink};
use crate::id::ConnectionId;

/// Writes one audit line an event to the log.
#[derive(Debug, Clone, Copy)]
pub struct AuditLog;

impl Sink for AuditLog {
    fn tell(&self, event: &Event) {
        // Nothing has happened to the connection, and the refresher has logged the cause.
        if event.kind == Kind::RefreshFailed {
            return;
        }
        let ConnectionId { caller, service, account } = &event.connection;
        tracing::info!(
            target: "valetkey::audit",
            event = event.kind.name(),
            detail = event.detail,
            issuer = %caller.issuer,
            user = %caller.subject,
            %service,
            %account,
            id = %event.id,
            actor = event.cause.who(),
            request_id = event.cause.request.as_ref().map(tracing::field::display),
            client = event.cause.address.map(tracing::field::display),
            "connection event"
        );
    }
}
