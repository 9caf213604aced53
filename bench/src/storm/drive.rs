//! The driver of the storm: calls come at set times, whether or not earlier ones were answered, and their latency counts
//! from the time they were due, so that a proxy that falls behind can't hide it.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{contestant::WHO, http::Connection, progress::Progress, users::name};

/// How many calls wait at each replica at the same time at most.
const AT_ONCE: usize = 96;

/// What came of the calls.
pub struct Outcome {
    /// From the time it was due to its answer, for each call, sorted.
    pub latencies: Vec<Duration>,
    /// What went wrong, one line a call.
    pub failed: Vec<String>,
    /// From the first call to the last answer.
    pub took: Duration,
}

impl Outcome {
    /// A percentile of the latencies.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Each user, from number `first` on, makes a call to each replica at the same moment; users come one after the other, so
/// many a second, or without any pause.
///
/// # Errors
/// Where a driver panicked. Failed calls are told in the outcome.
pub fn drive(
    replicas: &[SocketAddr],
    jwts: &[String],
    first: usize,
    rate: Option<usize>,
    progress: &Progress,
) -> io::Result<Outcome> {
    let begin = Instant::now() + Duration::from_millis(100);
    let next: Vec<AtomicUsize> = replicas.iter().map(|_| AtomicUsize::new(0)).collect();
    let work = |replica: usize| {
        let (mut latencies, mut failed, mut connection) = (Vec::new(), Vec::new(), None);
        loop {
            let at = next[replica].fetch_add(1, Ordering::Relaxed);
            let Some(jwt) = jwts.get(at) else { return (latencies, failed) };
            let due = match rate {
                Some(rate) => begin + Duration::from_secs_f64(at as f64 / rate as f64),
                None => begin.max(Instant::now()),
            };
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match call(&mut connection, replicas[replica], jwt, first + at) {
                Ok(()) => latencies.push(due.elapsed()),
                Err(problem) => failed.push(format!("user {} at replica {replica}: {problem}", first + at)),
            }
        }
    };
    let work = &work;
    let (mut latencies, mut failed) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let drivers: Vec<_> = (0..replicas.len() * AT_ONCE)
            .map(|driver| {
                let replica = driver % replicas.len();
                thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, move || work(replica))
            })
            .collect::<Result<_, _>>()?;
        while drivers.iter().any(|driver| !driver.is_finished()) {
            progress.at(next.iter().map(|next| next.load(Ordering::Relaxed).min(jwts.len())).sum());
            thread::sleep(Duration::from_millis(100));
        }
        for driver in drivers {
            let (some, wrong) = driver.join().map_err(|_| io::Error::other("a driver panicked"))?;
            latencies.extend(some);
            failed.extend(wrong);
        }
        Ok::<(), io::Error>(())
    })?;
    latencies.sort_unstable();
    Ok(Outcome { latencies, failed, took: begin.elapsed() })
}

/// One call, which must be answered with the user's own name.
fn call(kept: &mut Option<Connection>, replica: SocketAddr, jwt: &str, user: usize) -> io::Result<()> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(replica)?,
    };
    let (status, body) = connection.get(&format!("/proxy/storm{WHO}"), jwt)?;
    *kept = Some(connection);
    if status == 200 && body == name(user).as_bytes() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&body);
    Err(io::Error::other(format!("{status} {}", text.chars().take(300).collect::<String>())))
}
