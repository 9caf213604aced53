//! Whose turn it is to look at what is due: a few replicas' at a time. However many there are, the store is searched by these few,
//! and a due record is looked at by them alone; the others ask once in a while whether it is their turn. Who has it changes from
//! round to round, so that a replica which can't reach a provider keeps nothing from being healed. Nothing rests on it: what keeps
//! two replicas from renewing the same grant is its lease.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crate::store::{Claim, Error, Store};

/// How many replicas may have a turn at the same time. No more than this many: each has one.
const PLACES: u64 = 8;

/// Asks for turns in this process's name.
pub struct Turns {
    store: Arc<dyn Store>,
    process: String,
    /// The place that is asked for first: processes begin at different ones, so that few ask twice.
    first: u64,
    length: Duration,
}

impl Turns {
    /// For the process of this name, turns of this length: a little less than the time after which it asks again, so that its
    /// own last turn is never in its way.
    pub fn new(store: Arc<dyn Store>, process: &str, length: Duration) -> Self {
        let mut hasher = DefaultHasher::new();
        process.hash(&mut hasher);
        Self { store, process: process.to_owned(), first: hasher.finish() % PLACES, length }
    }

    /// Whether this process gets one of the places now.
    ///
    /// # Errors
    /// Where the store doesn't say.
    pub async fn take_one(&self) -> Result<bool, Error> {
        if !self.store.is_shared() {
            return Ok(true);
        }
        for place in 0..PLACES {
            let name = format!("healer-{}", (self.first + place) % PLACES);
            match self.store.put_once(&name, self.process.as_bytes(), Some(self.length)).await? {
                Claim::Mine => return Ok(true),
                Claim::Theirs(_) => {}
            }
        }
        Ok(false)
    }
}
