//! All connections at once, for operators and for the daily work on what ends: a walk over the store's records, a batch at a time,
//! each as people may see it. Reads records; only `part` changes any, and only where it is told to.
//!
//! - `filter`: which of them are meant; `page`: lists with cursors; `census`: how many there are
//! - `part`: giving many up at once, after a dry run; `remind`: telling people what ends

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Serialize, Serializer};
use tokio::runtime::Handle;

use super::{
    edit::Editor,
    model::{Connection, Unavailable},
    recall::{LastUse, Times},
    record::{form::Record, records::Records, view},
};
use crate::{
    id::{CallerId, ConnectionId, Issuer, Subject},
    provider::{Live, Services},
    store::{self, Key},
};

mod census;
mod filter;
mod page;
mod part;
mod remind;

pub use filter::Filter;
pub use page::{SurveyError, SurveyPage};
pub use part::{Counted, PartError, Parted};
pub use remind::Reminders;

/// How many records a batch has, about.
const BATCH: usize = 256;
/// How many callers' times of use are read at the same time.
const READS: usize = 16;

/// Whose last use is looked up: a question to the store for each caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Uses {
    /// Everybody's that is meant.
    All,
    /// Where it decides whether or when something ends.
    WhereTheyDecide,
}

/// One connection, and whose it is.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// Whose, to what, under which label.
    pub id: ConnectionId,
    /// As people may see it.
    pub connection: Connection,
}

impl Serialize for Surveyed {
    /// As `GET /connections` has it, with `issuer` and `user`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            issuer: &'a Issuer,
            user: &'a Subject,
            #[serde(flatten)]
            connection: &'a Connection,
        }
        let CallerId { issuer, subject: user } = &self.id.caller;
        Whole { issuer, user, connection: &self.connection }.serialize(serializer)
    }
}

/// Some of all records.
struct Batch {
    /// Their places, in order.
    keys: Vec<Key>,
    /// The connections among them that are meant, in the same order.
    found: Vec<(Key, Surveyed)>,
    /// How many no key of the vault opens.
    unreadable: usize,
    /// Where the next batch begins; `None`: that was all.
    next: Option<String>,
}

/// Looks at all connections.
pub struct Survey {
    records: Arc<Records>,
    editor: Arc<Editor>,
    last_use: Arc<LastUse>,
    live: Live,
    handle: Handle,
}

impl Survey {
    /// Of these records.
    pub(super) fn new(
        (records, editor): (Arc<Records>, Arc<Editor>),
        last_use: Arc<LastUse>,
        live: Live,
        handle: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { records, editor, last_use, live, handle })
    }

    /// What is looked at.
    pub(in crate::connection) const fn records(&self) -> &Arc<Records> {
        &self.records
    }

    /// The batch that begins there, and of it what is meant.
    async fn batch(&self, filter: &Filter, from: Option<String>, uses: Uses) -> Result<Batch, SurveyError> {
        let begins = from.is_none();
        let (mut stored, next) = self.records.store().scan(from, BATCH).await.map_err(|error| match error {
            store::Error::Refused { passing: false, .. } if !begins => SurveyError::Cursor,
            error => SurveyError::Unavailable(error.into()),
        })?;
        stored.sort_unstable_by_key(|(key, _)| *key);
        stored.dedup_by_key(|(key, _)| *key);
        let (keys, mut opened, mut unreadable) = (stored.iter().map(|(key, _)| *key).collect(), Vec::new(), 0);
        for (key, stored) in stored {
            match self.records.open(&key, stored.version, &stored.value) {
                Ok(record) => opened.push((key, record)),
                Err(_) => unreadable += 1,
            }
        }
        let found = self.meant(filter, opened, uses).await?;
        Ok(Batch { keys, found, unreadable, next })
    }

    /// What a caller has of what is meant, in the order of their places.
    async fn of_caller(&self, filter: &Filter, caller: &CallerId) -> Result<Vec<(Key, Surveyed)>, Unavailable> {
        let owner = self.records.roots().owner(caller).await?;
        let listed = self.records.list(owner).await?;
        let mut opened: Vec<(Key, Record)> =
            listed.into_iter().filter_map(|listed| Some((listed.key, listed.record.ok()?))).collect();
        opened.sort_unstable_by_key(|(key, _)| *key);
        self.meant(filter, opened, Uses::All).await
    }

    /// The connections that are meant among these records, with the times of their last use.
    async fn meant(
        &self,
        filter: &Filter,
        opened: Vec<(Key, Record)>,
        uses: Uses,
    ) -> Result<Vec<(Key, Surveyed)>, Unavailable> {
        let (services, now) = (self.live.services(), self.records.now());
        let mut found = Vec::new();
        for (key, record) in opened {
            let service = services.get(record.id.service.as_str()).map(AsRef::as_ref);
            let Some(connection) = view::standing(&record, service, now) else { continue };
            if filter.may_admit(&record.id, &connection) {
                found.push((key, Surveyed { id: record.id, connection }));
            }
        }
        let is_asked = |one: &Surveyed| match uses {
            Uses::All => true,
            Uses::WhereTheyDecide => filter.unused_since.is_some() || one.connection.ends.hang_on_use(),
        };
        let asked = found.iter().map(|(_, one)| one).filter(|one| is_asked(one));
        let used = self.times(asked.map(|one| &one.id.caller)).await?;
        for (_, one) in &mut found {
            self.note_use(one, &used, &services);
        }
        found.retain(|(_, one)| filter.admits(&one.id, &one.connection));
        Ok(found)
    }

    fn note_use(&self, one: &mut Surveyed, used: &BTreeMap<CallerId, Times>, services: &Services) {
        one.connection.last_used_at = used.get(&one.id.caller).and_then(|times| times.at(&one.id));
        let service = services.get(one.id.service.as_str()).map(AsRef::as_ref);
        one.connection.foresee(service, self.records.now());
    }

    /// When these callers' connections were last used; each caller is looked up once.
    async fn times<'a>(
        &self,
        callers: impl Iterator<Item = &'a CallerId>,
    ) -> Result<BTreeMap<CallerId, Times>, Unavailable> {
        let once: BTreeSet<CallerId> = callers.cloned().collect();
        stream::iter(once)
            .map(|caller| async move {
                let times = self.last_use.stored(&caller).await?;
                Ok::<_, Unavailable>((caller, times))
            })
            .buffer_unordered(READS)
            .try_collect()
            .await
    }
}
