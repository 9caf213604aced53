//! The first pass: the document against the JSON Schema. Finds unknown and missing keys and values of the wrong form, all at
//! once, and takes what is broken out of the document, so that the rest can be read and checked further. The texts are
//! made here from the kind of error; the library's own would quote values.

use std::sync::LazyLock;

use jsonschema::{
    JsonType, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind as Kind},
    paths::{Location, LocationSegment},
};
use serde_json::Value;

use super::{
    document::Document,
    problem::{Finding, Path, Report, Step, finding, nearest},
    schema::{schema, subschema},
};

/// The schema and what validates by it. The same in every build, and a test compiles it.
static COMPILED: LazyLock<(Value, Validator)> = LazyLock::new(|| {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).expect("a test compiles this very schema");
    (schema, validator)
});

/// Validates and prunes the document.
pub(super) fn validate(document: &mut Document, report: &mut Report) {
    let (schema, validator) = &*COMPILED;
    as_text_where_text_is_wanted(document, validator);
    let mut broken = Vec::new();
    for error in validator.iter_errors(&document.value) {
        for (path, finding, prune) in explain(&error, schema) {
            if prune {
                report.broken(&path, finding);
                broken.push(path);
            } else {
                report.problem(&path, finding);
            }
        }
    }
    for path in broken {
        prune(&mut document.value, &path);
    }
}

/// A variable whose value looks like a number or is empty was typed as such; where a text is wanted, its letters count.
fn as_text_where_text_is_wanted(document: &mut Document, validator: &Validator) {
    let wanted: Vec<Path> = validator
        .iter_errors(&document.value)
        .filter(|error| !error.instance().is_null())
        .filter(|error| match error.kind() {
            Kind::Type { kind } => type_names(kind).contains(&"string"),
            Kind::OneOfNotValid { .. } => true,
            _ => false,
        })
        .map(|error| path_of(error.instance_path()))
        .collect();
    for path in wanted {
        if let Some(text) = document.text_before_typing(&path).map(str::to_owned)
            && let Some(value) = at_mut(&mut document.value, &path)
        {
            *value = Value::String(text);
        }
    }
}

fn path_of(location: &Location) -> Path {
    location.segments().fold(Path::default(), |path, segment| match segment {
        LocationSegment::Property(key) => path.key(&key),
        LocationSegment::Index(index) => path.index(index),
    })
}

fn at_mut<'a>(value: &'a mut Value, path: &Path) -> Option<&'a mut Value> {
    path.steps().iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Takes a value out of its mapping. An item of a list takes the whole list with it, since the others would lose their
/// positions.
fn prune(value: &mut Value, path: &Path) {
    let mut path = path.clone();
    while let Some(parent) = path.parent() {
        if let Some(Step::Key(key)) = path.steps().last() {
            if let Some(Value::Object(object)) = at_mut(value, &parent) {
                object.remove(key);
            }
            return;
        }
        path = parent;
    }
}

