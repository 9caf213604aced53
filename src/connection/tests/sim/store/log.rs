//! The simulated store's log and counters: what is appended with a change stands and is forgotten with it.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    super::{
        gate::Gate,
        journal::Journal,
        provider::Mode,
        world::{Nature, World},
    },
    State,
    handle::Handle,
};
use crate::store::{
    Counters, Entry, EntryId, Error, Keep, Log, Logged, Order, Position, Shard, Store, Stream, Tally, contract,
};

/// An entry, and whether it came with a change of a record.
pub struct Appended {
    pub logged: Logged,
    pub with_change: bool,
}

/// All streams.
#[derive(Default)]
pub struct Logs {
    streams: BTreeMap<Stream, Vec<Appended>>,
    last: BTreeMap<Stream, Position>,
}

impl Logs {
    /// Appends these at this time.
    pub fn add(&mut self, shard: Shard, entries: &[Entry], now_ms: u64, with_change: bool) {
        for entry in entries {
            let stream = Stream { log: entry.log, shard };
            let position = Position::next(self.last.get(&stream).copied(), now_ms);
            self.last.insert(stream, position);
            let logged = Logged { position, id: entry.id, sealed: entry.sealed.clone() };
            self.streams.entry(stream).or_default().push(Appended { logged, with_change });
        }
    }

    /// Those that aren't there yet.
    fn append(&mut self, shard: Shard, entries: &[Entry], now_ms: u64) {
        for entry in entries {
            let stream = self.streams.get(&Stream { log: entry.log, shard });
            let known = |appended: &Appended| !appended.with_change && appended.logged.id == entry.id;
            if !stream.is_some_and(|stream| stream.iter().any(known)) {
                self.add(shard, std::slice::from_ref(entry), now_ms, false);
            }
        }
    }

    /// They never were.
    pub fn forget(&mut self, ids: &[EntryId]) {
        for stream in self.streams.values_mut() {
            stream.retain(|appended| !ids.contains(&appended.logged.id));
        }
    }

    /// Everything, with where it is.
    pub fn all(&self) -> impl Iterator<Item = (&Stream, &Appended)> {
        self.streams.iter().flat_map(|(stream, entries)| entries.iter().map(move |appended| (stream, appended)))
    }

    fn read(&self, stream: &Stream, order: Order, limit: usize) -> Vec<Logged> {
        let entries = self.streams.get(stream).into_iter().flatten().map(|appended| appended.logged.clone());
        match order {
            Order::Oldest(after) => {
                entries.filter(|logged| after.is_none_or(|after| logged.position > after)).take(limit).collect()
            }
            Order::Newest(before) => {
                let mut entries: Vec<_> =
                    entries.filter(|logged| before.is_none_or(|before| logged.position < before)).collect();
                entries.reverse();
                entries.truncate(limit);
                entries
            }
        }
    }

    fn trim(&mut self, stream: &Stream, keep: Keep, now_ms: u64) -> u64 {
        let Some(entries) = self.streams.get_mut(stream) else { return 0 };
        let before = entries.len();
        if let Some(age) = keep.age {
            let from = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap());
            entries.retain(|appended| appended.logged.position.at_ms >= from);
        }
        if let Some(behind) = keep.behind {
            entries.retain(|appended| appended.logged.position > behind);
        }
        if let Some(most) = keep.entries {
            entries.drain(..entries.len().saturating_sub(usize::try_from(most).unwrap()));
        }
        (before - entries.len()) as u64
    }
}

/// All counters, with their ends.
#[derive(Default)]
pub struct Counts {
    buckets: BTreeMap<(String, u64), (u64, Instant)>,
    counted: BTreeMap<(String, String), Instant>,
}

#[async_trait]
impl Log for Handle {
    async fn append(&self, shard: Shard, entries: &[Entry]) -> Result<(), Error> {
        let entries = entries.to_vec();
        self.act("append", move |state| state.log.append(shard, &entries, super::now_ms(state.began))).await
    }

    async fn read(&self, stream: &Stream, order: Order, limit: usize) -> Result<Vec<Logged>, Error> {
        let stream = *stream;
        self.act("read", move |state| state.log.read(&stream, order, limit)).await
    }

    /// Housekeeping that no run judges: it is no step, and draws nothing, so that a seed stays the run that it was.
    async fn trim(&self, stream: &Stream, keep: Keep) -> Result<u64, Error> {
        let now_ms = super::now_ms(self.server.state.lock().began);
        Ok(self.server.state.lock().log.trim(stream, keep, now_ms))
    }
}

#[async_trait]
impl Counters for Handle {
    async fn count_up(&self, tally: &Tally<'_>) -> Result<(), Error> {
        crate::store::counters::check_tally(tally)?;
        let (name, id) = (tally.name.to_owned(), tally.id.to_owned());
        let (bucket, n, known_for, kept_for) = (tally.bucket, tally.n, tally.known_for, tally.kept_for);
        let count = move |State { counts, .. }: &mut State| {
            let now = Instant::now();
            let known = counts.counted.entry((name.clone(), id)).or_insert(now);
            if *known <= now {
                *known = now + known_for;
                let (count, end) = counts.buckets.entry((name, bucket)).or_insert((0, now));
                *count = if *end > now { *count + n } else { n };
                *end = now + kept_for;
            }
        };
        self.act("count_up", count).await
    }

    async fn counts(&self, name: &str, buckets: RangeInclusive<u64>) -> Result<Vec<(u64, u64)>, Error> {
        crate::store::counters::check_counts(name, &buckets)?;
        let name = name.to_owned();
        let counts = move |State { counts, .. }: &mut State| {
            let all = counts.buckets.range((name.clone(), *buckets.start())..=(name, *buckets.end()));
            let live = all.filter(|(_, (_, end))| *end > Instant::now());
            live.map(|((_, bucket), (count, _))| (*bucket, *count)).collect()
        };
        self.act("counts", counts).await
    }
}

/// The contract's word on logs and counters, in virtual time. Of the rest only what a run needs is simulated.
#[tokio::test(start_paused = true)]
async fn the_contract_of_logs_and_counters_holds() {
    let journal = Arc::new(Journal::new(0, false));
    let nature = Nature { mode: Mode::Strict, life: Duration::from_secs(10), one_at_a_time: false, skewed: false };
    let gate = Gate::new("p1".into(), Arc::clone(&journal));
    let store = World::new(journal, nature, 1).server.reached_by(&gate);
    let store: &dyn Store = &*store;
    contract::an_entry_goes_with_the_write_and_with_no_other(store).await;
    contract::an_entry_goes_with_the_delete_of_what_is_there(store).await;
    contract::what_is_appended_again_is_there_once(store).await;
    contract::a_log_is_read_from_either_end_on_behind_what_was_read(store).await;
    contract::of_many_writers_each_entry_is_there_once_and_in_order(store).await;
    contract::a_log_keeps_its_newest_entries(store).await;
    contract::a_log_loses_what_is_too_old(store).await;
    contract::a_log_is_cut_up_to_an_entry(store).await;
    contract::what_is_counted_twice_counts_once(store).await;
    contract::counts_are_read_by_range(store).await;
    contract::of_many_that_count_at_once_none_is_lost(store).await;
    contract::counts_and_what_was_counted_end_by_themselves(store).await;
    contract::a_counter_has_bounds(store).await;
}
