//! Durations, sizes and counts as the operator writes them: `10m`, `8KiB`, `none`. Only their form; what is sensible
//! where, `resolve` decides.

use std::{borrow::Cow, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// No duration is longer than this many seconds (100 years), so that it can be added to any time without overflow.
const LONGEST: u64 = 36_500 * 86_400;

/// A duration such as `500ms`, `5s`, `10m`, `1h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(humantime::parse_duration(text)?.min(Duration::from_secs(LONGEST))))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("no duration"))
    }
}

/// As it may be written: in the largest unit that it is a whole number of.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
        let millis = self.0.as_millis();
        let (length, unit) = UNITS.into_iter().find(|(length, _)| millis.is_multiple_of(*length)).unwrap_or((1, "ms"));
        serializer.serialize_str(&format!("{}{unit}", millis / length))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a duration with its unit, such as `500ms`, `5s`, `10m`, `1h` or `7d`",
            "type": "string",
            "pattern": "^[0-9]{1,9}(ms|s|m|h|d)( ?[0-9]{1,9}(ms|s|m|h|d))*$"
        })
    }
}

/// A duration as the operator would write it.
pub fn shown(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// A duration, or `none` for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanOrNone(pub Option<Duration>);

impl<'de> Deserialize<'de> for SpanOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        if text == "none" {
            return Ok(Self(None));
        }
        Span::deserialize(de::value::CowStrDeserializer::new(text)).map(|span| Self(Some(span.0)))
    }
}

impl JsonSchema for SpanOrNone {
    fn schema_name() -> Cow<'static, str> {
        "DurationOrNone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a duration with its unit, such as `12h` or `90d`, or `none` for never",
            "type": "string",
            "pattern": "^(none|[0-9]{1,9}(ms|s|m|h|d)( ?[0-9]{1,9}(ms|s|m|h|d))*)$"
        })
    }
}

/// A size in bytes, such as `8KiB`, `10MB` or `4096`; `none` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub Option<u64>);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Limit::deserialize(deserializer)? {
            Limit::Number(number) => Some(number),
            Limit::Text(text) if text == "none" => None,
            Limit::Text(text) => {
                let size: bytesize::ByteSize = text.parse().map_err(|_| de::Error::custom("no size"))?;
                Some(size.as_u64())
            }
        }))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a size such as `8KiB`, `10MB` or `4096`, or `none` for no limit",
            "type": ["integer", "string"],
            "minimum": 1,
            "pattern": "^(none|[0-9]{1,12} ?(B|kB|KB|MB|GB|KiB|MiB|GiB)?)$"
        })
    }
}

/// How many, or `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub Option<u32>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Limit::deserialize(deserializer)? {
            Limit::Number(number) => {
                u32::try_from(number).map(|n| Self(Some(n))).map_err(|_| de::Error::custom("no count"))
            }
            Limit::Text(text) if text == "none" => Ok(Self(None)),
            Limit::Text(_) => Err(de::Error::custom("no count")),
        }
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "a number such as `100`, or `none` for no limit",
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": u32::MAX,
            "pattern": "^none$"
        })
    }
}

/// A number or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Limit {
    Number(u64),
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_as_it_may_be_read() {
        for text in ["7d", "36h", "90m", "45s", "1500ms"] {
            let span: Span = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(span).unwrap(), text);
        }
        let days: Span = serde_json::from_value("48h".into()).unwrap();
        assert_eq!(serde_json::to_value(days).unwrap(), "2d");
    }
}
