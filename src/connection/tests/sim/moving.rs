//! Another label and back, with whatever trouble on the way, and with what the person does meanwhile.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    gate::Trouble,
    provider,
    scenario::Run,
    world::{Process, User, World},
};
use crate::connection::Renamed;
use crate::events::CALLER;

/// What a client waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a rename with all that may come to it.
const TWOFOLD: Duration = Duration::from_secs(3600);
/// Until everybody has heard of its end.
const HEARD: Duration = Duration::from_secs(20);

impl Run {
    /// Ends when the connection has its own label, and none other.
    pub(super) async fn rename(&mut self) {
        let world = Arc::clone(&self.world);
        let number = self.any_user();
        let user = &world.users[number];
        let process = Arc::clone(self.any_process());
        let steps = world.journal.random.below(50);
        match world.journal.random.below(3) {
            0 => {}
            1 => process.gate.arm(steps, Trouble::Kill),
            _ => process.gate.arm(steps, Trouble::Stop(world.journal.random.millis(100, 40_000))),
        }
        let meanwhile = world.journal.random.below(6);
        let other = Arc::clone(self.any_process());
        let there = sleep(world.journal.random.millis(0, 2000));
        if meanwhile < 3 {
            user.twofold_for(TWOFOLD);
            let pause = world.journal.random.millis(0, 500);
            let person = async {
                sleep(pause).await;
                match meanwhile {
                    0 => world.give_up_both(user, &other).await,
                    1 => world.store_key(user, &other).await,
                    _ => world.connect(user, &other).await,
                }
            };
            tokio::join!(world.rename(user, &process, false), person);
        } else {
            world.rename(user, &process, false).await;
        }
        there.await;
        for _ in 0..200 {
            if !world.is_elsewhere(user) {
                if meanwhile < 3 {
                    user.twofold_for(HEARD);
                }
                return;
            }
            self.replace_the_dead();
            self.move_back(number).await;
            sleep(Duration::from_secs(1)).await;
        }
        world.journal.violated("a connection never got its label back".into());
    }

    /// One try, through a process that may still be struck in the middle of it: that one never answers.
    async fn move_back(&self, number: usize) {
        let world = Arc::clone(&self.world);
        let user = &world.users[number];
        let process = Arc::clone(self.any_process());
        match world.rename(user, &process, true).await {
            Some(Renamed::Taken) => world.give_up_elsewhere(user, &process).await,
            // It is still on its way. Without a grant nothing but the healer need touch it, by the clock of whoever
            // began that; so the person asks for the label that it has.
            Some(Renamed::Absent) => {
                let _ = timeout(PATIENCE, process.connections.manager.rename(&user.id, &user.id.account)).await;
            }
            Some(Renamed::Done) | None => {}
        }
        // Whatever is in its way: an intent that only a renewal takes away.
        let call = {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.call(&world.users[number], &process, false).await })
        };
        let _ = timeout(PATIENCE, call).await;
    }
}

impl World {
    /// The person stores an API key.
    pub async fn store_key(&self, user: &User, process: &Process) {
        user.storing_key();
        let key = provider::key(user.number).into();
        let done = timeout(PATIENCE, process.connections.api_keys.store(&user.id, &key, &CALLER)).await;
        self.journal.step(&process.gate.name, "store a key", &done);
        if matches!(done, Ok(Ok(()))) {
            user.key_is_there(true);
        }
    }

    /// The person disconnects, under whichever labels there is something: a rename that found its label taken left two.
    async fn give_up_both(&self, user: &User, process: &Process) {
        self.journal.count(|counts| counts.disconnects += 1);
        self.provider.connected(user.number, None);
        user.disconnecting();
        let mut answers = Vec::new();
        for id in [&user.id, &user.other_id()] {
            let done = timeout(PATIENCE, process.connections.manager.disconnect(id, &CALLER)).await;
            self.journal.step(&process.gate.name, "disconnect", &(&id.account, &done));
            answers.push(done);
        }
        if answers.contains(&Ok(Ok(true))) && answers.iter().all(|done| matches!(done, Ok(Ok(_)))) {
            user.gone();
        }
    }

    /// Something else has its own label meanwhile: that stays.
    async fn give_up_elsewhere(&self, user: &User, process: &Process) {
        let own = self.server.record(&user.key);
        let (key, grant) = own.map_or((false, false), |own| (own.api_key.is_some(), own.grant.is_some()));
        self.journal.step(&process.gate.name, "disconnect the other", &(key, grant));
        if !grant {
            self.provider.connected(user.number, None);
            user.disconnecting();
        }
        user.storing_key();
        let done = timeout(PATIENCE, process.connections.manager.disconnect(&user.other_id(), &CALLER)).await;
        if matches!(done, Ok(Ok(true))) {
            if !grant {
                user.gone();
            }
            // The one that goes takes its own key along.
            user.key_is_there(key);
        }
    }
}
