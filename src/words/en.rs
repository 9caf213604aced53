//! English.

use std::time::Duration;

use super::{Change, Loss, Notice, Shown, Subject, Texts, Unit, Words, unit};
use crate::config::Language;

mod away;
mod ends;
mod keys;
mod mail;
mod manage;

/// English texts.
pub struct English;

static WORDS: Words = Words {
    connect_for: "For",
    connect_account: "Saved as",
    cancel: "Cancel",
    try_again: "Try again",
    to_dashboard: "See your connections",
    request: "Request",
    other_beside: "Or keep both",
    other_keep_both: "Keep both",
    pending_heading: "One more step",
    pending_hint: "It works once, for ten minutes, and only for you. Until then nothing is connected.",
    dashboard_title: "Your connections",
    dashboard_empty: "No services are set up yet.",
    signed_in_as: "Signed in as",
    sign_out: "Sign out",
    missing_scopes: "Not allowed yet",
    account: "Label",
    identity: "Account",
    connected_at: "Connected",
    refreshed_at: "Renewed",
    last_used_at: "Last used",
    never: "not yet",
    connect: "Connect",
    reconnect: "Reconnect",
    grant_more: "Review permissions",
    disconnect: "Disconnect",
    add_account: "Add another account",
    account_label: "A label for it",
    account_label_hint: "For example work. Letters, digits, dots, hyphens and underscores.",
};

impl Texts for English {
    fn language(&self) -> Language {
        Language::En
    }
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn connect_title(&self, about: Subject<'_>) -> String {
        format!("Connect {} to {}", about.service, about.application)
    }
    fn connect_heading(&self, about: Subject<'_>) -> String {
        format!("Connect {} to {}", about.service, about.application)
    }
    fn connect_lead(&self, about: Subject<'_>) -> String {
        format!("{} would like to use your {} account.", about.application, about.service)
    }
    fn connect_scopes(&self, about: Subject<'_>) -> String {
        format!("{} will be able to", about.application)
    }
    fn connect_scopes_unnamed(&self, about: Subject<'_>) -> String {
        format!("{} will show you what {} may do before you agree.", about.service, about.application)
    }
    fn connect_existing(&self, about: Subject<'_>, identity: Option<&str>) -> String {
        match identity {
            Some(identity) => format!("This renews the connection to the {} account {identity}.", about.service),
            None => format!("This renews your existing {} connection.", about.service),
        }
    }
    fn connect_warning_heading(&self, about: Subject<'_>) -> String {
        format!("Are you {}?", about.who)
    }
    fn connect_warning(&self, about: Subject<'_>) -> String {
        format!(
            "Continue only if you are. If somebody else sent you this link, close this page: they would be able to use \
             your {} account.",
            about.service
        )
    }
    fn connect_button(&self, about: Subject<'_>) -> String {
        format!("Continue to {}", about.service)
    }
    fn connect_undo(&self, about: Subject<'_>) -> String {
        format!(
            "You sign in at {} itself; your password stays there. You can disconnect at any time, on the connections page \
             or in your {} settings.",
            about.service, about.service
        )
    }

