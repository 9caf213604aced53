//! Who rests on what: a walk over all records.

use crate::{
    clock::Timestamp,
    connection::{
        model::{AuthKind, KeyFacts, Unavailable},
        record::{
            form::Record,
            view::{facts, rests_on},
        },
    },
    id::ConnectionId,
};

use super::ApiKeys;

/// How many records a page of the census has.
const PAGE: usize = 256;

/// What a connection has of grant and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// An API key, and no grant that works.
    OnKey,
    /// A grant that works, and an API key beside it.
    Both,
    /// No API key.
    OAuth,
}

/// One connection in the census.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Whose, to what, under which label.
    pub id: ConnectionId,
    /// What it has.
    pub standing: Standing,
    /// Since when: the key's time where it rests on one, else the grant's.
    pub since: Option<Timestamp>,
    /// The key, where there is one.
    pub key: Option<KeyFacts>,
}

/// A page of the census.
#[derive(Debug)]
pub struct HolderPage {
    /// The connections of it. One may come again on another page.
    pub holders: Vec<Holder>,
    /// How many records were looked at.
    pub records: usize,
    /// How many of them no key of the vault opens.
    pub unreadable: usize,
    /// Where the next page begins; `None`: that was all.
    pub next: Option<String>,
}

impl Holder {
    fn of(record: Record, now: Timestamp) -> Option<Self> {
        // Given up, or no connection yet.
        if !record.is_connected() {
            return None;
        }
        let key = record.api_key.as_ref().map(facts);
        let standing = match (rests_on(&record, now), key) {
            (Ok(AuthKind::OAuth), Some(_)) => Standing::Both,
            (_, Some(_)) => Standing::OnKey,
            (_, None) if record.grant.is_some() => Standing::OAuth,
            (_, None) => return None,
        };
        let since = if standing == Standing::OnKey { key.and_then(|key| key.stored_at) } else { record.connected_at };
        Some(Self { id: record.id, standing, since, key })
    }

    /// Whether calls of this connection go out with a key that the upstream takes.
    pub fn rests_on_key(&self) -> bool {
        self.standing == Standing::OnKey && self.key.is_some_and(|key| !key.refused)
    }
}

impl ApiKeys {
    /// A page of the census of all connections: who rests on what. The first begins at `None`. Whoever goes through all
    /// pages sees each connection that is there all along at least once.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn holders(&self, cursor: Option<String>) -> Result<HolderPage, Unavailable> {
        let (stored, next) = self.records.store().scan(cursor, PAGE).await?;
        let mut page = HolderPage { holders: Vec::new(), records: stored.len(), unreadable: 0, next };
        for (key, stored) in stored {
            match self.records.open(&key, stored.version, &stored.value) {
                Ok(record) => page.holders.extend(Holder::of(record, self.records.now())),
                Err(_) => page.unreadable += 1,
            }
        }
        Ok(page)
    }

    /// How many records there are, for progress.
    ///
    /// # Errors
    /// While the store is away.
    pub async fn count(&self) -> Result<u64, Unavailable> {
        Ok(self.records.store().count().await?)
    }
}
