//! Every word that a page shows. A language is one file that implements [`Texts`]; the compiler says what it lacks. Texts
//! are plain: the templates escape whatever is put in.

use std::time::Duration;

use crate::connection::Reason;

mod de;
mod en;
mod keys;
mod manage;

use self::{de::German, en::English};
pub(super) use keys::Keys;
pub(super) use manage::Manage;

/// A page's language.
pub(super) type Language = &'static dyn Texts;

/// What a whole page says where there is nothing but something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// The heading.
    pub heading: String,
    /// What happened.
    pub body: String,
    /// What to do now.
    pub advice: String,
}

impl Notice {
    /// Puts one together.
    fn new(heading: impl Into<String>, body: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { heading: heading.into(), body: body.into(), advice: advice.into() }
    }
}

/// Whom and what a text speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The service's title.
    pub service: &'a str,
    /// The application's name.
    pub application: &'a str,
    /// The caller's name or id.
    pub who: &'a str,
}

/// One account at a provider in the place of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    /// The service's title.
    pub service: &'a str,
    /// The label in question.
    pub account: &'a str,
    /// Who is connected.
    pub before: &'a str,
    /// Who would be, where the provider says so.
    pub after: Option<&'a str>,
}

/// A connection's state as the dashboard shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// All is well.
    Connected,
    /// It rests on an API key.
    ApiKey,
    /// It must be renewed by the person.
    Lost(Reason),
    /// It lacks scopes that the service asks for.
    NeedsMore,
    /// The application has not confirmed it yet.
    Pending,
    /// There is none.
    NotConnected,
}

/// Texts that are always the same.
#[derive(Debug)]
pub(super) struct Words {
    pub connect_for: &'static str,
    pub connect_account: &'static str,
    pub cancel: &'static str,
    pub try_again: &'static str,
    pub to_dashboard: &'static str,
    pub request: &'static str,
    pub other_beside: &'static str,
    pub other_keep_both: &'static str,
    pub pending_heading: &'static str,
    pub pending_hint: &'static str,
    pub dashboard_title: &'static str,
    pub dashboard_empty: &'static str,
    pub signed_in_as: &'static str,
    pub sign_out: &'static str,
    pub missing_scopes: &'static str,
    pub account: &'static str,
    pub identity: &'static str,
    pub connected_at: &'static str,
    pub refreshed_at: &'static str,
    pub last_used_at: &'static str,
    pub never: &'static str,
    pub connect: &'static str,
    pub reconnect: &'static str,
    pub grant_more: &'static str,
    pub disconnect: &'static str,
    pub add_account: &'static str,
    pub account_label: &'static str,
    pub account_label_hint: &'static str,
}

/// The texts with names in them, one method each.
pub(super) trait Texts: Keys + Manage {
    /// The language's tag (RFC 5646).
    fn tag(&self) -> &'static str;
    /// What needs no names in it.
    fn words(&self) -> &'static Words;

