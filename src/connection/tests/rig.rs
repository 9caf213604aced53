//! What single facts are shown with: the simulation's store and provider without any accident but those that a test asks
//! for.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use super::sim::{
    journal::Journal,
    provider::{Mode, Scripted},
    world::{Nature, Process, User, World},
};
use crate::{
    connection::{Credential, Reason, Unusable, record::form::Record},
    id::Account,
};

pub struct Rig {
    pub world: Arc<World>,
    pub processes: Vec<Arc<Process>>,
    life: Duration,
}

impl Rig {
    /// This many processes, and this many people, all connected, with access tokens of this life. Refresh tokens serve once.
    pub async fn start(processes: usize, users: usize, life: Duration) -> Self {
        let journal = Arc::new(Journal::new(0, false));
        let nature = Nature { mode: Mode::Strict, life, one_at_a_time: false, skewed: false };
        let world = World::new(journal, nature, users);
        let mut rig = Self { world, processes: vec![], life };
        for _ in 0..processes {
            rig.add_process();
        }
        for user in &rig.world.users {
            rig.world.connect(user, &rig.processes[0]).await;
        }
        rig
    }

    /// Starts another process; gives its number.
    pub fn add_process(&mut self) -> usize {
        self.processes.push(self.world.start(&format!("p{}", self.processes.len()), Duration::ZERO));
        self.processes.len() - 1
    }

    /// What the provider does next, one a request.
    pub fn script(&self, next: impl IntoIterator<Item = Scripted>) {
        self.world.provider.script.lock().extend(next);
    }

    /// The store fails over: leases are gone, and what was written within the last two seconds.
    pub async fn fail_over(&self) {
        self.world.server.failover(Duration::from_millis(1), true);
        sleep(Duration::from_millis(5)).await;
    }

    /// How often the token endpoint was asked.
    pub fn asked(&self) -> usize {
        self.world.provider.requests.lock().len()
    }

    /// Until all access tokens of now are over.
    pub async fn expire(&self) {
        sleep(self.life).await;
    }

    /// A call through this process, as a task of its own.
    pub fn call(&self, process: usize, user: usize) -> JoinHandle<Result<Arc<Credential>, Unusable>> {
        let (world, process) = (Arc::clone(&self.world), Arc::clone(&self.processes[process]));
        tokio::spawn(async move { process.connections.resolver.resolve(&world.want(&world.users[user])).await })
    }

    pub async fn resolve(&self, process: usize, user: usize) -> Result<Arc<Credential>, Unusable> {
        self.call(process, user).await.unwrap()
    }

    pub fn user(&self, number: usize) -> &User {
        &self.world.users[number]
    }

    /// The record of this person, as stored.
    pub fn record(&self, user: usize) -> Record {
        self.world.server.record(&self.user(user).key).expect("there is one")
    }

    /// Nothing happened that never must.
    pub fn assert_sound(&self) {
        assert_eq!(self.world.journal.violations(), Vec::<String>::new());
        assert_eq!(self.world.server.differences_of_log(), Vec::<String>::new());
    }

    /// No refresh token was sent twice, not even where nobody could have known.
    pub fn assert_nothing_spent_twice(&self) {
        self.assert_sound();
        assert_eq!(self.world.journal.counts().inherent, 0, "a refresh token was spent twice");
    }
}

/// What a call gets whose person must connect again.
pub fn connect_again(reason: Reason) -> Unusable {
    Unusable::AuthRequired { reason, account: Account::default() }
}

/// Waits, in virtual time, until something holds.
pub async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..100_000 {
        if holds().await {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}
