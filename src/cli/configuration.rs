//! Reads the configuration for the commands that need one, with the environment of this process.

use std::path::Path;

use super::output::{BAD, FAINT, WARNING, complain, note, styled};
use crate::{
    config::{Problem, Problems},
    provider::Loaded,
    serve,
};

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment for the configuration")]
pub fn load(file: &Path) -> Result<Loaded, Problems> {
    serve::load(file, &|name| std::env::var(name).ok())
}

/// Reads a configuration, or says on standard error what is wrong with it. Warnings go there, too.
pub fn load_or_complain(file: &Path) -> Option<Loaded> {
    match load(file) {
        Ok(loaded) => {
            show_warnings(&file.display().to_string(), &loaded.warnings);
            Some(loaded)
        }
        Err(problems) => {
            show_problems(&problems);
            None
        }
    }
}

/// Shows warnings on standard error.
pub fn show_warnings(file: &str, warnings: &[Problem]) {
    for warning in warnings {
        note(format_args!("{} {}", styled(WARNING, "warning:"), shown(file, warning)));
    }
}

/// Shows problems and their number on standard error.
pub fn show_problems(problems: &Problems) {
    for problem in &problems.all {
        note(format_args!("{} {}", styled(BAD, "error:"), shown(&problems.file, problem)));
    }
    let count = problems.all.len();
    let plural = if count == 1 { "problem" } else { "problems" };
    complain(format_args!("{count} {plural} in {}", problems.file));
}

fn shown(file: &str, problem: &Problem) -> String {
    let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    let place = styled(FAINT, format_args!("{file}{line}:"));
    let path = if problem.path.is_empty() { String::new() } else { format!(" {}:", problem.path) };
    let hint = problem.hint.as_ref().map(|hint| format!("\n    {} {hint}", styled(FAINT, "hint:"))).unwrap_or_default();
    format!("{place}{path} {}{hint}", problem.message)
}
