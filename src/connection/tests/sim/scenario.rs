//! One run: what happens, drawn from its seed, and what must hold when all is calm again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    gate::Trouble,
    journal::Journal,
    mix::Mix,
    provider::{Brings, Death, Mode, Mood},
    store::Weather,
    world::{Nature, Process, User, World},
};
use crate::connection::Reason;

pub(super) struct Run {
    mix: Mix,
    pub(super) world: Arc<World>,
    pub(super) processes: Vec<Arc<Process>>,
    /// Processes on their way out.
    pub(super) ending: Vec<JoinHandle<()>>,
    started: usize,
    pub(super) imports: usize,
    /// How far a clock may be ahead of the others, in milliseconds.
    pub(super) skew: u64,
}

/// Runs the scenario of the journal's seed.
pub async fn run(journal: &Arc<Journal>, mix: Mix) {
    let random = &journal.random;
    let skew = random.pick(&[0, 0, 0, 0, 5_000, 3_600_000]);
    let nature = Nature {
        mode: random.pick(&[Mode::Strict, Mode::Strict, Mode::Strict, Mode::Strict, Mode::Grace, Mode::Fixed]),
        life: Duration::from_secs(random.pick(&[3, 10, 10, 30, 80, 300])),
        one_at_a_time: random.below(3) == 0,
        skewed: skew > 0,
    };
    let users = if random.below(4) == 0 { 2 } else { 1 };
    let world = if mix.is_far() {
        let all = [(0, "crm"), (0, "crm-mail"), (0, "elsewhere")];
        let world = World::of(Arc::clone(journal), nature, &all[..users + 1]);
        world.revokes_far();
        world
    } else {
        World::new(Arc::clone(journal), nature, users)
    };
    let mut run = Run { mix, world, processes: vec![], ending: vec![], started: 0, imports: 0, skew };
    journal.step("---", "begin", &(nature, skew));
    for _ in 0..random.pick(&[1, 2, 2, 2, 3, 3]) {
        run.start();
    }
    for user in &run.world.users {
        run.world.connect(user, &run.processes[0]).await;
    }
    run.world.server.weather(random.pick(&[
        Weather::default(),
        Weather { delay: 3, ..Weather::default() },
        Weather { delay: 40, lost_answers: 15, ..Weather::default() },
        Weather { delay: 200, lost_answers: 20, lost_requests: 10, late: 5 },
        Weather { delay: 30, lost_answers: 20, lost_requests: 20, late: 60 },
    ]));
    run.world.provider.mood(random.pick(&[
        Mood::default(),
        Mood { delay: 20, ..Mood::default() },
        Mood { delay: 300, slow: 50, fails: 50, lost_answers: 0 },
        Mood { delay: 2500, slow: 100, fails: 20, lost_answers: 0 },
        Mood { delay: 200, slow: 50, fails: 100, lost_answers: 60 },
    ]));
    for _ in 0..random.between(6, 16) {
        run.step().await;
    }
    run.calm_down().await;
    run.check().await;
}

impl Run {
    pub(super) fn start(&mut self) {
        self.started += 1;
        let ahead = self.world.journal.random.millis(0, self.skew);
        self.processes.push(self.world.start(&format!("p{}", self.started), ahead));
    }

    pub(super) fn any_user(&self) -> usize {
        self.world.journal.random.index(self.world.users.len())
    }

    pub(super) fn any_process(&self) -> &Arc<Process> {
        &self.processes[self.world.journal.random.index(self.processes.len())]
    }

