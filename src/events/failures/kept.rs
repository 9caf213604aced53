//! A batch of failures, and how the store's log keeps it: sealed for its place and id. Reads and appends nothing.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FAILURES;
use crate::{
    clock::Timestamp,
    id::{RequestId, ServiceName},
    store::{Entry, EntryId, Logged, Shard, Stream},
    vault::{self, Context, Purpose, Vault},
};

/// Failures of one service and error that one process met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Of which service.
    #[serde(rename = "s")]
    pub service: ServiceName,
    /// What failed: `class`, or `class:word`.
    #[serde(rename = "e")]
    pub error: String,
    #[serde(rename = "n")]
    count: u64,
    #[serde(rename = "f")]
    first_ms: u64,
    #[serde(rename = "l")]
    last_ms: u64,
    /// A request in which it happened, where there was one.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Batch {
    /// The first of a batch.
    pub(super) fn first(service: &ServiceName, error: &str, request: Option<&RequestId>, now: Timestamp) -> Self {
        let (service, error) = (service.clone(), error.to_owned());
        let request = request.map(|request| request.as_str().to_owned());
        Self { service, error, count: 1, first_ms: now.millis(), last_ms: now.millis(), request }
    }

    /// One more; the last request stands for all.
    pub(super) fn add(&mut self, request: Option<&RequestId>, now: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.last_ms = self.last_ms.max(now.millis());
        if let Some(request) = request {
            self.request = Some(request.as_str().to_owned());
        }
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// When the first of them happened.
    pub const fn first_at(&self) -> Timestamp {
        Timestamp::from_millis(self.first_ms)
    }

    /// When the last of them did.
    pub const fn last_at(&self) -> Timestamp {
        Timestamp::from_millis(self.last_ms)
    }

    /// As an entry of the log.
    ///
    /// # Errors
    /// Those of the vault.
    pub(super) fn entry(&self, vault: &Vault) -> Result<Entry, vault::Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| vault::Error::NoRandomness)?;
        let (stream, id) = (stream_of(&self.service), EntryId(id));
        let plain = serde_json::to_vec(self).expect("texts and numbers are JSON");
        let context = Context { purpose: Purpose::Event, parts: &place(&stream, &id) };
        Ok(Entry { log: FAILURES, id, sealed: vault.seal(&context, &plain)? })
    }

    /// Opens what was read from this stream; `None`: no key opens it, or a later version wrote it.
    pub(super) fn open(vault: &Vault, stream: &Stream, logged: &Logged) -> Option<Self> {
        let context = Context { purpose: Purpose::Event, parts: &place(stream, &logged.id) };
        let plain = vault.open(&context, &logged.sealed).ok()?;
        serde_json::from_slice(plain.expose()).ok()
    }
}

/// Where a service's batches lie. Others may lie there, too.
pub(super) fn stream_of(service: &ServiceName) -> Stream {
    Stream { log: FAILURES, shard: Shard(Sha256::digest(service.as_str().as_bytes())[0]) }
}

/// What an entry is bound to.
fn place<'a>(stream: &'a Stream, id: &'a EntryId) -> [&'a [u8]; 3] {
    [stream.log.as_str().as_bytes(), std::slice::from_ref(&stream.shard.0), &id.0]
}
