//! Ahead of time: the healer renews what is over soon, so that nobody waits for it, and finishes what a replica that died
//! left behind: refreshes that were cut off, revocations that were not done. Replicas share the work through the same
//! leases as everything else, and each provider is asked only so often at a time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use crate::{clock::Timestamp, id::ServiceName, store::Key};

use super::{Connections, record::Record};

/// How often the store is asked what is due.
const INTERVAL: Duration = Duration::from_secs(10);
/// How many records are looked at in one go.
const BATCH: usize = 256;
/// How many refreshes go to one provider at the same time.
const AT_ONCE: usize = 8;
/// Tokens that live shorter are renewed when they are used, not for their own sake.
const WORTH_HEALING: Duration = Duration::from_secs(60);
/// Tokens that live longer than this are renewed this long before their end.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What was begun and not finished is looked at again after this.
const UNFINISHED: Duration = Duration::from_secs(45);

/// When a record should be looked at: at the end of a cut-off refresh or revocation, else ahead of its token's end. The
/// jitter is the record's own, so that tokens issued together aren't renewed together.
pub fn due(record: &Record, now: Timestamp, process: &str) -> Option<Timestamp> {
    if let Some(farewell) = &record.farewell {
        let doublings = farewell.attempts.min(10);
        return Some(now.plus(Duration::from_secs(15).saturating_mul(1 << doublings)));
    }
    if let Some(aside) = &record.aside {
        return Some(aside.until.unwrap_or(now).max(now));
    }
    if record.moving.is_some() {
        return Some(now.plus(UNFINISHED));
    }
    if record.invalid.is_some() {
        return None;
    }
    if record.mark.is_some() {
        return Some(now.plus(UNFINISHED));
    }
    // What is overdue already was tried and failed: not at once again.
    Some(ahead(record, now, process)?.max(now.plus(UNFINISHED)))
}

/// When a token should be renewed for its own sake.
fn ahead(record: &Record, now: Timestamp, process: &str) -> Option<Timestamp> {
    let grant = record.grant.as_ref().filter(|grant| grant.refresh_token.is_some())?;
    let end = grant.expires_at?;
    let life = end.since(grant.issued_at.unwrap_or(now));
    if life < WORTH_HEALING {
        return None;
    }
    let ahead = if life > DAY { DAY } else { life / 4 };
    let jitter = (ahead / 4).mul_f64(spread(record, process));
    let at = end.millis().saturating_sub(u64::try_from((ahead - jitter).as_millis()).unwrap_or(0));
    Some(Timestamp::from_millis(at))
}

/// Whether the record still asks for what its due time stood for: another replica may have been quicker.
fn is_wanted(record: &Record, now: Timestamp, process: &str) -> bool {
    if let Some(aside) = &record.aside {
        return aside.until.is_none_or(|until| until.reached(now));
    }
    let is_due = || record.mark.is_some() || ahead(record, now, process).is_some_and(|at| at.reached(now));
    record.farewell.is_some() || record.moving.is_some() || (record.invalid.is_none() && is_due())
}

/// From 0 to 1, the same for a grant each time.
fn spread(record: &Record, process: &str) -> f64 {
    let generation = record.grant.as_ref().map_or(0, |grant| grant.generation);
    let mixed = generation.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(process.len() as u64);
    f64::from((mixed >> 40) as u32) / f64::from(1_u32 << 24)
}

impl Connections {
    /// Heals for as long as the process lives.
    pub(super) fn heal(&self) {
        let connections = self.clone();
        self.0.parts.handle.spawn(async move {
            let mut gates: HashMap<ServiceName, Arc<Semaphore>> = HashMap::new();
            let mut tick = tokio::time::interval(INTERVAL);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                match connections.0.parts.store.due(connections.now().millis(), BATCH).await {
                    Ok(due) => {
                        for (key, _) in due {
                            connections.attend(key, &mut gates).await;
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the healer could not ask the store what is due"),
                }
            }
        });
    }

    /// Looks after one due record; waits only where its provider is asked too much already.
    async fn attend(&self, key: Key, gates: &mut HashMap<ServiceName, Arc<Semaphore>>) {
        let record = match self.read(&key).await {
            Ok(Some((record, _))) => record,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "the healer could not read a record");
                return;
            }
        };
        if !is_wanted(&record, self.now(), &self.0.process) {
            return;
        }
        let service = record.id.service.clone();
        let gate = gates.entry(service).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
        let Ok(permit) = Arc::clone(gate).acquire_owned().await else { return };
        let connections = self.clone();
        self.0.parts.handle.spawn(async move {
            let _permit = permit;
            if record.farewell.is_some() {
                connections.finish_farewell(key).await;
            } else if record.aside.is_some() {
                let _ = connections.give_up_aside(key).await;
            } else if record.moving.is_some() {
                let _ = connections.finish_move(key).await;
            } else if let Some(grant) = record.grant {
                let _ = connections.refresh(&record.id, grant.generation).await;
            }
        });
    }
}
