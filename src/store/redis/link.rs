//! The connection and its health. Decides when it is given up, rebuilds it in one background task, and meanwhile fails
//! calls at once instead of letting each find out for itself. Knows nothing of what is sent.
//!
//! Connections live on the runtime given at construction, whoever polls a call: a connection driven by the runtime of
//! one listener would die with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Client, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;
use super::options::Limits;
use super::request::{Repeat, Request};
use super::targets::{Connection, Targets};
use crate::{backoff::Backoff, store::Error};

/// After how many unanswered requests in a row a connection is given up: a server that hangs breaks none by itself.
const TIMEOUTS_SINGLE: u32 = 2;
/// The same for a cluster, where the client mends single nodes' connections and one dead node is no reason to leave.
const FAILURES_CLUSTER: u32 = 8;
/// The pauses between attempts to connect, or to subscribe.
pub(super) const PAUSES: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// A connection in use.
pub(super) struct Live {
    connection: Connection,
    pub(super) listen_at: Vec<Client>,
    failures: AtomicU32,
    given_up: AtomicBool,
    /// Tells those who depend on this very connection that it was given up.
    pub(super) ended: CancellationToken,
}

#[derive(Clone)]
enum Status {
    /// The first attempt since the start or since a connection broke: worth waiting for.
    Trying,
    Up,
    /// Attempts go on, but nobody waits for them.
    Down(Error),
}

/// The way to Redis.
pub(super) struct Link {
    targets: Targets,
    pub(super) limits: Limits,
    handle: Handle,
    live: ArcSwapOption<Live>,
    status: watch::Sender<Status>,
    closed: CancellationToken,
}

impl Link {
    /// Begins to connect in the background.
    pub(super) fn start(targets: Targets, limits: Limits, handle: Handle, closed: CancellationToken) -> Arc<Self> {
        let link = Arc::new(Self {
            targets,
            limits,
            handle,
            live: ArcSwapOption::empty(),
            status: watch::Sender::new(Status::Trying),
            closed,
        });
        link.handle.spawn(Arc::clone(&link).rebuild());
        link
    }

