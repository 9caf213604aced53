//! From events to entries of the log.

use std::{sync::Arc, time::Duration};

use super::{
    entry,
    person::{KeyError, Missing, PersonalKeys},
};
use crate::{
    clock::Clock,
    events::{Event, Kind},
    store::{Entry, OwnerId, Store},
    vault::{PersonalKey, Vault},
};

/// Makes entries of events.
pub struct Sealer {
    vault: Arc<Vault>,
    keys: PersonalKeys,
}

impl Sealer {
    /// For a log in this store, whose entries are kept for so long.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>, clock: Clock, kept: Duration) -> Self {
        let keys = PersonalKeys::new(store, Arc::clone(&vault), clock, kept);
        Self { vault, keys }
    }

    /// What [`Sealer::entry_with`] may need of the store, so that nothing is waited for between a decision and the write that it is
    /// about. A person without a key gets one only where this kind of event begins something.
    ///
    /// # Errors
    /// While the store is away, or the vault doesn't open the person's key.
    pub async fn prepare(&self, owner: &OwnerId, kind: Kind) -> Result<Option<PersonalKey>, KeyError> {
        match Missing::of(kind) {
            Missing::Begin => self.keys.to_seal(owner, Missing::Begin).await.map(Some),
            Missing::Make | Missing::Anonymous => self.keys.at_hand(owner).await,
        }
    }

    /// The event as an entry, with what was prepared for its kind.
    ///
    /// # Errors
    /// As [`Sealer::entry`].
    pub async fn entry_with(
        &self,
        prepared: Option<PersonalKey>,
        owner: &OwnerId,
        event: &Event,
    ) -> Result<Entry, KeyError> {
        match prepared {
            Some(key) => Ok(entry::seal(&self.vault, owner, &key, event)?),
            None => self.entry(owner, event).await,
        }
    }

    /// The event as an entry. Costs one look at the store where the person's key is not at hand.
    ///
    /// # Errors
    /// While the store is away, or the vault doesn't open the person's key.
    pub async fn entry(&self, owner: &OwnerId, event: &Event) -> Result<Entry, KeyError> {
        let key = self.keys.to_seal(owner, Missing::of(event.kind)).await?;
        Ok(entry::seal(&self.vault, owner, &key, event)?)
    }

    /// What seals.
    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The keys of persons.
    pub fn keys(&self) -> &PersonalKeys {
        &self.keys
    }
}
