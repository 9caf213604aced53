//! English, for API keys and the way from them.

use super::English;
use crate::{
    clock::Timestamp,
    words::{Keys, Notice, Subject, keys::parts},
};

impl Keys for English {
    fn key_use(&self) -> &'static str {
        "Use an API key"
    }
    fn key_replace(&self) -> &'static str {
        "Replace the API key"
    }
    fn key_store(&self) -> &'static str {
        "Save the key"
    }
    fn key_hint(&self) -> &'static str {
        "It is kept encrypted and never shown again. It is used only while no account is connected."
    }
    fn key_remove(&self) -> &'static str {
        "Remove the stored key"
    }
    fn key_beside(&self) -> &'static str {
        "An API key is still stored with this connection. It is no longer needed."
    }
    fn key_benefits(&self) -> &'static [&'static str] {
        &[
            "No key to copy, keep safe and renew",
            "You see what is allowed, and agree to it",
            "You can withdraw access at any time, here or at the service",
        ]
    }
    fn key_label(&self, service: &str) -> String {
        format!("API key for {service}")
    }
    fn key_stored(&self, service: &str) -> String {
        format!("The API key for {service} is saved.")
    }
    fn key_removed(&self, service: &str) -> String {
        format!("The API key for {service} is removed.")
    }
    fn key_bad(&self) -> Notice {
        Notice::new(
            "This can’t be an API key",
            "A key has 1 to 4096 plain letters, digits and signs, without line breaks. Nothing was changed.",
            "Copy the whole key and nothing else, and try again.",
        )
    }
    fn key_missing(&self) -> Notice {
        Notice::new("There is no API key", "It may have been removed already.", "Have a look at your connections.")
    }
    fn keys_retired(&self, service: &str) -> Notice {
        Notice::new(
            format!("API keys for {service} are no longer used"),
            "This key was not saved.",
            format!("Connect your {service} account instead."),
        )
    }
    fn key_remove_heading(&self, service: &str) -> String {
        format!("Remove the API key for {service}?")
    }
    fn key_remove_body(&self, about: Subject<'_>, account: &str) -> String {
        format!(
            "{} will no longer have the API key for {} ({account}). A connected account stays connected. The key itself \
             goes on existing at {}: delete it there if nothing else needs it.",
            about.application, about.service, about.service
        )
    }
    fn migrate_heading(&self, service: &str) -> String {
        format!("Connect your {service} account instead of a key")
    }
    fn migrate_until(&self, service: &str, day: &str) -> String {
        format!("From {day} on, API keys for {service} are no longer used.")
    }
    fn day(&self, day: Timestamp) -> String {
        let months = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let (year, month, day) = parts(day);
        format!("{day} {} {year}", months.get(month).unwrap_or(&""))
    }
}
