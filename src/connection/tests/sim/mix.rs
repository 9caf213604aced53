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
    /// Connections that are given another label, and their own again, while people disconnect, connect and store keys.
    Renames,
    /// People with several connections, which come and go, at a provider whose revocations reach far.
    Partings,
    /// Grants that wait for somebody's word, there.
    Confirms,
}

impl Mix {
    pub const ALL: [Self; 6] =
        [Self::Ordinary, Self::Drains, Self::Imports, Self::Renames, Self::Partings, Self::Confirms];

    /// Whether revocations reach far.
    pub fn is_far(self) -> bool {
        matches!(self, Self::Partings | Self::Confirms)
    }
}

impl Run {
    /// One event of the mix.
    pub(super) async fn mixed_in(&mut self, mix: Mix) {
        match mix {
            Mix::Ordinary => {}
            Mix::Drains => self.drain().await,
            Mix::Imports => self.import().await,
            Mix::Renames => self.rename().await,
            Mix::Partings => self.part().await,
            Mix::Confirms => self.confirm().await,
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
