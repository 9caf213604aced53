//! German, for mails.

use super::German;
use crate::{
    config::NoticeKind,
    words::{Ending, Facts, Keys, Loss, MailText, Mails},
};

impl Mails for German {
    fn mail(&self, kind: NoticeKind, facts: &Facts<'_>) -> MailText {
        let Facts { application, service, .. } = *facts;
        let account = facts.account.map(|label| format!(" („{label}“)")).unwrap_or_default();
        let day = facts.retire_on.map_or_else(|| "bald".to_owned(), |day| format!("ab {day}"));
        let link = match facts.days {
            Some(1) => " Der Link gilt einmal und einen Tag lang.".to_owned(),
            Some(days) => format!(" Der Link gilt einmal und {days} Tage lang."),
            None => String::new(),
        };
        let (subject, what, todo, button) = match kind {
            NoticeKind::ConnectionEnding => {
                let (day, why) = facts.end.map_or_else(
                    || ("bald".to_owned(), Ending::Granted),
                    |(at, why)| (format!("am {}", self.day(at)), why),
                );
                let (why, otherwise) = match why {
                    Ending::Granted => (format!("{service} erteilt Zugriff nur für begrenzte Zeit"), ""),
                    Ending::Unused => (
                        format!("{service} beendet ungenutzten Zugriff, und dieser wurde lange nicht genutzt"),
                        " Oder nutzen Sie sie bis dahin. Wenn Sie sie nicht mehr brauchen, müssen Sie nichts tun.",
                    ),
                };
                (
                    format!("Ihre Verbindung von {application} zu {service} endet {day}"),
                    format!(
                        "Ihre Verbindung zu {service}{account} endet {day}: {why}. Danach kann {application} sie nicht mehr verwenden."
                    ),
                    format!(
                        "Erneuern Sie die Verbindung vorher, damit nichts unterbrochen wird. Das dauert eine halbe Minute.{otherwise}{link}"
                    ),
                    format!("{service} neu verbinden"),
                )
            }
            NoticeKind::ConnectionInvalid | NoticeKind::HealingFailed | NoticeKind::ConnectionRecovered => (
                format!("Bitte {service} für {application} neu verbinden"),
                format!(
                    "{application} kann Ihr Konto bei {service}{account} nicht mehr verwenden: {}.",
                    match facts.loss {
                        Loss::Expired => "Der erteilte Zugriff ist abgelaufen".to_owned(),
                        Loss::Revoked => format!("Der Zugriff wurde bei {service} widerrufen oder ist dort erloschen"),
                        Loss::Interrupted => "Die Verbindung ist beim Erneuern abgebrochen".to_owned(),
                        Loss::KeyRetired | Loss::Refused =>
                            format!("{service} nimmt den erteilten Zugriff nicht mehr an"),
                    }
                ),
                format!("Verbinden Sie es neu, um weiterzumachen. Das dauert eine halbe Minute.{link}"),
                format!("{service} neu verbinden"),
            ),
            NoticeKind::PermissionsNeeded => (
                format!("{application} braucht weitere Berechtigungen für {service}"),
                format!(
                    "Eine Funktion von {application} braucht Berechtigungen für Ihr Konto bei {service}{account}, die Sie noch nicht erteilt haben:"
                ),
                format!(
                    "Erteilen Sie sie, wenn Sie diese Funktion nutzen möchten; alles andere läuft auch ohne weiter.{link}"
                ),
                format!("Berechtigungen für {service} ansehen"),
            ),
            NoticeKind::KeyDeprecated => (
                format!("{service}: bitte ersetzen Sie Ihren API-Schlüssel für {application}"),
                format!(
                    "{application} verwendet Ihr Konto bei {service}{account} mit einem API-Schlüssel, den Sie hinterlegt haben. API-Schlüssel werden {day} nicht mehr verwendet."
                ),
                format!(
                    "Verbinden Sie stattdessen Ihr Konto: Es gibt keinen Schlüssel zu kopieren oder zu verlieren, Sie sehen, was Sie erlauben, und können es jederzeit widerrufen.{link}"
                ),
                format!("{service} verbinden"),
            ),
            NoticeKind::KeyReminder => (
                format!("Erinnerung: Ihr API-Schlüssel von {service} für {application} gilt {day} nicht mehr"),
                format!(
                    "{application} verwendet Ihr Konto bei {service}{account} noch immer mit einem API-Schlüssel. Er wird {day} nicht mehr angenommen."
                ),
                format!(
                    "Verbinden Sie stattdessen Ihr Konto, damit nichts unterbrochen wird. Das dauert eine halbe Minute.{link}"
                ),
                format!("{service} verbinden"),
            ),
        };
        MailText {
            subject,
            what,
            list: if kind == NoticeKind::PermissionsNeeded { facts.scopes.to_vec() } else { Vec::new() },
            todo,
            button,
            or_open: "Oder öffnen Sie diese Adresse:",
            footer: format!(
                "{application} schickt diese Nachricht, weil Sie {service} verbunden haben. Geben Sie den Link nicht weiter: Er ist nur für Sie."
            ),
        }
    }
}
