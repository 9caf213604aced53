//! What a run is made of, beside the ordinary calls and faults. Each mix is explored by tests of its own, so that what is
//! rare in the world is not rare there; the ordinary one draws the same numbers as ever, and its seeds keep their meaning.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{gate::Trouble, scenario::Run, world::Process};

/// How long a process that was told to stop may take.
const GRACE: Duration = Duration::from_secs(30);

/// Which events are mixed into the ordinary ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// None.
    Ordinary,
    /// Processes that are told to stop, and end in order.
    Drains,
    /// Imports beside the replicas.
    Imports,
    /// Connections that are given another label, and their own again.
    Renames,
}

impl Mix {
    pub const ALL: [Self; 4] = [Self::Ordinary, Self::Drains, Self::Imports, Self::Renames];
}

impl Run {
    /// One event of the mix.
    pub(super) async fn mixed_in(&mut self, mix: Mix) {
        match mix {
            Mix::Ordinary => {}
            Mix::Drains => self.drain().await,
            Mix::Imports => self.import().await,
            Mix::Renames => self.rename().await,
        }
    }
}

impl Run {
    /// SIGTERM to one of the processes. It takes no more calls, and goes when it says that it may: from then on nothing
    /// excuses what is lost with it.
    async fn drain(&mut self) {
        let process = Arc::clone(self.any_process());
        self.processes.retain(|other| !Arc::ptr_eq(other, &process));
        if self.processes.is_empty() || self.world.journal.random.below(2) == 0 {
            self.start();
        }
        process.gate.told_to_stop();
        self.ending.push(tokio::spawn(end(process)));
    }
}

impl Run {
    /// `valetkey import`: what is there is left alone, unless it is told otherwise; and nothing is renewed.
    async fn import(&mut self) {
        let world = Arc::clone(&self.world);
        self.imports += 1;
        let process = world.command(&format!("i{}", self.imports));
        world.journal.count(|counts| counts.drains += 1);
        let user = &world.users[self.any_user()];
        let there = process.connections.manager.get(&user.id).await;
        if matches!(there, Ok(None)) || (there.is_ok() && world.journal.random.below(3) == 0) {
            world.connect(user, &process).await;
        }
        end(process).await;
    }

    /// Another label and back, with whatever trouble on the way. Ends when the connection has its own label, and none
    /// other.
    async fn rename(&mut self) {
        let world = Arc::clone(&self.world);
        let user = &world.users[self.any_user()];
        let process = Arc::clone(self.any_process());
        match world.journal.random.below(3) {
            0 => {}
            1 => process.gate.arm(world.journal.random.below(50), Trouble::Kill),
            _ => process
                .gate
                .arm(world.journal.random.below(50), Trouble::Stop(world.journal.random.millis(100, 40_000))),
        }
        let there = sleep(world.journal.random.millis(0, 2000));
        world.rename(user, &process, false).await;
        there.await;
        for _ in 0..200 {
            if !world.is_elsewhere(user) {
                return;
            }
            self.replace_the_dead();
            let process = Arc::clone(self.any_process());
            world.rename(user, &process, true).await;
            // Whatever is in its way: a mark that only a renewal takes away.
            world.call(user, &process, false).await;
            sleep(Duration::from_secs(1)).await;
        }
        world.journal.violated("a connection never got its label back".into());
    }
}

/// What `proxy/drain.rs` does.
async fn end(process: Arc<Process>) {
    let deadline = Instant::now() + GRACE;
    while process.open.load(Ordering::Relaxed) > 0 && Instant::now() < deadline && !process.gate.is_killed() {
        sleep(Duration::from_millis(20)).await;
    }
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(2));
    // A process that is killed or stopped meanwhile never says anything.
    let done = tokio::time::timeout(left * 2, process.connections.drain(left)).await;
    match done {
        Ok(true) if !process.gate.is_killed() => process.gate.leave(),
        _ => process.gate.strike(Trouble::Kill),
    }
}
