//! Reading the log: the newest first, over all shards or those of some people, as far as a filter lets through. A cursor names an
//! entry, so that what comes in meanwhile moves nothing. Where people are asked for, only their shards are read, and in these only
//! entries with the tags of their keys are opened.

use std::{
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    AUDIT, KeptError, KeptEvent, Opened,
    entry::{Tag, may_be_about},
    person::PersonalKeys,
    shown::type_of,
};
use crate::{
    clock::Timestamp,
    id::{Account, Issuer, ServiceName, Subject},
    store::{self, Logged, Order, OwnerId, Position, Shard, Store, Stream},
    vault::{PersonalKey, Vault},
};

/// How many entries of one shard are read first, where all are read, …
const FIRST: usize = 16;
/// … and at most.
const PAGE: usize = 1000;
/// How many shards are read at the same time.
const AT_ONCE: usize = 32;
/// How many entries one question looks at before it is to be asked again.
const PATIENCE: u64 = 100_000;
/// An event is never younger than its entry by more than clocks differ.
const SKEW: Duration = Duration::from_secs(600);

/// Which events are wanted: all that a field says nothing against.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of these people: their names in the store.
    pub owners: Option<Vec<OwnerId>>,
    /// Of this user.
    pub user: Option<Subject>,
    /// Of this issuer.
    pub issuer: Option<Issuer>,
    /// To this service.
    pub service: Option<ServiceName>,
    /// Under this label.
    pub account: Option<Account>,
    /// Of this type, as the contract calls it.
    pub kind: Option<&'static str>,
    /// Then or later.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Whether it lets this one through that says nothing of the person yet.
    fn may_pass(&self, event: &KeptEvent) -> bool {
        let kind = type_of(&event.kind, event.detail.as_deref());
        self.service.as_ref().is_none_or(|service| event.service.as_ref() == Some(service))
            && self.kind.is_none_or(|wanted| kind == Some(wanted))
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }

    fn passes(&self, event: &KeptEvent) -> bool {
        let wants_none = self.user.is_none() && self.issuer.is_none() && self.account.is_none();
        event.person.as_ref().map_or(wants_none, |person| {
            self.user.as_ref().is_none_or(|user| *user == person.user)
                && self.issuer.as_ref().is_none_or(|issuer| *issuer == person.issuer)
                && self.account.as_ref().is_none_or(|account| *account == person.account)
        })
    }
}

/// An entry behind which to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    position: Position,
    shard: Shard,
}

impl Cursor {
    /// As a text that says nothing to anybody else.
    pub fn text(&self) -> String {
        let Position { at_ms, nth } = self.position;
        BASE64URL_NOPAD.encode(&[&at_ms.to_be_bytes()[..], &nth.to_be_bytes(), &[self.shard.0]].concat())
    }

    /// What [`Cursor::text`] gave.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (at_ms, rest) = bytes.split_first_chunk()?;
        let (nth, shard) = rest.split_first_chunk()?;
        let [shard] = shard else { return None };
        let position = Position { at_ms: u64::from_be_bytes(*at_ms), nth: u64::from_be_bytes(*nth) };
        Some(Self { position, shard: Shard(*shard) })
    }

    /// Behind which position a shard is read, so that nothing of it comes before this entry.
    fn before(&self, shard: Shard) -> Position {
        let Position { at_ms, nth } = self.position;
        // Of one moment the larger shard comes first.
        if shard < self.shard { Position { at_ms, nth: nth.saturating_add(1) } } else { self.position }
    }
}

/// Some events, the newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// The events.
    pub events: Vec<KeptEvent>,
    /// Where to go on; none: that was all.
    pub next: Option<Cursor>,
    /// How many entries no key opens, or were changed.
    pub unreadable: u64,
}

/// Reads the log. Cheap to clone.
#[derive(Clone)]
pub struct AuditReader {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    keys: Arc<PersonalKeys>,
}

impl std::fmt::Debug for AuditReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditReader")
    }
}

impl AuditReader {
    /// Of the log in this store.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>) -> Self {
        let clock = crate::clock::Clock::system();
        let keys = PersonalKeys::new(Arc::clone(&store), Arc::clone(&vault), clock, Duration::ZERO);
        Self { store, vault, keys: Arc::new(keys) }
    }

    /// At most `limit` events behind `after`. There may be fewer and yet more to come: one question looks at so many entries.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn page(&self, filter: &Filter, after: Option<Cursor>, limit: usize) -> Result<Page, store::Error> {
        let mut scan = self.scan(filter, after).await?;
        let (mut page, mut last) = (Page::default(), after);
        loop {
            if page.events.len() >= limit || scan.looked_at >= PATIENCE {
                last = last.filter(|_| !scan.ahead.is_empty());
                break;
            }
            match scan.next_entry().await? {
                None => {
                    last = None;
                    break;
                }
                Some((cursor, event)) => {
                    last = Some(cursor);
                    page.events.extend(event);
                }
            }
        }
        (page.next, page.unreadable) = (last, scan.unreadable);
        Ok(page)
    }

    /// Begins to read behind `after`.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn scan<'f>(&self, filter: &'f Filter, after: Option<Cursor>) -> Result<Scan<'f>, store::Error> {
        let mut held = HashMap::new();
        let (mut tags, mut shards): (Option<Vec<Tag>>, Vec<Shard>) = (None, Shard::all().collect());
        if let Some(owners) = &filter.owners {
            let mut all = Vec::new();
            for owner in owners {
                let key = self.keys.find(owner).await?;
                all.extend(key.as_ref().map(PersonalKey::tag));
                held.insert(*owner, key);
            }
            shards = owners.iter().map(|owner| Shard(owner.0[0])).collect();
            shards.sort_unstable();
            shards.dedup();
            tags = Some(all);
        }
        let first = if tags.is_some() { PAGE } else { FIRST };
        let sources =
            shards.into_iter().map(|shard| (shard, Source::new(after.map(|after| after.before(shard)), first)));
        let mut scan = Scan {
            reader: self.clone(),
            filter,
            tags,
            held,
            sources: sources.collect(),
            ahead: BinaryHeap::new(),
            looked_at: 0,
            unreadable: 0,
        };
        let shards: Vec<Shard> = scan.sources.keys().copied().collect();
        scan.fill(&shards).await?;
        Ok(scan)
    }
}

