//! When somebody should look at a record, and whether it still asks for that. Pure.

use std::time::Duration;

use crate::{
    backoff::{self, Backoff},
    clock::Timestamp,
};

use super::{form::Record, state::State};

/// Tokens that live shorter are renewed when they are used, not for their own sake.
const WORTH_HEALING: Duration = Duration::from_secs(60);
/// Tokens that live longer than this are renewed this long before their end.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What was begun and not finished is looked at again after this.
const UNFINISHED: Duration = Duration::from_secs(45);
/// Between attempts to revoke: from a quarter of a minute to four hours and a quarter.
const REVOCATIONS: Backoff = Backoff::new(Duration::from_secs(15), Duration::from_secs(15 << 10));

/// When a record should be looked at: at the end of a cut-off refresh or revocation, else ahead of its token's end. The
/// jitter is the record's own, so that tokens issued together aren't renewed together.
pub fn at(record: &Record, now: Timestamp) -> Option<Timestamp> {
    match &record.state {
        State::PendingRevocation(pending) => Some(now.plus(REVOCATIONS.after(pending.attempts))),
        State::Unconfirmed(wait) => Some(wait.until.unwrap_or(now).max(now)),
        State::Moving(_) | State::Reserved(_) => Some(now.plus(UNFINISHED)),
        State::Connected if record.invalid.is_some() => None,
        State::Connected if record.intent.is_some() => Some(now.plus(UNFINISHED)),
        // What is overdue already was tried and failed: not at once again.
        State::Connected => Some(ahead(record, now)?.max(now.plus(UNFINISHED))),
    }
}

/// When a token should be renewed for its own sake; `None`: nothing but a call does.
pub fn ahead(record: &Record, now: Timestamp) -> Option<Timestamp> {
    let grant = record.grant.as_ref().filter(|grant| grant.refresh_token.is_some())?;
    let end = grant.expires_at?;
    let life = end.since(grant.issued_at.unwrap_or(now));
    if life < WORTH_HEALING {
        return None;
    }
    let ahead = if life > DAY { DAY } else { life / 4 };
    let jitter = (ahead / 4).mul_f64(spread(record));
    let at = end.millis().saturating_sub(u64::try_from((ahead - jitter).as_millis()).unwrap_or(0));
    Some(Timestamp::from_millis(at))
}

/// Whether the record still asks for what its due time stood for: another replica may have been quicker.
pub fn is_wanted(record: &Record, now: Timestamp) -> bool {
    match &record.state {
        State::PendingRevocation(_) | State::Moving(_) | State::Reserved(_) => true,
        State::Unconfirmed(wait) => wait.until.is_none_or(|until| until.reached(now)),
        State::Connected if record.invalid.is_some() => false,
        State::Connected => record.intent.is_some() || ahead(record, now).is_some_and(|at| at.reached(now)),
    }
}

/// From 0 to 1, the same for a grant each time and everywhere.
fn spread(record: &Record) -> f64 {
    backoff::chance(&(&record.id, record.grant.as_ref().map(|grant| grant.token_version)))
}
