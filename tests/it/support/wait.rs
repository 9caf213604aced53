//! Waiting for a fact, with a deadline.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that ought to happen at once. Generous: two busy cores, debug builds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Asks every 10 ms until `check` answers `Some`; panics, naming `what`, when the deadline passes.
pub(crate) async fn until<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs `work`, at most for the deadline.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took longer than {DEADLINE:?}"),
    }
}
