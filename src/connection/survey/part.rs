//! Giving many connections up at once. First a dry run counts what is meant and keeps exactly that, sealed, for a quarter of an
//! hour; its word then gives up what was counted and is still meant, and nothing else. Each is unusable at once; the healer revokes
//! them at their providers, at its own pace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::{Filter, READS, Survey, Surveyed, Uses};
use crate::{
    connection::{
        model::{Status, Unavailable},
        record::{change::Change, facts::Fact, form::Record, view},
    },
    events::{Cause, Kind},
    id::ServiceName,
    secret::SecretString,
    store::{Claim, Key},
    vault::{Purpose, Root},
};

/// The most that one word gives up.
const MOST: usize = 5000;
/// How long a word stands.
const KEPT: Duration = Duration::from_secs(15 * 60);
/// How many are given up at the same time.
const AT_ONCE: usize = 8;
/// Between two batches, so that calls don't feel it.
const REST: Duration = Duration::from_millis(5);
/// Behind what is sealed of a kept count.
const END: u8 = b'\n';
/// Of so many that were counted one may have changed since; beyond that the word no longer stands.
const CHANGED: usize = 10;

/// What a dry run counted.
#[derive(Debug)]
pub struct Counted {
    /// How many connections would be given up.
    pub connections: usize,
    /// How many of which service.
    pub by_service: BTreeMap<ServiceName, usize>,
    /// How many records no key of the vault opens, of those that were looked at: they stay.
    pub unreadable: usize,
    /// There are more: these are the first, and the others take another round.
    pub more: bool,
    /// The word that gives these up; `None` where there are none.
    pub confirm: Option<SecretString>,
    /// How long it stands.
    pub expires_in: Duration,
}

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parted {
    /// How many were given up.
    pub disconnected: usize,
    /// How many had changed since they were counted, and were left alone.
    pub left: usize,
    /// How many could not be given up now: the store or the keys were away.
    pub failed: usize,
}

