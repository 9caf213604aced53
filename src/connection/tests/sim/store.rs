//! A store in memory that many processes share, over a network that delays, loses answers, delivers requests after their
//! sender gave up, and goes away; and whose failover forgets the last write that it acknowledged.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::broadcast,
    time::{Instant, sleep},
};

use super::{gate::Gate, journal::Journal, provider::Provider};
use crate::{
    connection::record::Record,
    store::{Change, Claim, Error, Expect, Key, OwnerId, Page, Put, RecordId, Store, Taken, Version, Versioned},
    vault::Vault,
};

/// So long a process waits for the store's answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was written this long ago survives a failover.
const REPLICATED: Duration = Duration::from_secs(2);

/// What the network does to an operation. Milliseconds, and times in a thousand. The default does nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Weather {
    pub delay: u64,
    pub lost_requests: u64,
    pub lost_answers: u64,
    /// Requests that are carried out only after their sender gave up.
    pub late: u64,
}

/// A record with its due time.
type Stored = (Versioned, Option<u64>);

pub struct State {
    records: BTreeMap<Key, Stored>,
    leases: HashMap<Key, (String, Instant, u64)>,
    once: HashMap<String, Vec<u8>>,
    fence: u64,
    began: Instant,
    /// What stood where the last write was done.
    before_last: Option<(Instant, Key, Option<Stored>)>,
    changed: Option<Key>,
    down_until: Option<Instant>,
    outages: Vec<(Instant, Instant)>,
}

pub struct Server {
    journal: Arc<Journal>,
    vault: Arc<Vault>,
    state: Mutex<State>,
    weather: Mutex<Weather>,
    gates: Mutex<Vec<Arc<Gate>>>,
    provider: OnceLock<Arc<Provider>>,
}

impl Server {
    pub fn new(journal: Arc<Journal>, vault: Arc<Vault>) -> Arc<Self> {
        Arc::new(Self {
            journal,
            vault,
            state: Mutex::new(State::new()),
            weather: Mutex::default(),
            gates: Mutex::default(),
            provider: OnceLock::new(),
        })
    }

    /// Who is told which refresh tokens are stored.
    pub fn watched_by(&self, provider: Arc<Provider>) {
        let _ = self.provider.set(provider);
    }

    pub fn weather(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    /// Within this a change is felt everywhere.
    pub fn felt_within(&self) -> Duration {
        let weather = self.weather.lock();
        let lossy = weather.late + weather.lost_answers + weather.lost_requests > 0;
        Duration::from_secs(if lossy { 20 } else { 2 })
    }

    /// A one-time value that is there from the beginning.
    pub fn preset(&self, id: &str, value: Vec<u8>) {
        self.state.lock().once.insert(id.to_owned(), value);
    }

    /// The store as this process reaches it.
    pub fn reached_by(self: &Arc<Self>, gate: &Arc<Gate>) -> Arc<Handle> {
        self.gates.lock().push(Arc::clone(gate));
        Arc::new(Handle { server: Arc::clone(self), gate: Arc::clone(gate) })
    }

    /// Nobody is answered for so long.
    pub fn outage(self: &Arc<Self>, time: Duration) {
        self.journal.step("sto", "outage", &time);
        let now = Instant::now();
        self.journal.out_of_order(now + time);
        {
            let mut state = self.state.lock();
            state.down_until = state.down_until.max(Some(now + time));
            state.outages.push((now, now + time));
        }
        self.gap();
        let server = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            server.gap();
        });
    }

    /// Another takes over, without the last write (where that is recent) and, where `leases`, without any lease.
    pub fn failover(self: &Arc<Self>, time: Duration, leases: bool) {
        self.journal.failed_over();
        {
            let mut state = self.state.lock();
            if leases {
                state.leases.clear();
            }
            match state.before_last.take().filter(|(at, _, _)| at.elapsed() < REPLICATED) {
                Some((_, key, Some(before))) => drop(state.records.insert(key, before)),
                Some((_, key, None)) => drop(state.records.remove(&key)),
                None => {}
            }
        }
        self.outage(time);
    }

    pub fn is_down(&self) -> bool {
        self.state.lock().down_until.is_some_and(|until| until > Instant::now())
    }

    /// Whether nobody was answered at some time between these moments.
    pub fn was_down(&self, from: Instant, to: Instant) -> bool {
        self.state.lock().outages.iter().any(|(begin, end)| *begin <= to && *end >= from)
    }

    /// The record as it is stored.
    pub fn record(&self, key: &Key) -> Option<Record> {
        let (stored, _) = self.state.lock().records.get(key).cloned()?;
        Some(Record::open(&self.vault, key, stored.version, &stored.value).unwrap())
    }

    /// The version of the record that is stored.
    pub fn version(&self, key: &Key) -> Option<Version> {
        self.state.lock().records.get(key).map(|(stored, _)| stored.version)
    }

    fn gap(&self) {
        for gate in self.gates.lock().iter() {
            let _ = gate.notices.send(Change::Gap);
        }
    }

    fn execute<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (done, written) = {
            let mut state = self.state.lock();
            let done = work(&mut state);
            let written =
                state.changed.take().map(|key| (key, state.records.get(&key).map(|(stored, _)| stored.clone())));
            (done, written)
        };
        if let Some((key, stored)) = written {
            self.tell(key);
            if let (Some(provider), Some(stored)) = (self.provider.get(), stored)
                && provider.awaits_landing()
            {
                let record = Record::open(&self.vault, &key, stored.version, &stored.value).unwrap();
                if let Some(token) = record.grant.and_then(|grant| grant.refresh_token) {
                    provider.landed(token.expose());
                }
            }
        }
        done
    }

    fn tell(&self, key: Key) {
        let delay = self.weather.lock().delay;
        for gate in self.gates.lock().iter().filter(|gate| !gate.is_killed() && !gate.is_cut()) {
            let pause = self.journal.random.below(delay.min(150) * 2 + 1);
            if pause == 0 {
                let _ = gate.notices.send(Change::Record(key));
                continue;
            }
            let (gate, cuts) = (Arc::clone(gate), gate.cuts());
            tokio::spawn(async move {
                sleep(Duration::from_millis(pause)).await;
                if gate.cuts() == cuts {
                    let _ = gate.notices.send(Change::Record(key));
                }
            });
        }
    }
}

