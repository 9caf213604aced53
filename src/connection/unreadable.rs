//! Records that can't be opened: damaged ones, those of a newer version, and those sealed with a key that this process
//! lacks. Such a record is one connection that is unavailable; its caller's others work. It stays as it is until the person
//! connects anew under its label, stores a key there, disconnects it or is erased: what it held is then not revoked.

use crate::{
    clock::Timestamp,
    id::{Account, ConnectionId, ServiceName},
    store::{Expect, Key, Put, RecordId, Version},
    vault,
};

use super::{
    Connections, Unavailable,
    held::Held,
    record::{Record, SealError},
    root,
    snapshot::Snapshot,
};

impl Connections {
    /// Whether what is asked for may be among the records that could not be read: the named label, or the default one; where
    /// none is named and nothing else was found, also one of a label that nobody named.
    pub(super) fn is_hidden(
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
        let Some(root) = self.0.parts.roots.known() else { return true };
        let of = |service: &ServiceName, account: &Account| hidden.contains(&root::record(root, service, account));
        match account {
            Some(account) => !found && of(service, account),
            None if of(service, &Account::default()) => true,
            None => {
                let mut owners: Vec<&ServiceName> =
                    self.0.parts.services.iter().map(|service| &service.owner).collect();
                owners.sort_unstable();
                owners.dedup();
                let known = owners.into_iter().filter(|owner| of(owner, &Account::default())).count();
                !found && known < hidden.len()
            }
        }
    }

    /// What was held of a connection before its record could no longer be read, for as long as it is believed. A key that
    /// this process lacks, as while others have a new one already, says nothing of the grant; damage does.
    pub(super) fn believed(&self, key: &Key, error: &SealError) -> Option<(Held, Timestamp)> {
        if matches!(error, SealError::Vault(vault::Error::Corrupt)) {
            return None;
        }
        let (root, before) = (self.0.parts.roots.known()?, self.0.snapshots.held(&key.owner)?);
        let is_it = |held: &&Held| root::record(root, &held.id.service, &held.id.account) == key.record;
        let held = before.connections.iter().find(is_it)?.clone();
        let earlier = before.rare.iter().flat_map(|rare| &rare.believed).find(|(record, _)| *record == key.record);
        let since = earlier.map_or(self.now(), |(_, since)| *since);
        self.0.snapshots.is_believed(since, self.now()).then_some((held, since))
    }

    /// The version of a record that is there and can't be read.
    async fn unreadable_at(&self, key: &Key) -> Result<Option<Version>, Unavailable> {
        let Some(stored) = self.0.parts.store.get(key).await? else { return Ok(None) };
        let opened = Record::open(&self.0.parts.vault, key, stored.version, &stored.value);
        Ok(opened.is_err().then_some(stored.version))
    }

    /// The record as [`Connections::read`] has it; in place of one that can't be read an empty one, for whoever replaces it.
    /// Says, too, whether that is so.
    pub(super) async fn read_or_replace(
        &self,
        key: &Key,
        id: &ConnectionId,
    ) -> Result<(Record, Option<Version>, bool), Unavailable> {
        match self.read(key).await {
            Err(Unavailable::Keys) => {
                let version = self.unreadable_at(key).await?.ok_or(Unavailable::Busy)?;
                Ok((Record::empty(id.clone()), Some(version), true))
            }
            Ok(Some((record, version))) => Ok((record, Some(version), false)),
            Ok(None) => Ok((Record::empty(id.clone()), None, false)),
            Err(error) => Err(error),
        }
    }

    /// Removes a record that can't be read. `false`: it can, or there is none.
    pub(super) async fn remove_unreadable(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        let key = self.key(id).await?;
        let Some(version) = self.unreadable_at(&key).await? else { return Ok(false) };
        tracing::warn!(service = %id.service, "a record that can't be read is removed without being revoked");
        let gone = matches!(self.0.parts.store.delete(&key, Expect::Version(version)).await?, Put::Stored);
        self.0.snapshots.changed(&key.owner);
        Ok(gone)
    }

    /// Whether the caller has a record under this label that can't be read.
    ///
    /// # Errors
    /// While the store is away.
    pub(super) async fn has_unreadable(&self, id: &ConnectionId) -> Result<bool, Unavailable> {
        let snapshot = self.snapshot(&id.caller).await?;
        Ok(self.is_hidden(&snapshot, &id.service, Some(&id.account), false))
    }
}

impl Snapshot {
    /// The records that could not be read.
    pub(super) fn unreadable(&self) -> &[RecordId] {
        self.rare.as_ref().map_or(&[], |rare| &rare.unreadable)
    }
}
