//! How many of a first number are left at each further step, as bars, with what is lost in between.

use std::fmt::Write as _;

use super::{WIDTH, escaped, number};

/// A bar's height, and from one to the next.
const BAR: f64 = 22.0;
const PITCH: f64 = 36.0;
/// Left of the bars stand the steps' names, right of them the numbers.
const NAMES: f64 = 92.0;
const NUMBERS: f64 = 58.0;

/// A step.
#[derive(Debug, Clone)]
pub(in crate::web) struct Step {
    /// Its name.
    pub name: &'static str,
    /// How many have come so far.
    pub count: u64,
}

/// Draws them. `title` says what they are steps of.
pub(in crate::web) fn steps(title: &str, steps: &[Step]) -> String {
    let largest = steps.iter().map(|step| step.count).max().unwrap_or(0).max(1);
    let room = WIDTH - NAMES - NUMBERS;
    #[expect(clippy::cast_precision_loss, reason = "a share, not an amount")]
    let share = |count: u64| count as f64 / largest as f64;
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let height = PITCH * steps.len() as f64;
    let mut svg = String::new();
    let label = escaped(title);
    let _ = write!(svg, r#"<svg class="chart" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{label}">"#);
    for (at, step) in steps.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let y = PITCH * at as f64 + 2.0;
        let (width, middle) = ((share(step.count) * room).max(1.0), y + BAR / 2.0 + 4.0);
        let _ = write!(
            svg,
            r#"<g class="grid"><text x="{:.1}" y="{middle:.1}" class="end">{}</text></g>"#,
            NAMES - 8.0,
            step.name
        );
        let _ = write!(
            svg,
            r#"<rect class="tone-plain" x="{NAMES}" y="{y:.1}" width="{width:.1}" height="{BAR}" rx="3"/><text x="{:.1}" y="{middle:.1}" class="strong">{}</text>"#,
            NAMES + width + 6.0,
            number_of(step.count),
        );
        if let Some(lost) = steps.get(at + 1).and_then(|next| lost(step.count, next.count)) {
            let _ = write!(
                svg,
                r#"<g class="grid"><text x="{NAMES}" y="{:.1}" class="start">{lost}</text></g>"#,
                y + BAR + 10.0
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// What is lost between two steps, in percent; `None`: nothing.
fn lost(before: u64, after: u64) -> Option<String> {
    let gone = before.checked_sub(after).filter(|gone| *gone > 0)?;
    let percent = (gone * 100 + before / 2) / before;
    Some(if percent == 0 { "less than 1 % leave".to_owned() } else { format!("{percent} % leave") })
}

fn number_of(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    number(count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_between_steps_is_told() {
        assert_eq!(lost(200, 150).as_deref(), Some("25 % leave"));
        assert_eq!(lost(1000, 999).as_deref(), Some("less than 1 % leave"));
        assert_eq!((lost(5, 5), lost(5, 6), lost(0, 0)), (None, None, None));
    }

    #[test]
    fn no_attempt_at_all_is_drawn_all_the_same() {
        let svg = steps("crm", &[Step { name: "opened", count: 0 }, Step { name: "completed", count: 0 }]);
        assert!(svg.contains("opened") && !svg.contains("NaN") && !svg.contains("leave"), "{svg}");
    }
}
