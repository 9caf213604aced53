//! A store in memory that many processes share, over a network that delays, loses answers, delivers requests after their
//! sender gave up, and goes away; and whose failover forgets the last write that it acknowledged.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{gate::Gate, journal::Journal, provider::Provider};
use crate::{
    connection::record::form::Record,
    events::{AUDIT, KeptEvent, Opened, may_be_about, once_stored},
    store::{Change, Entry, EntryId, Expect, Key, OwnerId, Put, RecordId, Stream, Taken, Version, Versioned},
    vault::Vault,
};

mod facts;
mod handle;
mod log;

use facts::Write;
pub use handle::Handle;
use log::{Appended, Counts, Logs};

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
    /// All that was ever stored of persons' keys: judges know whom the log was about, also after that was forgotten.
    keys: Vec<(String, Vec<u8>)>,
    /// Which healers have a turn, and until when.
    turns: HashMap<String, (Vec<u8>, Instant)>,
    fence: u64,
    began: Instant,
    /// Writes whose process was stopped after it had sent them off for longer than its leases last for certain.
    held_up: HashSet<Version>,
    /// What stood where the last write was done, and what was appended with it.
    before_last: Option<(Instant, Key, Option<Stored>, Vec<EntryId>)>,
    log: Logs,
    counts: Counts,
    /// All writes that stand, in order.
    writes: Vec<Write>,
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
        Duration::from_secs(if self.is_lossy() { 20 } else { 2 })
    }

    /// Whether requests or answers get lost on their way.
    pub fn is_lossy(&self) -> bool {
        let weather = self.weather.lock();
        weather.late + weather.lost_answers + weather.lost_requests > 0
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
            if let Some((_, key, before, entries)) =
                state.before_last.take().filter(|(at, ..)| at.elapsed() < REPLICATED)
            {
                match before {
                    Some(before) => drop(state.records.insert(key, before)),
                    None => drop(state.records.remove(&key)),
                }
                state.log.forget(&entries);
                state.writes.pop();
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

    /// How much was written so far.
    pub fn writes(&self) -> usize {
        self.state.lock().writes.len()
    }

    /// Whether this record's connection was given up after so much was written.
    pub fn parted_since(&self, writes: usize, key: &Key) -> bool {
        let state = self.state.lock();
        state.writes.iter().skip(writes).any(|write| write.key == *key && write.parted(&self.vault))
    }

    /// All records that can be read.
    pub fn records(&self) -> Vec<Record> {
        self.records_where(|_, _| true)
    }

    /// The same without what was written so late that no lease of its writer's can have covered it.
    pub fn records_in_time(&self) -> Vec<Record> {
        self.records_where(|state, version| !state.held_up.contains(&version))
    }

    fn records_where(&self, holds: impl Fn(&State, Version) -> bool) -> Vec<Record> {
        let state = self.state.lock();
        let stored = state.records.iter().map(|(key, (stored, _))| (key, stored));
        let chosen = stored.filter(|(_, stored)| holds(&state, stored.version));
        chosen.filter_map(|(key, stored)| Record::open(&self.vault, key, stored.version, &stored.value).ok()).collect()
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        self.state.lock().records.len()
    }

    /// This many records that nobody can read, all of them long due.
    pub fn litter(&self, records: u16) {
        let mut state = self.state.lock();
        for number in 0..records {
            let [high, low] = number.to_be_bytes();
            let mut owner = [0xee; 16];
            (owner[0], owner[1]) = (high, low);
            let key = Key { owner: OwnerId(owner), record: RecordId([0; 16]) };
            let garbage = Versioned { version: Version(1), value: b"garbage".to_vec() };
            state.records.insert(key, (garbage, Some(1)));
        }
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
            self.tell(key, stored.as_ref().map(|stored| stored.version));
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

    /// What the log of events says, the oldest first.
    pub fn log(&self) -> Vec<KeptEvent> {
        let state = self.state.lock();
        let mut entries: Vec<_> = state.log.all().filter(|(stream, _)| stream.log == AUDIT).collect();
        entries.sort_by_key(|(_, appended)| appended.logged.position);
        let open = |(stream, appended): (&Stream, &Appended)| {
            let opened = Opened::open(&self.vault, stream, &appended.logged).unwrap();
            let Some(owner) = opened.owner().copied() else { return opened.with(None) };
            let name = format!("audit-key-{owner}");
            let keys = state.keys.iter().filter(|(of, _)| *of == name);
            let mut keys = keys.filter_map(|(_, sealed)| once_stored(&self.vault, &owner, sealed));
            let right = keys.find(|key| may_be_about(&appended.logged, Some(key.tag())));
            opened.with(right.as_ref())
        };
        entries.into_iter().map(open).collect()
    }

    /// Where the log says something else than what was changed.
    pub fn differences_of_log(&self) -> Vec<String> {
        let state = self.state.lock();
        facts::differences(&state.writes, &state.log, &self.vault)
    }

    fn tell(&self, key: Key, version: Option<Version>) {
        let delay = self.weather.lock().delay;
        for gate in self.gates.lock().iter().filter(|gate| !gate.is_killed() && !gate.is_cut()) {
            let pause = self.journal.random.below(delay.min(150) * 2 + 1);
            if pause == 0 {
                let _ = gate.notices.send(Change::Record(key, version));
                continue;
            }
            let (gate, cuts) = (Arc::clone(gate), gate.cuts());
            tokio::spawn(async move {
                sleep(Duration::from_millis(pause)).await;
                if gate.cuts() == cuts {
                    let _ = gate.notices.send(Change::Record(key, version));
                }
            });
        }
    }
}

/// The store's clock.
fn now_ms(began: Instant) -> u64 {
    super::world::START.millis() + u64::try_from(began.elapsed().as_millis()).unwrap()
}

impl State {
    fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            leases: HashMap::new(),
            once: HashMap::new(),
            keys: vec![],
            turns: HashMap::new(),
            fence: 0,
            began: Instant::now(),
            held_up: HashSet::new(),
            before_last: None,
            writes: vec![],
            log: Logs::default(),
            counts: Counts::default(),
            changed: None,
            down_until: None,
            outages: vec![],
        }
    }

    fn put(&mut self, key: Key, expect: Expect, new: Versioned, due: Option<u64>, entries: &[Entry]) -> Put {
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
        let before = self.records.insert(key, (new, due));
        self.written(key, before, entries);
        Put::Stored
    }

    /// Notes what is stored of a person's key.
    fn note(&mut self, id: &str, value: &[u8]) {
        if id.starts_with("audit-key-") {
            self.keys.push((id.to_owned(), value.to_vec()));
        }
    }

    fn written(&mut self, key: Key, before: Option<Stored>, entries: &[Entry]) {
        self.log.add(key.shard(), entries, now_ms(self.began), true);
        let version = |stored: Option<&Stored>| stored.map(|(stored, _)| stored.clone());
        self.writes.push(Write { key, before: version(before.as_ref()), after: version(self.records.get(&key)) });
        let ids = entries.iter().map(|entry| entry.id).collect();
        self.before_last = Some((Instant::now(), key, before, ids));
        self.changed = Some(key);
    }

    fn delete(&mut self, key: Key, expect: Expect, entries: &[Entry]) -> Put {
        let Some((current, _)) = self.records.get(&key) else { return Put::Stored };
        if matches!(expect, Expect::Absent) || matches!(expect, Expect::Version(version) if version != current.version)
        {
            return Put::Conflict(Some(current.clone()));
        }
        let before = self.records.remove(&key);
        self.written(key, before, entries);
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
