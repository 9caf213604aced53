//! What somebody outside holds a handle of: 32 random bytes that nobody guesses. The store knows the handle's hash, and under it,
//! sealed and for a time, what the handle stands for. Never knows what that is, and never looks at a clock: who keeps
//! something here says in it when it ends.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{digest, token};
use crate::{
    connection::{Roots, Unavailable},
    store::{Claim, Store},
    vault::{Purpose, Root},
};

/// Handles of one kind.
pub struct Handles<T> {
    roots: Roots,
    store: Arc<dyn Store>,
    /// What names in the store begin with, and what goes into the hash. Part of what is stored: never change one.
    kind: (&'static str, &'static str),
    held: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Handles<T> {
    /// Of this kind.
    pub fn new(roots: Roots, store: Arc<dyn Store>, kind: (&'static str, &'static str)) -> Self {
        Self { roots, store, kind, held: PhantomData }
    }

    /// A new handle of this, for so long.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn give(&self, value: &T, life: Duration) -> Result<String, Unavailable> {
        let root = self.roots.get().await?;
        let handle = token::<32>()?;
        let id = self.id(&handle);
        let sealed = sealed(&root, &id, value)?;
        match self.store.put_once(&id, sealed.as_bytes(), Some(life)).await? {
            Claim::Mine => Ok(handle),
            Claim::Theirs(_) => Err(Unavailable::Keys),
        }
    }

    /// What a handle stands for, left where it is.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn look(&self, handle: &str) -> Result<Option<T>, Unavailable> {
        let (root, id) = (self.roots.get().await?, self.id(handle));
        Ok(self.store.peek(&id).await?.and_then(|sealed| opened(&root, &id, &sealed)))
    }

    /// The same, and it stands for nothing any more: of several who ask, one hears it.
    ///
    /// # Errors
    /// Where store or keys are away; then it may be spent.
    pub async fn spend(&self, handle: &str) -> Result<Option<T>, Unavailable> {
        let (root, id) = (self.roots.get().await?, self.id(handle));
        Ok(self.store.take(&id).await?.and_then(|sealed| opened(&root, &id, &sealed)))
    }

    /// Has a handle stand for something else, for as long as it would have lasted. Where it was ended meanwhile, it stays so.
    ///
    /// # Errors
    /// Where store or keys are away.
    pub async fn change(&self, handle: &str, change: impl FnOnce(T) -> T) -> Result<(), Unavailable> {
        let (root, id) = (self.roots.get().await?, self.id(handle));
        let Some(old) = self.store.peek(&id).await? else { return Ok(()) };
        let Some(value) = opened(&root, &id, &old) else { return Ok(()) };
        let new = sealed(&root, &id, &change(value))?;
        self.store.replace(&id, &old, new.as_bytes(), None).await?;
        Ok(())
    }

    /// Has a handle stand for nothing any more.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn end(&self, handle: &str) -> Result<(), Unavailable> {
        self.store.take(&self.id(handle)).await?;
        Ok(())
    }

    fn id(&self, handle: &str) -> String {
        let (prefix, salt) = self.kind;
        format!("{prefix}.{}", digest(salt, handle))
    }
}

fn sealed(root: &Root, id: &str, value: &impl Serialize) -> Result<String, Unavailable> {
    let plaintext = serde_json::to_vec(value).expect("texts, numbers and lists of them are JSON");
    Ok(root.seal(Purpose::Session, &plaintext, &[id.as_bytes()])?)
}

fn opened<T: DeserializeOwned>(root: &Root, id: &str, sealed: &[u8]) -> Option<T> {
    let plaintext = root.open(Purpose::Session, std::str::from_utf8(sealed).ok()?, &[id.as_bytes()]).ok()?;
    serde_json::from_slice(plaintext.expose()).ok()
}
