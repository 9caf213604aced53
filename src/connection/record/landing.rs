//! No new grant is ever lost. What the provider gave is written before anything else happens; where the store is away it
//! stays here, sealed, is used, and is written again until it lands, also while the process drains. A write that meets
//! another is reconciled: who spent the token that the record still holds has the only valid one.

use crate::{
    clock::Timestamp,
    connection::model::Unavailable,
    store::{Expect, Key, Put, Version, Write},
};

use super::{
    due,
    form::{Record, StoredGrant},
    records::{Held, Records},
    unsaved::{Grant, Stored},
};

/// What became of a new grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    /// It is in the store.
    Saved,
    /// The store is away; it is used from memory and written later.
    Waiting,
    /// Meanwhile the caller connected anew: that grant counts.
    Superseded,
    /// Meanwhile another process renewed the same grant: what it got counts. Revoking ours would take that along
    /// (RFC 7009 §2.1).
    Outrun,
    /// Meanwhile the caller disconnected: nothing is resurrected.
    Gone,
}

impl Records {
    /// Stores `record`, which holds a grant bought with the refresh token that the token version `spends` brought, where version
    /// `expect` stands; keeps it in memory where the store is away. With what came of it comes the record: once saved as it is stored
    /// now. Nobody is told of that but other processes: it is for the caller to put it into what this one holds.
    ///
    /// # Errors
    /// Where it can't be sealed.
    pub async fn land(
        &self,
        key: Key,
        expect: Version,
        record: Record,
        spends: Version,
    ) -> Result<(Landed, Record), Unavailable> {
        let version = record.grant.as_ref().map_or(Version(expect.0.saturating_add(1)), |grant| grant.token_version);
        let sealed = self.seal(&record, &key, version)?;
        let grant = Grant { spends, expect, version, sealed };
        match self.try_to_land(Held::Shows, key, grant.clone(), record.clone()).await {
            Ok((Landed::Saved, stored)) => Ok((Landed::Saved, stored)),
            Ok((landed, _)) => Ok((landed, record)),
            Err(unavailable) => {
                tracing::error!(%unavailable, "a renewed grant could not be stored; it is kept in memory and written again");
                self.own().unsaved.keep(key, grant);
                Ok((Landed::Waiting, record))
            }
        }
    }

    /// Writes the grant that waits at this place. `None`: nothing waits there, or it waits still. Of what was not stored the
    /// record comes back: the provider has given it all the same.
    pub async fn save(&self, key: Key) -> Option<(Landed, Record)> {
        let grant = self.own().unsaved.get(&key)?;
        let version = grant.version;
        let saved = async {
            let ours = self.open(&key, version, &grant.sealed)?;
            let (landed, _) = self.try_to_land(Held::Stale, key, grant, ours.clone()).await?;
            Ok::<_, Unavailable>((landed, ours))
        };
        match saved.await {
            Ok((landed, ours)) => {
                tracing::info!(?landed, "a grant that was kept in memory is settled");
                self.own().unsaved.settled(&key, version);
                self.is_stale(&key.owner);
                Some((landed, ours))
            }
            Err(error) => {
                tracing::debug!(%error, "a grant is still kept in memory");
                None
            }
        }
    }

