//! German, for managing connections.

use super::German;
use crate::words::{Manage, Notice, Subject};

impl Manage for German {
    fn get_help(&self) -> &'static str {
        "Hilfe"
    }
    fn rename(&self) -> &'static str {
        "Umbenennen"
    }
    fn rename_button(&self) -> &'static str {
        "Speichern"
    }
    fn new_label(&self) -> &'static str {
        "Neue Bezeichnung"
    }
    fn rename_heading(&self, service: &str, account: &str) -> String {
        format!("{service} ({account}) umbenennen")
    }
    fn rename_body(&self, about: Subject<'_>, account: &str) -> String {
        format!(
            "Die Bezeichnung unterscheidet Ihre Konten bei {}. Wo {} ausdrücklich {account} verlangt, muss dort künftig die \
             neue stehen.",
            about.service, about.application
        )
    }
    fn label_taken(&self, service: &str, account: &str) -> String {
        format!("Ein anderes Ihrer Konten bei {service} heißt schon {account}. Wählen Sie eine andere Bezeichnung.")
    }
    fn label_malformed(&self) -> &'static str {
        "Eine Bezeichnung hat 1 bis 64 Buchstaben (ohne Umlaute), Ziffern, Punkte, Binde- oder Unterstriche."
    }
    fn too_many_labels(&self, service: &str, most: usize) -> Notice {
        Notice::new(
            format!("Sie haben hier zu viele Konten bei {service}"),
            format!("Mehr als {most} gehen nicht. Dieses wurde nicht hinzugefügt."),
            "Entfernen Sie eines, das Sie nicht mehr brauchen, und versuchen Sie es noch einmal.",
        )
    }
    fn forbidden(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} steht Ihnen hier nicht offen"),
            format!("Die Betreiber haben festgelegt, dass Sie {service} hierüber nicht benutzen können."),
            "Es gibt nichts zu verbinden. Wenn Sie es brauchen, fragen Sie die Menschen, die die Anwendung betreuen.",
        )
    }
    fn just_renamed(&self, service: &str) -> String {
        format!("Das Konto bei {service} hat seine neue Bezeichnung.")
    }
    fn just_renewed(&self, service: &str, account: &str) -> String {
        format!(
            "Sie haben sich mit einem Konto angemeldet, das schon verbunden war: {service} ({account}) ist erneuert."
        )
    }
    fn disconnect_heading(&self, service: &str) -> String {
        format!("{service} trennen?")
    }
    fn disconnect_body(&self, about: Subject<'_>, account: &str) -> String {
        format!(
            "{} kann Ihr Konto bei {} ({account}) dann ab sofort nicht mehr nutzen. Wo {} das anbietet, wird der Zugriff auch \
             dort entzogen. Sie können jederzeit neu verbinden.",
            about.application, about.service, about.service
        )
    }
    fn disconnect_button(&self, service: &str) -> String {
        format!("{service} trennen")
    }
}
