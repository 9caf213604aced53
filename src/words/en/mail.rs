//! English, for mails.

use super::English;
use crate::{
    config::NoticeKind,
    words::{Ending, Facts, Keys, Loss, MailText, Mails},
};

impl Mails for English {
    fn mail(&self, kind: NoticeKind, facts: &Facts<'_>) -> MailText {
        let Facts { application, service, .. } = *facts;
        let account = facts.account.map(|label| format!(" (“{label}”)")).unwrap_or_default();
        let day = facts.retire_on.map_or_else(|| "soon".to_owned(), |day| format!("from {day}"));
        let link = match facts.days {
            Some(1) => " The link works once, for one day.".to_owned(),
            Some(days) => format!(" The link works once, for {days} days."),
            None => String::new(),
        };
        let (subject, what, todo, button) = match kind {
            NoticeKind::ConnectionEnding => {
                let (day, why) = facts.end.map_or_else(
                    || ("soon".to_owned(), Ending::Granted),
                    |(at, why)| (format!("on {}", self.day(at)), why),
                );
                let (why, otherwise) = match why {
                    Ending::Granted => (format!("{service} grants access for a limited time only"), ""),
                    Ending::Unused => (
                        format!("{service} ends access that nobody uses, and this has not been used for long"),
                        " Or use it before then. If you no longer need it, there is nothing to do.",
                    ),
                };
                (
                    format!("Your {service} connection to {application} ends {day}"),
                    format!(
                        "Your {service} connection{account} ends {day}: {why}. From then on {application} can no longer use it."
                    ),
                    format!(
                        "Connect it again before then, so that nothing is interrupted. It takes half a minute.{otherwise}{link}"
                    ),
                    format!("Connect {service} again"),
                )
            }
            NoticeKind::ConnectionInvalid | NoticeKind::HealingFailed | NoticeKind::ConnectionRecovered => (
                format!("Please reconnect {service} for {application}"),
                format!(
                    "{application} can no longer use your {service} account{account}: {}.",
                    match facts.loss {
                        Loss::Expired => "the access that you granted has expired".to_owned(),
                        Loss::Revoked => format!("access was withdrawn at {service}, or has lapsed there"),
                        Loss::Interrupted => "the connection broke while it was being renewed".to_owned(),
                        Loss::KeyRetired | Loss::Refused =>
                            format!("{service} no longer accepts the access that was granted"),
                    }
                ),
                format!("Reconnect it to go on where you left off. It takes half a minute.{link}"),
                format!("Reconnect {service}"),
            ),
            NoticeKind::PermissionsNeeded => (
                format!("{application} needs more permissions for {service}"),
                format!(
                    "A feature of {application} needs permissions for your {service} account{account} that you have not granted yet:"
                ),
                format!("Grant them if you want to use that feature; everything else goes on working without.{link}"),
                format!("Review permissions for {service}"),
            ),
            NoticeKind::KeyDeprecated => (
                format!("{service}: please replace your API key for {application}"),
                format!(
                    "{application} uses your {service} account{account} with an API key that you stored. API keys will no longer be used {day}."
                ),
                format!(
                    "Connect your account instead: no key to copy or to lose, you see what you allow, and you can withdraw it at any time.{link}"
                ),
                format!("Connect {service}"),
            ),
            NoticeKind::KeyReminder => (
                format!("Reminder: your {service} API key for {application} stops working {day}"),
                format!(
                    "{application} still uses your {service} account{account} with an API key. It will stop working {day}."
                ),
                format!("Connect your account instead, so that nothing is interrupted. It takes half a minute.{link}"),
                format!("Connect {service}"),
            ),
        };
        MailText {
            subject,
            what,
            list: if kind == NoticeKind::PermissionsNeeded { facts.scopes.to_vec() } else { Vec::new() },
            todo,
            button,
            or_open: "Or open this address:",
            footer: format!(
                "{application} sends this message because you connected {service}. Do not pass the link on: it is meant for you alone."
            ),
        }
    }
}
