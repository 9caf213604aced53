//! Times in classes, so that counters can count them: each class is 1.2 times as long as the one before it. A time that is read
//! off a class is its geometric mean, so it is wrong by 10 % at most, from 50 milliseconds to 80 minutes; what is shorter or
//! longer is in the first or last class. Part of what is stored: change neither the first nor the ratio.

use std::time::Duration;

/// The upper end of the first class, in seconds.
const FIRST: f64 = 0.05;
/// How much longer each class is than the one before.
const RATIO: f64 = 1.2;
/// How many there are.
pub(super) const CLASSES: u64 = 64;

/// The class of a time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 63")]
pub(super) fn class(time: Duration) -> u64 {
    let above = (time.as_secs_f64() / FIRST).ln() / RATIO.ln();
    above.ceil().clamp(0.0, (CLASSES - 1) as f64) as u64
}

/// What a class stands for, in seconds.
fn seconds(class: u64) -> f64 {
    let exponent = i32::try_from(class).unwrap_or(0);
    let seconds = FIRST * RATIO.powi(exponent) / RATIO.sqrt();
    // No more digits than mean something.
    let digits = if seconds < 10.0 { 1000.0 } else { 10.0 };
    (seconds * digits).round() / digits
}

/// The time that this part (from 0 to 1) of all took at most, in seconds; none where there are none.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
pub(super) fn quantile(counts: &[u64], part: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    let wanted = ((all as f64 * part).ceil() as u64).max(1);
    let mut seen = 0;
    counts.iter().zip(0..).find_map(|(count, class)| {
        seen += count;
        (seen >= wanted).then(|| seconds(class))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_read_off_its_class_is_wrong_by_a_tenth_at_most() {
        let mut millis = 50;
        while millis < 4_000_000 {
            let read = seconds(class(Duration::from_millis(millis)));
            let truth = Duration::from_millis(millis).as_secs_f64();
            assert!((read / truth - 1.0).abs() <= 0.1, "{read} for {truth}");
            millis += 1 + millis / 50;
        }
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::from_secs(1 << 40)), CLASSES - 1);
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut counts = vec![0; 64];
        assert_eq!(quantile(&counts, 0.5), None);
        for seconds in 1..=100 {
            counts[usize::try_from(class(Duration::from_secs(seconds))).unwrap()] += 1;
        }
        let [median, p90] = [0.5, 0.9].map(|part| quantile(&counts, part).unwrap());
        assert!((45.0..=55.0).contains(&median) && (81.0..=99.0).contains(&p90), "{median} {p90}");
    }
}
