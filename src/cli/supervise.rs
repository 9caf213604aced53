//! A command as a child: hears the signals that its parent gets, and its exit code becomes the parent's. Knows nothing of
//! Valetkey.

use std::{
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
};

use rustix::process::{Pid, Signal as Number, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Outcome;

/// Signals that are meant for a command and come to its parent. The first four end a process.
const FORWARDED: [SignalKind; 6] = [
    SignalKind::terminate(),
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::hangup(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];
const ENDING: usize = 4;

/// Signals that come to this process from now on. None of them ends it any more.
pub struct Signals(Vec<(SignalKind, Signal)>);

impl Signals {
    /// Those that would end it.
    pub fn that_end() -> Self {
        Self::of(&FORWARDED[..ENDING])
    }

    fn of(kinds: &[SignalKind]) -> Self {
        Self(kinds.iter().filter_map(|kind| Some((*kind, signal(*kind).ok()?))).collect())
    }

    /// Waits for the next; its number.
    pub async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            let next =
                self.0.iter_mut().find_map(|(kind, signal)| signal.poll_recv(context).is_ready().then_some(*kind));
            next.map_or(std::task::Poll::Pending, |kind| std::task::Poll::Ready(kind.as_raw_value()))
        })
        .await
    }
}

/// Runs a command to its end.
///
/// # Errors
/// Where it can't be started.
pub async fn run(command: Command) -> io::Result<Outcome> {
    let mut signals = Signals::of(&FORWARDED);
    let mut child = tokio::process::Command::from(command).spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // A terminal has told the child already: it tells all processes that run in it.
    let by_terminal = |number: i32| {
        let of_keys = [SignalKind::interrupt(), SignalKind::quit()].map(|kind| kind.as_raw_value());
        of_keys.contains(&number) && io::stdin().is_terminal()
    };
    loop {
        tokio::select! {
            biased;
            status = child.wait() => return status.map(outcome),
            number = signals.next() => {
                if let (Some(id), Some(signal), false) = (id, Number::from_named_raw(number), by_terminal(number)) {
                    // It can't be another process: this one's number stays taken until its end has been asked for.
                    let _ = kill_process(id, signal);
                }
            }
        }
    }
}

fn outcome(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(code), _) => u8::try_from(code).map_or(Outcome::Failed, Outcome::Code),
        (None, Some(signal)) => ended_by(signal),
        (None, None) => Outcome::Failed,
    }
}

/// The outcome of whoever was ended by this signal, as shells tell it: 128 and its number.
pub fn ended_by(signal: i32) -> Outcome {
    u8::try_from(128 + signal).map_or(Outcome::Failed, Outcome::Code)
}