/// What an error says: where, in our words, and whether the value there is of no further use.
fn explain(error: &ValidationError<'_>, schema: &Value) -> Vec<(Path, Finding, bool)> {
    let path = path_of(error.instance_path());
    let so_far_up = |levels: usize| {
        let mut segments: Vec<String> = error.schema_path().segments().map(|segment| segment.to_string()).collect();
        segments.truncate(segments.len().saturating_sub(levels));
        subschema(schema, segments.into_iter())
    };
    let (here, above) = (|| so_far_up(1), || so_far_up(2));
    let expected = || here().and_then(|schema| schema.get("title")).and_then(Value::as_str).map(str::to_owned);
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known: Vec<&str> = here()
                .and_then(|schema| schema.get("properties"))
                .and_then(Value::as_object)
                .map(|properties| properties.keys().map(String::as_str).collect())
                .unwrap_or_default();
            unexpected.iter().map(|key| (path.key(key), unknown_key(key, &known), true)).collect()
        }
        Kind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            let below = path.key(key);
            let description = format!("/properties/{key}/description");
            // What is required only under a condition is described beside that.
            let described = here().and_then(|schema| schema.pointer(&description));
            let described = described.or_else(|| above()?.pointer(&description));
            let finding = finding("This key is missing");
            let finding = match described.and_then(Value::as_str) {
                Some(description) => finding.hint(format!("add `{key}:` {}", in_a_sentence(description))),
                None => finding.hint(format!("add `{key}:`")),
            };
            vec![(below, finding, false)]
        }
        _ if error.instance().is_null() => {
            vec![(path, finding("This key has no value").hint("give it one, or leave the key out"), true)]
        }
        Kind::OneOfNotValid { context } => {
            let options: Vec<&str> = context
                .iter()
                .flatten()
                .filter_map(|error| match error.kind() {
                    Kind::Constant { expected_value } => expected_value.as_str(),
                    _ => None,
                })
                .collect();
            vec![(path, one_of(error.instance().as_str(), &options), true)]
        }
        Kind::Enum { options } => {
            let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            vec![(path, one_of(error.instance().as_str(), &options), true)]
        }
        Kind::Type { kind } => {
            let expected = expected().unwrap_or_else(|| spoken(kind));
            let finding = finding(format!("This should be {expected}"));
            let scalar = error.instance().is_number() || error.instance().is_boolean();
            let finding =
                if scalar && type_names(kind) == ["string"] { finding.hint("put it in quotes") } else { finding };
            vec![(path, finding, true)]
        }
        Kind::Minimum { limit } => vec![(path, finding(format!("This should be at least {limit}")), true)],
        Kind::Maximum { limit } => vec![(path, finding(format!("This should be at most {limit}")), true)],
        Kind::MinItems { .. } => vec![(path, finding("This list is empty").hint("give it at least one item"), true)],
        Kind::MinLength { .. } => vec![(path, finding("This text is empty"), true)],
        Kind::MaxLength { limit } => {
            vec![(path, finding(format!("This text is longer than {limit} characters")), true)]
        }
        Kind::Pattern { pattern } => {
            let expected = expected().unwrap_or_else(|| format!("a text of the form `{pattern}`"));
            vec![(path, finding(format!("This should be {expected}")), true)]
        }
        _ => vec![(path, finding("This value is not possible here"), true)],
    }
}

fn unknown_key(key: &str, known: &[&str]) -> Finding {
    let finding = finding("This key is unknown");
    match nearest(key, known.iter().copied()) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None if known.len() <= 12 => finding.hint(format!("known here: {}", known.join(", "))),
        None => finding.hint("`valetkey schema` and docs/CONFIGURATION.md have all keys"),
    }
}

fn one_of(value: Option<&str>, options: &[&str]) -> Finding {
    let listed: Vec<String> = options.iter().map(|option| format!("`{option}`")).collect();
    let finding = finding(format!("This should be one of {}", listed.join(", ")));
    match value.and_then(|value| nearest(value, options.iter().copied())) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None => finding,
    }
}

/// The first sentence of a description, to stand in brackets.
fn in_a_sentence(description: &str) -> String {
    let first = description.split_inclusive(". ").next().unwrap_or(description);
    format!("({})", first.trim().trim_end_matches('.'))
}

fn type_names(kind: &TypeKind) -> Vec<&'static str> {
    let name = |kind: JsonType| match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "boolean",
        JsonType::Integer => "integer",
        JsonType::Number => "number",
        JsonType::String => "string",
        JsonType::Array => "array",
        JsonType::Object => "object",
    };
    match kind {
        TypeKind::Single(only) => vec![name(*only)],
        TypeKind::Multiple(several) => several.iter().map(name).collect(),
    }
}

fn spoken(kind: &TypeKind) -> String {
    let names: Vec<&str> = type_names(kind)
        .into_iter()
        .map(|name| match name {
            "boolean" => "`true` or `false`",
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "a text",
            "array" => "a list",
            "object" => "a mapping (keys with values)",
            _ => "nothing",
        })
        .collect();
    names.join(" or ")
}
