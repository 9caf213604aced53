//! The texts about API keys, and the way from them to a connected account.

use super::{Notice, Subject};
use crate::clock::Timestamp;

/// A language's.
pub trait Keys: Sync {
    /// Opens the form, where no key is stored.
    fn key_use(&self) -> &'static str;
    /// Opens the form, where one is.
    fn key_replace(&self) -> &'static str;
    /// The form's button.
    fn key_store(&self) -> &'static str;
    /// What becomes of a key.
    fn key_hint(&self) -> &'static str;
    /// Leads to the question, and answers it.
    fn key_remove(&self) -> &'static str;
    /// A key lies unused beside a connection.
    fn key_beside(&self) -> &'static str;
    /// What connecting gives, a line each.
    fn key_benefits(&self) -> &'static [&'static str];
    /// The field's name.
    fn key_label(&self, service: &str) -> String;
    /// On the dashboard, after it was done.
    fn key_stored(&self, service: &str) -> String;
    /// On the dashboard, after it was done.
    fn key_removed(&self, service: &str) -> String;
    /// No header can carry it, or it is too long.
    fn key_bad(&self) -> Notice;
    /// There is none.
    fn key_missing(&self) -> Notice;
    /// None is taken any more.
    fn keys_retired(&self, service: &str) -> Notice;
    /// The question's heading.
    fn key_remove_heading(&self, service: &str) -> String;
    /// What removing means.
    fn key_remove_body(&self, about: Subject<'_>, account: &str) -> String;
    /// The prompt to connect.
    fn migrate_heading(&self, service: &str) -> String;
    /// Until when keys are used.
    fn migrate_until(&self, service: &str, day: &str) -> String;
    /// A day in full.
    fn day(&self, day: Timestamp) -> String;
}

/// Year, month (from 0) and day of the month, in UTC.
pub(super) fn parts(day: Timestamp) -> (String, usize, String) {
    let date = day.date();
    let mut parts = date.split('-');
    let mut next = || parts.next().unwrap_or_default();
    let (year, month, day) = (next().to_owned(), next(), next().trim_start_matches('0').to_owned());
    (year, month.parse::<usize>().unwrap_or(1).saturating_sub(1), day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Language, words::texts};

    #[test]
    fn a_day_is_written_as_its_language_writes_it() {
        let day = Timestamp::parse_date("2027-03-01").unwrap();
        assert_eq!(texts(Language::En).day(day), "1 March 2027");
        assert_eq!(texts(Language::De).day(day), "1. März 2027");
    }
}
