//! Keeps the log: once a minute one replica signs what has come to each shard, cuts off what is too old or too much, and writes an
//! anchor. Every write is compared with what was read, so that nothing rests on its being one; and it builds on nothing that
//! isn't signed: where something was changed, that shard is left as it is, for `report audit --verify` to find.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{runtime::Handle, time::interval};

use super::{
    AUDIT,
    chain::{Anchor, HEADS_NAME, Head, Heads, Mark, NotSigned, Standing, head_name, sign, signed, signer},
    file::AuditWriter,
};
use crate::{
    clock::{Clock, Timestamp},
    config,
    events::notice::Surroundings,
    store::{self, Claim, Keep, Logged, Order, Shard, Store, Stream},
    vault::{PublicKey, Signer},
};

/// How often the log is signed.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long a replica's turn is: a little less, so that its own last one is never in its way.
const TURN: Duration = Duration::from_secs(55);
/// What is younger may not be on all replicas of the store yet, and a failover would take it along.
const SETTLED: Duration = Duration::from_secs(5);
/// How many entries are read at once.
const PAGE: usize = 500;
/// How many shards are looked at at the same time.
const AT_ONCE: usize = 16;
/// In every so many rounds a shard is looked at for what is too old.
const ROUNDS: u8 = 32;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The store is away.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Something was changed.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// It is gone, though it was there.
    #[error("what is signed of a shard of the log is gone, or older than it was")]
    Lost,
    /// Another replica was quicker.
    #[error("another replica was quicker")]
    Conflict,
}

/// Keeps the log.
pub struct Keeper {
    store: Arc<dyn Store>,
    surroundings: Arc<dyn Surroundings>,
    clock: Clock,
    retention: Duration,
    max_entries: Option<u64>,
    anchors: Option<AuditWriter>,
}

/// What one round goes by.
struct Round {
    signer: Signer,
    key: PublicKey,
    now: Timestamp,
    before: Heads,
    /// How many entries a shard may keep.
    level: u64,
    /// Which of the shards are looked at for what is too old.
    turn: u8,
}

impl Keeper {
    /// Of the log in this store. Anchors go to `anchors`, too.
    pub fn new(
        store: Arc<dyn Store>,
        surroundings: Arc<dyn Surroundings>,
        clock: Clock,
        settings: &config::Audit,
        anchors: Option<AuditWriter>,
    ) -> Self {
        let (retention, max_entries) = (settings.retention, settings.max_entries);
        Self { store, surroundings, clock, retention, max_entries, anchors }
    }

