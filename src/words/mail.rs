//! The texts of mails: all of one at once, since its parts depend on each other.

use super::{Ending, Loss};
use crate::{clock::Timestamp, config::NoticeKind};

/// What a mail speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The application's name.
    pub application: &'a str,
    /// The service's title.
    pub service: &'a str,
    /// The connection's label, where it has one.
    pub account: Option<&'a str>,
    /// Why it no longer works, where the mail is about that.
    pub loss: Loss,
    /// Scopes that were lacking.
    pub scopes: &'a [String],
    /// From when API keys are not taken.
    pub retire_on: Option<&'a str>,
    /// When and why it ends by itself, where the mail is about that.
    pub end: Option<(Timestamp, Ending)>,
    /// How many days the link lives.
    pub days: Option<u64>,
}

/// What a mail says.
#[derive(Debug, Clone)]
pub struct MailText {
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

/// A language's.
pub trait Mails: Sync {
    /// The mail about this.
    fn mail(&self, kind: NoticeKind, facts: &Facts<'_>) -> MailText;
}