    async fn step(&mut self) {
        let (world, journal) = (Arc::clone(&self.world), Arc::clone(&self.world.journal));
        let random = &journal.random;
        let life = u64::try_from(world.provider.life.as_millis()).unwrap();
        sleep(match random.below(6) {
            0 => Duration::ZERO,
            1 | 2 => random.millis(0, 300),
            3 => random.millis(0, 20_000),
            // To about the end of a token's life.
            _ => Duration::from_millis((life * random.between(70, 110) / 100).min(120_000)),
        })
        .await;
        if self.mix != Mix::Ordinary && random.below(3) == 0 {
            self.mixed_in(self.mix).await;
            self.replace_the_dead();
            return;
        }
        match random.below(21) {
            0..=6 => self.burst(false),
            7 => self.burst(true),
            8 => {
                let family = world.users[self.any_user()].family();
                if let Some(family) = family.filter(|family| world.provider.is_settled(*family)) {
                    world.provider.drop_access(family);
                    self.burst(false);
                }
            }
            9 | 10 => {
                self.trouble(Trouble::Kill);
                self.burst(false);
            }
            11 | 12 => {
                self.trouble(Trouble::Stop(random.millis(100, 40_000)));
                self.burst(false);
            }
            13 => {
                self.trouble(Trouble::Cut(random.millis(100, 30_000)));
                self.burst(false);
            }
            14 | 15 => world.server.outage(random.millis(50, random.pick(&[1000, 8000, 30_000]))),
            16 => self.failover(random.millis(50, 3000), random.below(2) == 0),
            17 => world.provider.outage(random.millis(500, 20_000)),
            18 => {
                let process = Arc::clone(self.any_process());
                world.disconnect(&world.users[self.any_user()], &process).await;
            }
            19 => {
                let process = Arc::clone(self.any_process());
                world.connect(&world.users[self.any_user()], &process).await;
            }
            _ if random.below(3) == 0 => {
                if let Some(family) = world.users[self.any_user()].family() {
                    world.provider.revoke_by_person(family);
                }
            }
            _ => {}
        }
        self.replace_the_dead();
    }

    /// Calls at the same time, through several processes.
    pub(super) fn burst(&self, spite: bool) {
        let random = &self.world.journal.random;
        // A consent without a refresh token may overtake the renewal that a refusal asks for: the token that stands then is
        // not the renewed one, and may be dead. To the call that is a second refusal.
        let spite = spite && self.world.provider.habits().refresh == Brings::Always;
        for _ in 0..random.between(1, 6) {
            let (world, process, user) = (Arc::clone(&self.world), Arc::clone(self.any_process()), self.any_user());
            let wait = if random.below(2) == 0 { Duration::ZERO } else { random.millis(0, 50) };
            tokio::spawn(async move {
                if !wait.is_zero() {
                    sleep(wait).await;
                }
                world.call(&world.users[user], &process, spite).await;
            });
        }
    }

    /// At once, or in the middle of what a process does next.
    pub(super) fn trouble(&self, trouble: Trouble) {
        let (random, gate) = (&self.world.journal.random, &self.any_process().gate);
        match random.below(3) {
            0 => gate.strike(trouble),
            _ => gate.arm(random.below(24), trouble),
        }
    }

    fn failover(&self, time: Duration, leases: bool) {
        let server = &self.world.server;
        // With which family each is connected, and whether with a key, as far as the store knows.
        let connected = |user: &User| {
            [&user.key, &user.elsewhere].map(|key| {
                let record = server.record(key).filter(|record| record.pending_revocation().is_none())?;
                let token = record.grant.map(|grant| grant.refresh_token.unwrap_or(grant.access_token));
                let family = token.and_then(|token| self.world.provider.family_of(token.expose()));
                Some((family, record.api_key.is_some()))
            })
        };
        let before: Vec<_> = self.world.users.iter().map(connected).collect();
        server.failover(time, leases);
        for (user, before) in self.world.users.iter().zip(before) {
            if connected(user) != before {
                user.forgotten();
                self.world.provider.connected(user.number, None);
            }
        }
    }

    pub(super) fn replace_the_dead(&mut self) {
        let dead: Vec<usize> =
            (0..self.processes.len()).filter(|index| self.processes[*index].gate.is_killed()).collect();
        for index in dead.into_iter().rev() {
            if self.world.journal.random.below(2) == 0 || self.processes.len() == 1 {
                self.processes.remove(index);
                self.start();
            }
        }
    }