    fn unknown_service(&self) -> Notice {
        Notice::new(
            "There is no such service",
            "This link names a service that is not set up here.",
            "Go back to the application and ask for a new link.",
        )
    }
    fn ticket_missing(&self) -> Notice {
        Notice::new(
            "This link is incomplete",
            "The part that says whom it is for is missing, or you are not signed in.",
            "Open the whole link, or go back to the application and ask for a new one.",
        )
    }
    fn ticket_invalid(&self) -> Notice {
        Notice::new(
            "This link is not valid",
            "It may have been cut off or changed on its way to you. Nothing was connected.",
            "Go back to the application and ask for a new link.",
        )
    }
    fn ticket_expired(&self) -> Notice {
        Notice::new(
            "This link has expired",
            "Links work for a short time only, to keep your accounts safe. Nothing was connected.",
            "Go back to the application and ask for a new link.",
        )
    }
    fn ticket_used(&self) -> Notice {
        Notice::new(
            "This link has already been used",
            "A link connects one account, once. If that was you, there is nothing left to do.",
            "To connect another account, go back to the application and ask for a new link.",
        )
    }
    fn ticket_elsewhere(&self) -> Notice {
        Notice::new(
            "This link is in use in another browser",
            "A link belongs to the browser that first continued with it. Nothing was changed.",
            "Go on in that browser, or go back to the application and ask for a new link.",
        )
    }
    fn not_yours(&self) -> Notice {
        Notice::new(
            "Please sign in first",
            "This link is for somebody who is signed in to the application, and this browser is not signed in as them.",
            "Sign in to the application in this browser, then open the link again.",
        )
    }
    fn no_oauth(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} can’t be connected this way"),
            format!("Here, {service} works with an API key only."),
            "Go back to the application to store a key.",
        )
    }
    fn form_stale(&self) -> Notice {
        Notice::new(
            "This page was open for too long",
            "Your browser no longer holds what belongs to it, perhaps because it blocks cookies. Nothing was changed.",
            "Open the page again and go on from there.",
        )
    }
    fn form_foreign(&self) -> Notice {
        Notice::new(
            "This request came from another site",
            "For your safety it was not followed. Nothing was changed.",
            "Open the page again and go on from there.",
        )
    }
    fn bad_form(&self) -> Notice {
        Notice::new(
            "This form could not be read",
            "Something that belongs to it is missing or too long. Nothing was changed.",
            "Go back and try again.",
        )
    }
    fn callback_malformed(&self) -> Notice {
        Notice::new(
            "This address is incomplete",
            "It is meant for the way back from a service, and a part of it is missing.",
            "Go back to the application and start again.",
        )
    }
    fn callback_unknown(&self) -> Notice {
        Notice::new(
            "This attempt has expired or was already finished",
            "You may have reloaded the page or stayed away for more than ten minutes. Nothing was changed.",
            "If your account is not connected yet, go back to the application and start again.",
        )
    }
    fn callback_elsewhere(&self) -> Notice {
        Notice::new(
            "This attempt began in another browser",
            "To keep your accounts safe, an attempt can be finished only where it began. Nothing was changed.",
            "Go on in that browser, or start again in this one.",
        )
    }
    fn callback_mixed_up(&self) -> Notice {
        Notice::new(
            "This answer came from somewhere else",
            "It is not from the service that you were sent to, so it was not followed. Nothing was changed.",
            "Go back to the application and start again.",
        )
    }
    fn denied(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} was not connected"),
            format!("You declined the request at {service}. That is fine: nothing was shared."),
            "If that was not what you wanted, try again.",
        )
    }
    fn provider_error(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} could not go on"),
            format!("{service} answered with an error. Nothing was connected."),
            "Try again in a moment. If it keeps happening, tell the people who run the application.",
        )
    }
    fn exchange_refused(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} did not accept the connection"),
            format!("You agreed, but {service} then refused to complete it. Nothing was connected."),
            "Try again. If it keeps happening, tell the people who run the application.",
        )
    }
    fn exchange_failed(&self, service: &str) -> Notice {
        Notice::new(
            format!("{service} is not answering just now"),
            "You agreed, but the last step could not be completed. Nothing was connected.",
            "Try again in a moment.",
        )
    }
    fn unavailable(&self) -> Notice {
        Notice::new(
            "Briefly unavailable",
            "We could not do this just now. Nothing was changed.",
            "Try again in a moment.",
        )
    }
    fn come_in(&self, application: &str) -> Notice {
        Notice::new(
            "You are not signed in here",
            "This page shows a person’s connected accounts, and this browser has not shown whose it is, or was idle for more \
             than 30 minutes.",
            format!("Come in through {application}: open its settings, or use a connect link that it gives you."),
        )
    }
    fn not_covered(&self) -> Notice {
        Notice::new(
            "This browser can’t manage that connection",
            "With a connect link you can manage the connection that you made with it, and no other.",
            "To manage the others, come in through the application.",
        )
    }
    fn no_connection(&self) -> Notice {
        Notice::new(
            "There is no such connection",
            "It may have been disconnected already.",
            "Have a look at your connections.",
        )
    }
    fn bad_account(&self) -> Notice {
        Notice::new(
            "This label can’t be used",
            "A label has 1 to 64 letters, digits, dots, hyphens or underscores.",
            "Go back and choose another one.",
        )
    }
    fn signed_out(&self) -> Notice {
        Notice::new(
            "You are signed out",
            "This browser no longer shows your connections. They go on working for you.",
            "You can close this page.",
        )
    }
    fn back_to(&self, application: &str) -> String {
        format!("Back to {application}")
    }

    fn other_heading(&self, change: Change<'_>) -> String {
        match change.after {
            Some(_) => format!("This is another {} account", change.service),
            None => format!("Is this the same {} account?", change.service),
        }
    }
    fn other_body(&self, change: Change<'_>) -> String {
        let Change { service, account, before, after } = change;
        match after {
            Some(after) => format!(
                "{before} is connected at {service} (as {account}), and you have just signed in there as {after}. Nothing was \
                 changed yet."
            ),
            None => format!(
                "{before} is connected at {service} (as {account}). {service} did not say which account you have just signed \
                 in with. Nothing was changed yet."
            ),
        }
    }
    fn other_replace(&self, change: Change<'_>) -> String {
        match change.after {
            Some(after) => format!("Use {after} instead"),
            None => format!("Use this account as {}", change.account),
        }
    }
    fn pending_body(&self, service: &str, application: &str) -> String {
        format!("To finish connecting {service}, copy this code into {application}:")
    }

    fn dashboard_link_over(&self) -> Notice {
        Notice::new(
            "This link has expired",
            "A link to your connections works once, and for a short time only.",
            "Go back to the application and open the page from there again.",
        )
    }
    fn open_heading(&self, about: Subject<'_>) -> String {
        format!("Open the connections of {}?", about.who)
    }
    fn open_lead(&self, about: Subject<'_>) -> String {
        format!("This link shows the accounts that {} may use, and lets this browser manage them.", about.application)
    }
    fn open_warning(&self) -> &'static str {
        "Continue only if you are. If somebody else sent you this link, close this page: an account or key that you add \
         there would be theirs to use."
    }
    fn open_button(&self) -> &'static str {
        "Open the connections"
    }
    fn dashboard_lead(&self, application: &str) -> String {
        format!("The accounts that {application} may use for you.")
    }
    fn only_this(&self, application: &str) -> String {
        format!(
            "This page shows the connection that you have just made. To manage others, come in through {application}."
        )
    }
    fn only_gone(&self, application: &str) -> String {
        format!(
            "The connection that you made here is no longer there, or was made anew. Come in through {application} to see what there is."
        )
    }
    fn just_connected(&self, service: &str) -> String {
        format!("{service} is connected. You can close this page.")
    }
    fn just_disconnected(&self, service: &str) -> String {
        format!("{service} is disconnected.")
    }
    fn state(&self, shown: Shown) -> &'static str {
        match shown {
            Shown::Connected => "Connected",
            Shown::ApiKey => "API key",
            Shown::Lost(Loss::Expired) => "Expired",
            Shown::Lost(_) => "Reconnect needed",
            Shown::NeedsMore => "Needs more permissions",
            Shown::Pending => "Waiting for confirmation",
            Shown::NotConnected => "Not connected",
        }
    }
    fn state_hint(&self, shown: Shown, service: &str) -> Option<String> {
        match shown {
            Shown::Lost(loss) => match loss {
                Loss::Expired => Some(format!("{service} ended this connection after its time.")),
                Loss::Revoked => Some(format!("{service} says that access was withdrawn.")),
                Loss::Refused => Some(format!("{service} no longer accepts this connection.")),
                Loss::Interrupted => Some("Renewing this connection was interrupted.".to_owned()),
                Loss::KeyRetired => Some(format!("API keys for {service} are no longer used.")),
            },
            Shown::Pending => Some("The application has yet to confirm it.".to_owned()),
            Shown::Connected | Shown::ApiKey | Shown::NeedsMore | Shown::NotConnected => None,
        }
    }
    fn scopes(&self, count: usize) -> String {
        match count {
            1 => "1 permission".to_owned(),
            count => format!("{count} permissions"),
        }
    }
    fn of_account(&self, action: &str, service: &str, account: &str) -> String {
        format!("{action} {service} ({account})")
    }

    fn ago(&self, time: Duration) -> String {
        let Some((count, unit)) = unit(time) else { return "just now".to_owned() };
        let word = match unit {
            Unit::Day => "day",
            Unit::Hour => "hour",
            Unit::Minute => "minute",
        };
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {word}{plural} ago")
    }
}
