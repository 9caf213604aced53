//! `valetkey serve`: runs until SIGTERM or SIGINT; SIGHUP has it read its configuration again.

use super::{ConfigFile, Outcome, configuration::load_or_complain, output::complain};
use crate::{
    serve::{self, Control, Source},
    telemetry::{self, Format, LogOptions},
};

/// Does it.
#[expect(clippy::disallowed_methods, reason = "the environment says what is logged, and how")]
pub fn run(file: &ConfigFile) -> Outcome {
    let variable = |name: &str| std::env::var(name).ok();
    let format = if variable("VALETKEY_LOG_FORMAT").as_deref() == Some("json") { Format::Json } else { Format::Text };
    let _logging = match telemetry::init(&LogOptions::from_environment(format, variable)) {
        Ok(logging) => logging,
        Err(error) => {
            complain(error);
            return Outcome::Wrong;
        }
    };
    let Some(loaded) = load_or_complain(&file.config) else { return Outcome::Wrong };
    let source = Source { file: file.config.clone(), env: Box::new(|name| std::env::var(name).ok()) };
    let control = Control { source: Some(source), ..Control::default() };
    match serve::run(loaded, control) {
        Ok(()) => Outcome::Done,
        Err(error) => {
            let outcome = if error.is_configuration() { Outcome::Wrong } else { Outcome::Failed };
            complain(error);
            outcome
        }
    }
}
