//! German.

use std::time::Duration;

use super::{Change, Loss, Notice, Shown, Subject, Texts, Unit, Words, unit};
use crate::config::Language;

mod away;
mod ends;
mod keys;
mod mail;
mod manage;

/// German texts.
pub struct German;

static WORDS: Words = Words {
    connect_for: "Für",
    connect_account: "Gespeichert als",
    cancel: "Abbrechen",
    try_again: "Noch einmal versuchen",
    to_dashboard: "Verbindungen ansehen",
    request: "Anfrage",
    other_beside: "Oder beide behalten",
    other_keep_both: "Beide behalten",
    pending_heading: "Noch ein Schritt",
    pending_hint: "Er gilt einmal, zehn Minuten lang und nur für Sie. Bis dahin ist nichts verbunden.",
    dashboard_title: "Ihre Verbindungen",
    dashboard_empty: "Es sind noch keine Dienste eingerichtet.",
    signed_in_as: "Angemeldet als",
    sign_out: "Abmelden",
    missing_scopes: "Noch nicht erlaubt",
    account: "Bezeichnung",
    identity: "Konto",
    connected_at: "Verbunden",
    refreshed_at: "Erneuert",
    last_used_at: "Zuletzt benutzt",
    never: "noch nicht",
    connect: "Verbinden",
    reconnect: "Neu verbinden",
    grant_more: "Rechte ansehen",
    disconnect: "Trennen",
    add_account: "Weiteres Konto hinzufügen",
    account_label: "Eine Bezeichnung dafür",
    account_label_hint: "Zum Beispiel arbeit. Buchstaben ohne Umlaute, Ziffern, Punkte, Binde- und Unterstriche.",
};

impl Texts for German {
    fn language(&self) -> Language {
        Language::De
    }
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn connect_title(&self, about: Subject<'_>) -> String {
        format!("{} mit {} verbinden", about.service, about.application)
    }
    fn connect_heading(&self, about: Subject<'_>) -> String {
        format!("{} mit {} verbinden", about.service, about.application)
    }
    fn connect_lead(&self, about: Subject<'_>) -> String {
        format!("{} möchte Ihr Konto bei {} nutzen.", about.application, about.service)
    }
    fn connect_scopes(&self, about: Subject<'_>) -> String {
        format!("{} darf dann", about.application)
    }
    fn connect_scopes_unnamed(&self, about: Subject<'_>) -> String {
        format!("{} zeigt Ihnen, was {} tun darf, bevor Sie zustimmen.", about.service, about.application)
    }
    fn connect_existing(&self, about: Subject<'_>, identity: Option<&str>) -> String {
        match identity {
            Some(identity) => format!("Das erneuert die Verbindung zum Konto {identity} bei {}.", about.service),
            None => format!("Das erneuert Ihre bestehende Verbindung zu {}.", about.service),
        }
    }
    fn connect_warning_heading(&self, about: Subject<'_>) -> String {
        format!("Sind Sie {}?", about.who)
    }
    fn connect_warning(&self, about: Subject<'_>) -> String {
        format!(
            "Fahren Sie nur dann fort. Hat Ihnen jemand anderes diesen Link geschickt, schließen Sie diese Seite: Er könnte \
             sonst Ihr Konto bei {} nutzen.",
            about.service
        )
    }
    fn connect_button(&self, about: Subject<'_>) -> String {
        format!("Weiter zu {}", about.service)
    }
    fn connect_undo(&self, about: Subject<'_>) -> String {
        format!(
            "Sie melden sich bei {} selbst an; Ihr Passwort bleibt dort. Trennen können Sie die Verbindung jederzeit, auf der \
             Seite Ihrer Verbindungen oder in den Einstellungen von {}.",
            about.service, about.service
        )
    }

