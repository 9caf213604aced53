//! `valetkey demo`: Valetkey and a stand-in provider on this machine, to look at or to walk through by itself.

use clap::Args;

use super::{Outcome, output::complain};
use crate::demo::{self, Options, Reader};

/// Try Valetkey with nothing but this binary: a stand-in provider on loopback, an embedded store in a temporary folder
///
/// With GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET in the environment, the real GitHub is offered too.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Do the whole walk by itself (connect, call, expire, refresh, revoke, reconnect, disconnect); exit 0 only if every step held
    #[arg(long)]
    walk: bool,
    /// Print one JSON line a step
    #[arg(long, requires = "walk")]
    json: bool,
    /// Valetkey's port [default: 8080 if free; with --walk any free one]
    #[arg(long)]
    port: Option<u16>,
}

/// Runs the demo: 0 if it ended well, 1 if a step of the walk broke or it couldn't run.
pub fn run(args: DemoArgs) -> Outcome {
    let reader = if args.json { Reader::Program } else { Reader::Person };
    // Values that are no UTF-8 can't be credentials.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match demo::run(Options { port: args.port, walk: args.walk.then_some(reader), environment }) {
        Ok(true) => Outcome::Done,
        Ok(false) => Outcome::Failed,
        Err(error) => {
            complain(error);
            Outcome::Failed
        }
    }
}