/// Why nothing was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// The word is none that stands: it has expired, was used, or never was.
    #[error("this word doesn't stand, or no longer")]
    Unknown,
    /// What is meant is no longer what was counted.
    #[error("what is meant has changed since it was counted")]
    Changed {
        /// How many were counted.
        counted: usize,
        /// How many of them are still meant.
        left: usize,
    },
    /// The store or the keys are away.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Survey {
    /// Counts what is meant, and keeps it under a word. Nothing is given up.
    ///
    /// # Errors
    /// While the store or the keys are away.
    pub async fn count_to_part(&self, filter: &Filter) -> Result<Counted, Unavailable> {
        let (mut by_service, mut places) = (BTreeMap::new(), BTreeSet::new());
        let (mut cursor, mut unreadable, mut more) = (None, 0, false);
        loop {
            let batch = self.batch(filter, cursor, Uses::WhereTheyDecide).await?;
            unreadable += batch.unreadable;
            for (key, one) in batch.found.into_iter().filter(|(_, one)| can_be_given_up(one)) {
                if places.len() >= MOST && !places.contains(&key) {
                    more = true;
                    break;
                }
                if places.insert(key) {
                    *by_service.entry(one.id.service).or_default() += 1;
                }
            }
            cursor = batch.next;
            if cursor.is_none() || more {
                break;
            }
            sleep(REST).await;
        }
        let connections = places.len();
        let confirm = if places.is_empty() { None } else { Some(self.keep(filter, &places).await?) };
        Ok(Counted { connections, by_service, unreadable, more, confirm, expires_in: KEPT })
    }

    /// Gives up what was counted under this word and is still meant. A word serves once.
    ///
    /// # Errors
    /// [`PartError`]; nothing was given up then.
    pub async fn part(self: &Arc<Self>, word: &SecretString, cause: &Cause) -> Result<Parted, PartError> {
        let (filter, places) = self.take(word).await?.ok_or(PartError::Unknown)?;
        let read = |key: Key| async move {
            match self.records.read(&key).await {
                Ok(found) => Ok(found.map(|(record, _)| (key, record))),
                Err(Unavailable::Keys) => Ok(None),
                Err(unavailable) => Err(unavailable),
            }
        };
        let found: Vec<_> = stream::iter(places.iter().copied()).map(read).buffered(READS).try_collect().await?;
        let found = found.into_iter().flatten().collect();
        let meant = self.meant(&filter, found, Uses::WhereTheyDecide).await?;
        let meant: Vec<Surveyed> = meant.into_iter().map(|(_, one)| one).filter(can_be_given_up).collect();
        let left = places.len() - meant.len();
        if left * CHANGED > places.len() {
            return Err(PartError::Changed { counted: places.len(), left: meant.len() });
        }
        let outcomes = stream::iter(meant)
            .map(|one| async { self.give_up(&filter, one, cause).await })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut parted = Parted { disconnected: 0, left, failed: 0 };
        for outcome in outcomes {
            match outcome {
                Ok(true) => parted.disconnected += 1,
                Ok(false) => parted.left += 1,
                Err(_) => parted.failed += 1,
            }
        }
        Ok(parted)
    }

    /// Gives one up, if it is still what was meant: somebody may just have connected again. `false`: it is not.
    async fn give_up(&self, filter: &Filter, one: Surveyed, cause: &Cause) -> Result<bool, Unavailable> {
        let fact = Fact { detail: Some("bulk"), ..Fact::new(Kind::Revoked, cause) };
        let (services, now) = (self.live.services(), self.records.now());
        let service = services.get(one.id.service.as_str()).map(AsRef::as_ref);
        let still = |record: &Record| {
            let mut seen = view::standing(record, service, now)?;
            seen.last_used_at = one.connection.last_used_at;
            seen.foresee(service, now);
            (record.stands() && filter.admits(&one.id, &seen)).then_some(Change::Disconnected)
        };
        Ok(self.editor.change(&one.id, &fact, still).await?.is_some())
    }

    async fn keep(&self, filter: &Filter, places: &BTreeSet<Key>) -> Result<SecretString, Unavailable> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Unavailable::Keys)?;
        let word = HEXLOWER.encode(&random);
        let root = self.records.roots().get().await?;
        let name = name(&root, &word);
        let places: Vec<u8> = places.iter().flat_map(|key| key.to_bytes()).collect();
        let plain = serde_json::to_vec(filter).map_err(|_| Unavailable::Keys)?;
        let mut value = root.seal(Purpose::Survey, &plain, &[name.as_bytes(), &Sha256::digest(&places)])?.into_bytes();
        value.push(END);
        value.extend(places);
        match self.records.store().put_once(&name, &value, Some(KEPT)).await? {
            Claim::Mine => Ok(word.into()),
            Claim::Theirs(_) => Err(Unavailable::Busy),
        }
    }

    async fn take(&self, word: &SecretString) -> Result<Option<(Filter, BTreeSet<Key>)>, Unavailable> {
        let root = self.records.roots().get().await?;
        let name = name(&root, word.expose());
        let Some(value) = self.records.store().take(&name).await? else { return Ok(None) };
        Ok(opened(&root, &name, &value))
    }
}

/// What is kept under this name: the filter, sealed together with the counted connections' places, and these.
fn opened(root: &Root, name: &str, value: &[u8]) -> Option<(Filter, BTreeSet<Key>)> {
    let (sealed, places) = value.split_at_checked(value.iter().position(|byte| *byte == END)?)?;
    let (sealed, places) = (std::str::from_utf8(sealed).ok()?, places.get(1..)?);
    let bound: [&[u8]; 2] = [name.as_bytes(), &Sha256::digest(places)];
    let plain = root.open(Purpose::Survey, sealed, &bound).ok()?;
    let places = places.chunks_exact(32).filter_map(|place| Key::from_bytes(place).ok()).collect();
    Some((serde_json::from_slice(plain.expose()).ok()?, places))
}

/// What waits for a confirmation is not yet anybody's to give up: it goes by itself.
fn can_be_given_up(one: &Surveyed) -> bool {
    one.connection.status != Status::Pending
}

/// Where a word's meaning is kept.
fn name(root: &Root, word: &str) -> String {
    format!("part-{}", HEXLOWER.encode(&root.blind("part", &[word.as_bytes()])))
}