    // The connect page.
    fn connect_title(&self, about: Subject<'_>) -> String;
    fn connect_heading(&self, about: Subject<'_>) -> String;
    fn connect_lead(&self, about: Subject<'_>) -> String;
    fn connect_scopes(&self, about: Subject<'_>) -> String;
    fn connect_scopes_unnamed(&self, about: Subject<'_>) -> String;
    fn connect_existing(&self, about: Subject<'_>, identity: Option<&str>) -> String;
    fn connect_warning_heading(&self, about: Subject<'_>) -> String;
    fn connect_warning(&self, about: Subject<'_>) -> String;
    fn connect_button(&self, about: Subject<'_>) -> String;
    fn connect_undo(&self, about: Subject<'_>) -> String;

    // Pages that say what went wrong.
    fn unknown_service(&self) -> Notice;
    fn ticket_missing(&self) -> Notice;
    fn ticket_invalid(&self) -> Notice;
    fn ticket_expired(&self) -> Notice;
    fn ticket_used(&self) -> Notice;
    fn ticket_elsewhere(&self) -> Notice;
    fn not_yours(&self) -> Notice;
    fn no_oauth(&self, service: &str) -> Notice;
    fn form_stale(&self) -> Notice;
    fn form_foreign(&self) -> Notice;
    fn bad_form(&self) -> Notice;
    fn callback_malformed(&self) -> Notice;
    fn callback_unknown(&self) -> Notice;
    fn callback_elsewhere(&self) -> Notice;
    fn callback_mixed_up(&self) -> Notice;
    fn denied(&self, service: &str) -> Notice;
    fn provider_error(&self, service: &str) -> Notice;
    fn exchange_refused(&self, service: &str) -> Notice;
    fn exchange_failed(&self, service: &str) -> Notice;
    fn unavailable(&self) -> Notice;
    fn come_in(&self, application: &str) -> Notice;
    fn not_covered(&self) -> Notice;
    fn no_connection(&self) -> Notice;
    fn bad_account(&self) -> Notice;
    fn signed_out(&self) -> Notice;
    fn back_to(&self, application: &str) -> String;

    // Before a grant is stored.
    fn other_heading(&self, change: Change<'_>) -> String;
    fn other_body(&self, change: Change<'_>) -> String;
    fn other_replace(&self, change: Change<'_>) -> String;
    fn pending_body(&self, service: &str, application: &str) -> String;

    // The dashboard.
    fn dashboard_link_over(&self) -> Notice;
    fn open_heading(&self, about: Subject<'_>) -> String;
    fn open_lead(&self, about: Subject<'_>) -> String;
    fn open_warning(&self) -> &'static str;
    fn open_button(&self) -> &'static str;
    fn dashboard_lead(&self, application: &str) -> String;
    fn only_this(&self, application: &str) -> String;
    fn only_gone(&self, application: &str) -> String;
    fn just_connected(&self, service: &str) -> String;
    fn just_disconnected(&self, service: &str) -> String;
    fn state(&self, shown: Shown) -> &'static str;
    fn state_hint(&self, shown: Shown, service: &str) -> Option<String>;
    fn scopes(&self, count: usize) -> String;
    fn of_account(&self, action: &str, service: &str, account: &str) -> String;

    // The question before disconnecting.

    /// How long ago something was.
    fn ago(&self, time: Duration) -> String;
}

/// The language that `Accept-Language` (RFC 9110 §12.5.4) wants most of those that there are; English where it wants none.
pub(super) fn choose(accept_language: Option<&str>) -> Language {
    let mut best: (f32, Language) = (0.0, &English);
    for range in accept_language.unwrap_or_default().split(',') {
        let (tag, quality) = match range.split_once(';') {
            Some((tag, parameter)) => {
                let quality = parameter.trim().strip_prefix("q=").and_then(|text| text.parse().ok());
                (tag.trim(), quality.unwrap_or(0.0))
            }
            None => (range.trim(), 1.0),
        };
        let primary = tag.split('-').next().unwrap_or(tag);
        let language: Language = if primary.eq_ignore_ascii_case("de") {
            &German
        } else if primary.eq_ignore_ascii_case("en") || primary == "*" {
            &English
        } else {
            continue;
        };
        if quality > best.0 {
            best = (quality, language);
        }
    }
    best.1
}

/// The largest whole unit of a time that has passed: how many, and of what.
fn unit(time: Duration) -> Option<(u64, Unit)> {
    let seconds = time.as_secs();
    [(86_400, Unit::Day), (3600, Unit::Hour), (60, Unit::Minute)]
        .into_iter()
        .find(|(length, _)| seconds >= *length)
        .map(|(length, unit)| (seconds / length, unit))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Day,
    Hour,
    Minute,
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
            assert_eq!(choose(accept).tag(), tag, "{accept:?}");
        }
    }

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let english = choose(None);
        for (seconds, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7199, "1 hour ago"),
            (7200, "2 hours ago"),
            (200_000, "2 days ago"),
        ] {
            assert_eq!(english.ago(Duration::from_secs(seconds)), text);
        }
        assert_eq!(choose(Some("de")).ago(Duration::from_secs(180)), "vor 3 Minuten");
    }
}
