//! Another label for a connection. A record's place in the store follows from its label and its seal is bound to that
//! place, so a new label means a new record, and two records must never renew the same rotating grant. The order sees to
//! that, and each step can be the last one before a crash:
//!
//! 1. Under the refresh lease, and only where no refresh is under way, the old record is marked as moving. It still serves
//!    calls, but nobody renews it any more: a refresh that began earlier would fail its comparison of versions.
//! 2. The new record is written where none stands, with the move's number in it.
//! 3. The old one is deleted.
//!
//! Whoever meets a record that is marked (the healer, or a call that would have to renew it) goes on from there: the
//! number tells whether the new record has arrived. Where somebody else took the label meanwhile, the old one stays.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    id::{Account, ConnectionId},
    store::{Expect, Key, Put, Version},
};

use super::{
    Connections, Unavailable,
    lease::{Asked, Lease},
    record::Record,
    state::Change,
};

/// So often is a step tried again when someone else was quicker.
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
    /// Gives a connection another label.
    ///
    /// # Errors
    /// While the store or the keys are away, or a refresh is under way for long. What was begun then is finished later.
    pub async fn rename(&self, id: &ConnectionId, to: &Account) -> Result<Renamed, Unavailable> {
        let (from, target) = (self.key(id).await?, ConnectionId { account: to.clone(), ..id.clone() });
        if !self.read(&from).await?.is_some_and(|(record, _)| stands(&record)) {
            return Ok(Renamed::Absent);
        }
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
        // A refresh token that may be spent: whoever renews it first tells which grant is the one to move.
        if record.mark.is_some() || self.0.unsaved.sealed(&from).is_some() {
            return Ok(None);
        }
        let moving = self.write(from, record, version, Change::Moving(to.clone())).await?;
        Ok(moving.map(|_| true))
    }

    /// Steps 2 and 3, from wherever they were left.
    pub(super) async fn finish_move(&self, from: Key) -> Result<Renamed, Unavailable> {
        for _ in 0..ATTEMPTS {
            let Some((record, version)) = self.read(&from).await? else { return Ok(Renamed::Done) };
            let Some(moving) = record.moving.clone() else { return Ok(Renamed::Taken) };
            let target = self.key(&ConnectionId { account: moving.to.clone(), ..record.id.clone() }).await?;
            let there = self.read(&target).await?;
            if there.as_ref().is_none_or(|(there, _)| there.moved_by != Some(moving.id)) {
                if there.as_ref().is_some_and(|(there, _)| stands(there)) {
                    self.write(from, record, version, Change::Stayed).await?;
                    return Ok(Renamed::Taken);
                }
                if let Some(farewell) = there.as_ref().and_then(|(there, _)| there.farewell.as_ref()) {
                    self.bury(&ConnectionId { account: moving.to, ..record.id.clone() }, farewell).await?;
                }
                let arrived = self.arrive(target, there.map(|(_, version)| version), record).await?;
                if !arrived {
                    continue;
                }
            }
            if let Put::Stored = self.0.parts.store.delete(&from, Expect::Version(version)).await? {
                self.0.snapshots.changed(&from.owner);
                return Ok(Renamed::Done);
            }
        }
        Err(Unavailable::Busy)
    }

    /// Step 2. `false`: something else stands there now.
    async fn arrive(&self, target: Key, expect: Option<Version>, record: Record) -> Result<bool, Unavailable> {
        let now = self.now();
        let version = self.version_after(expect, now);
        let record = record.apply(Change::Arrived, now, version.0);
        let sealed = record.seal(&self.0.parts.vault, &target, version)?;
        let expect = expect.map_or(Expect::Absent, Expect::Version);
        let due = self.due(&record, now);
        let put = self.0.parts.store.put(&target, expect, version, &sealed, due).await?;
        self.0.snapshots.changed(&target.owner);
        Ok(matches!(put, Put::Stored))
    }
}

/// Whether a record is a connection that people see: not one that only waits for its farewell.
fn stands(record: &Record) -> bool {
    record.farewell.is_none() && (record.grant.is_some() || record.api_key.is_some())
}