    /// The connection, or why there is none. Waits only for an attempt that may well succeed.
    pub(super) async fn live(&self) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        if self.closed.is_cancelled() {
            return Err(Error::unavailable("the store is closed"));
        }
        let mut status = self.status.subscribe();
        let settled = status.wait_for(|status| !matches!(status, Status::Trying));
        match tokio::time::timeout(self.limits.connect, settled).await {
            Ok(Ok(status)) => {
                if let Status::Down(error) = &*status {
                    return Err(error.clone());
                }
            }
            Ok(Err(_)) | Err(_) => return Err(Error::unavailable("still connecting")),
        }
        self.live.load_full().ok_or_else(|| Error::unavailable("reconnecting"))
    }

    /// Sends a request; at most once more after a failure that says it may.
    pub(super) async fn call(&self, request: &Request, repeat: Repeat) -> Result<Value, Error> {
        let deadline = Instant::now() + self.limits.overall;
        let first = match self.attempt(request, deadline).await? {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        let again = match first {
            Fault::Unfit(_) => true,
            Fault::Dropped(_) => repeat != Repeat::Never,
            Fault::Timeout => repeat == Repeat::Write,
            Fault::NoScript | Fault::Refused { .. } => false,
        };
        if again && Instant::now() < deadline {
            // What the first attempt met is the better answer where the second can't even be made.
            return match self.attempt(request, deadline).await {
                Ok(outcome) => outcome.map_err(Fault::into_error),
                Err(_) => Err(first.into_error()),
            };
        }
        Err(first.into_error())
    }

    /// One attempt; the outer error is that there is no connection.
    async fn attempt(&self, request: &Request, deadline: Instant) -> Result<Result<Value, Fault>, Error> {
        let live = self.live().await?;
        let mut connection = live.connection.clone();
        let limit = match self.targets.is_single() {
            true => deadline.min(Instant::now() + self.limits.response),
            false => deadline,
        };
        let fault = match tokio::time::timeout_at(limit, request.send(&mut connection)).await {
            Ok(Ok(value)) => {
                live.failures.store(0, Ordering::Relaxed);
                return Ok(Ok(value));
            }
            Ok(Err(error)) => {
                if let Some(refused) = Fault::not_permitted(&error) {
                    tracing::error!(refused, "NOPERM: the ACL of Redis does not let this user do what is needed");
                }
                Fault::of(&error)
            }
            Err(_) => Fault::Timeout,
        };
        self.judge(&live, fault);
        Ok(Err(fault))
    }

    /// Gives a connection up for what was met on it.
    fn judge(&self, live: &Arc<Live>, fault: Fault) {
        let give_up = match fault {
            Fault::Refused { code: "NOAUTH", .. } => true,
            Fault::NoScript | Fault::Refused { .. } => {
                live.failures.store(0, Ordering::Relaxed);
                false
            }
            Fault::Dropped(_) | Fault::Unfit(_) if self.targets.is_single() => true,
            Fault::Dropped(_) | Fault::Unfit(_) | Fault::Timeout => {
                let limit = if self.targets.is_single() { TIMEOUTS_SINGLE } else { FAILURES_CLUSTER };
                live.failures.fetch_add(1, Ordering::Relaxed) + 1 >= limit
            }
        };
        if give_up && !live.given_up.swap(true, Ordering::AcqRel) {
            // In this order nobody can see the old connection, or its absence as a failure, once it is given up.
            self.status.send_replace(Status::Trying);
            self.live.store(None);
            live.ended.cancel();
        }
    }

    /// Whether commands go to one server.
    pub(super) fn is_single(&self) -> bool {
        self.targets.is_single()
    }

    /// Gives a connection up for a reason found out elsewhere.
    pub(super) fn give_up(&self, live: &Arc<Live>, fault: Fault) {
        self.judge(live, fault);
    }

    /// Connects, watches for the connection to be given up, and connects again, until closed.
    async fn rebuild(self: Arc<Self>) {
        let (mut attempts, mut reported, mut checked) = (0_u32, None, false);
        loop {
            let outcome = tokio::select! {
                () = self.closed.cancelled() => return self.shut(),
                outcome = self.targets.connect(self.limits.connect, self.limits.response) => outcome,
            };
            match outcome {
                Ok(connected) => {
                    let live = Arc::new(Live {
                        connection: connected.connection,
                        listen_at: connected.listen_at,
                        failures: AtomicU32::new(0),
                        given_up: AtomicBool::new(false),
                        ended: CancellationToken::new(),
                    });
                    let (ended, since) = (live.ended.clone(), Instant::now());
                    let connection = live.connection.clone();
                    reported = None;
                    self.live.store(Some(live));
                    self.status.send_replace(Status::Up);
                    tracing::info!("connected to Redis");
                    if !std::mem::replace(&mut checked, true) {
                        tokio::spawn(warn_of_eviction(connection));
                    }
                    tokio::select! {
                        () = self.closed.cancelled() => return self.shut(),
                        () = ended.cancelled() => {}
                    }
                    tracing::warn!("the connection to Redis is given up; reconnecting");
                    // One that connects and fails at once must not be hammered.
                    if since.elapsed() > PAUSES.longest {
                        attempts = 0;
                        continue;
                    }
                }
                Err(fault) => {
                    let error = fault.into_error();
                    // The same news once a second would bury all other.
                    if reported.as_ref() != Some(&error) {
                        tracing::warn!(%error, "cannot connect to Redis; trying on");
                        reported = Some(error.clone());
                    }
                    self.status.send_replace(Status::Down(error));
                }
            }
            tokio::select! {
                () = self.closed.cancelled() => return self.shut(),
                () = tokio::time::sleep(PAUSES.jittered(attempts, chance())) => {}
            }
            attempts = attempts.saturating_add(1);
        }
    }

    /// Lets go of the connection; what is under way on it may still be answered.
    pub(super) fn shut(&self) {
        self.live.store(None);
        self.status.send_replace(Status::Down(Error::unavailable("the store is closed")));
    }
}

/// A Redis that may throw keys away throws grants away. Not being allowed to ask is no reason to stop.
async fn warn_of_eviction(mut connection: Connection) {
    let policy =
        redis::cmd("INFO").arg("memory").query_async::<Value>(&mut connection).await.ok().and_then(eviction_policy);
    match policy.as_deref() {
        Some("noeviction") => {}
        Some(policy) => {
            tracing::warn!(policy, "Redis may evict grants when its memory is full; set maxmemory-policy to noeviction")
        }
        None => tracing::debug!("Redis does not tell its maxmemory-policy"),
    }
}

/// Finds the policy in the answer of one server, or of the first of several.
fn eviction_policy(answer: Value) -> Option<String> {
    let text = match answer {
        Value::Map(nodes) => return nodes.into_iter().find_map(|(_, answer)| eviction_policy(answer)),
        Value::BulkString(text) => String::from_utf8(text).ok()?,
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    text.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(|policy| policy.trim().to_owned())
}

/// A number from 0 to 1, so that replicas don't come back in step.
pub(super) fn chance() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eviction_policy_is_found_in_one_answer_or_several() {
        let answer = || Value::BulkString(b"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n".to_vec());
        let several = Value::Map(vec![(Value::BulkString(b"127.0.0.1:1".to_vec()), answer())]);
        assert_eq!(eviction_policy(answer()).as_deref(), Some("allkeys-lru"));
        assert_eq!(eviction_policy(several).as_deref(), Some("allkeys-lru"));
        assert_eq!(eviction_policy(Value::Nil), None);
    }

    #[test]
    fn a_pause_is_never_longer_than_meant_nor_shorter_than_half() {
        for _ in 0..1000 {
            let pause = PAUSES.jittered(9, chance());
            assert!(pause <= PAUSES.longest && pause >= PAUSES.longest / 2, "{pause:?}");
        }
    }
}
