//! How many labels a caller may have for one service. Each is a record that lives until somebody removes it, and every
//! change of one makes replicas read all of them again: what a caller adds at will must be bounded.

use crate::{connection::model::Unavailable, id::ConnectionId};

use super::Manager;

/// The most labels of one caller for one service. Hardly anybody has more than a few accounts with one provider; a person
/// with this many still finds their way on the dashboard.
pub const LABELS_MAX: usize = 20;

impl Manager {
    /// Whether something may be connected or stored under this label: it is there already, or there is room for another.
    /// Looked up before anything is begun; what several requests begin at the same moment may still go beyond it by as
    /// many as they are.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn has_room(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        let snapshot = self.parts.reader.snapshot(&id.caller).await?;
        let connected = snapshot.connections.iter().map(|held| (&held.id.service, &held.id.account));
        let waiting =
            snapshot.unconfirmed(self.parts.records.now()).map(|waiting| (&waiting.service, &waiting.account));
        let mut others = 0;
        for (_, account) in connected.chain(waiting).filter(|(service, _)| **service == id.service) {
            if *account == id.account {
                return Ok(true);
            }
            others += 1;
        }
        Ok(others < LABELS_MAX)
    }
}
