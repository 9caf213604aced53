//! Whether a record that could not be read may be the one that somebody means: then it is unavailable, not absent.

use std::sync::Arc;

use crate::{
    connection::{cache::Snapshot, model::Unavailable, record::root},
    id::{Account, ConnectionId, ServiceName},
};

use super::Reader;

impl Reader {
    /// Whether what is asked for may be among the records that could not be read: the named label, or the default one; where
    /// none is named and nothing else was found, also one of a label that nobody named.
    pub fn is_hidden(
        &self,
        snapshot: &Snapshot,
        service: &ServiceName,
        account: Option<&Account>,
        found: bool,
    ) -> bool {
        let hidden = snapshot.unreadable();
        if hidden.is_empty() {
            return false;
        }
        let Some(root) = self.records.roots().known() else { return true };
        let of = |service: &ServiceName, account: &Account| hidden.contains(&root::record(root, service, account));
        match account {
            Some(account) => !found && of(service, account),
            None if of(service, &Account::default()) => true,
            None => {
                let services = self.live.services();
                let mut owners: Vec<&ServiceName> = services.iter().map(|service| &service.owner).collect();
                owners.sort_unstable();
                owners.dedup();
                let known = owners.into_iter().filter(|owner| of(owner, &Account::default())).count();
                !found && known < hidden.len()
            }
        }
    }

    /// Whether the caller has a record under this label that can't be read.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn has_unreadable(self: &Arc<Self>, id: &ConnectionId) -> Result<bool, Unavailable> {
        let snapshot = self.snapshot(&id.caller).await?;
        Ok(self.is_hidden(&snapshot, &id.service, Some(&id.account), false))
    }
}
