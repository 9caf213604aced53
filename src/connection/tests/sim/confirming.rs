//! Grants that wait for a word: the application's ("confirm") or the person's ("replace?"). Whoever speaks for one is cut
//! off at any step, and says it again. In time, the word counts: the grant is there in the end, and none is lost on the way.

use crate::events::CALLER;
use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    gate::Trouble,
    scenario::Run,
    world::{Process, User, World},
};
use crate::connection::{Unavailable, UnconfirmedGrant};

/// What a client waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a grant waits for somebody's word.
const WAITS: Duration = Duration::from_secs(40);
/// What clocks and the store take of it.
const MARGIN: Duration = Duration::from_secs(5);
/// More than a word takes.
const STEPS: u64 = 44;

/// A grant that waits.
struct Waiting<'a> {
    user: &'a User,
    family: usize,
    name: String,
    /// Tells it from all others, where the same family is consented to again.
    origin: u64,
    grant: crate::oauth::Grant,
    identity: Option<crate::oauth::Identity>,
    since: Instant,
    /// When others were first asked to revoke nothing that takes it along.
    guarded_from: Instant,
}

impl Waiting<'_> {
    /// Puts it there under this name.
    async fn put(&self, process: &Process, name: &str, shown: bool) -> bool {
        let aside = UnconfirmedGrant {
            id: &self.user.id,
            name,
            grant: self.grant.clone(),
            identity: self.identity.clone(),
            requested: &[],
            shown,
            until: process.connections.records.now().plus(WAITS.saturating_sub(self.since.elapsed())),
        };
        match timeout(PATIENCE, process.connections.unconfirmed.put(aside)).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => {
                process.connections.revoker.give_up_unstored(&self.user.id, self.grant.clone(), self.identity.clone());
                false
            }
            Err(_) => false,
        }
    }

    /// Whether it is to be connected: `None` where nobody knows what came of the word.
    async fn speak(&self, process: &Process) -> Option<bool> {
        let from = (&self.user.id, self.name.as_str(), self.origin);
        let (grant, identity) = (self.grant.clone(), self.identity.clone());
        let kept = process.connections.unconfirmed.keep(from, &self.user.id, grant, identity, &[], &CALLER);
        Some(timeout(PATIENCE, kept).await.ok()?.ok()?.is_some())
    }
}

impl Run {
    /// A grant waits, and somebody speaks for it, gives it up, or does nothing.
    pub(super) async fn confirm(&mut self) {
        let random = &self.world.journal.random;
        let (user, account) = (self.any_user(), u8::from(random.below(2) == 0));
        if random.below(4) == 0 {
            return self.part().await;
        }
        let world = Arc::clone(&self.world);
        self.wait_for_a_word(&world.users[user], account, true).await;
        self.replace_the_dead();
    }

    pub(super) async fn wait_for_a_word(&self, user: &User, account: u8, cuts: bool) {
        let world = &self.world;
        let random = &world.journal.random;
        let process = Arc::clone(self.any_process());
        let guarded_from = Instant::now();
        let arrival = timeout(PATIENCE, process.connections.revoker.arrival(&user.id.caller, &user.service)).await;
        let Ok(arrival) = arrival else { return };
        let (family, grant) = world.provider.consent_as(user.number, user.holder(account));
        let identity = (!world.provider.habits().nameless).then(|| user.account(account));
        // Which record it is must not follow from the family: the same may be consented to again.
        let origin = random.below(u64::MAX);
        let name = format!("held.{origin}");
        world.journal.step(&process.gate.name, "put aside", &(family, account));
        let now = Instant::now();
        let mut waiting = Waiting { user, family, name, origin, grant, identity, since: now, guarded_from };
        if !waiting.put(&process, &waiting.name, random.below(2) == 0).await {
            return;
        }
        let guarded = arrival.is_held();
        arrival.end();
        if guarded {
            world.provider.no_longer_in_doubt(family, waiting.grant.access_token.expose());
            if !world.provider.continued(family) {
                world.provider.stored(family);
            }
        }
        // Now and then to about when the healer notices that nobody spoke for it.
        let pauses = [Duration::ZERO, random.millis(0, 1000), random.millis(0, 45_000), random.millis(39_500, 51_000)];
        sleep(random.pick(&pauses)).await;
        if random.below(5) == 0 && !self.put_again(&mut waiting).await {
            return;
        }
        match random.below(6) {
            0 => {}
            1 => self.give_up(&waiting).await,
            _ => self.speak_for(&waiting, cuts).await,
        }
    }

    /// It waits for the application after the person has answered: first there, then no longer where it was. Its end stays
    /// the same.
    async fn put_again(&self, waiting: &mut Waiting<'_>) -> bool {
        if waiting.since.elapsed() + MARGIN >= WAITS {
            return true;
        }
        let process = Arc::clone(self.any_process());
        let again = format!("{}.again", waiting.name);
        let still_waits =
            timeout(PATIENCE, process.connections.unconfirmed.is_there(&waiting.user.id, &waiting.name)).await;
        if !matches!(still_waits, Ok(Ok(true))) || !waiting.put(&process, &again, true).await {
            return false;
        }
        self.world.journal.step(&process.gate.name, "put aside again", &waiting.family);
        let _ = timeout(PATIENCE, process.connections.unconfirmed.take(&waiting.user.id, &waiting.name)).await;
        waiting.name = again;
        true
    }

