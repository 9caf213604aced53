//! The languages that Valetkey speaks to people. Their texts are in `words`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Languages that pages and mails are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl Language {
    /// The language of a tag such as `de-AT` or `en_US` (RFC 5646), if it is one of ours.
    pub fn of_tag(tag: &str) -> Option<Self> {
        match tag.split(['-', '_']).next()? {
            primary if primary.eq_ignore_ascii_case("en") => Some(Self::En),
            primary if primary.eq_ignore_ascii_case("de") => Some(Self::De),
            _ => None,
        }
    }

    /// Its tag (RFC 5646).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The language that `Accept-Language` (RFC 9110 §12.5.4) wants most of those that there are; English where it wants none.
    pub fn choose(accept_language: Option<&str>) -> Self {
        let mut best = (0.0, Self::default());
        for range in accept_language.unwrap_or_default().split(',') {
            let (tag, quality) = match range.split_once(';') {
                Some((tag, parameter)) => {
                    let quality = parameter.trim().strip_prefix("q=").and_then(|text| text.parse().ok());
                    (tag.trim(), quality.unwrap_or(0.0))
                }
                None => (range.trim(), 1.0),
            };
            let language = if tag == "*" { Some(Self::default()) } else { Self::of_tag(tag) };
            if let Some(language) = language.filter(|_| quality > best.0) {
                best = (quality, language);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_language_that_there_is_wins() {
        for (accept, tag) in [
            (None, "en"),
            (Some(""), "en"),
            (Some("de"), "de"),
            (Some("de-AT,de;q=0.9,en;q=0.8"), "de"),
            (Some("fr, en;q=0.5, de;q=0.7"), "de"),
            (Some("en-GB,en;q=0.9,de;q=0.8"), "en"),
            (Some("fr"), "en"),
            (Some("de;q=0"), "en"),
            (Some("de;q=x"), "en"),
            (Some("*;q=0.1"), "en"),
        ] {
            assert_eq!(Language::choose(accept).tag(), tag, "{accept:?}");
        }
    }
}
