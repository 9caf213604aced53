//! Another label, with a process that dies at every step of the way, and with refreshes at the same moment.

use std::{cell::Cell, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::sim::{
    gate::Trouble,
    journal::Journal,
    provider::Mode,
    world::{Nature, World},
};
use crate::{
    connection::{Connections, Renamed, Status, Want},
    id::{Account, ConnectionId},
};

const LIFE: Duration = Duration::from_secs(60);

fn label(text: &str) -> Account {
    Account::parse(text).unwrap()
}

fn in_virtual_time(test: impl AsyncFn()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test());
}

fn world(journal: &Arc<Journal>) -> Arc<World> {
    let nature = Nature { mode: Mode::Strict, life: LIFE, one_at_a_time: false, skewed: false };
    World::new(Arc::clone(journal), nature, 1)
}

async fn labels(connections: &Connections, id: &ConnectionId) -> Vec<(String, Status)> {
    let all = connections.manager.list(&id.caller).await.unwrap();
    all.iter().map(|connection| (connection.account.to_string(), connection.status)).collect()
}

fn active(text: &str) -> Vec<(String, Status)> {
    vec![(text.to_owned(), Status::Active)]
}

#[test]
fn a_process_that_dies_at_any_step_leaves_one_connection_that_can_be_renewed() {
    let (stayed, moved) = (Cell::new(0), Cell::new(0));
    for crossings in 0..24 {
        in_virtual_time(async || {
            let journal = Arc::new(Journal::new(crossings, false));
            let world = world(&journal);
            let (dying, other) = (world.start("p0", Duration::ZERO), world.start("p1", Duration::ZERO));
            let user = &world.users[0];
            world.connect(user, &dying).await;
            dying.gate.arm(crossings, Trouble::Kill);
            let _ = timeout(Duration::from_secs(30), dying.connections.manager.rename(&user.id, &label("work"))).await;
            if !dying.gate.is_killed() {
                dying.gate.strike(Trouble::Kill);
            }
            // The other process's healer has been round, and the token was renewed more than once.
            for _ in 0..8 {
                sleep(LIFE / 2).await;
                world.call_in_calm(user, &other).await;
            }
            let found = labels(&other.connections, &user.id).await;
            assert!(found == active("default") || found == active("work"), "killed at {crossings}: {found:?}");
            let count = if found == active("work") { &moved } else { &stayed };
            count.set(count.get() + 1);
            assert_eq!(journal.violations(), Vec::<String>::new(), "killed at {crossings}");
        });
    }
    assert!(stayed.get() > 2 && moved.get() > 2, "the kills missed the steps: {} {}", stayed.get(), moved.get());
}

#[test]
fn a_rename_at_the_moment_of_a_refresh_spends_no_token_twice() {
    for moment in 0..40 {
        in_virtual_time(async || {
            let journal = Arc::new(Journal::new(moment, false));
            let world = world(&journal);
            let (one, two) = (world.start("p0", Duration::ZERO), world.start("p1", Duration::ZERO));
            let user = &world.users[0];
            world.connect(user, &one).await;
            sleep(LIFE - Duration::from_millis(20)).await;
            sleep(Duration::from_millis(moment)).await;
            let (work, home) = (label("work"), label("home"));
            let (first, (), second) = tokio::join!(
                one.connections.manager.rename(&user.id, &work),
                world.call(user, &two, false),
                two.connections.manager.rename(&user.id, &home),
            );
            for _ in 0..6 {
                sleep(LIFE / 2).await;
                world.call_in_calm(user, &two).await;
            }
            let found = labels(&two.connections, &user.id).await;
            assert!(found == active("work") || found == active("home"), "{first:?} {second:?} {found:?}");
            assert_eq!(journal.violations(), Vec::<String>::new(), "at {moment}");
        });
    }
}

#[test]
fn a_label_that_is_taken_stays_its_owners_and_the_old_one_is_free() {
    in_virtual_time(async || {
        let journal = Arc::new(Journal::new(1, false));
        let world = world(&journal);
        let process = world.start("p0", Duration::ZERO);
        let (user, connections) = (&world.users[0], &process.connections);
        let absent = connections.manager.rename(&user.id, &label("work")).await;
        assert_eq!(absent, Ok(Renamed::Absent));
        world.connect(user, &process).await;
        assert_eq!(connections.manager.rename(&user.id, &user.id.account).await, Ok(Renamed::Done));
        assert_eq!(connections.manager.rename(&user.id, &label("work")).await, Ok(Renamed::Done));
        assert_eq!(connections.manager.rename(&user.id, &label("work")).await, Ok(Renamed::Absent));
        world.connect(user, &process).await;
        assert_eq!(connections.manager.rename(&user.id, &label("work")).await, Ok(Renamed::Taken));
        assert_eq!(labels(connections, &user.id).await.len(), 2);
        // Under its label, each has a credential of its own.
        let (default, work) = (label("default"), label("work"));
        let of = async |account: &Account| {
            let want = Want { account: Some(account), ..world.want(user) };
            connections.resolver.resolve(&want).await.unwrap().headers[0].1.clone()
        };
        assert_ne!(of(&default).await, of(&work).await);
    });
}
