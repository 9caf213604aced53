//! Writes the reference page from the JSON Schema: a section for each mapping, a row for each key. Only tests call it; they
//! hold the page in `docs/` to what it says.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::Value;

use super::schema::resolved;

const INTRODUCTION: &str = "\
# Configuration

Every key of Valetkey's configuration file. [`config/valetkey.yaml`](../config/valetkey.yaml) is a whole one with comments;
`valetkey check --config FILE` names everything that is wrong with yours, with line and remedy, and `valetkey schema` prints
the JSON Schema, which is also in [`config/valetkey.schema.json`](../config/valetkey.schema.json): editors with YAML support
complete and check with it.

This page is made from that schema.

- **Format.** YAML, one document. Unknown and repeated keys are errors, and so is a key without a value.
- **Variables.** `${NAME}` is taken from the environment, `${NAME:-default}` has a default for a variable that is unset or
  empty, `$${` stands for `${` itself. They are replaced in values after YAML was parsed, so what they hold can never become
  structure. An unquoted value is typed after that: `confirm: ${CONFIRM}` may become `false`. Inside `{ }` and `[ ]`, YAML wants
  quotes: `\"${NAME}\"`.
- **Secrets.** Every secret `x` can be given as `x_file`, the path of a file; the line break at its end is not part of it.
- **Paths** that don't begin with `/` begin at the directory of the configuration file.
- **Durations** have a unit: `500ms`, `5s`, `10m`, `1h`, `7d`, also `1h 30m`.
- **Sizes** are `8KiB`, `10MB` or a number of bytes; `none` is no limit.
";

/// The page.
pub(super) fn page(schema: &Value) -> String {
    let mut page = Page { schema, text: INTRODUCTION.to_owned(), written: BTreeMap::new() };
    page.section("", "The file", schema);
    page.text
}

struct Page<'a> {
    schema: &'a Value,
    text: String,
    /// Where each named mapping has its section.
    written: BTreeMap<String, String>,
}

impl<'a> Page<'a> {
    fn section(&mut self, path: &str, title: &str, mapping: &'a Value) {
        let Some(properties) = mapping.get("properties").and_then(Value::as_object) else { return };
        let required: Vec<&str> =
            mapping.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let texts = |pointer: &str| mapping.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        // What is required only where another key isn't there.
        let without = texts("/if/required").filter_map(Value::as_str).next();
        let then_required: Vec<&str> = texts("/else/required").filter_map(Value::as_str).collect();
        self.line(&format!("\n## {title}\n"));
        if !path.is_empty()
            && let Some(description) = mapping.get("description").and_then(Value::as_str)
        {
            self.line(&format!("{}\n", flowing(description)));
        }
        self.line("| key | value | default | meaning |");
        self.line("| --- | --- | --- | --- |");
        let mut below = Vec::new();
        for (key, property) in properties {
            let value = self.value(path, key, property, &mut below);
            let default = match property.get("default") {
                Some(Value::String(text)) => format!("`{text}`"),
                Some(other) if !other.is_array() && !other.is_object() => format!("`{other}`"),
                _ if required.contains(&key.as_str()) => "required".to_owned(),
                _ if then_required.contains(&key.as_str()) => {
                    format!("required without `{}`", without.unwrap_or_default())
                }
                _ => String::new(),
            };
            let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let row = format!("| `{key}` | {value} | {default} | {} |", flowing(description).replace('|', "\\|"));
            self.line(&row);
        }
        for (key, property) in properties {
            self.choices(key, property);
        }
        for (path, mapping) in below {
            self.section(&path, &format!("`{path}`"), mapping);
        }
    }

    /// What a key's value is; mappings go on the list of sections to come.
    fn value(&mut self, path: &str, key: &str, property: &'a Value, below: &mut Vec<(String, &'a Value)>) -> String {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        self.kind(path, property, below)
    }

    fn kind(&mut self, path: String, schema: &'a Value, below: &mut Vec<(String, &'a Value)>) -> String {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.rsplit('/').next());
        let schema = resolved(self.schema, schema).unwrap_or(schema);
        if let Some(values) = choices(schema) {
            return values.iter().map(|(value, _)| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        if schema.get("properties").is_some() {
            if let Some(name) = name {
                if let Some(earlier) = self.written.get(name) {
                    return format!("mapping, as [`{earlier}`](#{})", anchor(earlier));
                }
                self.written.insert(name.to_owned(), path.clone());
            }
            let link = format!("mapping: [`{path}`](#{})", anchor(&path));
            below.push((path, schema));
            return link;
        }
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(_)) => "several",
            _ => "",
        };
        match kind {
            _ if titled(schema, "a duration") => "duration".to_owned(),
            _ if titled(schema, "a size") => "size or `none`".to_owned(),
            _ if titled(schema, "a number") => "number or `none`".to_owned(),
            "array" => match (schema.get("items"), schema.get("prefixItems")) {
                (Some(items), _) => format!("list of {}", self.kind(format!("{path}[]"), items, below)),
                _ => "list of two texts".to_owned(),
            },
            "object" => match schema.get("additionalProperties") {
                Some(values @ Value::Object(_)) => {
                    format!("names with {}", self.kind(format!("{path}.<name>"), values, below))
                }
                _ => "names with values".to_owned(),
            },
            "boolean" => "`true`, `false`".to_owned(),
            "integer" | "number" => "number".to_owned(),
            "string" => "text".to_owned(),
            _ => "any".to_owned(),
        }
    }

    /// What each word of a choice means.
    fn choices(&mut self, key: &str, property: &Value) {
        let items = property.get("items").unwrap_or(property);
        let Some(schema) = resolved(self.schema, items) else { return };
        let Some(values) = choices(schema) else { return };
        let told: Vec<&(&str, &str)> = values.iter().filter(|(_, meaning)| !meaning.is_empty()).collect();
        if told.is_empty() {
            return;
        }
        self.line(&format!("\n`{key}`:\n"));
        for (value, meaning) in told {
            self.line(&format!("- `{value}`: {}", flowing(meaning)));
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a String takes all that is written to it");
    }
}

/// The words of a choice and what they mean.
fn choices<'a>(schema: &'a Value) -> Option<Vec<(&'a str, &'a str)>> {
    if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
        let described = |option: &'a Value| {
            let word = option.get("const")?.as_str()?;
            Some((word, option.get("description").and_then(Value::as_str).unwrap_or_default()))
        };
        return options.iter().map(described).collect();
    }
    let options = schema.get("enum")?.as_array()?;
    Some(options.iter().filter_map(Value::as_str).map(|word| (word, "")).collect())
}

fn titled(schema: &Value, beginning: &str) -> bool {
    schema.get("title").and_then(Value::as_str).is_some_and(|title| title.starts_with(beginning))
}

/// A doc comment on one line.
fn flowing(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The anchor that renderers give a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect::<String>().to_lowercase()
}
