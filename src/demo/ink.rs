//! How the demo looks: a few styles, JSON in colour, long values cut where nobody reads on. Colours go away by themselves
//! where the output is no terminal or `NO_COLOR` is set. Knows nothing of what it prints.

use std::{fmt, io::Write as _, time::Duration};

use anstyle::{AnsiColor, Style};
use reqwest::StatusCode;
use serde_json::Value;

/// Headings.
pub const STRONG: Style = Style::new().bold();
/// What may be overlooked.
pub const FAINT: Style = Style::new().dimmed();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What asks for something.
pub const ASKS: Style = AnsiColor::Yellow.on_default();
/// What can be clicked or typed.
pub const TRY: Style = AnsiColor::Cyan.on_default();

/// A value in a style.
pub struct Inked<T>(pub Style, pub T);

impl<T: fmt::Display> fmt::Display for Inked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.0.render(), self.1, self.0.render_reset())
    }
}

/// Prints one line. A closed pipe (`valetkey demo | head`) is no reason to fail.
pub fn line(text: impl fmt::Display) {
    let mut out = anstream::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// A status and its words, in the colour of its class.
pub fn status(status: StatusCode) -> impl fmt::Display {
    let style = match status.as_u16() {
        200..=299 => GOOD,
        300..=399 => TRY,
        400..=499 => ASKS,
        _ => BAD,
    };
    let words = status.canonical_reason().unwrap_or_default();
    Inked(style, format!("{} {words}", status.as_u16()))
}

/// A time as people write it.
pub fn time(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else if millis < 1000.0 {
        format!("{millis:.0} ms")
    } else {
        format!("{:.1} s", millis / 1000.0)
    }
}

/// The beginning of a text that is longer than `most` characters.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A URL whose long query values are cut: their beginnings tell enough, and none of them is worth keeping.
pub fn url(url: &url::Url) -> String {
    let Some(query) = url.query() else { return url.to_string() };
    let mut short = url.clone();
    short.set_query(None);
    let parameters: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if value.len() > 24 => format!("{name}={}", cut(value, 12)),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{short}?{}", parameters.join("&"))
}

/// JSON over several lines, names and values in colour, each line indented. Long texts are cut.
pub fn json(value: &Value, indent: &str) -> String {
    let mut value = value.clone();
    for text in value.as_object_mut().into_iter().flat_map(|members| members.values_mut()) {
        if let Value::String(text) = text {
            *text = cut(text, 72);
        }
    }
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let Some((name, rest)) = line.split_once("\": ") else { return format!("{indent}{line}") };
        let style = if rest.starts_with('"') { GOOD } else { ASKS };
        let (rest, comma) = rest.strip_suffix(',').map_or((rest, ""), |rest| (rest, ","));
        format!("{indent}{}: {}{comma}", Inked(FAINT, format!("{name}\"")), Inked(style, rest))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_query_values_are_cut_and_short_ones_stay() {
        let long = url::Url::parse("http://h/p?ticket=abcdefghijklmnopqrstuvwxyz&page=2").unwrap();
        assert_eq!(url(&long), "http://h/p?ticket=abcdefghijk…&page=2");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(time(Duration::from_micros(2340)), "2.3 ms");
        assert_eq!(time(Duration::from_millis(120)), "120 ms");
        assert_eq!(time(Duration::from_millis(3210)), "3.2 s");
    }
}
