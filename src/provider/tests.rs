//! Services made whole, verdicts, and what must hold for every file of the catalogue.

mod every_file;
mod meaning;
mod mistakes;
mod scope_rules;
mod services;
mod verdicts;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    catalogue,
    testing::{resolve, service},
    verdict::{Signs, Verdict, is_open_without_body, verdict, wants_body},
    *,
};

fn crm() -> Value {
    json!({
        "title": "CRM", "base_url": "https://crm.internal.example/api", "client_id": "crm-client", "client_secret": "s",
        "authorize_url": "https://crm.internal.example/oauth/authorize",
        "token_url": "https://crm.internal.example/oauth/token", "scopes": ["contacts"],
    })
}

fn problems(services: Value) -> Vec<(String, String)> {
    resolve(services).unwrap_err().into_iter().map(|problem| (problem.path, problem.message)).collect()
}