    /// What came of it, and the record as it was last tried.
    async fn try_to_land(
        &self,
        held: Held,
        key: Key,
        mut grant: Grant,
        mut ours: Record,
    ) -> Result<(Landed, Record), Unavailable> {
        loop {
            let now = self.now();
            let due = due::at(&ours, now).map(Timestamp::millis);
            let write = Write::of(grant.version, &grant.sealed).due(due);
            let put = self.put_sealed(held, &key, Expect::Version(grant.expect), write, None).await?;
            let current = match put {
                Put::Stored => {
                    let Grant { spends, version, sealed, .. } = grant;
                    let stored = Stored { spends, version, sealed, at: self.now() };
                    self.own().written.keep(key, stored);
                    return Ok((Landed::Saved, ours));
                }
                Put::Conflict(None) => return Ok((Landed::Gone, ours)),
                Put::Conflict(Some(current)) => current,
            };
            let theirs = self.open(&key, current.version, &current.value)?;
            if theirs.pending_revocation().is_some() {
                return Ok((Landed::Gone, ours));
            }
            match &theirs.grant {
                // Given up, and something else was stored since.
                None => return Ok((Landed::Gone, ours)),
                Some(other) if other.renewed_by() != grant.spends && !is_later(&ours, &theirs) => {
                    let same = is_same_consent(&ours, &theirs);
                    return Ok((if same { Landed::Outrun } else { Landed::Superseded }, ours));
                }
                // It still holds the token that we spent, and ours is the only valid one; or one that somebody asked for
                // before us, and who was stopped before the answer was stored: ours is the newer one.
                Some(_) => {
                    grant.expect = current.version;
                    grant.version = self.version_after(Some(current.version.max(grant.version)), now);
                    ours = rebase(theirs, ours, grant.version);
                    grant.sealed = self.seal(&ours, &key, grant.version)?;
                }
            }
        }
    }

    /// After a failover that lost an acknowledged write, the store holds an older grant than this process wrote, or one that
    /// came in since and kept the refresh token which this process has spent: writes that again. `true`: the record must be
    /// read again.
    pub(super) async fn repair(&self, key: Key, stored: &Record, version: Version) -> Result<bool, Unavailable> {
        let Some(written) = self.own().written.get(&key) else { return Ok(false) };
        let Some(held) = &stored.grant else { return Ok(false) };
        let rests_on_spent = held.renewed_by() == written.spends;
        if held.token_version >= written.version && !rests_on_spent {
            return Ok(false);
        }
        let ours = self.open(&key, written.version, &written.sealed)?;
        // A later connection of this name may have a lower number, where clocks differ.
        if stored.pending_revocation().is_some() || !(rests_on_spent || is_same_stay(&ours, stored)) {
            return Ok(false);
        }
        // What the caller read may simply be older than that write: a second look tells a loss from a race.
        if self.store().get(&key).await?.is_none_or(|current| current.version != version) {
            return Ok(true);
        }
        tracing::warn!("the store went back behind a grant that this process wrote; it is written again");
        let sealed = written.sealed.clone();
        let grant = Grant { spends: held.renewed_by(), expect: version, version: written.version, sealed };
        self.try_to_land(Held::Stale, key, grant, ours).await?;
        Ok(true)
    }
}

/// Whether ours is of the same connection, and was asked for after theirs.
fn is_later(ours: &Record, theirs: &Record) -> bool {
    let asked = |record: &Record| record.grant.as_ref().and_then(|grant| grant.asked);
    is_same_stay(ours, theirs) && asked(ours) > asked(theirs)
}

/// Whether both are of one connection, which bore no other label in between: each arrival numbers the grant anew, by the
/// clock of whoever moved it.
fn is_same_stay(ours: &Record, theirs: &Record) -> bool {
    is_same_consent(ours, theirs) && ours.moved_by == theirs.moved_by
}

/// Whether both hold a grant of one consent, or what came of it.
fn is_same_consent(ours: &Record, theirs: &Record) -> bool {
    ours.connected_at == theirs.connected_at && ours.consent == theirs.consent
}

/// Our grant on top of whatever else was written meanwhile. Of a consent that left the refresh token in force which paid for
/// ours, everything else counts: it may have been given for more than the one before. Whether its access token came before
/// ours or after it, nobody knows, and a provider may leave only the later one in force.
fn rebase(mut theirs: Record, ours: Record, version: Version) -> Record {
    let another_consent = !is_same_stay(&ours, &theirs);
    let mut grant = match (ours.grant, theirs.grant.take()) {
        (Some(ours), Some(consent)) if another_consent => {
            let StoredGrant { refresh_token, refresh_life, asked, .. } = ours;
            Some(StoredGrant { refresh_token, refresh_life, asked, contested: true, kept_from: None, ..consent })
        }
        (ours, _) => ours,
    };
    if let Some(grant) = &mut grant {
        grant.token_version = version;
    }
    Record { grant, refreshed_at: ours.refreshed_at, invalid: None, invalidated_at: None, intent: None, ..theirs }
}
