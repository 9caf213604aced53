//! Which scopes a service asked for of its own accord, one set after the other: so that refusals before and after a change can
//! be compared. The sets are kept in the store, sealed; each is written by whoever first sends somebody off with it.

use std::{collections::HashSet, fmt, sync::Arc};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::KEPT;
use crate::{
    clock::Timestamp,
    connection::Unavailable,
    id::ServiceName,
    store::{Claim, Store},
    vault::{Purpose, Root},
};

/// Kinds of what is counted by set: that somebody was asked, …
pub(super) const INITIATED: u64 = 0;
/// … and that they said no.
pub(super) const DENIED: u64 = 1;
/// How many sets are kept of a service.
const SETS: usize = 8;
/// How often it is tried again when another replica was quicker.
const ATTEMPTS: u32 = 4;

/// Tells a set of scopes from others, in whichever order they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of these scopes.
    pub fn of(scopes: &[String]) -> Self {
        let mut sorted: Vec<&str> = scopes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let digest = Sha256::digest(sorted.join(" ").as_bytes());
        Self(u64::from_be_bytes(*digest.first_chunk().expect("SHA-256 has 32 bytes")))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A set of scopes, and since when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    #[serde(rename = "t", with = "crate::clock::seconds")]
    pub since: Timestamp,
    #[serde(rename = "x")]
    pub scopes: Vec<String>,
}

/// The sets of all services.
pub(super) struct Generations {
    store: Arc<dyn Store>,
    /// What this process knows to be written.
    noted: Mutex<HashSet<(ServiceName, Fingerprint)>>,
}

impl Generations {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, noted: Mutex::default() }
    }

    /// Somebody is sent off with this set. Best effort, and once a process and set.
    pub async fn note(&self, root: &Root, service: &ServiceName, scopes: &[String], now: Timestamp) {
        let key = (service.clone(), Fingerprint::of(scopes));
        if self.noted.lock().contains(&key) {
            return;
        }
        match self.write(root, service, scopes, now).await {
            Ok(()) => drop(self.noted.lock().insert(key)),
            Err(error) => tracing::debug!(%error, "a service's set of scopes is noted later"),
        }
    }

    async fn write(
        &self,
        root: &Root,
        service: &ServiceName,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<(), Unavailable> {
        let name = name(root, service);
        let mut before = self.store.peek(&name).await?;
        for _ in 0..ATTEMPTS {
            let mut all = before.as_deref().map(|sealed| open(root, &name, sealed)).unwrap_or_default();
            if all.iter().any(|known| Fingerprint::of(&known.scopes) == Fingerprint::of(scopes)) {
                return Ok(());
            }
            all.push(Generation { since: now, scopes: scopes.to_vec() });
            all.drain(..all.len().saturating_sub(SETS));
            let plain = serde_json::to_vec(&all).expect("numbers and lists of texts are JSON");
            let sealed = root.seal(Purpose::Event, &plain, &[name.as_bytes()])?;
            match &before {
                Some(old) if self.store.replace(&name, old, sealed.as_bytes(), Some(KEPT)).await? => return Ok(()),
                Some(_) => before = self.store.peek(&name).await?,
                None => match self.store.put_once(&name, sealed.as_bytes(), Some(KEPT)).await? {
                    Claim::Mine => return Ok(()),
                    Claim::Theirs(theirs) => before = Some(theirs),
                },
            }
        }
        Err(Unavailable::Busy)
    }

    /// The sets of a service, in the order in which they were first asked for.
    pub async fn of(&self, root: &Root, service: &ServiceName) -> Result<Vec<Generation>, Unavailable> {
        let name = name(root, service);
        Ok(self.store.peek(&name).await?.map(|sealed| open(root, &name, &sealed)).unwrap_or_default())
    }
}

fn name(root: &Root, service: &ServiceName) -> String {
    format!("asked.{}", HEXLOWER.encode(&root.blind("asked", &[service.as_str().as_bytes()])))
}

fn open(root: &Root, name: &str, sealed: &[u8]) -> Vec<Generation> {
    let opened = std::str::from_utf8(sealed).ok().and_then(|text| {
        let plain = root.open(Purpose::Event, text, &[name.as_bytes()]).ok()?;
        serde_json::from_slice(plain.expose()).ok()
    });
    opened.unwrap_or_default()
}
