//! Making a record unusable whatever it holds, and whether or not it can be read: for a user who is erased.

use crate::{
    clock::Timestamp,
    connection::model::Unavailable,
    events::{Cause, Kind},
    store::{Expect, Key, Put, Write},
};

use super::{
    change::Change,
    due,
    facts::Fact,
    form::Record,
    records::{ATTEMPTS, Held, Records},
};

/// What became of one record.
pub enum Retired {
    /// It was in use until now.
    Now(Box<Record>),
    /// It was given up before, and waits for its provider.
    Before,
    /// There is none, or there is none any more.
    Gone,
}

/// Makes one record unusable: a tombstone, or nothing where there is no grant to revoke. A connection is told to be erased.
///
/// # Errors
/// While the store or the keys are away, or others change the record all the while.
pub async fn retire(records: &Records, key: Key, cause: &Cause) -> Result<Retired, Unavailable> {
    for _ in 0..ATTEMPTS {
        let Some(stored) = records.store().get(&key).await? else { return Ok(Retired::Gone) };
        let there = stored.version;
        // A grant that waits to be stored is the one to revoke.
        let (newest, sealed) = records.own().unsaved.sealed(&key).unwrap_or((there, stored.value));
        let Ok(record) = records.open(&key, newest, &sealed) else {
            tracing::warn!("a record that can't be read is erased without being revoked");
            records.delete(&key, there, None).await?;
            return Ok(Retired::Gone);
        };
        if record.pending_revocation().is_some() {
            return Ok(Retired::Before);
        }
        // What only waited for somebody's word was no connection yet.
        let erased = record.waits_for().is_none().then(|| Fact::new(Kind::Erased, cause));
        let now = records.now();
        let version = records.version_after(Some(newest.max(there)), now);
        let gone = record.clone().apply(Change::Disconnected, now, version)?;
        let done = if gone.pending_revocation().is_none() {
            records.delete(&key, there, erased.as_ref().map(|fact| (&record.id, fact))).await?
        } else {
            let sealed = records.seal(&gone, &key, version)?;
            let telling =
                records.facts().telling_of(&key.owner, erased.as_ref().map(|fact| (&record.id, fact))).await?;
            let write = Write::of(version, &sealed).due(due::at(&gone, now).map(Timestamp::millis));
            let put = records.put_sealed(Held::Stale, &key, Expect::Version(there), write, telling.as_ref()).await?;
            matches!(put, Put::Stored)
        };
        if done {
            return Ok(Retired::Now(Box::new(record)));
        }
    }
    Err(Unavailable::Busy)
}
