//! The texts of "also while I am away": whether the operator's jobs may act for a person who isn't there.

/// A language's.
pub trait Away: Sync {
    /// The section's heading.
    fn away_heading(&self) -> &'static str;
    /// How it is now, in a word or two.
    fn away_state(&self, on: bool) -> &'static str;
    /// What it means, before the button.
    fn away_body(&self, application: &str) -> String;
    /// The form's button; `on` is how it is now.
    fn away_button(&self, on: bool) -> &'static str;
    /// On the dashboard, after it was done.
    fn away_done(&self, on: bool) -> &'static str;
}
