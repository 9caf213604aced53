//! Records that can't be opened: damaged ones, those of a newer version, and those sealed with a key that this process
//! lacks. Such a record is one connection that is unavailable; its caller's others work. It stays as it is until the person
//! connects anew under its label, stores a key there, disconnects it or is erased: what it held is then not revoked.

use crate::{
    connection::model::Unavailable,
    id::ConnectionId,
    store::{Key, Version},
};

use super::{facts::Fact, form::Record, records::Records};

/// The record as [`Records::read`] has it; in place of one that can't be read an empty one, for whoever replaces it. Says,
/// too, whether that is so.
///
/// # Errors
/// While the store is away.
pub async fn read_or_replace(
    records: &Records,
    key: &Key,
    id: &ConnectionId,
) -> Result<(Record, Option<Version>, bool), Unavailable> {
    match records.read(key).await {
        Err(Unavailable::Keys) => {
            let version = unreadable_at(records, key).await?.ok_or(Unavailable::Busy)?;
            Ok((Record::empty(id.clone()), Some(version), true))
        }
        Ok(Some((record, version))) => Ok((record, Some(version), false)),
        Ok(None) => Ok((Record::empty(id.clone()), None, false)),
        Err(error) => Err(error),
    }
}

/// Removes a record that can't be read, and tells this. `false`: it can, or there is none.
///
/// # Errors
/// While the store is away, or the keys that seal what is told.
pub async fn remove(records: &Records, id: &ConnectionId, fact: &Fact<'_>) -> Result<bool, Unavailable> {
    let key = records.roots().key(id).await?;
    let Some(version) = unreadable_at(records, &key).await? else { return Ok(false) };
    tracing::warn!(service = %id.service, "a record that can't be read is removed without being revoked");
    records.delete(&key, version, Some((id, fact))).await
}

/// The version of a record that is there and can't be read.
async fn unreadable_at(records: &Records, key: &Key) -> Result<Option<Version>, Unavailable> {
    let Some(stored) = records.store().get(key).await? else { return Ok(None) };
    let opened = records.open(key, stored.version, &stored.value);
    Ok(opened.is_err().then_some(stored.version))
}
