//! From values to heights, and the round numbers that are written beside them.

use super::{BOTTOM, HEIGHT, TOP};

/// How many lines are drawn at most, beside that of zero.
const LINES: f64 = 4.0;

/// A scale from zero to a round number.
pub(super) struct Scale {
    step: f64,
    steps: u32,
}

impl Scale {
    /// That holds this value.
    pub fn to(largest: f64) -> Self {
        let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
        let rough = largest / LINES;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|round| round * magnitude >= rough * 0.999_999);
        Self::by(round.unwrap_or(10.0) * magnitude, largest)
    }

    /// The same for what is counted: no number beside it is a fraction.
    pub fn whole(largest: f64) -> Self {
        let scale = Self::to(largest);
        if scale.step < 1.0 { Self::by(1.0, largest.max(1.0)) } else { scale }
    }

    fn by(step: f64, largest: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one to four")]
        let steps = (largest / step - 1e-9).ceil().clamp(1.0, LINES) as u32;
        Self { step, steps }
    }

    /// The numbers beside it, from zero up.
    pub fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=self.steps).map(|at| f64::from(at) * self.step)
    }

    /// Where a value stands, from the top.
    pub fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.height(value)
    }

    /// How high it is.
    pub fn height(&self, value: f64) -> f64 {
        let top = self.step * f64::from(self.steps);
        (value / top).clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers_that_hold_everything() {
        for (largest, expected) in [
            (0.0, vec![0.0, 0.5, 1.0]),
            (1.0, vec![0.0, 0.5, 1.0]),
            (7.0, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
            (10.0, vec![0.0, 5.0, 10.0]),
            (99.0, vec![0.0, 50.0, 100.0]),
            (1234.0, vec![0.0, 500.0, 1000.0, 1500.0]),
            (f64::NAN, vec![0.0, 0.5, 1.0]),
        ] {
            assert_eq!(Scale::to(largest).ticks().collect::<Vec<_>>(), expected, "{largest}");
        }
    }

    #[test]
    fn what_is_counted_has_no_fractions_beside_it() {
        for (largest, expected) in [(0.0, vec![0.0, 1.0]), (2.0, vec![0.0, 1.0, 2.0]), (f64::NAN, vec![0.0, 1.0])] {
            assert_eq!(Scale::whole(largest).ticks().collect::<Vec<_>>(), expected, "{largest}");
        }
        assert_eq!(Scale::whole(99.0).ticks().last(), Some(100.0));
    }

    #[test]
    fn nothing_is_drawn_beyond_the_frame() {
        let scale = Scale::to(10.0);
        assert!(scale.y(10.0) >= TOP && scale.y(-5.0) <= HEIGHT - BOTTOM && scale.y(1e9) >= TOP);
    }
}
