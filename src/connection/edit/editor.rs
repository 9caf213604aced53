//! One change of one record.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    connection::{
        cache::SnapshotCache,
        model::Unavailable,
        record::{
            change::Change,
            facts::Fact,
            form::Record,
            records::{ATTEMPTS, Records},
            unreadable,
            view::Projector,
        },
        revoke::Revoker,
    },
    events::audit::SCOPES_EXPANDED,
    id::ConnectionId,
    store::{Expect, Held, OwnerId},
};

use super::{moves::Moves, saver::Saver};

/// Changes records.
pub struct Editor {
    records: Arc<Records>,
    cache: Arc<SnapshotCache>,
    projector: Arc<Projector>,
    saver: Arc<Saver>,
    moves: Arc<Moves>,
    revoker: Arc<Revoker>,
}

impl Editor {
    /// Over these records. What is let go by a change is revoked.
    pub fn new(
        records: Arc<Records>,
        cache: Arc<SnapshotCache>,
        projector: Arc<Projector>,
        saver: Arc<Saver>,
        moves: Arc<Moves>,
        revoker: Arc<Revoker>,
    ) -> Arc<Self> {
        Arc::new(Self { records, cache, projector, saver, moves, revoker })
    }

    /// Changes a record, or begins one, and tells this. `decide` sees what stands there; `None` from it ends the matter.
    ///
    /// # Errors
    /// While the store or the keys are away; [`Unavailable::Keys`], too, where the record can't be read and the change
    /// would not replace it.
    pub async fn change(
        &self,
        id: &ConnectionId,
        fact: &Fact<'_>,
        decide: impl Fn(&Record) -> Option<Change>,
    ) -> Result<Option<Record>, Unavailable> {
        self.change_under(None, id, fact, decide).await
    }

    /// The same, where this lease is held until it is written.
    ///
    /// # Errors
    /// [`Unavailable::Busy`], too, where it isn't: then nothing was written.
    pub async fn change_under(
        &self,
        lease: Option<Held<'_>>,
        id: &ConnectionId,
        fact: &Fact<'_>,
        decide: impl Fn(&Record) -> Option<Change>,
    ) -> Result<Option<Record>, Unavailable> {
        let key = self.records.roots().key(id).await?;
        for _ in 0..ATTEMPTS {
            let prepared = self.records.facts().prepare(&key.owner, fact.kind).await?;
            // Nothing can be compared with a grant that the store doesn't have yet.
            self.saver.save_first(key).await?;
            let (record, version, unreadable) = unreadable::read_or_replace(&self.records, &key, id).await?;
            // A move that was left half-done is finished first: it would take a record along that has changed since, or
            // bring one back that was given up.
            if record.under_way().is_some() {
                self.moves.finish(key).await?;
                continue;
            }
            self.moves.settle(&record).await?;
            let Some(change) = decide(&record) else { return Ok(None) };
            if unreadable && !change.begins() {
                return Err(Unavailable::Keys);
            }
            if version.is_none() && !change.begins() {
                return Ok(None);
            }
            // First of all: who dies after it leaves a grant to be revoked, unless that is still in use.
            let grave = match record.let_go_by(&change) {
                Some(pending) => Some(self.revoker.bury(id, &pending).await?),
                None => None,
            };
            let expect = version.map_or(Expect::Absent, Expect::Version);
            let added = record.scopes_added_by(&change);
            let told = Fact { scopes: &added, detail: Some(SCOPES_EXPANDED), ..*fact };
            let told = (prepared, if added.is_empty() { fact } else { &told });
            let make = |version, now| record.apply(change, now, version);
            let put = self.records.put_under(lease, key, expect, told, make).await?;
            if let Some((record, _)) = put {
                self.know_at_once(key.owner, &record, self.records.now());
                if let Some(grave) = grave {
                    self.revoker.finish_in_background(grave);
                }
                return Ok(Some(record));
            }
        }
        Err(Unavailable::Busy)
    }

    /// The connection's record as the store has it: what only this process has of it is stored first, as it may be of a
    /// connection that another process has replaced since.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn stored(&self, id: &ConnectionId) -> Result<Option<Record>, Unavailable> {
        let key = self.records.roots().key(id).await?;
        self.saver.save_first(key).await?;
        Ok(self.records.read(&key).await?.map(|(record, _)| record))
    }

    /// What is held in memory becomes what this process itself has just stored, should the store go away before it is read
    /// again.
    fn know_at_once(&self, owner: OwnerId, record: &Record, now: Timestamp) {
        if record.stands() {
            self.cache.amend(owner, self.projector.hold(record, now));
        } else {
            self.cache.drop_one(owner, &record.id);
        }
    }
}
