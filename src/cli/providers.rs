//! `valetkey providers`: what the catalogue holds.

use clap::Args;

use super::{
    Outcome,
    output::{FAINT, GOOD, complain, say, styled},
};
use crate::provider::catalogue;

/// Arguments of `providers`.
#[derive(Debug, Args)]
pub struct ProvidersArgs {
    /// Show this one with all its fields.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Does it.
pub fn run(args: &ProvidersArgs) -> Outcome {
    match &args.name {
        None => list(args.json),
        Some(name) => show(name),
    }
}

fn list(json: bool) -> Outcome {
    if json {
        say(serde_json::json!(catalogue::names().collect::<Vec<_>>()));
        return Outcome::Done;
    }
    for name in catalogue::names() {
        let fields = catalogue::fields(name);
        let title = fields.and_then(|fields| fields.title.as_deref()).unwrap_or_default();
        let base = fields.and_then(|fields| fields.base_url.as_deref()).unwrap_or("(set base_url, or use a preset)");
        say(format_args!("{} {title:<18} {}", styled(GOOD, format_args!("{name:<18}")), styled(FAINT, base)));
    }
    Outcome::Done
}

/// As JSON, which is YAML too: it can be pasted under a service.
fn show(name: &str) -> Outcome {
    let Some(fields) = catalogue::fields(name) else {
        complain(format_args!("There is no provider {name:?}; `valetkey providers` lists them"));
        return Outcome::Failed;
    };
    let mut value = serde_json::to_value(fields).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    say(format_args!("{value:#}"));
    Outcome::Done
}
