//! Another label for a connection. A record's place in the store follows from its label and its seal is bound to that
//! place, so a new label means a new record, and two records must never renew the same rotating grant. The order sees to
//! that, and each step can be the last one before a crash:
//!
//! 1. Under the refresh lease, and only where no refresh is under way, the old record is marked as moving. It still serves
//!    calls, but nobody renews it any more: a refresh that began earlier would fail its comparison of versions.
//! 2. Where nothing stands under the new label, a place is reserved: an empty record.
//! 3. The new record takes that place, with the move's number in it.
//! 4. The old one is deleted.
//!
//! Whoever meets a record that is marked (the healer, a call that would have to renew it, whoever wants to change it) goes
//! on from there and begins nothing else before: the number tells whether the new record has arrived. It must tell that
//! for as long as the old one stands; so whoever changes what has arrived deletes the old one first. And a process that was
//! stopped between two steps finds the place changed or gone, and brings nothing back. Where somebody else took the
//! label meanwhile, the old one stays.

use std::{sync::Arc, time::Duration};

use crate::{
    connection::{
        lease::{Asked, Leases},
        model::Unavailable,
        record::{
            change::Change,
            form::Record,
            records::{ATTEMPTS, Records},
            state::State,
        },
        revoke::Revoker,
    },
    id::{Account, ConnectionId},
    store::{Expect, Key, Version},
};

/// How long a refresh that is under way is waited for.
const PAUSE: Duration = Duration::from_millis(250);

/// What became of a wish for another label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// It has the new label.
    Done,
    /// Another connection has that label.
    Taken,
    /// There is no such connection.
    Absent,
}

/// Moves connections to other labels.
pub struct Moves {
    records: Arc<Records>,
    leases: Arc<Leases>,
    revoker: Arc<Revoker>,
}

impl Moves {
    /// Over these records.
    pub fn new(records: Arc<Records>, leases: Arc<Leases>, revoker: Arc<Revoker>) -> Arc<Self> {
        Arc::new(Self { records, leases, revoker })
    }

    /// Step 1. `false`: there is nothing to move.
    ///
    /// # Errors
    /// While the store or the keys are away, or a refresh is under way for long.
    pub async fn begin(&self, from: Key, to: &Account) -> Result<bool, Unavailable> {
        for _ in 0..ATTEMPTS {
            let lease = match self.leases.ask(from).await? {
                Asked::Mine(lease) => lease,
                Asked::Theirs(remaining) => {
                    tokio::time::sleep(remaining.min(PAUSE)).await;
                    continue;
                }
            };
            let set = self.begin_under_lease(from, to).await;
            lease.release().await;
            match set? {
                Some(set) => return Ok(set),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(Unavailable::Busy)
    }

    /// `None`: not now.
    async fn begin_under_lease(&self, from: Key, to: &Account) -> Result<Option<bool>, Unavailable> {
        let Some((record, version)) = self.records.read(&from).await? else { return Ok(Some(false)) };
        if !record.stands() {
            return Ok(Some(false));
        }
        match record.under_way() {
            Some(moving) if moving.to == *to => return Ok(Some(true)),
            Some(_) => {
                self.finish(from).await?;
                return Ok(None);
            }
            None => self.settle(&record).await?,
        }
        // A refresh token that may be spent: whoever renews it first tells which grant is the one to move.
        if record.intent.is_some() || self.records.own().unsaved.sealed(&from).is_some() {
            return Ok(None);
        }
        let moving = self.records.write(from, record, version, Change::Moving(to.clone()), None).await?;
        Ok(moving.map(|_| true))
    }

    /// Steps 2 to 4, from wherever they were left.
    pub async fn finish(&self, from: Key) -> Result<Renamed, Unavailable> {
        for _ in 0..ATTEMPTS {
            let Some((record, _)) = self.records.read(&from).await? else { return Ok(Renamed::Done) };
            let Some(moving) = record.under_way().cloned() else { return Ok(Renamed::Taken) };
            let target_id = ConnectionId { account: moving.to.clone(), ..record.id };
            let target = self.records.roots().key(&target_id).await?;
            let there = self.records.read(&target).await?;
            // Read after the target: where the move goes on still, nothing of it can have come and gone there before.
            let Some((record, version)) = self.records.read(&from).await? else { return Ok(Renamed::Done) };
            if record.under_way() != Some(&moving) {
                continue;
            }
            let has_arrived = there.as_ref().is_some_and(|(there, _)| there.moved_by == Some(moving.id));
            match there {
                // Step 4.
                Some(_) if has_arrived => {
                    if self.records.delete(&from, version, None).await? {
                        return Ok(Renamed::Done);
                    }
                }
                Some((there, _)) if there.stands() => {
                    if self.records.write(from, record, version, Change::Stayed, None).await?.is_some() {
                        return Ok(Renamed::Taken);
                    }
                }
                Some((there, expect)) => {
                    self.settle(&there).await?;
                    if let Some(pending) = there.pending_revocation() {
                        self.revoker.bury(&target_id, pending).await?;
                    }
                    // Step 3.
                    let arrives = |version: Version, now| record.apply(Change::Arrived, now, version);
                    self.records.put(target, Expect::Version(expect), None, arrives).await?;
                }
                None => {
                    let reserved = Record::only(target_id, State::Reserved(moving.id));
                    // Step 2.
                    self.records.put(target, Expect::Absent, None, |_, _| Ok(reserved)).await?;
                }
            }
        }
        Err(Unavailable::Busy)
    }

    /// Sees to it that what a move brought here is gone from where it was: before this record changes or goes, whoever
    /// finds the old one must still be able to tell that it has arrived.
    pub async fn settle(&self, record: &Record) -> Result<(), Unavailable> {
        let (Some(id), Some(from)) = (record.moved_by, &record.moved_from) else { return Ok(()) };
        let from = self.records.roots().key(&ConnectionId { account: from.clone(), ..record.id.clone() }).await?;
        for _ in 0..ATTEMPTS {
            match self.records.read(&from).await? {
                Some((old, version)) if old.under_way().is_some_and(|moving| moving.id == id) => {
                    if self.records.delete(&from, version, None).await? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
        Err(Unavailable::Busy)
    }
}
