//! German, for API keys and the way from them.

use super::German;
use crate::{
    clock::Timestamp,
    words::{Keys, Notice, Subject, keys::parts},
};

impl Keys for German {
    fn key_use(&self) -> &'static str {
        "Einen API-Schlüssel benutzen"
    }
    fn key_replace(&self) -> &'static str {
        "API-Schlüssel ersetzen"
    }
    fn key_store(&self) -> &'static str {
        "Schlüssel speichern"
    }
    fn key_hint(&self) -> &'static str {
        "Er wird verschlüsselt gespeichert und nie wieder angezeigt. Benutzt wird er nur, solange kein Konto verbunden ist."
    }
    fn key_remove(&self) -> &'static str {
        "Gespeicherten Schlüssel entfernen"
    }
    fn key_beside(&self) -> &'static str {
        "Neben dieser Verbindung ist noch ein API-Schlüssel gespeichert. Er wird nicht mehr gebraucht."
    }
    fn key_benefits(&self) -> &'static [&'static str] {
        &[
            "Kein Schlüssel, den Sie kopieren, hüten und erneuern müssen",
            "Sie sehen, was erlaubt ist, und stimmen zu",
            "Sie können den Zugriff jederzeit entziehen, hier oder beim Dienst",
        ]
    }
    fn key_label(&self, service: &str) -> String {
        format!("API-Schlüssel für {service}")
    }
    fn key_stored(&self, service: &str) -> String {
        format!("Der API-Schlüssel für {service} ist gespeichert.")
    }
    fn key_removed(&self, service: &str) -> String {
        format!("Der API-Schlüssel für {service} ist entfernt.")
    }
    fn key_bad(&self) -> Notice {
        Notice::new(
            "Das kann kein API-Schlüssel sein",
            "Ein Schlüssel hat 1 bis 4096 Buchstaben ohne Umlaute, Ziffern und Zeichen, ohne Zeilenumbrüche. Nichts wurde geändert.",
            "Kopieren Sie den ganzen Schlüssel und sonst nichts, und versuchen Sie es noch einmal.",
        )
    }
    fn key_missing(&self) -> Notice {
        Notice::new(
            "Es gibt keinen API-Schlüssel",
            "Vielleicht wurde er schon entfernt.",
            "Sehen Sie sich Ihre Verbindungen an.",
        )
    }
    fn keys_retired(&self, service: &str) -> Notice {
        Notice::new(
            format!("API-Schlüssel für {service} werden nicht mehr benutzt"),
            "Dieser Schlüssel wurde nicht gespeichert.",
            format!("Verbinden Sie stattdessen Ihr Konto bei {service}."),
        )
    }
    fn key_remove_heading(&self, service: &str) -> String {
        format!("API-Schlüssel für {service} entfernen?")
    }
    fn key_remove_body(&self, about: Subject<'_>, account: &str) -> String {
        format!(
            "{} hat dann keinen API-Schlüssel für {} ({account}) mehr. Ein verbundenes Konto bleibt verbunden. Den Schlüssel \
             selbst gibt es bei {} weiterhin: Löschen Sie ihn dort, wenn ihn sonst nichts braucht.",
            about.application, about.service, about.service
        )
    }
    fn migrate_heading(&self, service: &str) -> String {
        format!("Verbinden Sie Ihr Konto bei {service} statt eines Schlüssels")
    }
    fn migrate_until(&self, service: &str, day: &str) -> String {
        format!("Ab dem {day} werden API-Schlüssel für {service} nicht mehr benutzt.")
    }
    fn day(&self, day: Timestamp) -> String {
        let months = [
            "Januar",
            "Februar",
            "März",
            "April",
            "Mai",
            "Juni",
            "Juli",
            "August",
            "September",
            "Oktober",
            "November",
            "Dezember",
        ];
        let (year, month, day) = parts(day);
        format!("{day}. {} {year}", months.get(month).unwrap_or(&""))
    }
}
