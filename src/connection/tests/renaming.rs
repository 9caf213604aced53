//! A rename that was left half-done, or whose process was stopped on the way, and what the person does next: at each step
//! there is one connection in the end, with one grant, and nothing that was given up comes back.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::sim::{
    gate::Trouble,
    journal::Journal,
    provider::Mode,
    world::{Nature, Process, User, World},
};
use crate::{
    connection::{Connections, Renamed, Unavailable, Want, record::form::Record},
    events::CALLER,
    id::{Account, ConnectionId},
    secret::SecretString,
};

const LIFE: Duration = Duration::from_secs(60);
/// More than a rename has.
const STEPS: u64 = 52;
const LABELS: [&str; 3] = ["default", "home", "foo"];

fn label(text: &str) -> Account {
    Account::parse(text).unwrap()
}

fn named(user: &User, text: &str) -> ConnectionId {
    ConnectionId { account: label(text), ..user.id.clone() }
}

struct After {
    world: Arc<World>,
    other: Arc<Process>,
    when: String,
}

impl After {
    fn user(&self) -> &User {
        &self.world.users[0]
    }

    fn connections(&self) -> &Connections {
        &self.other.connections
    }

    /// What stands, by label, as the store has it.
    async fn standing(&self) -> Vec<(&'static str, Record)> {
        let mut standing = vec![];
        for text in LABELS {
            let key = self.connections().records.roots().key(&named(self.user(), text)).await.unwrap();
            let record = self.world.server.record(&key);
            standing.extend(record.filter(Record::stands).map(|record| (text, record)));
        }
        standing
    }

    /// The label of what stands, where that is one connection.
    async fn only(&self) -> &'static str {
        match self.standing().await.as_slice() {
            [(label, _)] => label,
            several => panic!("{}: {:?}", self.when, several.iter().map(|(label, _)| *label).collect::<Vec<_>>()),
        }
    }

    async fn has_key(&self) -> bool {
        self.standing().await.iter().any(|(_, record)| record.api_key.is_some())
    }

    /// Each connection is renewed more than once, and the other process's healer has been round.
    async fn renew_all(&self) {
        for _ in 0..4 {
            sleep(LIFE / 2 + Duration::from_secs(5)).await;
            for (text, record) in self.standing().await {
                let account = label(text);
                let want = Want { account: Some(&account), ..self.world.want(self.user()) };
                if record.grant.is_some() {
                    let credential = self.connections().resolver.resolve(&want).await;
                    // A move may have ended since.
                    if let Ok(credential) = credential {
                        let token = credential.headers[0].1.to_str().unwrap().trim_start_matches("Bearer ").to_owned();
                        let bad = !token.starts_with("key") && !self.world.provider.accepts(&token).0;
                        assert!(!bad, "{}: {text} has a token that the API refuses", self.when);
                    }
                }
            }
        }
        let families: Vec<_> =
            self.standing().await.into_iter().filter_map(|(_, record)| self.family(&record)).collect();
        let different: std::collections::BTreeSet<_> = families.iter().collect();
        assert_eq!(different.len(), families.len(), "{}: two connections share a grant", self.when);
        assert_eq!(self.world.journal.violations(), Vec::<String>::new(), "{}", self.when);
    }

    fn family(&self, record: &Record) -> Option<usize> {
        let token = record.grant.as_ref()?.refresh_token.as_ref()?;
        self.world.provider.family_of(token.expose())
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Renamed, Unavailable> {
        self.connections().manager.rename(&named(self.user(), from), &label(to)).await
    }
}