/// The store as one process reaches it.
pub struct Handle {
    server: Arc<Server>,
    gate: Arc<Gate>,
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
    async fn act<T: Send + std::fmt::Debug + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (server, random) = (&self.server, &self.server.journal.random);
        self.gate.cross().await;
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

    async fn put(
        &self,
        key: &Key,
        expect: Expect,
        version: Version,
        value: &[u8],
        due: Option<u64>,
    ) -> Result<Put, Error> {
        let (key, value) = (*key, value.to_vec());
        self.act("put", move |state| state.put(key, expect, Versioned { version, value }, due)).await
    }

    async fn delete(&self, key: &Key, expect: Expect) -> Result<Put, Error> {
        let key = *key;
        self.act("delete", move |state| state.delete(key, expect)).await
    }

    async fn due(&self, until_ms: u64, limit: usize) -> Result<Vec<(Key, u64)>, Error> {
        let list = move |state: &mut State| {
            let due = state.records.iter().filter_map(|(key, (_, due))| Some((*key, (*due)?)));
            let mut due: Vec<_> = due.filter(|(_, at)| *at <= until_ms).collect();
            due.sort_by_key(|(_, at)| *at);
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

    async fn put_once(&self, id: &str, value: &[u8], _: Option<Duration>) -> Result<Claim, Error> {
        let (id, value) = (id.to_owned(), value.to_vec());
        let claim = move |state: &mut State| match state.once.get(&id) {
            Some(stored) => Claim::Theirs(stored.clone()),
            None => {
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
        let replace = move |state: &mut State| match state.once.get_mut(&id) {
            Some(stored) if *stored == expected => {
                *stored = value;
                true
            }
            _ => false,
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

impl State {
    fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            leases: HashMap::new(),
            once: HashMap::new(),
            fence: 0,
            began: Instant::now(),
            before_last: None,
            changed: None,
            down_until: None,
            outages: vec![],
        }
    }

    fn put(&mut self, key: Key, expect: Expect, new: Versioned, due: Option<u64>) -> Put {
        let current = self.records.get(&key).map(|(stored, _)| stored.clone());
        if current.as_ref() == Some(&new) {
            return Put::Stored;
        }
        let holds = match expect {
            Expect::Absent => current.is_none(),
            Expect::Version(version) => current.as_ref().is_some_and(|current| current.version == version),
            Expect::Any => true,
        };
        if !holds || current.as_ref().is_some_and(|current| current.version >= new.version) {
            return Put::Conflict(current);
        }
        self.before_last = Some((Instant::now(), key, self.records.insert(key, (new, due))));
        self.changed = Some(key);
        Put::Stored
    }

    fn delete(&mut self, key: Key, expect: Expect) -> Put {
        let Some((current, _)) = self.records.get(&key) else { return Put::Stored };
        if matches!(expect, Expect::Absent) || matches!(expect, Expect::Version(version) if version != current.version)
        {
            return Put::Conflict(Some(current.clone()));
        }
        self.before_last = Some((Instant::now(), key, self.records.remove(&key)));
        self.changed = Some(key);
        Put::Stored
    }

    fn lease(&mut self, key: Key, holder: String, ttl: Duration) -> Taken {
        let now = Instant::now();
        match self.leases.get_mut(&key) {
            Some((other, until, _)) if *until > now && *other != holder => Taken::Theirs { remaining: *until - now },
            Some((_, until, fence)) if *until > now => {
                *until = now + ttl;
                Taken::Mine { fence: *fence }
            }
            _ => {
                let clock = super::world::START.micros() + u64::try_from(self.began.elapsed().as_micros()).unwrap();
                self.fence = clock.max(self.fence + 1);
                self.leases.insert(key, (holder, now + ttl, self.fence));
                Taken::Mine { fence: self.fence }
            }
        }
    }

    /// The end of the lease, where this holder has it.
    fn held(&mut self, key: &Key, holder: &str) -> Option<&mut Instant> {
        let (other, until, _) = self.leases.get_mut(key)?;
        (other == holder && *until > Instant::now()).then_some(until)
    }
}
