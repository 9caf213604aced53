//! Services for tests, here and above.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    Service, Services,
    resolve::{self, Common},
};
use crate::config::{Context, FilesRead, Problem, RawService, Report};

/// Resolves services written as JSON, as they stand under `services:`.
pub(crate) fn resolve(services: Value) -> Result<Services, Vec<Problem>> {
    let raw: BTreeMap<String, RawService> = serde_json::from_value(services).unwrap();
    let mut report = Report::default();
    let mut files = FilesRead::default();
    let mut cx = Context { report: &mut report, directory: Path::new(""), files: &mut files };
    let services = resolve::services(raw, &Common::default(), &mut cx);
    let (problems, _) = report.finish(&|_| None);
    if problems.is_empty() { Ok(services) } else { Err(problems) }
}

/// One service, resolved.
pub(crate) fn service(name: &str, fields: Value) -> Service {
    let services = resolve(serde_json::json!({ name: fields })).unwrap();
    Service::clone(services.get(name).unwrap())
}
