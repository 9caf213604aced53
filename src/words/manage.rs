//! The texts of what people do on the dashboard beside connecting and disconnecting, and of why they can't connect.

use super::{Notice, Subject};

/// A language's.
pub trait Manage: Sync {
    /// A link's words: leads to the operator's help.
    fn get_help(&self) -> &'static str;
    /// A link's words: leads to the page that asks for another label.
    fn rename(&self) -> &'static str;
    /// The form's button.
    fn rename_button(&self) -> &'static str;
    /// The field's name.
    fn new_label(&self) -> &'static str;
    /// The page's heading.
    fn rename_heading(&self, service: &str, account: &str) -> String;
    /// What another label means.
    fn rename_body(&self, about: Subject<'_>, account: &str) -> String;
    /// Another connection has it.
    fn label_taken(&self, service: &str, account: &str) -> String;
    /// It breaks the rules for labels.
    fn label_malformed(&self) -> &'static str;
    /// There is no room for another one; `most` is the limit.
    fn too_many_labels(&self, service: &str, most: usize) -> Notice;
    /// The operator's policy lets none of their calls through, so there is nothing to connect.
    fn forbidden(&self, service: &str) -> Notice;
    /// On the dashboard, after it was done.
    fn just_renamed(&self, service: &str) -> String;
    /// On the dashboard, where the account that came back was connected already.
    fn just_renewed(&self, service: &str, account: &str) -> String;
    fn disconnect_heading(&self, service: &str) -> String;
    fn disconnect_body(&self, about: Subject<'_>, account: &str) -> String;
    fn disconnect_button(&self, service: &str) -> String;
}