    /// Everything works again, and whoever waits gets an answer.
    async fn calm_down(&mut self) {
        let world = Arc::clone(&self.world);
        world.journal.step("---", "calm", &());
        world.server.weather(Weather { delay: 2, ..Weather::default() });
        world.provider.mood(Mood { delay: 2, ..Mood::default() });
        world.provider.up();
        for process in &self.processes {
            process.gate.arm(u64::MAX, Trouble::Kill);
        }
        self.replace_the_dead();
        self.processes.retain(|process| !process.gate.is_killed());
        if self.processes.is_empty() {
            self.start();
        }
        if let Some(end) = self.processes.iter().filter_map(|process| process.gate.over_at()).max() {
            sleep_until(end).await;
        }
        for ending in self.ending.drain(..) {
            ending.await.unwrap();
        }
        // What the last fault began is over after this: calls, leases, circuits, the healer's rounds.
        sleep(Duration::from_secs(90)).await;
        for process in &self.processes {
            if process.open.load(Ordering::Relaxed) > 0 {
                world.journal.violated(format!("a call through {} never ended", process.gate.name));
            }
        }
    }

    async fn check(&self) {
        let world = &self.world;
        let life = world.provider.life;
        for user in &world.users {
            for process in &self.processes {
                world.call_in_calm(user, process).await;
            }
            // Once more, so that everybody must have renewed what everybody holds: a token that was spent unheard would not
            // come to light as long as the access token before it serves.
            world.provider.drop_all_access(user.number);
            sleep(if life < Duration::from_secs(60) { life } else { Duration::from_secs(1) }).await;
            for process in &self.processes {
                world.call_in_calm(user, process).await;
            }
            sleep(Duration::from_secs(1)).await;
            self.check_record(user);
        }
        if self.mix.is_far() {
            self.check_partings().await;
        }
        for difference in world.server.differences_of_log() {
            world.journal.violated(difference);
        }
        for process in &self.processes {
            if process.connections.unsaved() > 0 {
                world.journal.violated(format!("{} has grants that it never saved", process.gate.name));
            }
        }
    }

    /// The store holds what the provider takes, or there is a cause.
    fn check_record(&self, user: &User) {
        let world = &self.world;
        let standing =
            |key| world.server.record(key).filter(|record| record.is_connected() || record.waits_for().is_some());
        // A wish for another label may have been carried out late.
        let record = standing(&user.key).or_else(|| standing(&user.elsewhere));
        world.journal.step("---", "finally", &record);
        let has_key = record.as_ref().is_some_and(|record| record.api_key.is_some());
        if user.has_key().is_some_and(|certain| certain != has_key) {
            world.journal.violated(format!("there is {} API key", if has_key { "still an" } else { "no" }));
        }
        let Some(record) = record else {
            if !user.may_be_gone() {
                world.journal.violated("the connection is gone".into());
            }
            return;
        };
        if user.is_gone() && record.grant.is_some() {
            world.journal.violated("a connection rose from the dead".into());
        }
        let Some(grant) = record.grant else { return };
        let Some(token) = &grant.refresh_token else {
            if !world.provider.is_sparing() {
                world.journal.violated("the refresh token is gone".into());
            }
            return;
        };
        let held = world.provider.takes(token.expose());
        match (record.invalid, held) {
            (None, Some(family)) => {
                if user.family().is_some_and(|connected| connected != family) {
                    world.journal.violated(format!("the store holds family {family}, an older one"));
                }
            }
            (None, None) => world.journal.violated("the store holds a token that the provider doesn't take".into()),
            (Some(Reason::RejectedByUpstream), Some(_)) if user.was_late() => {}
            (Some(_), Some(_)) => world.journal.violated(format!("{:?}, but the token is good", record.invalid)),
            (Some(reason), None) => {
                let reused = |family| world.provider.death_of(family) == Some(Death::Reuse);
                if user.families_since(Instant::now()).into_iter().any(reused) {
                    world.journal.count(|counts| counts.lost_inherent += 1);
                }
                let explained = user.lost_for_a_cause(world, Instant::now());
                if !explained
                    || !matches!(reason, Reason::Revoked | Reason::RefreshInterrupted | Reason::RejectedByUpstream)
                {
                    world.journal.violated(format!("lost: {reason:?}"));
                }
            }
        }
    }
}
