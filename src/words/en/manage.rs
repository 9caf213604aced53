//! English, for managing connections.

use super::English;
use crate::words::{Manage, Notice, Subject};

impl Manage for English {
    fn get_help(&self) -> &'static str {
        "Get help"
    }
    fn rename(&self) -> &'static str {
        "Rename"
    }
    fn rename_button(&self) -> &'static str {
        "Save"
    }
    fn new_label(&self) -> &'static str {
        "New label"
    }
    fn rename_heading(&self, service: &str, account: &str) -> String {
        format!("Rename {service} ({account})")
    }
    fn rename_body(&self, about: Subject<'_>, account: &str) -> String {
        format!(
            "The label tells your {} accounts apart. Where {} asks for {account} by name, it will have to ask for the new \
             label.",
            about.service, about.application
        )
    }
    fn label_taken(&self, service: &str, account: &str) -> String {
        format!("You have another {service} account with the label {account}. Choose a different one.")
    }
    fn label_malformed(&self) -> &'static str {
        "A label has 1 to 64 letters, digits, dots, hyphens or underscores."
    }
    fn too_many_labels(&self, service: &str, most: usize) -> Notice {
        Notice::new(
            format!("You have too many {service} accounts here"),
            format!("{most} is the most, so this one was not added."),
            "Remove one that you no longer need, then try again.",
        )
    }
    fn forbidden(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} is not open to you here"),
            format!("Whoever runs this service has decided that you can’t use {service} through it."),
            "There is nothing to connect. If you need it, ask the people who look after the application.",
        )
    }
    fn just_renamed(&self, service: &str) -> String {
        format!("The {service} account has its new label.")
    }
    fn just_renewed(&self, service: &str, account: &str) -> String {
        format!("You signed in with an account that was connected already: {service} ({account}) is renewed.")
    }
    fn disconnect_heading(&self, service: &str) -> String {
        format!("Disconnect {service}?")
    }
    fn disconnect_body(&self, about: Subject<'_>, account: &str) -> String {
        format!(
            "{} will no longer be able to use your {} account ({account}), from this moment on. Where {} offers it, access \
             is withdrawn there, too. You can connect again at any time.",
            about.application, about.service, about.service
        )
    }
    fn disconnect_button(&self, service: &str) -> String {
        format!("Disconnect {service}")
    }
}
