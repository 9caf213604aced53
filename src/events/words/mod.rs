//! Every word of a mail. A language is one file; texts are plain, the template escapes whatever is put in.

use crate::config::{Language, NoticeKind};

mod de;
mod en;

/// What a mail speaks of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The application's name.
    pub application: &'a str,
    /// The service's title.
    pub service: &'a str,
    /// The connection's label, where it has one.
    pub account: Option<&'a str>,
    /// Why, in one word.
    pub reason: Option<&'a str>,
    /// Scopes that were lacking.
    pub scopes: &'a [String],
    /// From when API keys are not taken.
    pub retire_on: Option<&'a str>,
    /// How many days the link lives.
    pub days: Option<u64>,
}

/// What a mail says.
#[derive(Debug, Clone)]
pub(super) struct Words {
    /// The language's tag.
    pub tag: &'static str,
    /// The subject, also the heading.
    pub subject: String,
    /// What happened.
    pub what: String,
    /// Things to list after that.
    pub list: Vec<String>,
    /// What to do.
    pub todo: String,
    /// The button.
    pub button: String,
    /// Before the link in full.
    pub or_open: &'static str,
    /// At the end.
    pub footer: String,
}

/// The mail about this, in this language.
pub(super) fn words(language: Language, kind: NoticeKind, facts: &Facts<'_>) -> Words {
    match language {
        Language::En => en::words(kind, facts),
        Language::De => de::words(kind, facts),
    }
}
