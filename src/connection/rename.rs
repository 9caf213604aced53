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

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    clock::Timestamp,
    id::{Account, ConnectionId},
    store::{Expect, Key, Put, Version},
};

use super::{
    Connections, Unavailable,
    lease::{Asked, Lease},
    record::Record,
    state::Change,
};

/// How often a step is tried again when someone else was quicker.
const ATTEMPTS: u32 = 16;
/// How long a refresh that is under way is waited for.
const PAUSE: Duration = Duration::from_millis(250);

/// What became of a wish for another label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// It bears the new label.
    Done,
    /// Another connection bears that label.
    Taken,
    /// There is no such connection.
    Absent,
}

impl Connections {
    /// Gives a connection another label. Goes on when whoever asked goes away.
    ///
    /// # Errors
    /// While the store or the keys are away, or a refresh is under way for long. What was begun then is finished later.
    pub async fn rename(&self, id: &ConnectionId, to: &Account) -> Result<Renamed, Unavailable> {
        let (connections, id, to) = (self.clone(), id.clone(), to.clone());
        let renaming = self.0.parts.handle.spawn(async move { connections.rename_here(&id, &to).await });
        renaming.await.unwrap_or(Err(Unavailable::Busy))
    }

    async fn rename_here(&self, id: &ConnectionId, to: &Account) -> Result<Renamed, Unavailable> {
        let (from, target) = (self.key(id).await?, ConnectionId { account: to.clone(), ..id.clone() });
        let mut standing = self.read(&from).await?;
        if let Some(moving) = standing.as_ref().and_then(|(record, _)| record.moving.clone()) {
            // An earlier wish that was left half-done; perhaps this very one.
            let renamed = self.finish_move(from).await?;
            if moving.to == *to {
                return Ok(renamed);
            }
            standing = self.read(&from).await?;
        }
        let Some((record, _)) = standing.filter(|(record, _)| stands(record)) else { return Ok(Renamed::Absent) };
        self.settle_arrival(&record).await?;
        if id.account == *to {
            return Ok(Renamed::Done);
        }
        let target = self.key(&target).await?;
        if self.read(&target).await?.is_some_and(|(record, _)| stands(&record)) {
            return Ok(Renamed::Taken);
        }
        let used = self.known_use(&from.owner, id);
        if !self.set_moving(from, to).await? {
            return Ok(Renamed::Absent);
        }
        let renamed = self.finish_move(from).await?;
        if renamed == Renamed::Done {
            if let Some(at) = used {
                self.take_use_over(target, at).await;
            }
            tracing::info!(service = %id.service, "a connection was given another label");
        }
        Ok(renamed)
    }

