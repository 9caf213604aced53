//! The command line: a file a subcommand, each a function from its arguments to an [`Outcome`]. Says what is asked for on
//! standard output and everything else on standard error. Holds no logic that the library could hold.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

pub mod admin_link;
pub mod awaiting;
pub mod census;
pub mod check;
pub mod cleanup;
pub mod completions;
pub mod configuration;
#[cfg(feature = "demo")]
pub mod demo;
pub mod env;
pub mod health;
pub mod import;
pub mod init;
pub mod keys;
pub mod listener;
pub mod mint;
pub mod openapi;
pub mod output;
pub mod providers;
pub mod report;
pub mod schema;
pub mod serve;
pub mod supervise;

/// A reverse-proxy sidecar that holds, refreshes and injects your users' API tokens.
#[derive(Debug, Parser)]
#[command(name = "valetkey", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong configuration or usage.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a working configuration to begin with: valetkey.yaml, and its keys as files.
    Init(init::InitArgs),
    /// Run Valetkey until SIGTERM or SIGINT.
    Serve(ConfigFile),
    /// Check a configuration: every problem at once, with its line and what to do.
    Check(check::CheckArgs),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print the OpenAPI document of the JSON API.
    Openapi,
    /// Make sealing keys; delete API keys that are retired.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Make a JWT for development, for an issuer with a `secret`.
    Mint(mint::MintArgs),
    /// Bring in existing tokens and API keys, JSON lines.
    Import(import::ImportArgs),
    /// Report on all connections at once.
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Print a link that lets one browser into /admin, once.
    AdminLink(admin_link::AdminLinkArgs),
    /// Ask a running Valetkey whether it is ready, for probes.
    Health(health::HealthArgs),
    /// Wait until a running Valetkey is ready, then become a command that needs it.
    Await(awaiting::AwaitArgs),
    /// Print the variables by which SDKs and tools call a service through Valetkey.
    Env(env::EnvArgs),
    /// See it work: a stand-in provider, a service and a user, all on this machine.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    /// List the providers that services can be built on, or show one.
    Providers(providers::ProvidersArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

/// Names the configuration file.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Done: 0.
    Done,
    /// Failed: 1.
    Failed,
    /// Wrong configuration or usage: 2.
    Wrong,
    /// As another program ended.
    Code(u8),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Wrong => 2,
            Outcome::Code(code) => code,
        })
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Schema => schema::run(),
        Command::Openapi => openapi::run(),
        Command::Keys(command) => keys::run(&command),
        Command::Mint(args) => mint::run(&args),
        Command::AdminLink(args) => admin_link::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Await(args) => awaiting::run(&args),
        Command::Env(args) => env::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Serve(file) => serve::run(&file),
        Command::Report(command) => report::run(&command),
        Command::Import(args) => import::run(&args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        Command::Providers(args) => providers::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn unknown_usage_exits_2() {
        for line in [&["valetkey", "serve"][..], &["valetkey", "frobnicate"], &["valetkey", "demo", "--json"]] {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
        assert_eq!(Cli::try_parse_from(["valetkey", "--help"]).unwrap_err().exit_code(), 0);
    }

    #[test]
    fn a_build_without_the_demo_lists_and_knows_no_demo_command() {
        let (listed, held) =
            (Cli::command().render_long_help().to_string().contains("  demo "), cfg!(feature = "demo"));
        assert_eq!(listed, held);
        assert_eq!(Cli::try_parse_from(["valetkey", "demo"]).is_ok(), held);
    }
}
