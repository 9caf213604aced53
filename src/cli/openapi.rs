//! `valetkey openapi`: the OpenAPI document of the JSON API.

use super::{Outcome, output::say};
use crate::web;

/// Prints the document, as `/openapi.json` has it.
pub fn run() -> Outcome {
    say(web::openapi_text().trim_end());
    Outcome::Done
}
