//! The JSON Schema of the configuration, made from the types of `raw`: for editors, for the reference page, and for the
//! first pass of validation.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::raw::RawConfig;

/// The JSON Schema (draft 2020-12) of the configuration file.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawConfig>().to_value();
    without_null(&mut schema);
    schema
}

/// A key is either written with a value or left out. Rust's `Option` would also let `null` in, and that is what YAML makes
/// of a value that was forgotten.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(only) = only_alternative_to_null(object) {
                object.remove("anyOf");
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = object.get_mut("enum") {
                options.retain(|option| !option.is_null());
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

fn only_alternative_to_null(object: &Map<String, Value>) -> Option<Map<String, Value>> {
    let [first, second] = object.get("anyOf")?.as_array()?.as_slice() else { return None };
    let is_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
    match (is_null(first), is_null(second)) {
        (false, true) => first.as_object().cloned(),
        (true, false) => second.as_object().cloned(),
        _ => None,
    }
}

/// The subschema at a pointer that may lead through references.
pub(super) fn subschema(schema: &Value, segments: impl Iterator<Item = String>) -> Option<&Value> {
    let mut here = schema;
    for segment in segments {
        if segment == "$ref" {
            here = resolved(schema, here)?;
        } else {
            here = match here {
                Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
                other => other.get(&segment)?,
            };
        }
    }
    Some(here)
}

/// What a schema that is a reference refers to; otherwise the schema itself.
pub(super) fn resolved<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.strip_prefix('#')?),
        None => Some(schema),
    }
}
