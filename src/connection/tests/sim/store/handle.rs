//! The store as one process reaches it, over a network that is as the weather is.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};

use super::{super::gate::Gate, Server, State};
use crate::store::{
    Change, Claim, Due, Entry, Error, Expect, Key, OwnerId, Page, Put, RecordId, Store, Taken, Versioned, Write,
};

/// How long a process waits for the store's answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is left of a lease that is renewed in time, at least. A write that is on its way for longer may come without it.
const SURE: Duration = Duration::from_secs(10);

/// The store as one process reaches it.
pub struct Handle {
    pub(super) server: Arc<Server>,
    pub(super) gate: Arc<Gate>,
}

fn away() -> Error {
    Error::Unavailable { reason: "as simulated".into() }
}

async fn pause(millis: u64) {
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
}

impl Handle {
    pub(super) async fn act<T: Send + std::fmt::Debug + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (server, random) = (&self.server, &self.server.journal.random);
        self.gate.cross().await;
        self.gate.asked.lock().push(name);
        let weather = *server.weather.lock();
        let (before, after) = (random.below(weather.delay + 1), random.below(weather.delay + 1));
        let (lost_request, lost_answer) =
            (random.in_thousand(weather.lost_requests), random.in_thousand(weather.lost_answers));
        let outcome = if random.in_thousand(weather.late) {
            let late = PATIENCE + random.millis(1, 6000);
            let (server, who) = (Arc::clone(server), self.gate.name.clone());
            tokio::spawn(async move {
                sleep(late).await;
                if !server.is_down() {
                    let done = server.execute(work);
                    server.journal.step(&who, name, &("late", done));
                }
            });
            sleep(PATIENCE).await;
            Err("late")
        } else {
            pause(before).await;
            if lost_request || self.gate.is_cut() || server.is_down() {
                Err("not done")
            } else {
                let done = server.execute(work);
                server.journal.step(&self.gate.name, name, &done);
                pause(after).await;
                if lost_answer || self.gate.is_cut() { Err("done, unheard") } else { Ok(done) }
            }
        };
        self.gate.cross().await;
        outcome.map_err(|fault| {
            server.journal.step(&self.gate.name, name, &fault);
            away()
        })
    }
}

impl Handle {
    /// A healer's turn. While there are few processes each always has one: it is no step, and draws nothing, so that a seed
    /// stays the run that it was.
    fn turn(&self, id: &str, value: &[u8], ttl: Duration) -> Result<Claim, Error> {
        self.gate.turns.fetch_add(1, Ordering::Relaxed);
        if self.gate.is_killed() || self.gate.is_cut() || self.server.is_down() {
            return Err(away());
        }
        let (now, mut state) = (Instant::now(), self.server.state.lock());
        match state.turns.get(id) {
            Some((holder, until)) if *until > now => Ok(Claim::Theirs(holder.clone())),
            _ => {
                state.turns.insert(id.to_owned(), (value.to_vec(), now + ttl));
                Ok(Claim::Mine)
            }
        }
    }
}

#[async_trait]
impl Store for Handle {
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, Error> {
        let key = *key;
        self.act("get", move |state| state.records.get(&key).map(|(stored, _)| stored.clone())).await
    }

    async fn list(&self, owner: &OwnerId) -> Result<Vec<(RecordId, Versioned)>, Error> {
        let owner = *owner;
        let of_owner = move |state: &mut State| {
            let all = state.records.iter().filter(|(key, _)| key.owner == owner);
            all.map(|(key, (stored, _))| (key.record, stored.clone())).collect()
        };
        self.act("list", of_owner).await
    }

    async fn put(&self, key: &Key, expect: Expect, write: Write<'_>) -> Result<Put, Error> {
        let Write { version, due, under, .. } = write;
        let (key, value, entries, asked) = (*key, write.value.to_vec(), write.entries.to_vec(), Instant::now());
        let under = under.map(|held| (*held.key, held.holder.to_owned()));
        let put = move |state: &mut State| {
            if asked.elapsed() > SURE {
                state.held_up.insert(version);
            }
            if under.is_some_and(|(key, holder)| state.held(&key, &holder).is_none()) {
                return Err(Error::LeaseLost);
            }
            Ok(state.put(key, expect, Versioned { version, value }, due, &entries))
        };
        self.act("put", put).await?
    }

