//! `valetkey report`: what the store says of all connections at once, for people and, with `--json`, for programs. Reads
//! beside running replicas; the embedded store has one owner at a time.

use clap::Subcommand;

use super::Outcome;

mod connections;
mod migration;

/// What to report on.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// How far each service is on its way from API keys to OAuth, caller by caller.
    Migration(migration::MigrationArgs),
    /// All connections, those that end first first.
    Connections(connections::ConnectionsArgs),
}

/// Does it.
pub fn run(command: &ReportCommand) -> Outcome {
    match command {
        ReportCommand::Migration(args) => migration::run(args),
        ReportCommand::Connections(args) => connections::run(args),
    }
}
