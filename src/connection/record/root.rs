//! The root secret that all replicas share: made once by whoever comes first, kept in the store under the vault's seal, and
//! fetched when it is first needed, so that a process may start before its store does. From it come the hashed names of
//! records and the keys of tickets and states. A root that doesn't open means a wrong vault key: found at start, not as
//! thousands of corrupt records.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::OnceCell;

use crate::{
    connection::model::Unavailable,
    id::{Account, CallerId, ConnectionId, ServiceName},
    secret::SecretBytes,
    store::{Claim, Key, OwnerId, RecordId, Store},
    vault::{Context, Purpose, Root, Vault},
};

const NAME: &str = "root";
const CONTEXT: Context<'static> = Context { purpose: Purpose::Root, parts: &[b"valetkey root secret"] };

/// Hands out the root secret.
#[derive(Clone)]
pub struct Roots {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    root: Arc<OnceCell<Arc<Root>>>,
    /// The store's is another one than this process works with.
    foreign: Arc<AtomicBool>,
}

impl Roots {
    /// Nothing is fetched yet.
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>) -> Self {
        Self { store, vault, root: Arc::default(), foreign: Arc::default() }
    }

    /// The root, fetched or made at the first call.
    ///
    /// # Errors
    /// While the store is away, or no key opens it.
    pub async fn get(&self) -> Result<Arc<Root>, Unavailable> {
        self.root.get_or_try_init(|| self.fetch()).await.cloned()
    }

    /// The root, if it was fetched already.
    pub fn known(&self) -> Option<&Arc<Root>> {
        self.root.get()
    }

    /// A caller's name in the store.
    ///
    /// # Errors
    /// As [`Roots::get`].
    pub async fn owner(&self, caller: &CallerId) -> Result<OwnerId, Unavailable> {
        Ok(owner(self.get().await?.as_ref(), caller))
    }

    /// A connection's name in the store.
    ///
    /// # Errors
    /// As [`Roots::get`].
    pub(in crate::connection) async fn key(&self, id: &ConnectionId) -> Result<Key, Unavailable> {
        Ok(key(self.get().await?.as_ref(), id))
    }

    /// Whether the store holds another root than this process works with: it was emptied, and somebody began anew. What is
    /// stored through such a process is found by no other.
    pub fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::Relaxed)
    }

    /// Compares the store's root with the one that this process works with, and puts that back where there is none: a store
    /// that came back empty must not be given a second one while processes live that write under the first.
    ///
    /// # Errors
    /// While the store is away, or no key opens what it holds.
    pub async fn keep(&self) -> Result<(), Unavailable> {
        let Some(ours) = self.known() else { return Ok(()) };
        let stored = match self.store.peek(NAME).await? {
            Some(stored) => stored,
            None => {
                let sealed = self.vault.seal(&CONTEXT, ours.expose())?;
                match self.store.put_once(NAME, &sealed, None).await? {
                    Claim::Mine => {
                        tracing::warn!("the store had lost the root secret; it was put back");
                        sealed
                    }
                    Claim::Theirs(stored) => stored,
                }
            }
        };
        let theirs: SecretBytes = self.vault.open(&CONTEXT, &stored).map_err(|_| Unavailable::Keys)?;
        let foreign = theirs.expose().as_slice() != ours.expose().as_slice();
        if foreign && !self.foreign.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "the store was emptied and has another root secret than this process: restart it, or restore the store"
            );
        }
        Ok(())
    }

    async fn fetch(&self) -> Result<Arc<Root>, Unavailable> {
        let stored = match self.store.peek(NAME).await? {
            Some(stored) => stored,
            None => {
                let root = Root::generate()?;
                let sealed = self.vault.seal(&CONTEXT, root.expose())?;
                match self.store.put_once(NAME, &sealed, None).await? {
                    Claim::Mine => return Ok(Arc::new(root)),
                    Claim::Theirs(stored) => stored,
                }
            }
        };
        let bytes: SecretBytes = self.vault.open(&CONTEXT, &stored).map_err(|error| {
            tracing::error!(%error, "the store was sealed with another vault key: put that key into vault.keys");
            Unavailable::Keys
        })?;
        let bytes: [u8; 32] = bytes.expose().as_slice().try_into().map_err(|_| Unavailable::Keys)?;
        let root = Arc::new(Root::from_bytes(bytes));
        if self.vault.needs_rewrap(&stored) {
            let sealed = self.vault.seal(&CONTEXT, root.expose())?;
            // Another replica may do the same at this moment; either's seal is as good.
            let _ = self.store.replace(NAME, &stored, &sealed, None).await?;
        }
        Ok(root)
    }
}

/// The owner's name in the store.
pub fn owner(root: &Root, caller: &CallerId) -> OwnerId {
    OwnerId(root.blind("owner", &caller.parts()))
}

/// The connection's name in the store.
pub fn key(root: &Root, id: &ConnectionId) -> Key {
    Key { owner: owner(root, &id.caller), record: record(root, &id.service, &id.account) }
}

/// The name of a connection among its owner's.
pub fn record(root: &Root, service: &ServiceName, account: &Account) -> RecordId {
    RecordId(root.blind("record", &[service.as_str().as_bytes(), account.as_str().as_bytes()]))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::id::{Issuer, Subject};

    #[test]
    fn names_at_rest_stay_what_they_are() {
        let (root, caller) = (Root::from_bytes([7; 32]), ("https://app.example/", "ada"));
        let caller = CallerId { issuer: Issuer::parse(caller.0).unwrap(), subject: Subject::parse(caller.1).unwrap() };
        let (service, account) = (ServiceName::parse("crm").unwrap(), Account::parse("work").unwrap());
        let key = key(&root, &ConnectionId { caller, service, account });
        assert_eq!(HEXLOWER.encode(&key.owner.0), "31a435c3466a8a3e2aaddd5847e4520c");
        assert_eq!(HEXLOWER.encode(&key.record.0), "a61413545973c7f58867bcb83d5fc802");
    }
}
