//! Hears what other replicas change, and knows when it may have missed something. A connection that looks alive proves
//! nothing (a half-open socket, a node cut off from the others), so each process sends itself a heartbeat the same way
//! a notice would come, and takes silence for a loss.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::{FromRedisValue, Value, cmd};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::layout::Layout;
use super::link::{Link, PAUSES, chance};
use super::request::{Repeat, Request};
use super::targets;
use crate::store::notices::Notices;
use crate::store::{Change, Error};

/// How often the heartbeat is sent, and after which silence the channel counts as broken.
const BEAT: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_millis(1700);

/// Listens until closed.
pub(super) async fn listen(link: Arc<Link>, layout: Layout, notices: Arc<Notices>, closed: CancellationToken) {
    let (mut failures, mut turn) = (0_u32, 0);
    let channels = [layout.changes(), layout.heartbeat(getrandom::u64().unwrap_or_default())];
    loop {
        let since = Instant::now();
        let reason = tokio::select! {
            () = closed.cancelled() => break,
            reason = session(&link, &notices, &channels, turn) => reason,
        };
        if notices.epoch().is_some() {
            tracing::warn!(reason = %reason, "the channel of change notices is broken; caches are not trusted until it is back");
        }
        notices.down();
        turn += 1;
        failures = if since.elapsed() > PAUSES.longest { 0 } else { failures.saturating_add(1) };
        tokio::select! {
            () = closed.cancelled() => break,
            () = tokio::time::sleep(PAUSES.jittered(failures, chance())) => {}
        }
    }
    notices.down();
}

/// One subscription from beginning to end; answers why it ended.
async fn session(link: &Link, notices: &Notices, channels: &[String; 2], turn: usize) -> Error {
    match subscribed(link, notices, channels, turn).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn subscribed(
    link: &Link,
    notices: &Notices,
    channels: &[String; 2],
    turn: usize,
) -> Result<std::convert::Infallible, Error> {
    let live = link.live().await?;
    let at = turn % live.listen_at.len().max(1);
    let client = live.listen_at.get(at).ok_or_else(|| Error::unavailable("no node to listen at"))?;
    let subscriber = targets::subscribe(client, channels, link.limits.connect, link.limits.response)
        .await
        .map_err(Fault::into_error)?;
    let (_sink, mut messages) = subscriber.split();

    let [_, beat] = channels;
    let beats = send_beats(link, beat);
    tokio::pin!(beats);
    let mut silent_at = Instant::now() + SILENCE;
    loop {
        tokio::select! {
            message = messages.next() => {
                let message = message.ok_or_else(|| Error::unavailable("the subscription was cut"))?;
                if message.get_channel_name() == *beat {
                    silent_at = Instant::now() + SILENCE;
                    // The first one proves that the whole way works, from here to there and back.
                    notices.up();
                } else {
                    // What can't be read still says that something changed.
                    match Change::from_text(message.get_payload_bytes()) {
                        Some(change) => notices.send(change),
                        None => notices.missed(),
                    }
                }
            }
            () = tokio::time::sleep_until(silent_at) => return Err(Error::unavailable("no heartbeat came back")),
            // After a failover the old server may go on talking to itself.
            () = live.ended.cancelled() => return Err(Error::unavailable("the connection was given up")),
            () = &mut beats => {}
        }
    }
}

/// Sends the heartbeat for ever; on the way it finds out connections that hang and masters that were demoted.
async fn send_beats(link: &Link, beat: &str) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut publish = cmd("PUBLISH");
        publish.arg(beat).arg("");
        if !link.is_single() {
            // Its failure shows as silence.
            let _ = link.call(&Request::Command(publish), Repeat::Never).await;
            continue;
        }
        let Ok(live) = link.live().await else { continue };
        let mut both = redis::pipe();
        both.add_command(publish).cmd("ROLE");
        let answer = link.call(&Request::Commands(both), Repeat::Never).await;
        if demoted(answer) {
            link.give_up(&live, Fault::Unfit("the master was demoted"));
        }
    }
}

/// Whether the heartbeat's answer says that the server is no master any more.
fn demoted(answer: Result<Value, Error>) -> bool {
    let Ok(value) = answer else { return false };
    match <(Value, Value)>::from_redis_value(value) {
        Ok((_, role)) => !targets::is_master(&role),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat_answered_as(role: &str) -> Result<Value, Error> {
        let role = Value::Array(vec![Value::BulkString(role.as_bytes().to_vec()), Value::Int(0)]);
        Ok(Value::Array(vec![Value::Int(1), role]))
    }

    #[test]
    fn only_a_role_other_than_master_is_a_demotion() {
        assert!(demoted(beat_answered_as("slave")));
        assert!(!demoted(beat_answered_as("master")));
        assert!(!demoted(Err(Error::unavailable("no answer in time"))));
    }

    #[test]
    fn silence_is_longer_than_two_missed_beats() {
        assert!(SILENCE > BEAT * 3);
    }
}