/// Has a rename from `default` to `home` killed, or stopped for a while, at each of its steps; then the person does
/// something else through another process.
fn at_each_step(with_key: bool, then: impl AsyncFn(&After)) {
    for trouble in [Trouble::Kill, Trouble::Stop(Duration::from_secs(25))] {
        for step in 0..STEPS {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let journal = Arc::new(Journal::new(step, false));
                let nature = Nature { mode: Mode::Strict, life: LIFE, one_at_a_time: false, skewed: false };
                let world = World::new(Arc::clone(&journal), nature, 1);
                let (troubled, other) = (world.start("p0", Duration::ZERO), world.start("p1", Duration::ZERO));
                world.connect(&world.users[0], &troubled).await;
                if with_key {
                    let key = SecretString::new("key".to_owned());
                    troubled.connections.api_keys.store(&world.users[0].id, &key, &CALLER).await.unwrap();
                }
                troubled.gate.arm(step, trouble);
                let (renaming, home) = (Arc::clone(&world), label("home"));
                let process = Arc::clone(&troubled);
                let first =
                    tokio::spawn(async move { process.connections.manager.rename(&renaming.users[0].id, &home).await });
                sleep(Duration::from_millis(100)).await;
                let after = After { world, other, when: format!("{trouble:?} at {step}") };
                then(&after).await;
                after.renew_all().await;
                if matches!(trouble, Trouble::Kill) && !troubled.gate.is_killed() {
                    assert!(first.is_finished(), "more steps than {STEPS}");
                }
            });
        }
    }
}

#[test]
fn another_wish_ends_the_first_one_and_leaves_one_connection() {
    at_each_step(false, async |after| {
        let _ = after.rename("default", "foo").await;
        sleep(Duration::from_secs(120)).await;
        after.only().await;
    });
}

#[test]
fn the_same_wish_again_goes_on_with_the_first_one() {
    at_each_step(false, async |after| {
        let again = after.rename("default", "home").await;
        assert_ne!(again, Ok(Renamed::Taken), "{}: its own half-done move is in its way", after.when);
        sleep(Duration::from_secs(120)).await;
        let only = after.only().await;
        assert!(only == "home" || again.is_err(), "{}: {again:?}, {only}", after.when);
    });
}

#[test]
fn what_is_disconnected_under_its_new_label_never_comes_back() {
    at_each_step(true, async |after| {
        after.world.provider.connected(0, None);
        let gone = after.connections().manager.disconnect(&named(after.user(), "home"), &CALLER).await;
        sleep(Duration::from_secs(120)).await;
        if gone == Ok(true) {
            let standing = after.standing().await;
            assert!(standing.is_empty(), "{}: it rose under {}", after.when, standing[0].0);
        } else {
            after.only().await;
        }
    });
}

#[test]
fn what_is_disconnected_under_its_old_label_never_comes_back() {
    at_each_step(true, async |after| {
        after.world.provider.connected(0, None);
        let gone = after.connections().manager.disconnect(&after.user().id, &CALLER).await;
        sleep(Duration::from_secs(120)).await;
        if gone == Ok(true) {
            let standing = after.standing().await;
            assert!(standing.is_empty(), "{}: it rose under {}", after.when, standing[0].0);
        } else {
            after.only().await;
        }
    });
}

#[test]
fn a_renamed_one_that_is_renamed_again_at_once_is_there_once() {
    at_each_step(false, async |after| {
        let _ = after.rename("home", "foo").await;
        sleep(Duration::from_secs(120)).await;
        after.only().await;
    });
}

#[test]
fn a_key_that_is_stored_meanwhile_is_kept_and_one_that_is_removed_is_gone() {
    at_each_step(false, async |after| {
        let key = SecretString::new("key".to_owned());
        let stored = after.connections().api_keys.store(&after.user().id, &key, &CALLER).await;
        sleep(Duration::from_secs(120)).await;
        assert!(stored.is_err() || after.has_key().await, "{}: the key is gone", after.when);
    });
    at_each_step(true, async |after| {
        let removed = after.connections().api_keys.remove(&after.user().id, &CALLER).await;
        sleep(Duration::from_secs(120)).await;
        assert!(removed != Ok(true) || !after.has_key().await, "{}: the key is still there", after.when);
    });
}

#[test]
fn who_connects_anew_under_the_old_label_has_the_new_grant_there() {
    at_each_step(false, async |after| {
        after.world.connect(after.user(), &after.other).await;
        sleep(Duration::from_secs(120)).await;
        let standing = after.standing().await;
        let newest = |record: &Record| after.family(record) == Some(1);
        // Unless the move itself took it along.
        assert!(standing.iter().any(|(_, record)| newest(record)), "{}: the new grant is gone", after.when);
    });
}
