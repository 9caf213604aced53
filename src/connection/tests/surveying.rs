//! All connections at once: lists, counts, giving many up, and telling people of what ends, with the clock turned by hand over it.

use std::{collections::BTreeSet, time::Duration};

use super::keys::{World, id};
use crate::{
    connection::{Filter, PartError, Reason, Status, SurveyError},
    events::{Actor, CALLER, Cause},
    id::ServiceName,
    secret::SecretString,
    telemetry::metrics::Tally,
};

const DAY: Duration = Duration::from_secs(86_400);
const AHEAD: [Duration; 2] = [DAY.saturating_mul(14), DAY.saturating_mul(3)];

impl World {
    /// Who is listed, page by page of this size.
    async fn listed(&self, filter: &Filter, limit: usize) -> Vec<String> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.replicas[0].survey.page(filter, cursor.as_deref(), limit).await.unwrap();
            assert!(page.connections.len() <= limit);
            all.extend(page.connections.into_iter().map(|one| one.id.caller.subject.as_str().to_owned()));
            cursor = page.next;
            if cursor.is_none() {
                return all;
            }
        }
    }

    /// Both replicas do the day's work at the same time; who was told what.
    async fn reminders(&self) -> Vec<(String, &'static str)> {
        self.told.take();
        let (a, b) = tokio::join!(self.replicas[0].reminders.day(&AHEAD), self.replicas[1].reminders.day(&AHEAD));
        assert!(!(a.unwrap() && b.unwrap()), "both did the day's work");
        self.told.take()
    }
}

fn before(world: &World, days: u32) -> Filter {
    Filter { ends_before: Some(world.clock.now().plus(DAY * days)), ..Filter::default() }
}

