//! Every word that a page or a mail says to people, in each [`Language`]. A language is a file and a folder that implement
//! [`Texts`]; the compiler says what it lacks. Texts are plain: the templates escape whatever is put in. Decides neither what is
//! said when, nor how it looks; what programs read is in English, and in `refusal`.

use std::time::Duration;

use crate::config::Language;

mod away;
mod de;
mod en;
mod ends;
mod keys;
mod mail;
mod manage;

use self::{de::German, en::English};
pub use away::Away;
pub use ends::{Ending, Ends};
pub use keys::Keys;
pub use mail::{Facts, MailText, Mails};
pub use manage::Manage;

/// All texts of a language.
pub fn texts(language: Language) -> &'static dyn Texts {
    match language {
        Language::En => &English,
        Language::De => &German,
    }
}

/// What a whole page says where there is nothing but something to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
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
pub struct Subject<'a> {
    /// The service's title.
    pub service: &'a str,
    /// The application's name.
    pub application: &'a str,
    /// The caller's name or id.
    pub who: &'a str,
}

/// One account at a provider in the place of another.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The service's title.
    pub service: &'a str,
    /// The label in question.
    pub account: &'a str,
    /// Who is connected.
    pub before: &'a str,
    /// Who would be, where the provider says so.
    pub after: Option<&'a str>,
}

/// Why a connection was lost, as far as people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its time was up.
    Expired,
    /// The provider says that access was withdrawn.
    Revoked,
    /// Renewing it was cut off.
    Interrupted,
    /// It rested on an API key, and these are no longer used.
    KeyRetired,
    /// It is no longer accepted.
    Refused,
}

/// A connection's state as the dashboard shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All is well.
    Connected,
    /// It rests on an API key.
    ApiKey,
    /// It must be renewed by the person.
    Lost(Loss),
    /// It lacks scopes that the service asks for.
    NeedsMore,
    /// The application has not confirmed it yet.
    Pending,
    /// There is none.
    NotConnected,
}

/// Texts that are always the same.
#[derive(Debug)]
pub struct Words {
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
pub trait Texts: Away + Ends + Keys + Manage + Mails {
    /// Whose texts they are.
    fn language(&self) -> Language;
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

    /// How long ago something was.
    fn ago(&self, time: Duration) -> String;
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
    fn times_are_told_in_their_largest_unit() {
        let english = texts(Language::En);
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
        assert_eq!(texts(Language::De).ago(Duration::from_secs(180)), "vor 3 Minuten");
    }
}
