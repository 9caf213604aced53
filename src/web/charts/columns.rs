//! Amounts over time, as columns; several in one stand on each other.

use std::fmt::Write as _;

use super::{LEFT, OverTime, WIDTH, escaped, framed, number, scale::Scale};

/// Draws them.
pub(in crate::web) fn columns(chart: &OverTime) -> String {
    let at = |at: usize| chart.series.iter().map(move |series| series.values.get(at).copied().flatten().unwrap_or(0.0));
    let largest = (0..chart.labels.len()).map(|column| at(column).sum::<f64>()).fold(0.0, f64::max);
    let scale = Scale::whole(largest);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred labels")]
    let room = (WIDTH - LEFT) / chart.labels.len().max(1) as f64;
    let width = (room * 0.78).min(28.0);
    let mut inside = String::new();
    for (column, label) in chart.labels.iter().enumerate() {
        let x = super::centre(chart.labels.len(), column) - width / 2.0;
        let mut below = 0.0;
        for (series, value) in chart.series.iter().zip(at(column)).filter(|(_, value)| *value > 0.0) {
            let (top, height) = (scale.y(below + value), scale.y(below) - scale.y(below + value));
            let class = series.tone.class();
            let _ = write!(
                inside,
                r#"<rect class="{class}" x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}"><title>{}, {}: {}</title></rect>"#,
                escaped(label),
                series.name,
                number(value),
            );
            below += value;
        }
    }
    framed(chart, &scale, &inside)
}

#[cfg(test)]
mod tests {
    use super::super::tests::chart;
    use super::*;

    #[test]
    fn a_column_stands_on_the_one_before() {
        let svg = columns(&chart(&[Some(3.0)]));
        // Where each begins and ends, from the top.
        let ends: Vec<(f64, f64)> = svg
            .split("<rect ")
            .skip(1)
            .map(|rect| {
                let number = |name: &str| {
                    let value = rect.split_once(&format!(" {name}=\"")).unwrap().1;
                    value.split_once('"').unwrap().0.parse::<f64>().unwrap()
                };
                (number("y"), number("y") + number("height"))
            })
            .collect();
        let [(first_top, _), (_, second_bottom)] = ends.as_slice() else { panic!("{svg}") };
        assert!((second_bottom - first_top).abs() < 0.11, "{svg}");
    }

    #[test]
    fn what_is_zero_or_unknown_has_no_column() {
        assert_eq!(columns(&chart(&[None, Some(0.0)])).matches("<rect").count(), 2, "those of the other series");
    }
}