#[tokio::test]
async fn every_connection_is_on_some_page_and_cursors_survive_what_comes_and_goes() {
    let world = World::with("title: CRM");
    for number in 0..23 {
        world.grant(&format!("u{number}")).await;
    }
    for limit in [1, 5, 100] {
        let all = world.listed(&Filter::default(), limit).await;
        assert_eq!(all.len(), 23, "{limit}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 23, "{limit}");
    }
    let survey = &world.replicas[0].survey;
    let first = survey.page(&Filter::default(), None, 10).await.unwrap();
    let mut seen: BTreeSet<_> = first.connections.iter().map(|one| one.id.caller.subject.as_str().to_owned()).collect();
    let gone = first.connections[0].id.clone();
    world.replicas[0].manager.disconnect(&gone, &CALLER).await.unwrap();
    world.grant("later").await;
    let mut cursor = first.next;
    while let Some(from) = cursor {
        let page = survey.page(&Filter::default(), Some(&from), 10).await.unwrap();
        seen.extend(page.connections.iter().map(|one| one.id.caller.subject.as_str().to_owned()));
        cursor = page.next;
    }
    for number in 0..23 {
        assert!(seen.contains(&format!("u{number}")), "u{number} was there all along");
    }
    assert_eq!(survey.page(&Filter::default(), Some("nonsense"), 10).await.unwrap_err(), SurveyError::Cursor);
}

#[tokio::test]
async fn filters_mean_what_they_say() {
    let world = World::with("grant_lifetime: 30d");
    for user in ["ada", "bob"] {
        world.grant(user).await;
    }
    world.clock.advance(DAY * 20);
    world.grant("eve").await;
    world.grant_for("fay", Some(DAY)).await;
    world.key("key").await;
    let only = async |filter: Filter| BTreeSet::from_iter(world.listed(&filter, 50).await);
    let set = |users: &[&str]| users.iter().map(|user| (*user).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(only(before(&world, 11)).await, set(&["ada", "bob", "fay"]));
    assert_eq!(only(before(&world, 2)).await, set(&["fay"]));
    let caller = id("ada").caller;
    let ada = Filter { user: Some(caller.subject.clone()), ..Filter::default() };
    assert_eq!(only(ada.clone()).await, set(&["ada"]));
    assert_eq!(only(Filter { issuer: Some(caller.issuer.clone()), ..ada }).await, set(&["ada"]));
    let other = Filter { service: Some(ServiceName::parse("other").unwrap()), ..Filter::default() };
    assert_eq!(only(other).await, set(&[]));
    let unused = || Filter { unused_since: Some(world.clock.now().before(DAY * 10)), ..Filter::default() };
    assert_eq!(only(unused()).await, set(&["ada", "bob"]), "who came lately is not idle");
    world.used_by("ada").await;
    assert_eq!(only(unused()).await, set(&["bob"]), "a call of another replica is use");
    world.clock.advance(DAY * 2);
    let invalid = Filter { status: Some(Status::Invalid), ..Filter::default() };
    assert_eq!(only(invalid).await, set(&["fay"]), "its token is over, and nothing renews it");
    let active = Filter { status: Some(Status::Active), ..Filter::default() };
    assert_eq!(only(active).await, set(&["ada", "bob", "eve", "key"]));
}

#[tokio::test]
async fn connections_are_counted_by_how_they_stand_and_when_they_end() {
    let world = World::with("grant_lifetime: 20d");
    world.grant("ada").await;
    world.grant_for("bob", Some(DAY / 2)).await;
    world.grant_for("eve", Some(DAY * 5)).await;
    world.key("key").await;
    let count = async || {
        let census = world.replicas[0].survey.census().await.unwrap();
        census.services[&ServiceName::parse("crm").unwrap()]
    };
    let on_days = |days: &[usize]| std::array::from_fn(|day| u64::from(days.contains(&day)));
    let before = Tally { by_state: [4, 0, 0], on_api_key: 1, ending: [1, 2, 3], ending_by_day: on_days(&[0, 5, 20]) };
    assert_eq!(count().await, before);
    world.clock.advance(DAY);
    let after = Tally { by_state: [3, 0, 1], on_api_key: 1, ending: [0, 1, 2], ending_by_day: on_days(&[4, 19]) };
    assert_eq!(count().await, after);
}

#[tokio::test]
async fn what_was_counted_is_given_up_and_nothing_else() {
    let world = World::with("grant_lifetime: 30d");
    for number in 0..30 {
        world.grant(&format!("old{number}")).await;
    }
    world.clock.advance(DAY * 20);
    world.grant("new").await;
    let (survey, operator) = (&world.replicas[0].survey, Cause::of(Actor::Operator));
    let counted = survey.count_to_part(&before(&world, 15)).await.unwrap();
    assert_eq!((counted.connections, counted.more), (30, false));
    let word = counted.confirm.unwrap();
    // One of thirty connects again meanwhile.
    world.grant("old7").await;
    world.told.take();
    let parted = world.replicas[1].survey.part(&word, &operator).await.unwrap();
    assert_eq!((parted.disconnected, parted.left, parted.failed), (29, 1, 0));
    let told = world.told.take();
    assert_eq!(told.len(), 29);
    assert!(told.iter().all(|(_, kind)| *kind == "revoked"), "{told:?}");
    assert_eq!(world.call("old3", "crm").await, Err(Reason::NotConnected));
    assert!(world.call("old7", "crm").await.is_ok());
    assert!(world.call("new", "crm").await.is_ok());
    assert_eq!(survey.part(&word, &operator).await, Err(PartError::Unknown), "a word serves once");
}

#[tokio::test]
async fn a_word_falls_where_what_it_stands_for_has_changed_or_nobody_gave_it() {
    let world = World::with("grant_lifetime: 30d");
    for user in ["ada", "bob", "eve"] {
        world.grant(user).await;
    }
    let (survey, operator) = (&world.replicas[0].survey, Cause::of(Actor::Operator));
    let counted = survey.count_to_part(&before(&world, 40)).await.unwrap();
    world.replicas[0].manager.disconnect(&id("bob"), &CALLER).await.unwrap();
    let changed = survey.part(&counted.confirm.unwrap(), &operator).await;
    assert_eq!(changed, Err(PartError::Changed { counted: 3, left: 2 }));
    assert!(world.call("ada", "crm").await.is_ok(), "nothing was given up");
    let made_up = SecretString::from("00112233445566778899aabbccddeeff");
    assert_eq!(survey.part(&made_up, &operator).await, Err(PartError::Unknown));
    assert!(survey.count_to_part(&before(&world, 1)).await.unwrap().confirm.is_none(), "nothing is meant");
}

#[tokio::test]
async fn an_end_is_told_once_at_each_distance_and_a_new_consent_begins_anew() {
    let world = World::with("grant_lifetime: 30d");
    world.grant("ada").await;
    let told = || vec![("ada".to_owned(), "ending")];
    let nothing = Vec::new;
    assert_eq!(world.reminders().await, nothing());
    let mut days = Vec::new();
    for day in 1..30 {
        world.clock.advance(DAY);
        if world.reminders().await == told() {
            days.push(30 - day);
        }
        assert_eq!(world.reminders().await, nothing(), "the day's work is done");
    }
    assert_eq!(days, [14, 3], "days before the end");
    world.clock.advance(DAY * 2);
    assert_eq!(world.reminders().await, nothing(), "what is over needs no warning");
    world.grant("ada").await;
    let mut days = Vec::new();
    for day in 1..30 {
        world.clock.advance(DAY);
        if world.reminders().await == told() {
            days.push(30 - day);
        }
    }
    assert_eq!(days, [14, 3], "of the new consent");
}

#[tokio::test]
async fn what_is_used_ends_later_and_is_told_later() {
    let world = World::with("idle_lifetime: 30d");
    world.grant("ada").await;
    let mut days = Vec::new();
    for day in 1..60 {
        world.clock.advance(DAY);
        if day == 20 {
            world.used_by("ada").await;
        }
        days.extend((world.reminders().await == vec![("ada".to_owned(), "ending")]).then_some(day));
    }
    assert_eq!(days, [16, 36, 47], "14 days ahead, then put off, then told at each distance of the new end");
}

#[tokio::test]
async fn what_is_lost_rests_on_a_key_or_never_ends_is_not_told() {
    let world = World::with("grant_lifetime: 10d, api_keys: {phase: allowed}");
    world.grant("both").await;
    world.key("both").await;
    world.key("key").await;
    world.grant("lost").await;
    world.clock.advance(DAY * 8);
    let (manager, told) = (&world.replicas[0].manager, world.reminders().await);
    assert_eq!(told, [("lost".to_owned(), "ending")], "until it is");
    manager.disconnect(&id("lost"), &CALLER).await.unwrap();
    world.clock.advance(DAY);
    assert_eq!(world.reminders().await, Vec::new());
}