    /// Keeps it for as long as the process lives.
    pub fn start(self, handle: &Handle) {
        handle.spawn(async move {
            let mut tick = interval(INTERVAL);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                match self.store.put_once("audit-keeper", b"taken", Some(TURN)).await {
                    Ok(Claim::Mine) => {}
                    Ok(Claim::Theirs(_)) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "the store doesn't say whose turn it is to sign the log");
                        continue;
                    }
                }
                match self.keep(self.clock.now().before(SETTLED)).await {
                    Ok(_) | Err(KeepError::Conflict) => {}
                    Err(KeepError::Store(error)) => tracing::debug!(%error, "the log is signed later"),
                    Err(error) => {
                        tracing::error!(%error, "the log is not signed: see `valetkey report audit --verify`")
                    }
                }
            }
        });
    }

    /// Signs what was appended up to then, and cuts off what goes. What has moved on, if anything has.
    ///
    /// # Errors
    /// While the store is away; where what is signed over all shards was changed.
    pub async fn keep(&self, until: Timestamp) -> Result<Option<Anchor>, KeepError> {
        let Some(root) = self.surroundings.root().await else { return Ok(None) };
        let signer = signer(&root);
        let key = signer.public_key();
        let stored = self.store.peek(HEADS_NAME).await?;
        let before: Heads = stored.as_deref().map(|bytes| signed(&key, bytes)).transpose()?.unwrap_or_default();
        let level = self.max_entries.map_or(u64::MAX, |most| level(&before, most));
        let turn = u8::try_from(self.clock.now().seconds() / INTERVAL.as_secs() % u64::from(ROUNDS)).unwrap_or(0);
        let round = Round { signer, key, now: until, before, level, turn };
        let standings: BTreeMap<u8, Standing> = stream::iter(Shard::all())
            .map(|shard| self.attend(&round, shard))
            .buffer_unordered(AT_ONCE)
            .filter_map(|standing| async move { standing.map(|standing| (standing.shard, standing)) })
            .collect()
            .await;
        let shards: Vec<Standing> = standings.into_values().collect();
        if shards == round.before.shards {
            return Ok(None);
        }
        let heads = Heads { sequence: round.before.sequence + 1, time: self.clock.now().millis(), shards };
        self.write(HEADS_NAME, stored.as_deref(), &sign(&round.signer, &heads)).await?;
        let anchor = Anchor::between(&round.before, &heads);
        let line = anchor.sign(&round.signer);
        if let Some(writer) = &self.anchors {
            writer.write(&serde_json::json!({ "anchor": line }).to_string());
        }
        tracing::info!(target: "valetkey::audit", anchor = line, "audit anchor");
        Ok(Some(anchor))
    }

    /// Sees to one shard. Where it stands then; where something is wrong, where it stood.
    async fn attend(&self, round: &Round, shard: Shard) -> Option<Standing> {
        let known = round.before.of(shard).copied();
        match self.sign_and_cut(round, shard, known).await {
            Ok(standing) => standing,
            Err(error) => {
                match error {
                    KeepError::Store(_) | KeepError::Conflict => {
                        tracing::debug!(%error, shard = shard.0, "a shard of the log is signed later");
                    }
                    KeepError::NotSigned(_) | KeepError::Lost => tracing::error!(
                        %error,
                        shard = shard.0,
                        "a shard of the log is not signed any more: see `valetkey report audit --verify`"
                    ),
                }
                known
            }
        }
    }

    async fn sign_and_cut(
        &self,
        round: &Round,
        shard: Shard,
        known: Option<Standing>,
    ) -> Result<Option<Standing>, KeepError> {
        let stream = Stream { log: AUDIT, shard };
        let since = known.map(|known| known.head.position());
        let news = self.settled(round, &stream, since, PAGE).await?;
        let length = known.map_or(0, |known| known.head.count - known.floor);
        let may_cut = length > round.level || shard.0 % ROUNDS == round.turn;
        if news.is_empty() && !(may_cut && length > 0) {
            return Ok(known);
        }
        let name = head_name(shard);
        let stored = self.store.peek(&name).await?;
        let mut head = match &stored {
            Some(bytes) => signed::<Head>(&round.key, bytes)?,
            None if known.is_some() => return Err(KeepError::Lost),
            None => Head::beginning(shard),
        };
        if head.shard != shard.0 || known.is_some_and(|known| known.head.count > head.head().count) {
            return Err(KeepError::Lost);
        }
        let signed_before = head.clone();
        self.extend(round, &stream, &mut head).await?;
        if may_cut {
            self.cut(round, &stream, &mut head).await?;
        }
        if head != signed_before {
            head.time = self.clock.now().millis();
            self.write(&name, stored.as_deref(), &sign(&round.signer, &head)).await?;
        }
        if may_cut && head.floor().count > 0 {
            // The floor is signed first: who dies in between leaves entries that don't count, and that the next round cuts off.
            let gone =
                self.store.trim(&stream, Keep { behind: Some(head.floor().position()), ..Keep::default() }).await?;
            if gone > 0 {
                tracing::debug!(gone, "the oldest entries of the log are gone");
            }
        }
        Ok((head.head().count > 0).then(|| Standing { shard: shard.0, floor: head.floor().count, head: head.head() }))
    }

    /// Adds what has come since.
    async fn extend(&self, round: &Round, stream: &Stream, head: &mut Head) -> Result<(), KeepError> {
        let mut mark = head.head();
        loop {
            let since = (mark.count > 0).then(|| mark.position());
            let page = self.settled(round, stream, since, PAGE).await?;
            mark = page.iter().fold(mark, |mark, logged| mark.then(logged));
            if page.len() < PAGE {
                break;
            }
        }
        if mark.count > head.head().count {
            head.extend(mark);
        }
        Ok(())
    }

    /// What lies behind an entry, and long enough.
    async fn settled(
        &self,
        round: &Round,
        stream: &Stream,
        since: Option<store::Position>,
        limit: usize,
    ) -> Result<Vec<Logged>, KeepError> {
        let mut page = self.store.read(stream, Order::Oldest(since), limit).await?;
        page.retain(|logged| logged.position.at_ms <= round.now.millis());
        Ok(page)
    }

    /// Moves the floor up to what is kept.
    async fn cut(&self, round: &Round, stream: &Stream, head: &mut Head) -> Result<(), KeepError> {
        let oldest = round.now.before(self.retention).millis();
        let kept_from = head.head().count.saturating_sub(round.level);
        let goes = |mark: &Mark| mark.position().at_ms < oldest || mark.count <= kept_from;
        let (floor, last) = (head.floor(), head.head());
        // What is signed already needs no second look.
        let mut mark = head.marks().iter().rev().find(|mark| goes(mark)).copied().unwrap_or(floor);
        'walk: while mark.count < last.count {
            let since = (mark.count > 0).then(|| mark.position());
            let page = self.store.read(stream, Order::Oldest(since), PAGE).await?;
            for logged in &page {
                let next = mark.then(logged);
                if !goes(&next) || next.count > last.count {
                    break 'walk;
                }
                mark = next;
            }
            if page.len() < PAGE {
                break;
            }
        }
        if mark.count > floor.count {
            head.cut(mark);
        }
        Ok(())
    }

    /// Writes what is signed over what was read.
    async fn write(&self, name: &str, before: Option<&[u8]>, after: &[u8]) -> Result<(), KeepError> {
        let is_written = match before {
            Some(before) => self.store.replace(name, before, after, None).await?,
            None => self.store.put_once(name, after, None).await? == Claim::Mine,
        };
        is_written.then_some(()).ok_or(KeepError::Conflict)
    }
}

/// How many entries each shard may keep, so that all together have no more than `most`: only the longest give any.
fn level(heads: &Heads, most: u64) -> u64 {
    let mut lengths: Vec<u64> = heads.shards.iter().map(|one| one.head.count.saturating_sub(one.floor)).collect();
    lengths.sort_unstable();
    let (mut left, mut shards) = (most, lengths.len() as u64);
    for length in lengths {
        let share = left / shards.max(1);
        if length > share {
            return share;
        }
        left -= length;
        shards -= 1;
    }
    u64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_shards_give_first() {
        let heads = |lengths: &[u64]| {
            let standing = |(shard, length): (usize, &u64)| {
                let shard = u8::try_from(shard).unwrap();
                let mut head = Mark::beginning(Shard(shard));
                head.count = *length + 10;
                Standing { shard, floor: 10, head }
            };
            Heads { shards: lengths.iter().enumerate().map(standing).collect(), ..Heads::default() }
        };
        for (lengths, most, expected) in [
            (&[10, 10, 1000][..], 120, 100),
            (&[10, 10, 1000], 1020, u64::MAX),
            (&[500, 10, 1000], 410, 200),
            (&[100, 100, 100], 150, 50),
            (&[], 5, u64::MAX),
        ] {
            assert_eq!(level(&heads(lengths), most), expected, "{lengths:?}");
        }
    }
}
