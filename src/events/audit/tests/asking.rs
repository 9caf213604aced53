//! Facts of finding events.

use std::sync::Arc;

use super::*;

/// People with events in a log.
struct Log {
    world: World,
    reader: AuditReader,
}

fn of(user: &str) -> (OwnerId, CallerId) {
    let caller = CallerId {
        issuer: Issuer::parse("https://auth.example.com/").unwrap(),
        subject: Subject::parse(user).unwrap(),
    };
    (OwnerId([user.as_bytes()[0]; 16]), caller)
}

impl Log {
    fn new() -> Self {
        let world = World::new();
        let reader = AuditReader::new(Arc::clone(&world.store), vault());
        Self { world, reader }
    }

    async fn add(&self, user: &str, kind: Kind, service: &str, second: u64) {
        let (owner, caller) = of(user);
        let mut event = event(kind);
        event.connection.caller = caller;
        event.connection.service = ServiceName::parse(service).unwrap();
        event.at = Timestamp::from_seconds(1_700_000_000 + second);
        let entry = self.world.sealers[0].entry(&owner, &event).await.unwrap();
        self.world.store.append(Shard(owner.0[0]), &[entry]).await.unwrap();
    }

    async fn all(&self, asked: Asked<'_>, limit: usize) -> Vec<String> {
        let now = Timestamp::from_seconds(1_700_000_000 + 86_400);
        let issuer = Issuer::parse("https://auth.example.com/").unwrap();
        let (mut filter, callers) = asked.filter(&[issuer], now).unwrap();
        if filter.user.is_some() {
            filter.owners = Some(callers.iter().map(|caller| of(caller.subject.as_str()).0).collect());
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.reader.page(&filter, after, limit).await.unwrap();
            assert!(page.events.len() <= limit && page.unreadable == 0);
            found.extend(page.events.into_iter().map(|event| {
                let user = event.person.map_or("-".to_owned(), |person| person.user.to_string());
                format!("{user} {} {}", event.kind, event.at.seconds() - 1_700_000_000)
            }));
            after = page.next;
            if after.is_none() {
                return found;
            }
            assert_eq!(after.and_then(|after| Cursor::parse(&after.text())), after);
        }
    }
}

async fn some() -> Log {
    let log = Log::new();
    for second in 0..20 {
        log.add("ada", if second % 2 == 0 { Kind::Refreshed } else { Kind::Connected }, "crm", second * 10).await;
        log.add("bob", Kind::Refreshed, "mail", second * 10 + 1).await;
    }
    log
}

#[tokio::test]
async fn pages_of_whatever_size_give_the_same_events_the_newest_first() {
    let log = some().await;
    let whole = log.all(Asked::default(), 1000).await;
    assert_eq!(whole.len(), 40);
    assert!(whole[0].ends_with(" 191") && whole[39].ends_with(" 0"), "{whole:?}");
    for limit in [1, 7, 39, 40] {
        assert_eq!(log.all(Asked::default(), limit).await, whole, "pages of {limit}");
    }
}

#[tokio::test]
async fn what_comes_in_meanwhile_moves_no_page() {
    let log = some().await;
    let first = log.reader.page(&Filter::default(), None, 10).await.unwrap();
    log.add("ada", Kind::Connected, "crm", 900).await;
    let rest = log.reader.page(&Filter::default(), first.next, 1000).await.unwrap();
    assert_eq!((first.events.len(), rest.events.len(), rest.next), (10, 30, None));
    assert!(rest.events.iter().all(|event| first.events.iter().all(|seen| seen.id != event.id)));
}

#[tokio::test]
async fn filters_let_through_what_they_name() {
    let log = some().await;
    let count = async |asked: Asked<'_>| log.all(asked, 6).await.len();
    assert_eq!(count(Asked { user: Some("ada"), ..Asked::default() }).await, 20);
    assert_eq!(count(Asked { user: Some("ada"), kind: Some("connected"), ..Asked::default() }).await, 10);
    assert_eq!(count(Asked { user: Some("carol"), ..Asked::default() }).await, 0);
    assert_eq!(count(Asked { service: Some("mail"), ..Asked::default() }).await, 20);
    assert_eq!(count(Asked { account: Some("at-home"), ..Asked::default() }).await, 40);
    assert_eq!(count(Asked { issuer: Some("https://other/"), ..Asked::default() }).await, 0);
    let (since, until) = (Some("2023-11-14T22:14:20Z"), Some("2023-11-14T22:15:20Z"));
    assert_eq!(count(Asked { since, until, ..Asked::default() }).await, 12);
    assert_eq!(count(Asked { since: Some("1h"), ..Asked::default() }).await, 0);
    assert_eq!(count(Asked { since: Some("25h"), ..Asked::default() }).await, 40);
}

#[tokio::test]
async fn of_the_erased_everything_is_found_but_who_they_were() {
    let log = some().await;
    log.world.sealers[0].keys().destroy(&of("ada").0).await.unwrap();
    assert_eq!(log.all(Asked { user: Some("ada"), ..Asked::default() }, 50).await, Vec::<String>::new());
    let all = log.all(Asked { service: Some("crm"), ..Asked::default() }, 50).await;
    assert!(all.len() == 20 && all.iter().all(|said| said.starts_with("- ")), "{all:?}");
}

#[test]
fn what_nobody_can_mean_is_refused_in_words() {
    let now = Timestamp::from_seconds(1_700_000_000);
    for (asked, says) in [
        (Asked { kind: Some("conected"), ..Asked::default() }, "type: there is none of this name"),
        (Asked { since: Some("yesterday"), ..Asked::default() }, "since: write 7d"),
        (Asked { service: Some("CRM"), ..Asked::default() }, "service: a service name has"),
        (Asked { user: Some(""), ..Asked::default() }, "user: a subject has"),
    ] {
        let error = asked.filter(&[], now).unwrap_err();
        assert!(error.starts_with(says), "{error}");
    }
}
