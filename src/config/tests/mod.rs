use std::path::Path;

use super::*;

mod alerts;
mod brand;
mod generated;
mod meaning;
mod notifications;
mod problems;
mod telemetry;
mod text;

use super::testing::{KEY, env};

/// A configuration whose services nobody looks at.
#[derive(Debug)]
struct Understood {
    config: Config,
    warnings: Vec<Problem>,
}

fn parsed(text: &str) -> Result<Understood, Problems> {
    parse(text, Path::new("config"), &env).finish().map(|(config, warnings, _)| Understood { config, warnings })
}
