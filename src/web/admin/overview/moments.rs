//! Times as the page writes them: days under charts, moments in tables. All are UTC, as logs are.

use crate::clock::Timestamp;

/// A moment: exactly, and in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// RFC 3339.
    pub exact: String,
    /// `14 Feb 09:22:15`; of another year than now `14 Feb 2026`.
    pub short: String,
}

impl Moment {
    /// As it is told at `now`.
    pub fn of(at: Timestamp, now: Timestamp) -> Self {
        let exact = at.rfc3339();
        let (year, this_year) = (exact.get(..4).unwrap_or_default(), now.rfc3339());
        let short = match exact.get(11..19) {
            Some(time) if this_year.starts_with(year) => format!("{} {time}", day(at)),
            _ => format!("{} {year}", day(at)),
        };
        Self { exact, short }
    }
}

/// A day: `14 Feb`.
pub(super) fn day(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let date = at.date();
    let number = |at: std::ops::RangeInclusive<usize>| date.get(at).and_then(|text| text.parse::<usize>().ok());
    let month = number(5..=6).and_then(|month| MONTHS.get(month.checked_sub(1)?)).unwrap_or(&"?");
    format!("{} {month}", number(8..=9).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_short_and_of_another_year_says_so() {
        let at = |text| Timestamp::parse_rfc3339(text).unwrap();
        let short = |text| Moment::of(at(text), at("2026-11-29T00:00:00Z")).short;
        assert_eq!(short("2026-02-04T09:22:15Z"), "4 Feb 09:22:15");
        assert_eq!(short("2025-12-31T23:59:59Z"), "31 Dec 2025");
        assert_eq!(Moment::of(at("2026-02-04T09:22:15Z"), at("2026-11-29T00:00:00Z")).exact, "2026-02-04T09:22:15Z");
    }
}
