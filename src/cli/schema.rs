//! `valetkey schema`: the JSON Schema of the configuration.

use super::{Outcome, output::say};
use crate::config;

/// Prints the schema.
pub fn run() -> Outcome {
    say(format_args!("{:#}", config::schema()));
    Outcome::Done
}
