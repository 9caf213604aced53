//! The one way from a configuration file to a configuration that everything can be made from: all that is wrong with it is
//! told at once, whichever part finds it. Starts and opens nothing.

use std::path::Path as FilePath;

use crate::{
    caller::Callers,
    config::{self, Draft, Env, Path, Problems, finding},
    provider::Loaded,
};

/// Reads a configuration file, and what it names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(file: &FilePath, env: Env<'_>) -> Result<Loaded, Problems> {
    settle(config::load(file, env))
}

/// The same of a text; paths in it begin at `directory`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, directory: &FilePath, env: Env<'_>) -> Result<Loaded, Problems> {
    settle(config::parse(text, directory, env))
}

fn settle(mut draft: Draft) -> Result<Loaded, Problems> {
    let issuers = draft.config().map(|config| Callers::check(&config.callers)).unwrap_or_default();
    for found in issuers {
        draft.problem(&Path::default().key("callers").index(found.index), finding(found.problem.to_string()));
    }
    Loaded::settle(draft)
}
