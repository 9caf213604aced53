//! `valetkey demo`: Valetkey and a stand-in provider on this machine, to look at or to walk through by itself.

use clap::Args;

use super::{Outcome, output};
use crate::demo::{self, Options, Reader};

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Do the whole walk by itself: connect, call, expire, refresh, revoke, reconnect, disconnect; exit 0 only if every
    /// step held.
    #[arg(long)]
    pub walk: bool,
    /// With `--walk`: one JSON object a step.
    #[arg(long, requires = "walk")]
    pub json: bool,
    /// Valetkey's port; by default 8080 if that is free, and any free one for `--walk`.
    #[arg(long)]
    pub port: Option<u16>,
}

/// Runs the demo. With `GITHUB_CLIENT_ID` and `GITHUB_CLIENT_SECRET` in the environment, it offers the real GitHub too.
pub fn run(args: &DemoArgs) -> Outcome {
    let reader = if args.json { Reader::Program } else { Reader::Person };
    // Values that are no UTF-8 can't be credentials.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match demo::run(&Options { port: args.port, walk: args.walk.then_some(reader), environment }) {
        Ok(true) => Outcome::Done,
        Ok(false) => Outcome::Failed,
        Err(error) => {
            output::complain(error);
            Outcome::Failed
        }
    }
}
