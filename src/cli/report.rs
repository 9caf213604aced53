//! `valetkey report`: what the store says of all connections at once, for people and, with `--json`, for programs. Reads
//! beside running replicas; the embedded store has one owner at a time.

use clap::Subcommand;

use serde::Serialize;

use super::{
    Outcome,
    output::{complain, say},
};
use crate::provider::{Service, Services};

mod audit;
mod connections;
mod failures;
mod funnel;
mod migration;

/// What to report on.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// What happened to connections, and whether the log of it is as it was signed.
    Audit(audit::AuditArgs),
    /// How far each service is on its way from API keys to OAuth, caller by caller.
    Migration(migration::MigrationArgs),
    /// All connections, those that end first first.
    Connections(connections::ConnectionsArgs),
    /// How far attempts to connect come, and where people are lost.
    Funnel(funnel::FunnelArgs),
    /// What failed lately, by service and error.
    Failures(failures::FailuresArgs),
}

/// Does it.
pub fn run(command: &ReportCommand) -> Outcome {
    match command {
        ReportCommand::Audit(args) => audit::run(args),
        ReportCommand::Migration(args) => migration::run(args),
        ReportCommand::Connections(args) => connections::run(args),
        ReportCommand::Funnel(args) => funnel::run(args),
        ReportCommand::Failures(args) => failures::run(args),
    }
}

/// The services to report on: those that own connections, or the owner of the one that is named.
fn chosen<'s>(services: &'s Services, name: Option<&str>) -> Result<Vec<&'s Service>, String> {
    let Some(name) = name else {
        return Ok(services.iter().filter(|service| service.owner == service.name).map(AsRef::as_ref).collect());
    };
    let owner = services.get(name).and_then(|service| services.owner(service));
    owner.map(|owner| vec![owner.as_ref()]).ok_or_else(|| "There is no service of this name".to_owned())
}

/// Prints JSON, for programs.
fn printed(report: &impl Serialize) -> Outcome {
    match serde_json::to_string(report) {
        Ok(text) => {
            say(text);
            Outcome::Done
        }
        Err(error) => {
            complain(error);
            Outcome::Failed
        }
    }
}