    fn unknown_service(&self) -> Notice {
        Notice::new(
            "Diesen Dienst gibt es nicht",
            "Der Link nennt einen Dienst, der hier nicht eingerichtet ist.",
            "Gehen Sie zurück zur Anwendung und lassen Sie sich einen neuen Link geben.",
        )
    }
    fn ticket_missing(&self) -> Notice {
        Notice::new(
            "Dieser Link ist unvollständig",
            "Es fehlt der Teil, der sagt, für wen er ist, oder Sie sind nicht angemeldet.",
            "Öffnen Sie den ganzen Link oder lassen Sie sich von der Anwendung einen neuen geben.",
        )
    }
    fn ticket_invalid(&self) -> Notice {
        Notice::new(
            "Dieser Link ist ungültig",
            "Er wurde unterwegs vielleicht abgeschnitten oder verändert. Es wurde nichts verbunden.",
            "Gehen Sie zurück zur Anwendung und lassen Sie sich einen neuen Link geben.",
        )
    }
    fn ticket_expired(&self) -> Notice {
        Notice::new(
            "Dieser Link ist abgelaufen",
            "Links gelten nur kurze Zeit, damit Ihre Konten sicher sind. Es wurde nichts verbunden.",
            "Gehen Sie zurück zur Anwendung und lassen Sie sich einen neuen Link geben.",
        )
    }
    fn ticket_used(&self) -> Notice {
        Notice::new(
            "Dieser Link wurde schon benutzt",
            "Ein Link verbindet ein Konto, einmal. Waren Sie das selbst, ist nichts mehr zu tun.",
            "Für ein weiteres Konto lassen Sie sich von der Anwendung einen neuen Link geben.",
        )
    }
    fn ticket_elsewhere(&self) -> Notice {
        Notice::new(
            "Dieser Link ist in einem anderen Browser offen",
            "Ein Link gehört dem Browser, der zuerst damit weitergegangen ist. Es wurde nichts geändert.",
            "Machen Sie dort weiter oder lassen Sie sich von der Anwendung einen neuen Link geben.",
        )
    }
    fn not_yours(&self) -> Notice {
        Notice::new(
            "Bitte melden Sie sich zuerst an",
            "Dieser Link ist für jemanden, der in der Anwendung angemeldet ist, und dieser Browser ist es nicht.",
            "Melden Sie sich in diesem Browser bei der Anwendung an und öffnen Sie den Link dann noch einmal.",
        )
    }
    fn no_oauth(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} lässt sich so nicht verbinden"),
            format!("{service} wird hier nur mit einem API-Schlüssel genutzt."),
            "Gehen Sie zurück zur Anwendung, um einen Schlüssel zu hinterlegen.",
        )
    }
    fn form_stale(&self) -> Notice {
        Notice::new(
            "Diese Seite war zu lange offen",
            "Ihr Browser hat nicht mehr, was dazugehört, vielleicht weil er Cookies sperrt. Es wurde nichts geändert.",
            "Öffnen Sie die Seite noch einmal und machen Sie dort weiter.",
        )
    }
    fn form_foreign(&self) -> Notice {
        Notice::new(
            "Diese Anfrage kam von einer anderen Website",
            "Zu Ihrer Sicherheit wurde ihr nicht gefolgt. Es wurde nichts geändert.",
            "Öffnen Sie die Seite noch einmal und machen Sie dort weiter.",
        )
    }
    fn bad_form(&self) -> Notice {
        Notice::new(
            "Dieses Formular ließ sich nicht lesen",
            "Etwas, das dazugehört, fehlt oder ist zu lang. Es wurde nichts geändert.",
            "Gehen Sie zurück und versuchen Sie es noch einmal.",
        )
    }
    fn callback_malformed(&self) -> Notice {
        Notice::new(
            "Diese Adresse ist unvollständig",
            "Sie ist für den Rückweg von einem Dienst gedacht, und ein Teil davon fehlt.",
            "Gehen Sie zurück zur Anwendung und fangen Sie neu an.",
        )
    }
    fn callback_unknown(&self) -> Notice {
        Notice::new(
            "Dieser Versuch ist abgelaufen oder schon beendet",
            "Vielleicht haben Sie die Seite neu geladen oder waren länger als zehn Minuten weg. Es wurde nichts geändert.",
            "Ist Ihr Konto noch nicht verbunden, gehen Sie zurück zur Anwendung und fangen Sie neu an.",
        )
    }
    fn callback_elsewhere(&self) -> Notice {
        Notice::new(
            "Dieser Versuch begann in einem anderen Browser",
            "Zum Schutz Ihrer Konten lässt er sich nur dort beenden, wo er begann. Es wurde nichts geändert.",
            "Machen Sie dort weiter oder fangen Sie hier neu an.",
        )
    }
    fn callback_mixed_up(&self) -> Notice {
        Notice::new(
            "Diese Antwort kam von anderswo",
            "Sie ist nicht von dem Dienst, zu dem Sie geschickt wurden, darum wurde ihr nicht gefolgt. Es wurde nichts geändert.",
            "Gehen Sie zurück zur Anwendung und fangen Sie neu an.",
        )
    }
    fn denied(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} wurde nicht verbunden"),
            format!("Sie haben bei {service} abgelehnt. Das ist in Ordnung: Es wurde nichts weitergegeben."),
            "War das nicht Ihre Absicht, versuchen Sie es noch einmal.",
        )
    }
    fn provider_error(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} konnte nicht fortfahren"),
            format!("{service} hat mit einem Fehler geantwortet. Es wurde nichts verbunden."),
            "Versuchen Sie es gleich noch einmal. Bleibt es so, sagen Sie denen Bescheid, die die Anwendung betreiben.",
        )
    }
    fn exchange_refused(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} hat die Verbindung nicht angenommen"),
            format!(
                "Sie haben zugestimmt, aber {service} hat den letzten Schritt abgelehnt. Es wurde nichts verbunden."
            ),
            "Versuchen Sie es noch einmal. Bleibt es so, sagen Sie denen Bescheid, die die Anwendung betreiben.",
        )
    }
    fn exchange_failed(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} antwortet gerade nicht"),
            "Sie haben zugestimmt, aber der letzte Schritt gelang nicht. Es wurde nichts verbunden.",
            "Versuchen Sie es gleich noch einmal.",
        )
    }
    fn unavailable(&self) -> Notice {
        Notice::new(
            "Kurz nicht verfügbar",
            "Das ging gerade nicht. Es wurde nichts geändert.",
            "Versuchen Sie es gleich noch einmal.",
        )
    }
    fn come_in(&self, application: &str) -> Notice {
        Notice::new(
            "Sie sind hier nicht angemeldet",
            "Diese Seite zeigt die verbundenen Konten einer Person, und dieser Browser hat nicht gezeigt, wessen er ist, oder \
             war länger als 30 Minuten still.",
            format!("Kommen Sie über {application} herein: über die Einstellungen dort oder mit einem Link von dort."),
        )
    }
    fn not_covered(&self) -> Notice {
        Notice::new(
            "Diese Verbindung lässt sich von hier nicht verwalten",
            "Mit einem Link verwalten Sie die Verbindung, die Sie damit hergestellt haben, und keine andere.",
            "Für die anderen kommen Sie über die Anwendung herein.",
        )
    }
    fn no_connection(&self) -> Notice {
        Notice::new(
            "Diese Verbindung gibt es nicht",
            "Vielleicht wurde sie schon getrennt.",
            "Sehen Sie nach, welche Verbindungen Sie haben.",
        )
    }
    fn bad_account(&self) -> Notice {
        Notice::new(
            "Diese Bezeichnung geht nicht",
            "Eine Bezeichnung hat 1 bis 64 Buchstaben (ohne Umlaute), Ziffern, Punkte, Binde- oder Unterstriche.",
            "Gehen Sie zurück und wählen Sie eine andere.",
        )
    }
    fn signed_out(&self) -> Notice {
        Notice::new(
            "Sie sind abgemeldet",
            "Dieser Browser zeigt Ihre Verbindungen nicht mehr. Sie arbeiten weiter für Sie.",
            "Sie können diese Seite schließen.",
        )
    }
    fn back_to(&self, application: &str) -> String {
        format!("Zurück zu {application}")
    }

    fn other_heading(&self, change: Change<'_>) -> String {
        match change.after {
            Some(_) => format!("Das ist ein anderes Konto bei {}", change.service),
            None => format!("Ist das dasselbe Konto bei {}?", change.service),
        }
    }
    fn other_body(&self, change: Change<'_>) -> String {
        let Change { service, account, before, after } = change;
        match after {
            Some(after) => format!(
                "Bei {service} ist {before} verbunden (als {account}), und Sie haben sich dort eben als {after} angemeldet. \
                 Noch wurde nichts geändert."
            ),
            None => format!(
                "Bei {service} ist {before} verbunden (als {account}). Mit welchem Konto Sie sich dort eben angemeldet haben, \
                 hat {service} nicht mitgeteilt. Noch wurde nichts geändert."
            ),
        }
    }
    fn other_replace(&self, change: Change<'_>) -> String {
        match change.after {
            Some(after) => format!("Stattdessen {after} nutzen"),
            None => format!("Dieses Konto als {} nutzen", change.account),
        }
    }
    fn pending_body(&self, service: &str, application: &str) -> String {
        format!("Um {service} fertig zu verbinden, übertragen Sie diesen Code nach {application}:")
    }

    fn dashboard_link_over(&self) -> Notice {
        Notice::new(
            "Dieser Link gilt nicht mehr",
            "Ein Link zu Ihren Verbindungen gilt einmal und nur kurze Zeit.",
            "Gehen Sie zurück zur Anwendung und öffnen Sie die Seite von dort noch einmal.",
        )
    }
    fn open_heading(&self, about: Subject<'_>) -> String {
        format!("Verbindungen von {} öffnen?", about.who)
    }
    fn open_lead(&self, about: Subject<'_>) -> String {
        format!(
            "Dieser Link zeigt die Konten, die {} nutzen darf, und lässt sie von diesem Browser aus verwalten.",
            about.application
        )
    }
    fn open_warning(&self) -> &'static str {
        "Gehen Sie nur weiter, wenn Sie es sind. Hat Ihnen jemand anders diesen Link geschickt, schließen Sie die Seite: Ein \
         Konto oder Schlüssel, den Sie dort hinterlegen, könnte von jener Person genutzt werden."
    }
    fn open_button(&self) -> &'static str {
        "Verbindungen öffnen"
    }
    fn dashboard_lead(&self, application: &str) -> String {
        format!("Die Konten, die {application} für Sie nutzen darf.")
    }
    fn only_this(&self, application: &str) -> String {
        format!(
            "Sie sehen die Verbindung, die Sie gerade hergestellt haben. Für andere kommen Sie über {application} herein."
        )
    }
    fn only_gone(&self, application: &str) -> String {
        format!(
            "Die Verbindung, die Sie hier hergestellt haben, gibt es nicht mehr, oder sie wurde neu hergestellt. Kommen Sie \
             über {application} herein, um zu sehen, was es gibt."
        )
    }
    fn just_connected(&self, service: &str) -> String {
        format!("{service} ist verbunden. Sie können diese Seite schließen.")
    }
    fn just_disconnected(&self, service: &str) -> String {
        format!("{service} ist getrennt.")
    }
    fn state(&self, shown: Shown) -> &'static str {
        match shown {
            Shown::Connected => "Verbunden",
            Shown::ApiKey => "API-Schlüssel",
            Shown::Lost(Loss::Expired) => "Abgelaufen",
            Shown::Lost(_) => "Neu verbinden",
            Shown::NeedsMore => "Braucht mehr Rechte",
            Shown::Pending => "Wartet auf Bestätigung",
            Shown::NotConnected => "Nicht verbunden",
        }
    }
    fn state_hint(&self, shown: Shown, service: &str) -> Option<String> {
        match shown {
            Shown::Lost(loss) => match loss {
                Loss::Expired => Some(format!("{service} hat diese Verbindung nach ihrer Zeit beendet.")),
                Loss::Revoked => Some(format!("{service} sagt, dass der Zugriff entzogen wurde.")),
                Loss::Refused => Some(format!("{service} nimmt diese Verbindung nicht mehr an.")),
                Loss::Interrupted => Some("Das Erneuern dieser Verbindung wurde unterbrochen.".to_owned()),
                Loss::KeyRetired => Some(format!("API-Schlüssel für {service} werden nicht mehr benutzt.")),
            },
            Shown::Pending => Some("Die Anwendung muss sie noch bestätigen.".to_owned()),
            Shown::Connected | Shown::ApiKey | Shown::NeedsMore | Shown::NotConnected => None,
        }
    }
    fn scopes(&self, count: usize) -> String {
        match count {
            1 => "1 Berechtigung".to_owned(),
            count => format!("{count} Berechtigungen"),
        }
    }
    fn of_account(&self, action: &str, service: &str, account: &str) -> String {
        format!("{service} ({account}): {action}")
    }

    fn ago(&self, time: Duration) -> String {
        let Some((count, unit)) = unit(time) else { return "gerade eben".to_owned() };
        let word = match (unit, count) {
            (Unit::Day, 1) => "Tag",
            (Unit::Day, _) => "Tagen",
            (Unit::Hour, 1) => "Stunde",
            (Unit::Hour, _) => "Stunden",
            (Unit::Minute, 1) => "Minute",
            (Unit::Minute, _) => "Minuten",
        };
        format!("vor {count} {word}")
    }
}
