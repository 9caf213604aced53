//! What is generated from the types of the configuration is up to date. `UPDATE=1` rewrites it.

use std::path::Path;

use serde_json::Value;

use super::super::{reference, schema};

#[expect(clippy::disallowed_methods, reason = "asks whoever runs the tests")]
fn up_to_date(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var("UPDATE").is_ok_and(|update| update == "1") {
        std::fs::write(&path, wanted).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == wanted, "{file} is out of date: run this test with UPDATE=1");
}

#[test]
fn the_reference_page_is_up_to_date() {
    up_to_date("docs/CONFIGURATION.md", &reference::page(&schema()));
}

#[test]
fn the_schema_file_is_up_to_date() {
    up_to_date("config/valetkey.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_schema_describes_every_key() {
    let mut undescribed = Vec::new();
    look(&schema(), "#", &mut undescribed);
    assert!(undescribed.is_empty(), "without a description: {undescribed:#?}");
}

fn look(value: &Value, at: &str, undescribed: &mut Vec<String>) {
    if let Some(properties) = value.get("properties").and_then(Value::as_object) {
        for (key, property) in properties {
            if property.get("description").and_then(Value::as_str).unwrap_or_default().is_empty() {
                undescribed.push(format!("{at}/{key}"));
            }
        }
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| look(value, &format!("{at}/{key}"), undescribed))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| look(value, &format!("{at}/{index}"), undescribed));
        }
        _ => {}
    }
}

#[test]
fn the_schema_lets_no_null_and_no_unknown_key_in() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert!(!validator.is_valid(&serde_json::json!({"public_url": null})));
    fn closed(value: &Value) {
        if let Value::Object(members) = value {
            if members.get("properties").is_some_and(Value::is_object) {
                assert_eq!(members["additionalProperties"], false, "{:?}", members.get("description"));
            }
            members.values().for_each(closed);
        }
        if let Value::Array(items) = value {
            items.iter().for_each(closed);
        }
    }
    closed(&schema());
}
