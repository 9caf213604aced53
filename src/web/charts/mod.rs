//! Charts as SVG, drawn where the page is made: no script, no style of their own. What they look like is the style sheet's
//! affair, by classes; what they say stands in a table beside them, for whoever reads rather than looks. They know numbers and
//! labels, never what those mean.
//!
//! - `columns`: amounts over time, stacked; `lines`: values over time; `steps`: how many of a first number are left at each step

mod columns;
mod lines;
mod scale;
mod steps;

use std::fmt::Write as _;

pub(super) use columns::columns;
pub(super) use lines::lines;
pub(super) use steps::{Step, steps};

/// The drawing's size, in its own units. Cards are about as wide on a phone, so that letters are as large as they say.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 170.0;
/// Left of the drawing stand the numbers, under it the times.
const LEFT: f64 = 40.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 8.0;

/// What a colour says. The style sheet has a class for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// The matter itself.
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Warn,
    /// As it should not be.
    Bad,
}

impl Tone {
    /// Its class.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Plain => "tone-plain",
            Self::Good => "tone-good",
            Self::Warn => "tone-warn",
            Self::Bad => "tone-bad",
        }
    }
}

/// One of the things that a chart shows.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// Its name.
    pub name: &'static str,
    /// What its colour says.
    pub tone: Tone,
    /// A value for each label of the chart; `None`: none is known.
    pub values: Vec<Option<f64>>,
}

/// A chart over time, and the table that says the same.
#[derive(Debug, Clone)]
pub(super) struct OverTime {
    /// What it shows.
    pub title: String,
    /// What the numbers count or measure: `calls`, `ms`.
    pub unit: &'static str,
    /// When, the earliest first.
    pub labels: Vec<String>,
    /// What.
    pub series: Vec<Series>,
}

impl OverTime {
    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.values.iter().all(|value| value.is_none_or(|value| value == 0.0)))
    }

    /// The rows of the table: a label, and a text for each series.
    pub fn rows(&self) -> Vec<(&str, Vec<String>)> {
        let value = |series: &Series, at: usize| series.values.get(at).copied().flatten().map_or("–".into(), number);
        let row = |at: usize| self.series.iter().map(|series| value(series, at)).collect();
        self.labels.iter().enumerate().map(|(at, label)| (label.as_str(), row(at))).collect()
    }
}

/// A number as people read it: three digits that count, and no more.
pub(super) fn number(value: f64) -> String {
    let (scaled, end) = match value.abs() {
        huge if huge >= 999_500.0 => (value / 1e6, " M"),
        large if large >= 9_999.5 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        hundreds if hundreds >= 100.0 => 0,
        tens if tens >= 10.0 => 1,
        _ => 2,
    };
    let digits = format!("{scaled:.decimals$}");
    let short = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{short}{end}")
}

/// Text inside markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A drawing with its frame: lines for the numbers, times underneath, and a name for those who can't see it.
fn framed(chart: &OverTime, scale: &scale::Scale, inside: &str) -> String {
    let mut svg = String::new();
    let title = escaped(&chart.title);
    let _ = write!(
        svg,
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><g class="grid">"#
    );
    for tick in scale.ticks() {
        let y = scale.y(tick);
        let _ = write!(svg, r#"<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ = write!(svg, r#"<text x="{:.1}" y="{:.1}" class="end">{}</text>"#, LEFT - 6.0, y + 4.0, number(tick));
    }
    svg.push_str("</g>");
    svg.push_str(inside);
    svg.push_str(r#"<g class="grid">"#);
    for (at, anchor) in shown(chart.labels.len()) {
        let x = match anchor {
            "start" => LEFT,
            "end" => WIDTH,
            _ => centre(chart.labels.len(), at),
        };
        let label = escaped(&chart.labels[at]);
        let _ = write!(svg, r#"<text x="{x:.1}" y="{:.1}" class="{anchor}">{label}</text>"#, HEIGHT - 6.0);
    }
    svg.push_str("</g></svg>");
    svg
}

/// The labels that there is room for, and how they are set.
fn shown(labels: usize) -> Vec<(usize, &'static str)> {
    match labels {
        0 => Vec::new(),
        1 => vec![(0, "middle")],
        2 => vec![(0, "start"), (1, "end")],
        more => vec![(0, "start"), (more / 2, "middle"), (more - 1, "end")],
    }
}

/// The middle of a label's place.
fn centre(labels: usize, at: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred labels")]
    let (labels, at) = (labels.max(1) as f64, at as f64);
    LEFT + (WIDTH - LEFT) * (at + 0.5) / labels
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn chart(values: &[Option<f64>]) -> OverTime {
        let labels = (1..=values.len()).map(|day| format!("{day} <May>")).collect();
        let series = vec![
            Series { name: "answered", tone: Tone::Good, values: values.to_vec() },
            Series { name: "failed", tone: Tone::Bad, values: values.iter().map(|_| Some(1.0)).collect() },
        ];
        OverTime { title: "Calls \"today\"".into(), unit: "calls", labels, series }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.456, "0.46"),
            (12.34, "12.3"),
            (1234.0, "1234"),
            (12_345.0, "12.3 k"),
            (999_600.0, "1 M"),
            (1_234_567.0, "1.23 M"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_labels_say_is_text_and_nothing_else() {
        for svg in [columns(&chart(&[Some(1.0); 3])), lines(&chart(&[Some(1.0); 3]))] {
            assert!(svg.contains("1 &lt;May&gt;") && svg.contains("Calls &quot;today&quot;"), "{svg}");
            assert!(!svg.contains("<May>") && !svg.contains("style="), "{svg}");
        }
    }

    #[test]
    fn the_table_says_what_the_drawing_shows() {
        let chart = chart(&[Some(3.0), None]);
        assert_eq!(
            chart.rows(),
            [("1 <May>", vec!["3".to_owned(), "1".into()]), ("2 <May>", vec!["–".into(), "1".into()])]
        );
        assert!(!chart.is_empty());
    }

    #[test]
    fn nothing_to_show_is_drawn_all_the_same() {
        for chart in [chart(&[]), OverTime { series: Vec::new(), ..chart(&[Some(0.0)]) }] {
            for svg in [columns(&chart), lines(&chart)] {
                assert!(svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
            }
        }
    }
}
