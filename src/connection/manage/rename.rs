//! Another label for a connection: the wish, from beginning to end. How the record moves is `edit`'s affair.

use std::sync::Arc;

use crate::{
    connection::{edit::Renamed, model::Unavailable},
    id::{Account, ConnectionId},
};

use super::Manager;

impl Manager {
    /// Gives a connection another label. Goes on when whoever asked goes away.
    ///
    /// # Errors
    /// While the store or the keys are away, or a refresh is under way for long. What was begun then is finished later.
    pub async fn rename(self: &Arc<Self>, id: &ConnectionId, to: &Account) -> Result<Renamed, Unavailable> {
        let (manager, id, to) = (Arc::clone(self), id.clone(), to.clone());
        let renaming = self.parts.handle.spawn(async move { manager.rename_here(&id, &to).await });
        renaming.await.unwrap_or(Err(Unavailable::Busy))
    }

    async fn rename_here(&self, id: &ConnectionId, to: &Account) -> Result<Renamed, Unavailable> {
        let (from, target) =
            (self.parts.records.roots().key(id).await?, ConnectionId { account: to.clone(), ..id.clone() });
        let mut standing = self.parts.records.read(&from).await?;
        if let Some(moving) = standing.as_ref().and_then(|(record, _)| record.under_way().cloned()) {
            // An earlier wish that was left half-done; perhaps this very one.
            let renamed = self.parts.moves.finish(from).await?;
            if moving.to == *to {
                return Ok(renamed);
            }
            standing = self.parts.records.read(&from).await?;
        }
        let Some((record, _)) = standing.filter(|(record, _)| record.stands()) else { return Ok(Renamed::Absent) };
        self.parts.moves.settle(&record).await?;
        if id.account == *to {
            return Ok(Renamed::Done);
        }
        let target = self.parts.records.roots().key(&target).await?;
        if self.parts.records.read(&target).await?.is_some_and(|(record, _)| record.stands()) {
            return Ok(Renamed::Taken);
        }
        let used = self.parts.last_use.known(&from.owner, id);
        if !self.parts.moves.begin(from, to).await? {
            return Ok(Renamed::Absent);
        }
        let renamed = self.parts.moves.finish(from).await?;
        if renamed == Renamed::Done {
            if let Some(at) = used {
                self.parts.last_use.take_over(target, at).await;
            }
            tracing::info!(service = %id.service, "a connection was given another label");
        }
        Ok(renamed)
    }
}