/// One shard's entries that were read and not looked at yet.
struct Source {
    waiting: VecDeque<Logged>,
    before: Option<Position>,
    size: usize,
    is_over: bool,
}

impl Source {
    fn new(before: Option<Position>, size: usize) -> Self {
        Self { waiting: VecDeque::new(), before, size, is_over: false }
    }
}

/// Goes through the log, the newest first.
pub struct Scan<'f> {
    reader: AuditReader,
    filter: &'f Filter,
    /// Only entries with one of these, where people are asked for.
    tags: Option<Vec<Tag>>,
    held: HashMap<OwnerId, Option<PersonalKey>>,
    sources: BTreeMap<Shard, Source>,
    /// The first entry of each source.
    ahead: BinaryHeap<Cursor>,
    /// How many entries were looked at.
    pub looked_at: u64,
    /// How many of them no key opens, or were changed.
    pub unreadable: u64,
}

impl Scan<'_> {
    /// The next event that passes; none: that was all.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn next(&mut self) -> Result<Option<KeptEvent>, store::Error> {
        while let Some((_, event)) = self.next_entry().await? {
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The next entry, and its event where it passes.
    async fn next_entry(&mut self) -> Result<Option<(Cursor, Option<KeptEvent>)>, store::Error> {
        let Some(cursor) = self.ahead.pop() else { return Ok(None) };
        let Some(logged) = self.sources.get_mut(&cursor.shard).and_then(|source| source.waiting.pop_front()) else {
            return Ok(None);
        };
        self.looked_at += 1;
        self.queue(cursor.shard);
        if self.sources.get(&cursor.shard).is_some_and(|source| source.waiting.is_empty() && !source.is_over) {
            self.fill(&[cursor.shard]).await?;
        }
        if self.filter.since.is_some_and(|since| logged.position.at_ms < since.before(SKEW).millis()) {
            // Nothing behind it is younger, in this shard or any other.
            self.ahead.clear();
            return Ok(None);
        }
        Ok(Some((cursor, self.event(cursor.shard, &logged).await?)))
    }

    async fn event(&mut self, shard: Shard, logged: &Logged) -> Result<Option<KeptEvent>, store::Error> {
        let opened = match Opened::open(&self.reader.vault, &Stream { log: AUDIT, shard }, logged) {
            Ok(opened) => opened,
            Err(KeptError::Vault(_) | KeptError::Form) => {
                self.unreadable += 1;
                return Ok(None);
            }
        };
        if !self.filter.may_pass(opened.event()) {
            return Ok(None);
        }
        let event = match opened.owner().copied() {
            None => opened.with(None),
            Some(owner) => {
                if !self.held.contains_key(&owner) {
                    let key = self.reader.keys.find(&owner).await?;
                    self.held.insert(owner, key);
                }
                opened.with(self.held.get(&owner).and_then(Option::as_ref))
            }
        };
        Ok(Some(event).filter(|event| self.filter.passes(event)))
    }

    /// The first entry of a source takes its place among those of all.
    fn queue(&mut self, shard: Shard) {
        let first = self.sources.get(&shard).and_then(|source| source.waiting.front());
        self.ahead.extend(first.map(|logged| Cursor { position: logged.position, shard }));
    }

    /// Reads on in these shards, which have nothing waiting.
    async fn fill(&mut self, shards: &[Shard]) -> Result<(), store::Error> {
        let asked = shards.iter().filter_map(|shard| {
            let source = self.sources.get(shard)?;
            Some((*shard, source.before, source.size))
        });
        let (reader, tags, looked_at) = (&self.reader, &self.tags, &mut self.looked_at);
        let read: Vec<(Shard, VecDeque<Logged>, Option<Position>, bool, u64)> = stream::iter(asked)
            .map(|(shard, mut before, size)| async move {
                let (mut waiting, mut passed_over) = (VecDeque::new(), 0);
                loop {
                    let page = reader.store.read(&Stream { log: AUDIT, shard }, Order::Newest(before), size).await?;
                    let is_over = page.len() < size;
                    before = page.last().map(|logged| logged.position).or(before);
                    for logged in page {
                        let wanted = tags.as_ref().is_none_or(|tags| {
                            tags.iter().any(|tag| may_be_about(&logged, Some(*tag))) || may_be_about(&logged, None)
                        });
                        if wanted {
                            waiting.push_back(logged);
                        } else {
                            passed_over += 1;
                        }
                    }
                    if is_over || !waiting.is_empty() {
                        return Ok::<_, store::Error>((shard, waiting, before, is_over, passed_over));
                    }
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (shard, waiting, before, is_over, passed_over) in read {
            // To pass an entry over by its tag costs a hundredth of opening it.
            *looked_at += passed_over / 100;
            if let Some(source) = self.sources.get_mut(&shard) {
                *source = Source { waiting, before, size: (source.size * 2).min(PAGE), is_over };
            }
            let first = self.sources.get(&shard).and_then(|source| source.waiting.front());
            self.ahead.extend(first.map(|logged| Cursor { position: logged.position, shard }));
        }
        Ok(())
    }
}
