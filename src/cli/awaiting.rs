//! `valetkey await`: waits until a running Valetkey answers, then becomes the command that was waiting for it. With `--quit`
//! it stays that command's parent instead (`supervise`), and asks Valetkey to end when the command has ended.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::Command,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use super::{
    Outcome,
    listener::{Expect, ListenerArgs, Place},
    output::complain,
    supervise::{self, Signals},
};

/// How long one answer may take.
const ONE_ANSWER: Duration = Duration::from_secs(2);
/// Between an answer that won't do and the next question.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the answer to `/quitquitquit` may take.
const LEAVE: Duration = Duration::from_secs(10);

/// Arguments of `await`.
#[derive(Debug, Args)]
pub struct AwaitArgs {
    /// Whom to wait for.
    #[command(flatten)]
    pub listener: ListenerArgs,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Stay COMMAND's parent, and have Valetkey end (`POST /quitquitquit`) once COMMAND has ended.
    #[arg(long, value_enum, value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "always", requires = "command")]
    pub quit: Option<Quit>,
    /// What to run then; without one, the exit code says that Valetkey answers.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// When Valetkey is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Quit {
    /// However COMMAND ended, and where it didn't begin.
    Always,
    /// Where COMMAND ended with 0: whoever starts a failed one again finds Valetkey still there.
    OnSuccess,
}

/// How the waiting ended.
enum Waited {
    /// It answers.
    Answered,
    /// It doesn't, and this is what was wrong last.
    Late(String),
    /// This process was told to end.
    Told(i32),
}

/// Waits, and does what is to be done then.
pub fn run(args: &AwaitArgs) -> Outcome {
    let Some(place) = args.listener.place() else { return Outcome::Wrong };
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        complain("The system gives no threads");
        return Outcome::Failed;
    };
    let outcome = waited(args, &place, &runtime);
    if args.quit == Some(Quit::Always) || (args.quit == Some(Quit::OnSuccess) && outcome == Outcome::Done) {
        leave(&place);
    }
    // A question that nobody answers may still be open.
    runtime.shutdown_background();
    outcome
}

fn waited(args: &AwaitArgs, place: &Place, runtime: &Runtime) -> Outcome {
    match runtime.block_on(wait(place, args.listener.expect, args.timeout)) {
        Waited::Answered => match args.command.split_first() {
            None => Outcome::Done,
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments);
                let failed = |error| not_started(program, &error);
                match args.quit {
                    None => failed(command.exec()),
                    Some(_) => runtime.block_on(supervise::run(command)).unwrap_or_else(failed),
                }
            }
        },
        Waited::Late(why) => {
            let timeout = humantime::format_duration(args.timeout);
            complain(format_args!("Gave up after {timeout}: {why}"));
            Outcome::Failed
        }
        Waited::Told(signal) => supervise::ended_by(signal),
    }
}

async fn wait(place: &Place, expect: Expect, timeout: Duration) -> Waited {
    // The first process of a container is deaf to signals that it doesn't ask for.
    let mut signals = Signals::that_end();
    let begun = Instant::now();
    let mut last = format!("{place} doesn't answer");
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        let asking = place.clone();
        let asked = tokio::task::spawn_blocking(move || asking.readiness(expect, ONE_ANSWER.min(left)));
        let answer = tokio::select! {
            answer = tokio::time::timeout(left, asked) => answer,
            signal = signals.next() => return Waited::Told(signal),
        };
        match answer {
            Ok(Ok(Ok(_))) => return Waited::Answered,
            Ok(Ok(Err(why))) => last = why,
            // Nobody waits for the rest of it.
            Ok(Err(_)) | Err(_) => {}
        }
        if begun.elapsed() + PAUSE >= timeout {
            return Waited::Late(last);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            signal = signals.next() => return Waited::Told(signal),
        }
    }
}

/// Says why a program can't be started, with the exit code that shells have for it.
fn not_started(program: &OsString, error: &io::Error) -> Outcome {
    complain(format_args!("{} can't be started: {error}", program.display()));
    Outcome::Code(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// Asks it to end. How the command ended stays what counts: a Job must not do its work again because this failed.
fn leave(place: &Place) {
    match place.ask("POST /quitquitquit", LEAVE) {
        Ok((200, _)) => {}
        Ok((status, body)) => complain(format_args!("{place} doesn't end: it answers {status}: {body}")),
        Err(error) => complain(format_args!("{place} wasn't told to end: {error}")),
    }
}
