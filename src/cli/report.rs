//! `valetkey report`: what the store says of all connections at once, for people and, with `--json`, for programs. Reads
//! beside running replicas; the embedded store has one owner at a time.

use clap::Subcommand;

use super::Outcome;

mod audit;
mod migration;

/// What to report on.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// What happened to connections, and whether the log of it is as it was signed.
    Audit(audit::AuditArgs),
    /// How far each service is on its way from API keys to OAuth, caller by caller.
    Migration(migration::MigrationArgs),
}

/// Does it.
pub fn run(command: &ReportCommand) -> Outcome {
    match command {
        ReportCommand::Audit(args) => audit::run(args),
        ReportCommand::Migration(args) => migration::run(args),
    }
}
