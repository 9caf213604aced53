//! Looking for events: what the form asks for, and what was found.

use std::time::Duration;

use serde_json::Value;

use super::moments::Moment;
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    events::audit::{Asked, Cursor, ShownEvent},
    web::{
        State,
        admin::audit::{self, NotAsked},
        consent_pages::parameter,
    },
};

/// How many events are shown at once.
const SHOWN: usize = 50;

const DAY: Duration = Duration::from_secs(86_400);

/// What the form asks for, and the link to the page before.
const FIELDS: [&str; 6] = ["user", "service", "type", "from", "to", "cursor"];

/// The fields of the form.
#[derive(Default)]
pub(super) struct Search {
    pub user: String,
    pub service: String,
    pub kind: String,
    /// The first day in UTC, and …
    pub from: String,
    /// … the last: all of it.
    pub to: String,
    cursor: String,
    /// The query names something else, or something twice.
    misspelt: bool,
}

/// Events, the newest first.
#[derive(Default)]
pub(super) struct Found {
    pub events: Vec<EventRow>,
    /// How many more no key opens.
    pub unreadable: u64,
    /// The page with those before them.
    pub older: Option<String>,
    /// What was asked for can't be.
    pub wrong: Option<String>,
}

/// One event.
pub(super) struct EventRow {
    pub time: Moment,
    pub kind: String,
    pub user: Option<String>,
    pub service: String,
    pub account: String,
    pub actor: String,
    pub more: String,
}

impl Search {
    /// What a query asks for.
    pub fn of(query: Option<&str>) -> Self {
        let text = |name| parameter(query, name).map(|text| text.trim().to_owned()).unwrap_or_default();
        let names: Vec<_> =
            url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).map(|(name, _)| name).collect();
        let is_known = |name: &str| FIELDS.contains(&name);
        let misspelt = names.iter().enumerate().any(|(at, name)| !is_known(name) || names[..at].contains(name));
        let [user, service, kind, from, to, cursor] = FIELDS.map(text);
        Self { user, service, kind, from, to, cursor, misspelt }
    }

    /// Looks for them. `None`: store or keys are away.
    pub async fn run(&self, state: &State) -> Option<Found> {
        match self.page(state).await {
            Ok(found) => Some(found),
            Err(NotAsked::Wrong(why)) => Some(Found { wrong: Some(why), ..Found::default() }),
            Err(NotAsked::Away(_)) => None,
        }
    }

    async fn page(&self, state: &State) -> Result<Found, NotAsked> {
        if self.misspelt {
            let advice = "This address asks for something else than the form does, or twice. Search again.";
            return Err(NotAsked::Wrong(advice.to_owned()));
        }
        let (since, until) = self.days()?;
        let asked = Asked {
            user: given(&self.user),
            service: given(&self.service),
            kind: given(&self.kind),
            since: since.as_deref(),
            until: until.as_deref(),
            ..Asked::default()
        };
        let filter = audit::filter(state, &asked).await?;
        let lost = || NotAsked::Wrong("These events can’t be found by this link. Search again.".to_owned());
        let after = given(&self.cursor).map(|text| Cursor::parse(text).ok_or_else(lost)).transpose()?;
        let page = state.parts.audit.page(&filter, after, SHOWN).await.map_err(Unavailable::from)?;
        let now = state.now();
        Ok(Found {
            unreadable: page.unreadable,
            events: page.events.into_iter().map(|event| EventRow::of(ShownEvent::from(event), now)).collect(),
            older: page.next.map(|next| self.behind(&next.text())),
            wrong: None,
        })
    }

    /// When the first day begins and the last one ends, in RFC 3339.
    fn days(&self) -> Result<(Option<String>, Option<String>), NotAsked> {
        let day = |name: &str, text: &str| {
            let wrong = || NotAsked::Wrong(format!("{name}: write a day as 2026-11-23."));
            Timestamp::parse_date(text).ok_or_else(wrong)
        };
        let from = given(&self.from).map(|text| day("From", text)).transpose()?;
        let to = given(&self.to).map(|text| day("To", text)).transpose()?;
        Ok((from.map(Timestamp::rfc3339), to.map(|begun| begun.plus(DAY).rfc3339())))
    }

    /// The page behind this cursor.
    fn behind(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in FIELDS.into_iter().zip([&self.user, &self.service, &self.kind, &self.from, &self.to]) {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("/admin?{}#audit", query.append_pair("cursor", cursor).finish())
    }
}

/// What a field holds, unless it was left empty.
fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl EventRow {
    fn of(event: ShownEvent, now: Timestamp) -> Self {
        let more = event.metadata.iter().map(|(name, value)| format!("{}: {}", name.replace('_', " "), plain(value)));
        Self {
            time: Moment::of(event.time, now),
            kind: event.kind,
            user: event.user,
            service: event.service.unwrap_or_default(),
            account: event.account.unwrap_or_default(),
            actor: event.actor,
            more: more.collect::<Vec<_>>().join(", "),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_before_looks_for_the_same() {
        let search = Search::of(Some("user=a%26b&type=revoked&service=&to=2026-11-23&cursor=x"));
        assert_eq!(search.behind("next"), "/admin?user=a%26b&type=revoked&to=2026-11-23&cursor=next#audit");
    }

    #[test]
    fn the_last_day_is_asked_for_as_a_whole() {
        let days = |query| Search::of(Some(query)).days().ok();
        let text = |text: &str| Some(text.to_owned());
        let (begun, over) = (text("2026-11-23T00:00:00Z"), text("2026-11-24T00:00:00Z"));
        assert_eq!(days("from=2026-11-23&to=2026-11-23"), Some((begun.clone(), over.clone())));
        assert_eq!(days("from=&to=2026-11-23"), Some((None, over)));
        assert_eq!(days("from=2026-11-23"), Some((begun, None)));
        assert_eq!(days("from=7d"), None);
    }

    #[test]
    fn what_the_form_never_asks_for_is_refused() {
        assert!(!Search::of(Some("user=a&service=&type=&from=&to=&cursor=x")).misspelt);
        for query in ["user=a&user=b", "users=a", "since=7d"] {
            assert!(Search::of(Some(query)).misspelt, "{query}");
        }
    }

    #[test]
    fn what_else_there_is_to_say_is_said_without_brackets() {
        assert_eq!(plain(&serde_json::json!(["a", "b"])), "a b");
        assert_eq!(plain(&serde_json::json!("a b")), "a b");
        assert_eq!(plain(&serde_json::json!(3)), "3");
    }
}
