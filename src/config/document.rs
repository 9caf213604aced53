//! Reads the YAML text: a JSON value, the position of every part of it, and variables of the environment put in. Variables
//! are replaced in scalars after parsing, so that what they hold can never become structure. Knows nothing of what the
//! keys mean.

use std::collections::HashMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use super::problem::{Path, Position, Report, finding};

/// Looks up a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A parsed file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// What it says; a mapping.
    pub(super) value: Value,
    positions: HashMap<Path, Position>,
    /// What plain scalars with variables were before they were typed: a client id may well be a number.
    texts: HashMap<Path, String>,
}

impl Document {
    /// Reads a text. Where it is no YAML mapping at all, `None`, and the report says why.
    pub(super) fn read(text: &str, env: Env<'_>, report: &mut Report) -> (Self, bool) {
        let mut document = Self::default();
        let root = Path::default();
        let nodes = match MarkedYaml::load_from_str(text) {
            Ok(nodes) => nodes,
            Err(error) => {
                let marker = error.marker();
                document.positions.insert(root.clone(), position(marker));
                report.broken(&root, syntax(error.info(), text, marker.line()));
                return (document, false);
            }
        };
        document.positions.insert(root.clone(), Position { line: 1, column: 1 });
        let mut nodes = nodes.into_iter();
        let first = nodes.next();
        if nodes.next().is_some() {
            report.broken(
                &root,
                finding("The file holds several YAML documents").hint("keep one, without `---` between"),
            );
            return (document, false);
        }
        let Some(node @ MarkedYaml { data: YamlData::Mapping(_), .. }) = first else {
            report.broken(
                &root,
                finding("The file holds no configuration")
                    .hint("it should be a YAML mapping that begins with `public_url:`"),
            );
            return (document, false);
        };
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { document: &mut document, env, report, source: &chars };
        let value = reader.node(&node, &root);
        document.value = value;
        (document, true)
    }

    /// Where this is; for what is missing, where it would be.
    pub(super) fn position(&self, path: &Path) -> Option<Position> {
        let mut path = path.clone();
        loop {
            if let Some(position) = self.positions.get(&path) {
                return Some(*position);
            }
            path = path.parent()?;
        }
    }

    /// The text of a plain scalar that a variable was put into, before it was typed.
    pub(super) fn text_before_typing(&self, path: &Path) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }
}

/// A marker has its line from 1 and its column from 0.
fn position(marker: &saphyr::Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// What the parser found. Its own words may quote the file, so only those that can't are passed on.
fn syntax(info: &str, text: &str, line: usize) -> super::problem::Finding {
    if info.contains("duplicated key") {
        return finding("This key stands here a second time in the same mapping").hint("keep one of them");
    }
    let braces = text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.contains("${"));
    let hint = if braces {
        "inside `{ }` and `[ ]`, put a variable in quotes: \"${NAME}\""
    } else if text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.contains('\t')) {
        "indent with spaces; YAML takes no tabs"
    } else {
        "look at the indentation, the quotes and the brackets here and in the line above"
    };
    finding("This is no valid YAML").hint(hint)
}

struct Reader<'a> {
    document: &'a mut Document,
    env: Env<'a>,
    report: &'a mut Report,
    source: &'a [char],
}