    /// Step 1. `false`: there is nothing to move.
    async fn set_moving(&self, from: Key, to: &Account) -> Result<bool, Unavailable> {
        for _ in 0..ATTEMPTS {
            let holder = format!("{}-{}", self.0.process, self.0.leases.fetch_add(1, Ordering::Relaxed));
            let lease = match Lease::ask(&self.0.parts.store, from, holder, &self.0.parts.handle).await? {
                Asked::Mine(lease) => lease,
                Asked::Theirs(remaining) => {
                    tokio::time::sleep(remaining.min(PAUSE)).await;
                    continue;
                }
            };
            let set = self.set_moving_under_lease(from, to).await;
            lease.release().await;
            match set? {
                Some(set) => return Ok(set),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(Unavailable::Busy)
    }

    /// `None`: not now.
    async fn set_moving_under_lease(&self, from: Key, to: &Account) -> Result<Option<bool>, Unavailable> {
        let Some((record, version)) = self.read(&from).await? else { return Ok(Some(false)) };
        if !stands(&record) {
            return Ok(Some(false));
        }
        match &record.moving {
            Some(moving) if moving.to == *to => return Ok(Some(true)),
            Some(_) => {
                self.finish_move(from).await?;
                return Ok(None);
            }
            None => self.settle_arrival(&record).await?,
        }
        // A refresh token that may be spent: whoever renews it first tells which grant is the one to move.
        if record.mark.is_some() || self.0.unsaved.sealed(&from).is_some() {
            return Ok(None);
        }
        let moving = self.write(from, record, version, Change::Moving(to.clone())).await?;
        Ok(moving.map(|_| true))
    }

    /// Steps 2 to 4, from wherever they were left.
    pub(super) async fn finish_move(&self, from: Key) -> Result<Renamed, Unavailable> {
        for _ in 0..ATTEMPTS {
            let Some((record, _)) = self.read(&from).await? else { return Ok(Renamed::Done) };
            let Some(moving) = record.moving else { return Ok(Renamed::Taken) };
            let target_id = ConnectionId { account: moving.to.clone(), ..record.id };
            let target = self.key(&target_id).await?;
            let there = self.read(&target).await?;
            // Read after the target: where the move goes on still, nothing of it can have come and gone there before.
            let Some((record, version)) = self.read(&from).await? else { return Ok(Renamed::Done) };
            if record.moving.as_ref() != Some(&moving) {
                continue;
            }
            let has_arrived = there.as_ref().is_some_and(|(there, _)| there.moved_by == Some(moving.id));
            match there {
                Some(_) if has_arrived => {
                    if self.leave(from, version).await? {
                        return Ok(Renamed::Done);
                    }
                }
                Some((there, _)) if stands(&there) => {
                    if self.write(from, record, version, Change::Stayed).await?.is_some() {
                        return Ok(Renamed::Taken);
                    }
                }
                Some((there, expect)) => {
                    self.settle_arrival(&there).await?;
                    if let Some(farewell) = &there.farewell {
                        self.bury(&target_id, farewell).await?;
                    }
                    self.place(target, Expect::Version(expect), |version, now| {
                        record.apply(Change::Arrived, now, version)
                    })
                    .await?;
                }
                None => {
                    let reserved = Record { awaits: Some(moving.id), ..Record::empty(target_id) };
                    self.place(target, Expect::Absent, |_, _| reserved).await?;
                }
            }
        }
        Err(Unavailable::Busy)
    }

    /// Sees to it that what a move brought here is gone from where it was: before this record changes or goes, whoever
    /// finds the old one must still be able to tell that it has arrived.
    pub(super) async fn settle_arrival(&self, record: &Record) -> Result<(), Unavailable> {
        let (Some(id), Some(from)) = (record.moved_by, &record.moved_from) else { return Ok(()) };
        let from = self.key(&ConnectionId { account: from.clone(), ..record.id.clone() }).await?;
        for _ in 0..ATTEMPTS {
            match self.read(&from).await? {
                Some((old, version)) if old.moving.as_ref().is_some_and(|moving| moving.id == id) => {
                    if self.leave(from, version).await? {
                        return Ok(());
                    }
                }
                _ => return Ok(()),
            }
        }
        Err(Unavailable::Busy)
    }

    /// Step 4. `false`: something else stands there now.
    async fn leave(&self, from: Key, version: Version) -> Result<bool, Unavailable> {
        let left = matches!(self.0.parts.store.delete(&from, Expect::Version(version)).await?, Put::Stored);
        self.0.snapshots.changed(&from.owner);
        Ok(left)
    }

    /// Steps 2 and 3: puts a record there, where what is expected still stands.
    async fn place(
        &self,
        target: Key,
        expect: Expect,
        record: impl FnOnce(u64, Timestamp) -> Record,
    ) -> Result<(), Unavailable> {
        let now = self.now();
        let before = if let Expect::Version(version) = expect { Some(version) } else { None };
        let version = self.version_after(before, now);
        let record = record(version.0, now);
        let sealed = record.seal(&self.0.parts.vault, &target, version)?;
        let due = self.due(&record, now);
        self.0.parts.store.put(&target, expect, version, &sealed, due).await?;
        self.0.snapshots.changed(&target.owner);
        Ok(())
    }
}

/// Whether a record is a connection that people see: not one that only waits for its farewell, nor a place kept free.
pub(super) fn stands(record: &Record) -> bool {
    record.farewell.is_none() && (record.grant.is_some() || record.api_key.is_some())
}
