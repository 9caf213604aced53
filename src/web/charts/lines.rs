//! Values over time, as lines. Where a value isn't known the line has a gap.

use std::fmt::Write as _;

use super::{OverTime, Series, centre, escaped, framed, number, scale::Scale};

/// Draws them.
pub(in crate::web) fn lines(chart: &OverTime) -> String {
    let known = chart.series.iter().flat_map(|series| series.values.iter().flatten().copied());
    let scale = Scale::to(known.fold(0.0, f64::max));
    let mut inside = String::new();
    for series in &chart.series {
        let class = series.tone.class();
        let _ = write!(inside, r#"<g class="line {class}"><path d="{}"/>"#, path(chart, series, &scale));
        for (label, (x, y, value)) in points(chart, series, &scale) {
            let said = format!("{}: {} {}, {}", escaped(label), number(value), chart.unit, series.name);
            let _ = write!(inside, r#"<circle cx="{x:.1}" cy="{y:.1}" r="1.8"><title>{said}</title></circle>"#);
        }
        inside.push_str("</g>");
    }
    framed(chart, &scale, &inside)
}

fn points<'a>(
    chart: &'a OverTime,
    series: &'a Series,
    scale: &'a Scale,
) -> impl Iterator<Item = (&'a str, (f64, f64, f64))> {
    chart.labels.iter().zip(&series.values).enumerate().filter_map(|(at, (label, value))| {
        let value = (*value)?;
        Some((label.as_str(), (centre(chart.labels.len(), at), scale.y(value), value)))
    })
}

fn path(chart: &OverTime, series: &Series, scale: &Scale) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for (at, value) in series.values.iter().enumerate().take(chart.labels.len()) {
        let Some(value) = value else {
            drawing = false;
            continue;
        };
        let step = if drawing { 'L' } else { 'M' };
        let _ = write!(path, "{step}{:.1} {:.1}", centre(chart.labels.len(), at), scale.y(*value));
        drawing = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::tests::chart;
    use super::*;

    #[test]
    fn a_value_that_is_not_known_leaves_a_gap() {
        let svg = lines(&chart(&[Some(1.0), Some(2.0), None, Some(3.0)]));
        let first = svg.split_once("<path d=\"").unwrap().1.split_once('"').unwrap().0;
        assert_eq!((first.matches('M').count(), first.matches('L').count()), (2, 1), "{first}");
        assert_eq!(svg.matches("<circle").count(), 3 + 4);
    }
}
