//! `valetkey serve`: runs until SIGTERM or SIGINT.

use super::{ConfigFile, Outcome, configuration::load_or_complain, output::complain};
use crate::{
    serve::{self, Control},
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
    match serve::run(loaded, Control::default()) {
        Ok(()) => Outcome::Done,
        Err(error) => {
            let outcome = if error.is_configuration() { Outcome::Wrong } else { Outcome::Failed };
            complain(error);
            outcome
        }
    }
}