impl Reader<'_> {
    fn node(&mut self, node: &MarkedYaml<'_>, path: &Path) -> Value {
        self.document.positions.entry(path.clone()).or_insert_with(|| position(&node.span.start));
        match &node.data {
            YamlData::Mapping(entries) => {
                let mut object = Map::new();
                for (key, value) in entries {
                    let Some(name) = key_text(&key.data) else {
                        self.document.positions.insert(path.key("?"), position(&key.span.start));
                        self.report.broken(&path.key("?"), finding("A key must be plain text"));
                        continue;
                    };
                    let below = path.key(&name);
                    self.document.positions.insert(below.clone(), position(&key.span.start));
                    let value = self.node(value, &below);
                    object.insert(name, value);
                }
                Value::Object(object)
            }
            YamlData::Sequence(items) => {
                Value::Array(items.iter().enumerate().map(|(at, item)| self.node(item, &path.index(at))).collect())
            }
            YamlData::Value(Scalar::String(text)) => self.text(text, path, self.is_plain(node)),
            YamlData::Value(scalar) => self.typed(scalar, path),
            YamlData::Tagged(_, _) => {
                self.report.broken(path, finding("YAML tags are not used here").hint("take away the `!…`"));
                Value::Null
            }
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                self.report.broken(path, finding("This value can't be read"));
                Value::Null
            }
        }
    }

    /// Whether a scalar is written without quotes. A block scalar begins where its indicator does.
    fn is_plain(&self, node: &MarkedYaml<'_>) -> bool {
        !matches!(self.source.get(node.span.start.index()), Some('"' | '\'' | '|' | '>'))
    }

    fn text(&mut self, text: &str, path: &Path, plain: bool) -> Value {
        if !text.contains("${") {
            return Value::String(text.to_owned());
        }
        let replaced = match replace(text, self.env) {
            Ok(replaced) => replaced,
            Err(Unreplaced::Missing(name)) => {
                let message = format!("The environment variable `{name}` is not set");
                self.report.broken(path, finding(message).hint(format!("set it, or write `${{{name}:-default}}`")));
                return Value::Null;
            }
            Err(Unreplaced::Malformed) => {
                let hint = "write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself";
                self.report.broken(path, finding("This is no variable: `${` without a name or `}`").hint(hint));
                return Value::Null;
            }
        };
        if !plain || !replaced.from_env {
            return Value::String(replaced.text);
        }
        self.document.texts.insert(path.clone(), replaced.text.clone());
        if replaced.text.is_empty() {
            return Value::Null;
        }
        self.typed(&Scalar::parse_from_cow(replaced.text.as_str().into()), path)
    }

    fn typed(&mut self, scalar: &Scalar<'_>, path: &Path) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(flag) => Value::Bool(*flag),
            Scalar::Integer(number) => Value::Number((*number).into()),
            Scalar::FloatingPoint(number) => match Number::from_f64(number.into_inner()) {
                Some(number) => Value::Number(number),
                None => {
                    self.report.broken(path, finding("A number must be finite"));
                    Value::Null
                }
            },
            Scalar::String(text) => Value::String(text.as_ref().to_owned()),
        }
    }
}

/// A key as text. YAML types keys like values: `1: x` and `true: x` have no text keys, but mean their letters.
fn key_text<'a>(key: &YamlData<'a, MarkedYaml<'a>>) -> Option<String> {
    match key {
        YamlData::Value(Scalar::String(text)) => Some(text.as_ref().to_owned()),
        YamlData::Value(Scalar::Integer(number)) => Some(number.to_string()),
        YamlData::Value(Scalar::Boolean(flag)) => Some(flag.to_string()),
        _ => None,
    }
}

struct Replaced {
    text: String,
    /// Whether a variable was put in, not only `$${` unescaped.
    from_env: bool,
}

#[derive(Debug)]
enum Unreplaced {
    Missing(String),
    Malformed,
}

/// Puts variables into a scalar. What they hold is not looked at again. As in a shell, `:-` also serves a variable that is
/// set but empty.
fn replace(text: &str, env: Env<'_>) -> Result<Replaced, Unreplaced> {
    let mut out = String::with_capacity(text.len());
    let mut from_env = false;
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let body = &rest[at + 2..];
        let end = body.find('}').ok_or(Unreplaced::Malformed)?;
        let (name, default) = match body[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&body[..end], None),
        };
        let well_formed = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !well_formed {
            return Err(Unreplaced::Malformed);
        }
        match (env(name), default) {
            (Some(value), Some(default)) if value.is_empty() => out.push_str(default),
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(Unreplaced::Missing(name.to_owned())),
        }
        from_env = true;
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Ok(Replaced { text: out, from_env })
}