    async fn delete(&self, key: &Key, expect: Expect, entries: &[Entry]) -> Result<Put, Error> {
        let (key, entries) = (*key, entries.to_vec());
        self.act("delete", move |state| state.delete(key, expect, &entries)).await
    }

    async fn due(&self, until_ms: u64, after: Option<Due>, limit: usize) -> Result<Vec<Due>, Error> {
        let list = move |state: &mut State| {
            let due = state.records.iter().filter_map(|(key, (_, due))| Some((*key, (*due)?)));
            let behind = |due: &Due| after.is_none_or(|(key, at)| (due.1, due.0) > (at, key));
            let mut due: Vec<_> = due.filter(|due| due.1 <= until_ms && behind(due)).collect();
            due.sort_by_key(|(key, at)| (*at, *key));
            due.truncate(limit);
            due
        };
        self.act("due", list).await
    }

    async fn lease(&self, key: &Key, holder: &str, ttl: Duration) -> Result<Taken, Error> {
        let (key, holder) = (*key, holder.to_owned());
        self.act("lease", move |state| state.lease(key, holder, ttl)).await
    }

    async fn renew(&self, key: &Key, holder: &str, ttl: Duration) -> Result<bool, Error> {
        let (key, holder) = (*key, holder.to_owned());
        self.act("renew", move |state| state.held(&key, &holder).map(|until| *until = Instant::now() + ttl).is_some())
            .await
    }

    async fn release(&self, key: &Key, holder: &str) -> Result<(), Error> {
        let (key, holder) = (*key, holder.to_owned());
        let release = move |state: &mut State| {
            if state.held(&key, &holder).is_some() {
                state.leases.remove(&key);
            }
        };
        self.act("release", release).await
    }

    async fn put_once(&self, id: &str, value: &[u8], ttl: Option<Duration>) -> Result<Claim, Error> {
        if id.starts_with("healer-") {
            return self.turn(id, value, ttl.expect("it ends"));
        }
        let (id, value) = (id.to_owned(), value.to_vec());
        let claim = move |state: &mut State| match state.once.get(&id) {
            Some(stored) => Claim::Theirs(stored.clone()),
            None => {
                state.note(&id, &value);
                state.once.insert(id, value);
                Claim::Mine
            }
        };
        self.act("put_once", claim).await
    }

    async fn peek(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let id = id.to_owned();
        self.act("peek", move |state| state.once.get(&id).cloned()).await
    }

    async fn take(&self, id: &str) -> Result<Option<Vec<u8>>, Error> {
        let id = id.to_owned();
        self.act("take", move |state| state.once.remove(&id)).await
    }

    async fn replace(&self, id: &str, expected: &[u8], value: &[u8], _: Option<Duration>) -> Result<bool, Error> {
        let (id, expected, value) = (id.to_owned(), expected.to_vec(), value.to_vec());
        let replace = move |state: &mut State| {
            if state.once.get(&id) != Some(&expected) {
                return false;
            }
            state.note(&id, &value);
            state.once.insert(id, value);
            true
        };
        self.act("replace", replace).await
    }

    async fn count(&self) -> Result<u64, Error> {
        self.act("count", |state| state.records.len() as u64).await
    }

    async fn scan(&self, _: Option<String>, _: usize) -> Result<Page, Error> {
        let all = |state: &mut State| state.records.iter().map(|(key, (stored, _))| (*key, stored.clone())).collect();
        Ok((self.act("scan", all).await?, None))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.act("ping", |_| ()).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.gate.notices.subscribe()
    }

    fn channel_up(&self) -> bool {
        !self.gate.is_cut() && !self.server.is_down()
    }

    fn channel_epoch(&self) -> Option<u64> {
        let breaks = self.gate.cuts() + self.server.state.lock().outages.len() as u64;
        self.channel_up().then_some(breaks)
    }

    async fn close(&self) {}
}
