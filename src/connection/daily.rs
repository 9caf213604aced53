//! Work that is done once a day by one replica, whichever comes first: a lease keeps two from doing it at the same time, a value
//! in the store says that today's is done. What the work is, and that nobody is told anything twice though a lease be lost, is
//! the business of whoever has work.

use std::time::Duration;

use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    store::{Key, OwnerId, RecordId, Store},
    vault::Root,
};

use super::{
    lease::{Asked, Leases},
    model::Unavailable,
};

/// How often to look whether there is work.
const INTERVAL: Duration = Duration::from_secs(300);
/// Between two batches of records, so that calls don't feel the work.
pub(super) const PACE: Duration = Duration::from_millis(50);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// How long it is remembered beyond an end that somebody was told of it.
pub(super) const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Calls `day` every few minutes for as long as the process lives: it does nothing where today's work, called `what`, is done.
pub(super) fn look_after<F>(handle: &Handle, what: &'static str, day: impl Fn() -> F + Send + 'static)
where
    F: Future<Output = Result<bool, Unavailable>> + Send,
{
    handle.spawn(async move {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = day().await {
                tracing::debug!(%error, what, "the day's work is put off");
            }
        }
    });
}

/// Does the work, unless the value `today` says that it is done, or another replica is at work that is called the same. Says
/// whether it was done here.
///
/// # Errors
/// While the store or the keys are away; what was done until then stays done.
pub(super) async fn once(
    (store, leases): (&dyn Store, &Leases),
    (root, what): (&Root, &str),
    today: &str,
    work: impl Future<Output = Result<(), Unavailable>>,
) -> Result<bool, Unavailable> {
    if store.peek(today).await?.is_some() {
        return Ok(false);
    }
    let record = RecordId(root.blind("work", &[what.as_bytes()]));
    let Asked::Mine(lease) = leases.ask(Key { owner: OwnerId(root.blind("work", &[])), record }).await? else {
        return Ok(false);
    };
    let done = async {
        // Another may have done it before the lease came here.
        if store.peek(today).await?.is_some() {
            return Ok(false);
        }
        work.await?;
        store.put_once(today, b"done", Some(DAY * 2)).await?;
        Ok(true)
    };
    let done = done.await;
    lease.release().await;
    done
}