    /// Somebody speaks for it, and again where no answer comes; now and then two at once.
    async fn speak_for(&self, waiting: &Waiting<'_>, cuts: bool) {
        let (world, user, family) = (&self.world, waiting.user, waiting.family);
        let random = &world.journal.random;
        let in_doubt = user.connecting(family);
        world.provider.connected(user.number, None);
        let mut answers = vec![];
        for round in 0..3 {
            let Some(process) = self.any_living() else { break };
            if cuts && round < 2 && random.below(3) > 0 {
                process.gate.arm(
                    random.below(STEPS),
                    random.pick(&[Trouble::Kill, Trouble::Kill, Trouble::Stop(Duration::from_secs(20))]),
                );
            }
            let asked = Instant::now();
            if random.below(4) == 0 {
                let other = self.any_living().unwrap_or_else(|| Arc::clone(&process));
                let (first, second) = tokio::join!(waiting.speak(&process), waiting.speak(&other));
                answers.extend([first, second]);
            } else {
                answers.push(waiting.speak(&process).await);
            }
            process.gate.arm(u64::MAX, Trouble::Kill);
            world.journal.step(&process.gate.name, "spoke for", &(family, &answers));
            // The dead answer nobody.
            if process.gate.is_killed() {
                answers.iter_mut().for_each(|answer| *answer = answer.filter(|_| false));
            }
            let in_time = Instant::now() + MARGIN < waiting.since + WAITS;
            let forgotten = world.journal.failover(waiting.since - MARGIN, Instant::now()).is_some();
            if answers.contains(&Some(false)) && in_time && !forgotten {
                world
                    .journal
                    .violated(format!("family {family} waited, and was gone when it was asked for at {asked:?}"));
            }
            if answers.contains(&Some(true)) {
                self.judge_word(waiting);
            }
            if answers.iter().any(Option::is_some) {
                break;
            }
        }
        if answers.contains(&Some(true)) {
            world.journal.count(|counts| counts.confirms += 1);
            if user.connected(family, true) {
                world.provider.connected(user.number, Some(family));
            }
        } else if !answers.is_empty() && answers.iter().all(|answer| *answer == Some(false)) {
            // It came too late: what was there before still is.
            user.refused(family, in_doubt);
        }
    }

    /// What is connected now was not revoked as one that nobody spoke for; but where a lease may have been lost, or none
    /// was got.
    fn judge_word(&self, waiting: &Waiting<'_>) {
        let (world, from, now) = (&self.world, waiting.guarded_from, Instant::now());
        let troubled = self.processes.iter().any(|process| process.gate.troubled(from, now));
        let excused = troubled
            || world.server.is_lossy()
            || world.server.was_down(from, now)
            || world.journal.failover(from - PATIENCE, now).is_some();
        if !excused && world.provider.was_overtaken(waiting.family) {
            world.journal.violated(format!("family {} was spoken for, and revoked all the same", waiting.family));
        }
    }

    fn any_living(&self) -> Option<Arc<Process>> {
        let living: Vec<_> = self.processes.iter().filter(|process| !process.gate.is_killed()).collect();
        (!living.is_empty()).then(|| Arc::clone(living[self.world.journal.random.index(living.len())]))
    }

    /// The person disconnects until nothing is left, with what waits; whoever speaks for it then comes too late.
    async fn give_up(&self, waiting: &Waiting<'_>) {
        let (world, user) = (&self.world, waiting.user);
        let process = Arc::clone(self.any_process());
        let is_shown = world.is_shown(user);
        world.provider.connected(user.number, None);
        user.disconnecting();
        for _ in 0..6 {
            let done = timeout(PATIENCE, process.connections.manager.disconnect(&user.id, &CALLER)).await;
            world.journal.step(&process.gate.name, "give up", &done);
            match done {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    user.gone();
                    world.journal.count(|counts| counts.discards += 1);
                    let (from, forgotten) =
                        (waiting.since - MARGIN, world.journal.failover(waiting.since - MARGIN, Instant::now()));
                    if is_shown
                        && forgotten.is_none()
                        && waiting.speak(&process).await == Some(true)
                        && world.journal.failover(from, Instant::now()).is_none()
                    {
                        world
                            .journal
                            .violated(format!("family {} was given up, and connected all the same", waiting.family));
                    }
                    return;
                }
                Ok(Err(Unavailable::Store | Unavailable::Busy | Unavailable::Keys)) => {
                    sleep(Duration::from_secs(1)).await
                }
                Err(_) => return,
            }
        }
    }
}

impl World {
    /// Whether all that waits under this label is shown, and so is given up with it.
    fn is_shown(&self, user: &User) -> bool {
        let records = self.server.records();
        let mut waiting = records.iter().filter(|record| record.id == user.id).filter_map(|record| record.waits_for());
        waiting.all(|aside| aside.shown)
    }
}
